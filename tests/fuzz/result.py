"""What every transcription has to be, whatever was asked."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

from tests.fuzz.case import demand
from tests.transcripts import SEGMENT_FIELDS


def check_result(
    result: Any, seconds: float, *, words: bool = False, ruled: bool = True, ordered: bool = True
) -> None:
    """openai-whisper's dictionary of a recording of so many seconds: times in order and within it, finite figures.

    `ruled`: timestamps obeyed their rules; without those a model that may say nothing else says them in any order, and
    text that none leads starts far before the recording, as in openai-whisper.
    `ordered`: windows follow each other; clips may be asked for in any order."""
    demand(isinstance(result, dict) and set(result) == {"text", "segments", "language"}, f"gave {result!r:.200}")
    demand(isinstance(result["text"], str) and isinstance(result["language"], str), "text or language is no string")
    segments = result["segments"]
    demand([segment["id"] for segment in segments] == list(range(len(segments))), "segments are not numbered")
    for segment in segments:
        demand(set(segment) >= set(SEGMENT_FIELDS), f"a segment lacks {set(SEGMENT_FIELDS) - set(segment)}")
        # the last timestamp may lie in the padding of the last window, as in openai-whisper
        start, end = segment["start"], segment["end"]
        demand(end >= 0 and max(start, end) <= seconds + 30.1, f"{start} to {end}")
        demand(0 <= start <= end or not ruled, f"{start} to {end}")
        figures = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
        demand(all(math.isfinite(segment[name]) for name in figures), f"figures: {[segment[name] for name in figures]}")
        demand(all(type(token) is int for token in segment["tokens"]), "tokens are not numbers")
        demand(not words or "words" in segment, "a segment lacks its words")
        for word in segment.get("words", []):
            demand(0 <= word["start"] <= word["end"] <= seconds + 30.1, f"a word from {word['start']} to {word['end']}")
            demand(0 <= word["probability"] <= 1, f"a probability of {word['probability']}")
    follow = all(a["seek"] <= b["seek"] for a, b in pairwise(segments))
    demand(follow or not ordered, "windows are not in order")
    said = "".join(segment["text"] for segment in segments)
    # what a hot sampler takes for a language stays in the whole text alone, as in openai-whisper
    whole = re.sub(r"<\|[a-z]+\|>", "", result["text"])
    demand(
        said.split() == whole.split() or "\ufffd" in result["text"],
        f"{said!r:.99}, not {result['text']!r:.99}",
    )
