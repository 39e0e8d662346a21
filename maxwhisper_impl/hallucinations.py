"""What word times tell of a window: where the next one starts, what was read into silence (`whisper/transcribe.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .audio import FRAMES_PER_SECOND, N_FRAMES
from .results import Segment, Word, words_of
from .segments import Cut, Window, seconds
from .timing import APPENDED, PREPENDED, last_word_end

UNLIKELY, SHORT, LONG = 0.15, 0.133, 2.0
"""a word's probability and seconds beyond which it is odd"""
SHORTNESS = 15
"""what a second less than SHORT weighs"""
WORDS_JUDGED = 8
"""of a segment's beginning"""
CERTAIN = 3.0
EDGE = 2.0
"""seconds at a window's ends that count as silence"""


@dataclass(frozen=True)
class Silence:
    """How long nothing must be heard around a likely hallucination for it to be skipped, in seconds."""

    threshold: float
    last_speech: float
    """when speech last ended before the window"""
    n_frames: int
    """of the recording"""


def seek_last_word(cut: Cut, window: Window) -> Cut:
    """On from the last word, unless the window ends in silence."""
    end = _end_of_speech(cut, window)
    return cut if end is None else replace(cut, advance=round(end * FRAMES_PER_SECOND) - window.seek)


def skip_hallucinations(cut: Cut, window: Window, silence: Silence) -> Cut:
    """Segments of odd words amid silence are left out, and read again from their start on."""
    end = _end_of_speech(cut, window)
    window_end = seconds(window.seek + N_FRAMES)  # the silence behind a recording counts as well
    if end is not None and window_end - end <= silence.threshold:
        cut = replace(cut, advance=window.size)
    first = _first_with_words(cut.segments)
    if first is not None and is_anomaly(first) and first["start"] - window.start > silence.threshold:
        gap = round((first["start"] - window.start) * FRAMES_PER_SECOND)
        return replace(cut, segments=[], advance=gap, skipped=True)

    last_end = silence.last_speech
    for i, segment in enumerate(cut.segments):
        if not words_of(segment):
            continue
        following = _first_with_words(cut.segments[i + 1 :])
        next_start = window.start + window.duration if following is None else words_of(following)[0]["start"]
        if is_anomaly(segment):
            before = (
                segment["start"] - last_end > silence.threshold
                or segment["start"] < silence.threshold
                or segment["start"] - window.start < EDGE
            )
            after = (
                next_start - segment["end"] > silence.threshold
                or (following is not None and is_anomaly(following))
                or window_end - segment["end"] < EDGE
            )
            if before and after:
                return replace(cut, segments=cut.segments[:i], advance=_advance(segment, window, silence))
        last_end = segment["end"]
    return cut


def _advance(segment: Segment, window: Window, silence: Silence) -> int:
    """To the hallucination, at least a second; to the recording's end where it is near."""
    if seconds(silence.n_frames) - segment["end"] < silence.threshold:
        return silence.n_frames - window.seek
    return round(max(window.start + 1, segment["start"]) * FRAMES_PER_SECOND) - window.seek


def _end_of_speech(cut: Cut, window: Window) -> float | None:
    """Of the last word, where it says how far the window was read."""
    end = None if cut.ends_in_silence else last_word_end(cut.segments)
    return end if end is not None and end > window.start else None


def _first_with_words(segments: Sequence[Segment]) -> Segment | None:
    return next((segment for segment in segments if words_of(segment)), None)


def is_anomaly(segment: Segment) -> bool:
    """Whether a segment with words begins so oddly that nobody may have said it."""
    words = [word for word in words_of(segment) if word["word"] not in PREPENDED + APPENDED][:WORDS_JUDGED]
    score = sum(word_anomaly(word) for word in words)
    return score >= CERTAIN or score + 0.01 >= len(words)


def word_anomaly(word: Word) -> float:
    """0 for a word as they are; 1 and more for an unlikely, hasty or drawn-out one."""
    duration = word["end"] - word["start"]
    unlikely = 1.0 if word["probability"] < UNLIKELY else 0.0
    return unlikely + max(0.0, SHORT - duration) * SHORTNESS + max(0.0, duration - LONG)
