"""Words with times for the segments of windows, by openai-whisper's rules (`whisper/timing.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np

from .alignment import align
from .audio import FRAMES_PER_SECOND
from .decoding import Runtime
from .results import Segment, Word, words_of
from .segments import FRAMES_PER_TIMESTAMP, seconds
from .tokenizer import Tokenizer

PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"
SENTENCE_ENDS = ".。!！?？"
POSITIONS_PER_SECOND = FRAMES_PER_SECOND // FRAMES_PER_TIMESTAMP
LONGEST_MEDIAN = 0.7
"""seconds: slower speech than this counts as pauses"""
SEGMENT_SLACK = 0.5
"""seconds by which a word may reach out of its segment before the segment's own time is believed"""



@dataclass
class WordTiming:
    """A word and its tokens, in seconds from the window's start; without either once it is merged into a neighbour."""

    word: str
    tokens: list[int]
    start: float
    end: float
    probability: float

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Durations:
    """Of the words of a window, in seconds: what is usual, and what is cut."""

    median: float
    longest: float

    @classmethod
    def of(cls, alignment: list[WordTiming]) -> Durations:
        heard = [timing.duration for timing in alignment if timing.duration]
        median = min(LONGEST_MEDIAN, float(np.median(heard))) if heard else 0.0
        return cls(median, 2 * median)


@dataclass(frozen=True)
class Said:
    """The segments of one window, still without words, and what is known of it."""

    segments: list[Segment]
    size: int
    """mel frames of audio in the window"""
    tokenizer: Tokenizer
    """of the window's language and task"""
    last_speech: float
    """seconds of the recording at which speech last ended before the window"""

    @property
    def texts(self) -> list[list[int]]:
        """The text tokens of each segment."""
        return [[token for token in segment["tokens"] if token < self.tokenizer.eot] for segment in self.segments]


def add_word_timestamps(
    runtime: Runtime,
    features: Any,
    windows: Sequence[Said],
    *,
    prepend_punctuations: str = PREPENDED,
    append_punctuations: str = APPENDED,
) -> None:
    """Gives each segment its `words`, and a start and end that fit them; `windows` are those of `features`."""
    for said, alignment in zip(windows, find_alignments(runtime, features, windows), strict=True):
        durations = Durations.of(alignment)
        shorten_sentence_ends(alignment, durations)
        merge_punctuations(alignment, prepend_punctuations, append_punctuations)
        _share_out(said.segments, [len(ids) for ids in said.texts], alignment)
        last_speech = said.last_speech
        for segment in said.segments:
            if words_of(segment):
                fit(segment, durations, last_speech)
                last_speech = segment["end"]


def last_word_end(segments: Sequence[Segment]) -> float | None:
    """Of the last word there is, else of the last segment."""
    ends = (words_of(segment)[-1]["end"] for segment in reversed(segments) if words_of(segment))
    return next(ends, segments[-1]["end"] if segments else None)


def find_alignments(runtime: Runtime, features: Any, windows: Sequence[Said]) -> list[list[WordTiming]]:
    """The words of each window's text tokens, by what the alignment heads attend to while the tokens are read."""
    texts = [list(chain(*said.texts)) for said in windows]
    if not any(texts):
        return [[] for _ in texts]
    starts = [said.tokenizer.sot_sequence_including_notimestamps for said in windows]
    rows = np.full((len(texts), len(starts[0]) + max(map(len, texts)) + 1), windows[0].tokenizer.eot, np.int32)
    for row, start, text in zip(rows, starts, texts, strict=True):
        row[: len(start) + len(text)] = [*start, *text]
    scores, logits = runtime.cross_scores(features, rows, runtime.alignment_heads)
    first = len(starts[0]) - 1  # the position that the first word is predicted from
    return [
        _words(said.tokenizer, text, scores[i, :, : first + len(text) + 2], logits[i, first:], said.size)
        for i, (said, text) in enumerate(zip(windows, texts, strict=True))
    ]


