"""Eight threads at once on one model: each gets the text that it gets alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.audio import SAMPLE_RATE, load_audio
from maxwhisper_impl.corpus import Clip
from tests import record
from tests.implementations import PINNED, Model
from tests.parity.conftest import needs

pytestmark = pytest.mark.first_checkpoint

THREADS = 8
OPTIONS: list[dict[str, Any]] = [{}, {"word_timestamps": True}, {"batch_size": 2}, {"beam_size": 3}]
"""by turns"""


@pytest.fixture(scope="module")
def recordings(clips: list[Clip]) -> list[np.ndarray]:
    """As many as threads, each another one: a few seconds, and for the batches one of more than a window."""
    spoken = sorted((c for c in clips if c.language == "en" and c.text), key=lambda c: (c.seconds, c.id))
    short = [load_audio(clip.audio) for clip in spoken if clip.seconds > 2][: THREADS - 1]
    return [*short[:-1], load_audio(spoken[-1].audio)[: 33 * SAMPLE_RATE], short[-1]]


def test_the_same_text_as_alone(model: Model, recordings: list[np.ndarray]) -> None:
    needs(model, "options", "words")
    start = threading.Barrier(THREADS)

    def transcribe(number: int, together: bool) -> Any:
        if together:
            start.wait(timeout=60)
        return model.transcribe(recordings[number], language="en", **PINNED, **OPTIONS[number % len(OPTIONS)])

    alone = [transcribe(number, together=False) for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        at_once = list(pool.map(lambda number: transcribe(number, together=True), range(THREADS)))
    for number, (got, want) in enumerate(zip(at_once, alone, strict=True)):
        assert got == want, f"thread {number}, {OPTIONS[number % len(OPTIONS)]}"
    assert len({result["text"] for result in alone}) == THREADS, "recordings that are told apart"
    record.count("transcripts of threads", THREADS)
