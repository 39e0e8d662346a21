"""Speech without a model: audio whose samples say when they are, and a runtime that hears the words of a script in it.

`monkeypatch.setattr("maxwhisper_impl.live.LogMel", Raw)` lets the audio through to the runtime.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

import numpy as np

from maxwhisper_impl.audio import SAMPLE_RATE
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.tokenizer import get_tokenizer
from tests.picks import PicksOnHost

TOKENIZER = get_tokenizer(False)
WORDS = TOKENIZER.encode(
    " one two three four five six seven eight nine ten north south east west spring summer autumn winter bread water"
    " salt sugar milk house garden window door river mountain valley forest field stone iron copper silver gold doctor"
    " teacher farmer singer writer morning evening night apple cherry lemon orange horse sheep mouse eagle rain snow"
    " wind storm paper pencil letter book table chair"
)
"""more than are said in 30 s: a text that comes again would be taken for a loop"""
WRONG = TOKENIZER.encode(" red green blue black white brown gray pink")
_GRAIN = 320
_LOW = 1000
"""the first samples, of a full scale of 32768"""


def audio(seconds: float) -> np.ndarray:
    """Each sample's value tells its place."""
    return ((_LOW + np.arange(round(seconds * SAMPLE_RATE)) // _GRAIN) / 32768).astype(np.float32)


def place(sample: float) -> float:
    """Seconds at which a sample of `audio` is."""
    return (round(float(sample) * 32768) - _LOW) * _GRAIN / SAMPLE_RATE


class Raw:
    """Takes the place of LogMel: the features are the audio."""

    def __init__(self, samples: np.ndarray, n_mels: int):
        self.samples = samples

    def window(self, seek: int) -> np.ndarray:
        return self.samples


class Hearing:
    """A runtime that hears word i from `every * i` on, `every` seconds long, and ends a segment every `sentence` words.

    A word that ended less than `unsure` seconds before the end of the audio is heard as another one at every pass,
    but for those at the end of all, at `whole` seconds. At the passes in `loops` it hears one word over and over, at
    those in `stops` nothing behind the last sentence that has ended.
    """

    dims = SIZES["tiny.en"]

    def __init__(self, every: float = 0.5, sentence: int = 6, unsure: float = 0.0, whole: float = 1e9,
                 silent_from: float = 1e9, loops: Container[int] = (), stops: Container[int] = ()):
        self.every, self.sentence, self.unsure, self.whole = every, sentence, unsure, whole
        self.silent_from, self.loops, self.stops = silent_from, loops, stops
        self.passes: list[tuple[float, float]] = []

    def encode(self, mel: np.ndarray) -> np.ndarray:
        start, end = place(mel[0, 0]), place(mel[0, -1]) + 0.02
        self.passes.append((start, end))
        return np.array([[start, end]])

    def start(self, features: np.ndarray, rows_per_window: int = 1) -> HearingState:
        return HearingState(self.heard(*features[0]), rows_per_window)

    def heard(self, start: float, end: float) -> list[int]:
        """The tokens of the audio from `start` to `end`; `Hearing.said` is what they should be."""
        first, last = round(start / self.every + 0.3), self.count(end)
        if len(self.passes) in self.stops:
            last -= last % self.sentence
        tokens: list[int] = []
        for i in range(first, last):
            begin, stop = (TOKENIZER.timestamp_begin + round((at * self.every - start) / 0.02) for at in (i, i + 1))
            if not tokens or i % self.sentence == 0:
                tokens.append(max(begin, TOKENIZER.timestamp_begin))
            young = end < self.whole and (i + 1) * self.every > end - self.unsure
            tokens.append(WRONG[(len(self.passes) + i) % len(WRONG)] if young else WORDS[i % len(WORDS)])
            if i % self.sentence == self.sentence - 1:
                tokens.append(stop)
        return tokens[:4] + [WRONG[0]] * 150 if len(self.passes) in self.loops else tokens

    def said(self, until: float) -> str:
        """Every word that has ended by then."""
        return TOKENIZER.decode([WORDS[i % len(WORDS)] for i in range(self.count(until))])

    def count(self, until: float) -> int:
        """Words that have ended by then, to the timestamp."""
        heard = math.ceil(min(until, self.silent_from) / 0.02 - 1e-3) * 0.02
        return int(heard / self.every + 1e-3)


class HearingState(PicksOnHost):
    sure = 60.0
    """the logit of what comes next; of all others it is 0"""
    no_speech = 0.0
    """the logit of there being none"""

    def __init__(self, heard: Sequence[int], rows: int):
        self.heard = [*heard, TOKENIZER.eot]
        self.histories: list[list[int]] = [[] for _ in range(rows)]

    def step(self, tokens: np.ndarray, at: Sequence[int] = (-1,)) -> np.ndarray:
        self.histories = [[*history, *row] for history, row in zip(self.histories, tokens.tolist(), strict=True)]
        logits = np.zeros((len(tokens), len(at), Hearing.dims.n_vocab), np.float32)
        if len(at) > 1:  # the first position is that at which speech is told from none
            logits[:, 0, TOKENIZER.no_speech] = self.no_speech
        for row, history in zip(logits, self.histories, strict=True):
            behind = len(history) - 1 - history.index(TOKENIZER.sot)
            row[-1, self.heard[min(behind, len(self.heard) - 1)]] = self.sure
        return logits

    def select(self, rows: Sequence[int]) -> None:
        self.histories = [self.histories[row] for row in rows]
