"""The tokens of one window cut into segments, and where the next window starts (`whisper/transcribe.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from .audio import HOP_LENGTH, SAMPLE_RATE
from .decoding import DecodingResult
from .results import Segment
from .tokenizer import Tokenizer
from .writers import format_timestamp

FRAMES_PER_TIMESTAMP = 2
"""mel frames between two timestamp tokens: the encoder's stride, 0.02 s"""


@dataclass(frozen=True)
class Window:
    """Mel frames [seek, seek + size) of the file."""

    seek: int
    size: int

    @property
    def start(self) -> float:
        return seconds(self.seek)

    @property
    def duration(self) -> float:
        return seconds(self.size)


@dataclass(frozen=True)
class Cut:
    segments: list[Segment]
    advance: int
    """frames from this window's start to the next one's"""
    ends_in_silence: bool
    """the tokens end in a single timestamp: nothing is said after it"""
    skipped: bool = False
    """the window begins in silence that is passed over: nothing that was read in it counts"""


def seconds(frames: int) -> float:
    return frames * HOP_LENGTH / SAMPLE_RATE


def cut_segments(result: DecodingResult, window: Window, tokenizer: Tokenizer) -> Cut:
    """Segments lie between pairs of timestamps; text after the last pair is left to the next window."""
    tokens = result.tokens
    is_time = [token >= tokenizer.timestamp_begin for token in tokens]
    ends_in_silence = is_time[-2:] == [False, True]
    pairs = [i for i in range(1, len(tokens)) if is_time[i - 1] and is_time[i]]
    if not pairs:
        return _whole_window(result, window, tokenizer, ends_in_silence)

    if ends_in_silence:
        pairs.append(len(tokens))
    segments = []
    for first, end in zip([0, *pairs], pairs, strict=False):
        start_position, end_position = (tokens[i] - tokenizer.timestamp_begin for i in (first, end - 1))
        segments.append(_segment(result, window, tokenizer, tokens[first:end], start_position, end_position))
    last_position = tokens[pairs[-1] - 1] - tokenizer.timestamp_begin
    return Cut(segments, window.size if ends_in_silence else last_position * FRAMES_PER_TIMESTAMP, ends_in_silence)


def _whole_window(result: DecodingResult, window: Window, tokenizer: Tokenizer, ends_in_silence: bool) -> Cut:
    """No pair of timestamps: one segment, up to the last timestamp if there is one."""
    times = [token - tokenizer.timestamp_begin for token in result.tokens if token >= tokenizer.timestamp_begin]
    segment = _segment(result, window, tokenizer, result.tokens, 0, times[-1] if times else 0)
    if not times or times[-1] == 0:
        segment["end"] = window.start + window.duration
    return Cut([segment], window.size, ends_in_silence)


def _segment(
    result: DecodingResult, window: Window, tokenizer: Tokenizer, tokens: Sequence[int], start: int, end: int
) -> Segment:
    """`start` and `end` in timestamp tokens from the window's start."""
    precision = seconds(FRAMES_PER_TIMESTAMP)
    segment = {
        "seek": window.seek,
        "start": window.start + start * precision,
        "end": window.start + end * precision,
        "text": tokenizer.decode([token for token in tokens if token < tokenizer.eot]),
        "tokens": list(tokens),
        "temperature": result.temperature,
        "avg_logprob": result.avg_logprob,
        "compression_ratio": result.compression_ratio,
        "no_speech_prob": result.no_speech_prob,
    }
    return cast(Segment, segment)  # its id is given when it is final


def clear_empty(segments: list[Segment]) -> None:
    """A segment of no duration or no text says nothing: its text, tokens and words are emptied."""
    for segment in segments:
        if segment["start"] == segment["end"] or segment["text"].strip() == "":
            segment.update(text="", tokens=[], words=[])


def print_segments(segments: list[Segment]) -> None:
    for segment in segments:
        # of text that no timestamp leads, as without their rules, the start is below zero, as in openai-whisper
        start, end = (format_timestamp(max(0.0, time)) for time in (segment["start"], segment["end"]))
        print(f"[{start} --> {end}] {segment['text']}")
