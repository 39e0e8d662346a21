"""Greedy decoding and sampling: each row goes its own way until it ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .filters import log_sum_exp
from .search import Candidate

_BLOCK = 256
"""ids a block in `_draw`"""


def pick_likeliest(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of float32 [rows, n_vocab]: the ids of the maxima and their log-probabilities, both [rows]."""
    tokens = logits.argmax(axis=1)
    return tokens, logits[np.arange(len(tokens)), tokens] - log_sum_exp(logits)


class Sampler:
    """Draws from softmax(logits / temperature) by inverting the cumulative distribution: one number a row and step.

    Row r of a group draws from the stream (seed, r), whatever other rows or windows there are; with `windows`, for each
    window some numbers of its own, from (seed, *windows[w], r).
    """

    def __init__(
        self,
        temperature: float,
        seed: int | Sequence[int] | None,
        rows: int,
        group: int,
        windows: Sequence[Sequence[int]] | None = None,
    ):
        self.temperature = temperature
        if seed is None:
            seed = [int(word) for word in np.random.SeedSequence().generate_state(4)]
        key = [seed] if isinstance(seed, int) else list(seed)
        own = windows or [()] * (rows // group)
        self.streams = [np.random.default_rng([*key, *own[row // group], row % group]) for row in range(rows)]

    def pick(self, logits: np.ndarray, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Ids drawn for `rows`, and their log-probabilities at temperature 1, both [len(rows)]."""
        uniform = np.array([self.streams[row].random() for row in rows])
        tokens = draw(logits / np.float32(self.temperature), uniform)
        return tokens, logits[np.arange(len(tokens)), tokens] - log_sum_exp(logits)


def draw(logits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The ids at which the cumulative softmax of each row of [rows, n] passes `uniform` in [0, 1), [rows]."""
    return np.array([_draw(row, u) for row, u in zip(logits, uniform, strict=True)])


def _draw(row: np.ndarray, uniform: float) -> int:
    """First the block of ids, then the id in it: the same as one long cumulative sum, in a fraction of its time."""
    weights = np.exp(row - row.max())
    starts = np.arange(0, len(row), _BLOCK)
    until = np.add.reduceat(weights, starts, dtype=np.float64).cumsum()
    target = uniform * until[-1]
    block = int(np.searchsorted(until, target, side="right"))
    start = block * _BLOCK
    within = weights[start : start + _BLOCK].cumsum(dtype=np.float64)
    target = min(target - (until[block - 1] if block else 0.0), np.nextafter(within[-1], 0))
    return start + int(np.searchsorted(within, target, side="right"))


class RowSearch:
    """One token a row and step, the likeliest (`sampler` None) or a drawn one."""

    def __init__(self, rows: int, group: int, capacity: int, eot: int, sampler: Sampler | None = None):
        self.group = group
        self.eot = eot
        self.sampler = sampler
        self.tokens = np.full((rows, capacity), eot, dtype=np.int64)
        self.sums = np.zeros(rows, dtype=np.float32)
        self.length = 0
        self.rows = np.arange(rows)
        """numbers, from 0 to rows - 1, of the sequences in the decoder's state"""

    @property
    def sampled(self) -> np.ndarray:
        return self.tokens[self.rows, : self.length]

    def update(self, logits: np.ndarray) -> list[int] | None:
        if self.sampler is None:
            tokens, logprobs = pick_likeliest(logits)
        else:
            tokens, logprobs = self.sampler.pick(logits, self.rows.tolist())
        return self.take(tokens, logprobs)

    def take(self, tokens: np.ndarray, logprobs: np.ndarray) -> list[int] | None:
        """`update` with tokens, [rows], that are chosen already. A row that ends leaves at once: of the others only
        names move, no keys."""
        self.sums[self.rows] += logprobs
        self.tokens[self.rows, self.length] = tokens
        self.length += 1
        going = tokens != self.eot
        if going.all():
            return None
        self.rows = self.rows[going]
        return np.flatnonzero(going).tolist()

    def candidates(self) -> list[list[Candidate]]:
        found = []
        for tokens, total in zip(self.tokens.tolist(), self.sums.tolist(), strict=True):
            sampled = tokens[: self.length]
            found.append((sampled[: sampled.index(self.eot)] if self.eot in sampled else sampled, total))
        return [found[first : first + self.group] for first in range(0, len(found), self.group)]
