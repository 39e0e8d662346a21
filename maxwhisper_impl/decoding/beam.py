"""Beam search with patience (arXiv:2204.05424), with openai-whisper's bookkeeping."""

from __future__ import annotations

import numpy as np

from .filters import log_sum_exp
from .search import Candidate

_BLOCK = 64
"""ids a block in `_top_ids`"""


def top_logprobs(logits: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each row of [rows, n_vocab], largest first: log-probabilities and ids, both [rows, count]."""
    ids = np.array([_top_ids(row, count) for row in logits])
    return np.take_along_axis(logits, ids, axis=1) - log_sum_exp(logits)[:, None], ids


def _top_ids(row: np.ndarray, count: int) -> np.ndarray:
    """The largest values lie in the blocks with the largest maxima: only those are sorted. Lower ids win ties."""
    starts = np.arange(0, len(row), _BLOCK)
    maxima = np.maximum.reduceat(row, starts)
    blocks = np.sort(np.argsort(-maxima, kind="stable")[:count])
    ids = (starts[blocks, None] + np.arange(_BLOCK)).ravel()
    ids = ids[ids < len(row)]
    return ids[np.argsort(-row[ids], kind="stable")[:count]]


class Beams:
    """The beams of one window."""

    def __init__(self, size: int, max_candidates: int, eot: int):
        self.size = size
        self.max_candidates = max_candidates
        self.eot = eot
        self.sequences: list[tuple[int, ...]] = [()] * size
        self.sums = np.zeros(size, dtype=np.float32)
        self.finished: dict[tuple[int, ...], float] = {}

    @property
    def done(self) -> bool:
        return len(self.finished) >= self.max_candidates

    def update(self, logprobs: np.ndarray, ids: np.ndarray) -> list[int]:
        """Grow by the best of [size, size + 1] candidates; returns the beam that each new beam continues."""
        totals = self.sums[:, None] + logprobs
        scores: dict[tuple[int, ...], float] = {}
        sources: dict[tuple[int, ...], int] = {}
        for beam, sequence in enumerate(self.sequences):
            for total, token in zip(totals[beam].tolist(), ids[beam].tolist(), strict=True):
                # at the first step all beams are the same sequence, which must count once
                scores[*sequence, token] = total
                sources[*sequence, token] = beam

        ended, going = [], []
        for sequence in sorted(scores, key=scores.__getitem__, reverse=True):
            (ended if sequence[-1] == self.eot else going).append(sequence)
            if len(going) == self.size:
                break
        for sequence in ended[: max(0, self.max_candidates - len(self.finished))]:
            self.finished[sequence] = scores[sequence]
        self.sequences = going
        self.sums = np.array([scores[sequence] for sequence in going], dtype=np.float32)
        return [sources[sequence] for sequence in going]

    def candidates(self) -> list[Candidate]:
        """The finished sequences, filled up with the best unfinished ones."""
        finished = dict(self.finished)
        lacking = max(0, self.size - len(finished))
        for beam in np.argsort(self.sums)[::-1][:lacking].tolist():
            finished[*self.sequences[beam], self.eot] = float(self.sums[beam])
        return [(list(sequence[: sequence.index(self.eot)]), total) for sequence, total in finished.items()]


class BeamSearch:
    """`size` rows a window; a window whose candidates are complete leaves the decoder's state."""

    def __init__(self, windows: int, size: int, patience: float | None, eot: int):
        self.size = size
        max_candidates = round(size * (patience or 1.0))
        self.windows = [Beams(size, max_candidates, eot) for _ in range(windows)]
        self.running = list(self.windows)

    @property
    def sampled(self) -> np.ndarray:
        return np.array([sequence for beams in self.running for sequence in beams.sequences], dtype=np.int64)

    def update(self, logits: np.ndarray) -> list[int] | None:
        logprobs, ids = top_logprobs(logits, self.size + 1)
        sources: list[int] = []
        for number, beams in enumerate(self.running):
            first = number * self.size
            rows = slice(first, first + self.size)
            moved = beams.update(logprobs[rows], ids[rows])
            if not beams.done:
                sources += [first + beam for beam in moved]
        self.running = [beams for beams in self.running if not beams.done]
        return None if sources == list(range(len(logits))) else sources

    def candidates(self) -> list[list[Candidate]]:
        return [beams.candidates() for beams in self.windows]
