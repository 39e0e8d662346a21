"""Recordings put together from the corpora's clips."""

from __future__ import annotations

import numpy as np
import pytest

from maxwhisper_impl.audio import SAMPLE_RATE, load_audio
from maxwhisper_impl.corpus import Clip


def joined(clips: list[Clip], language: str, seconds: float) -> np.ndarray:
    """Clips one after the other up to some length, with pauses between them and a long one in the middle."""
    parts, length = [], 0.0
    for clip in sorted((c for c in clips if c.language == language and c.seconds < 8), key=lambda c: c.id):
        pause = 7.0 if length < seconds / 2 <= length + clip.seconds else 2.5
        parts += [load_audio(clip.audio), np.zeros(int(pause * SAMPLE_RATE), np.float32)]
        length += clip.seconds + pause
        if length > seconds:
            return np.concatenate(parts)[: int(seconds * SAMPLE_RATE)]
    pytest.skip(f"the corpora have less than {seconds} s of short clips in {language}")