def _words(
    tokenizer: Tokenizer, text: Sequence[int], scores: np.ndarray, logits: np.ndarray, size: int
) -> list[WordTiming]:
    """scores `[heads, tokens, n_audio_ctx]` of all tokens; logits `[>= len(text), n_vocab]` of each text token."""
    words, groups = tokenizer.split_to_word_tokens([*text, tokenizer.eot])
    if len(groups) <= 1:
        return []
    first = scores.shape[1] - len(text) - 2
    starts = align(scores, first, size // FRAMES_PER_TIMESTAMP) / POSITIONS_PER_SECOND
    probabilities = token_probabilities(logits[:, : tokenizer.eot], text)
    ends = np.cumsum([len(group) for group in groups[:-1]]).tolist()
    return [
        WordTiming(word, group, float(starts[i]), float(starts[j]), float(np.mean(probabilities[i:j])))
        for word, group, i, j in zip(words[:-1], groups[:-1], [0, *ends[:-1]], ends, strict=True)
    ]


def token_probabilities(logits: np.ndarray, tokens: Sequence[int]) -> list[float]:
    """Of each token by its row of logits `[>= len(tokens), n]`, in a softmax over the row."""
    weights = (np.exp(row - row.max()) for row in logits)  # row by row: all of them would take 50 MB once more
    return [float(weight[token] / weight.sum()) for weight, token in zip(weights, tokens, strict=False)]


def shorten_sentence_ends(alignment: list[WordTiming], durations: Durations) -> None:
    """Pauses between sentences belong to no word: neither to the mark that ends one nor to the word after it."""
    if not durations.longest:
        return
    for previous, timing in pairwise(alignment):
        if timing.duration > durations.longest:
            if timing.word in SENTENCE_ENDS:
                timing.end = timing.start + durations.longest
            elif previous.word in SENTENCE_ENDS:
                timing.start = timing.end - durations.longest


def merge_punctuations(alignment: list[WordTiming], prepended: str, appended: str) -> None:
    """Marks of `prepended` go into the word after them, those of `appended` into the one before; its times stay."""
    following = len(alignment) - 1
    for i in range(len(alignment) - 2, -1, -1):
        mark, word = alignment[i], alignment[following]
        if mark.word.startswith(" ") and mark.word.strip() in prepended:
            word.word, word.tokens = mark.word + word.word, mark.tokens + word.tokens
            mark.word, mark.tokens = "", []
        else:
            following = i
    previous = 0
    for i in range(1, len(alignment)):
        word, mark = alignment[previous], alignment[i]
        if not word.word.endswith(" ") and mark.word in appended:
            word.word, word.tokens = word.word + mark.word, word.tokens + mark.tokens
            mark.word, mark.tokens = "", []
        else:
            previous = i


def _share_out(segments: list[Segment], counts: list[int], alignment: list[WordTiming]) -> None:
    """Words go to the segments in order, as many as cover each one's number of text tokens."""
    left = iter(alignment)
    for segment, count in zip(segments, counts, strict=True):
        offset = seconds(segment["seek"])
        segment["words"] = words = list[Word]()
        while count > 0 and (timing := next(left, None)):
            if timing.word:
                start, end = round(offset + timing.start, 2), round(offset + timing.end, 2)
                words.append({"word": timing.word, "start": start, "end": end, "probability": timing.probability})
            count -= len(timing.tokens)


def fit(segment: Segment, durations: Durations, last_speech: float) -> None:
    """Words around pauses are cut to twice the usual length; then the segment takes its times from its words, or
    where they reach far out of it, they from the segment."""
    words = words_of(segment)
    first, last, median = words[0], words[-1], durations.median
    if first["end"] - last_speech > 4 * median:
        _shorten_after_pause(words, durations.longest)
    if segment["start"] < first["end"] and segment["start"] - SEGMENT_SLACK > first["start"]:
        first["start"] = max(0, min(first["end"] - median, segment["start"]))
    else:
        segment["start"] = first["start"]
    if segment["end"] > last["start"] and segment["end"] + SEGMENT_SLACK < last["end"]:
        last["end"] = max(last["start"] + median, segment["end"])
    else:
        segment["end"] = last["end"]


def _shorten_after_pause(words: list[Word], longest: float) -> None:
    """The first word, and the second with it, where they are longer than `longest` each."""
    first = words[0]
    second = words[1] if len(words) > 1 else None
    long_pair = second is not None and second["end"] - first["start"] > 2 * longest
    if not (first["end"] - first["start"] > longest or long_pair):
        return
    if second is not None and second["end"] - second["start"] > longest:
        first["end"] = second["start"] = second["end"] - longest
    first["start"] = max(0, first["end"] - longest)
