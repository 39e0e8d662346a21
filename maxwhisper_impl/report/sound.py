"""Recordings that a page can play: MP3, which every browser knows, at the rate that fits what room there is."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame

from ..audio import SAMPLE_RATE, load_audio
from ..errors import AudioError
from .kinds import Audio

RATES = (32_000, 24_000, 16_000)
"""bits a second, best first; MP3 takes these at 16 kHz"""
ROOM = 3_600_000
"""characters of a page that all recordings may take together"""
PER_BYTE = 4 / 3
"""characters of Base64"""
FRAME = 576
"""samples in an MP3 frame of 16 kHz"""
SAME = 0.1
"""seconds by which the file's length may differ from what the run file says"""


@dataclass(frozen=True)
class Sound:
    """`uri`: None where there is nothing to play; `note`: what has to be said of it."""

    uri: str | None
    note: str


def sounds(audio: Sequence[Audio]) -> dict[str, Sound]:
    """By file: each whole, or the beginning that its share of the room holds; of a file that is not here, why not."""
    total = sum(clip.seconds for clip in audio)
    rate = next((rate for rate in RATES if _size(total, rate, len(audio)) <= ROOM), RATES[-1])
    longest = (ROOM / PER_BYTE / max(1, len(audio)) - FRAME) * 8 / rate
    fits = _size(total, rate, len(audio)) <= ROOM
    return {clip.file: _sound(clip, rate, None if fits else longest) for clip in audio}


def _size(seconds: float, rate: int, files: int) -> int:
    """characters, with a frame or two for each file's ends"""
    return ceil((seconds * rate / 8 + files * FRAME) * PER_BYTE)


def _sound(clip: Audio, rate: int, longest: float | None) -> Sound:
    if not Path(clip.file).is_file():
        return Sound(None, "not embedded: the file is not where the comparison found it; run from the same folder")
    try:
        samples = load_audio(clip.file)
    except AudioError as error:
        return Sound(None, f"not embedded: {error}")
    length = len(samples) / SAMPLE_RATE
    if not length or abs(length - clip.seconds) > SAME:
        return Sound(None, f"not embedded: the file has {length:.1f} s, and the comparison heard {clip.seconds:.1f} s")
    cut = longest is not None and longest < length
    kept = samples[: int((longest or 0) * SAMPLE_RATE)] if cut else samples
    what = f"the first {len(kept) / SAMPLE_RATE:.0f} s of {length:.0f} s" if cut else f"all {length:.0f} s"
    encoded = b64encode(mp3(kept, rate)).decode()
    return Sound(f"data:audio/mpeg;base64,{encoded}", f"{what}, MP3 at {rate // 1000} kbit/s")


def mp3(samples: np.ndarray, rate: int) -> bytes:
    """`samples`: float32 [n] at 16 kHz; `rate`: bits a second."""
    buffer = BytesIO()
    whole = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=SAMPLE_RATE)
        stream.layout, stream.bit_rate = "mono", rate
        for start in range(0, len(whole), FRAME):
            frame = AudioFrame.from_ndarray(whole[None, start : start + FRAME], format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
