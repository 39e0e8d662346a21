"""How far a system's word times are from the true ones, over the words that it heard right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from maxwhisper_impl.corpus import Clip


@dataclass(frozen=True)
class TimeErrors:
    """Seconds, one of each matched word."""

    start: np.ndarray
    end: np.ndarray
    words: int
    """there are to match"""

    @property
    def median(self) -> float:
        """Of starts and ends together."""
        return float(np.median(np.concatenate([self.start, self.end])))

    def __str__(self) -> str:
        start, end = (1000 * float(np.median(errors)) for errors in (self.start, self.end))
        return f"start {start:.0f} ms, end {end:.0f} ms of {len(self.start)} words"


def time_errors(clips: Sequence[Clip], results: Sequence[dict[str, Any]]) -> TimeErrors:
    """Of the words in the longest common runs of what was said and what was heard; ValueError where there is none."""
    errors: list[tuple[float, float]] = []
    for clip, result in zip(clips, results, strict=True):
        heard = [word for segment in result["segments"] for word in segment["words"]]
        said = [plain(word.word) for word in clip.words]
        for run in SequenceMatcher(None, said, [plain(word["word"]) for word in heard], False).get_matching_blocks():
            pairs = zip(clip.words[run.a :], heard[run.b : run.b + run.size], strict=False)
            errors += [(abs(got["start"] - want.start), abs(got["end"] - want.end)) for want, got in pairs]
    if not errors:
        raise ValueError("no word was heard right")
    start, end = np.array(errors).T
    return TimeErrors(start, end, sum(len(clip.words) for clip in clips))


def plain(word: str) -> str:
    """Lower case, letters and digits alone."""
    return "".join(c for c in word.lower() if c.isalnum())
