"""What a transcription is made of: openai-whisper's dictionaries, with types."""

from typing import NotRequired, TypedDict


class Word(TypedDict):
    """A word with the space or punctuation that belongs to it; seconds from the beginning of the recording."""

    word: str
    start: float
    end: float
    probability: float


class Segment(TypedDict):
    """Some words that are spoken together; seconds from the beginning of the recording."""

    id: int
    seek: int
    """mel frame, of 10 ms, at which the segment's window starts"""
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: NotRequired[list[Word]]
    """with `word_timestamps`"""
    language: NotRequired[str]
    """with `multilingual`"""


def words_of(segment: Segment) -> list[Word]:
    """None where they were not asked for, or are not known yet."""
    return segment.get("words", [])


class Result(TypedDict):
    """A whole recording."""

    text: str
    segments: list[Segment]
    language: str
