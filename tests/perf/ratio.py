"""How two systems' times compare on a noisy machine: interleaved rounds, the median log-ratio, its bootstrap interval.

Rounds go P O | O P | P O | O P …, so that every two make an ABBA block in which a steady drift cancels. The blocks' two
times of one and the same system are the A/A pair: what its ratio strays from 1 is the machine, not the systems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from maxwhisper_impl.threads import until_idle

RESAMPLES = 4000
CONFIDENCE = 0.95
VALID = 0.02


@dataclass(frozen=True)
class Ratio:
    """`median`: peer's time over ours, so above 1 where ours is faster; [low, high]: its interval."""

    median: float
    low: float
    high: float
    validity: float
    blocks: int

    @property
    def valid(self) -> bool:
        return bool(abs(np.log(self.validity)) <= np.log(1 + VALID))

    def __str__(self) -> str:
        doubt = "" if self.valid else ", INVALID"
        interval = f"{self.median:.2f}× [{self.low:.2f}, {self.high:.2f}]"
        return f"{interval}, A/A {self.validity:.3f}{doubt}, {self.blocks} blocks"


def ratio(ours: Sequence[float], peer: Sequence[float], seed: int = 0) -> Ratio:
    """From the rounds' times in seconds, in the order of measurement; ValueError for an odd or different number."""
    a, b = np.log(np.asarray(ours, np.float64)), np.log(np.asarray(peer, np.float64))
    if a.shape != b.shape or a.ndim != 1 or len(a) % 2 or len(a) < 4:
        raise ValueError(f"{len(a)} and {len(b)} rounds: an equal and even number is needed, at least 4")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a time is zero, negative or not finite")
    blocks = (b - a).reshape(-1, 2).mean(axis=1)
    random = np.random.default_rng(seed)
    medians = np.median(random.choice(blocks, (RESAMPLES, len(blocks))), axis=1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(medians, [tail, 100 - tail])
    median = float(np.median(blocks))
    figures = (float(np.exp(x)) for x in (median, min(low, median), max(high, median)))
    return Ratio(*figures, validity(a, b), len(blocks))


def validity(ours: np.ndarray, peer: np.ndarray) -> float:
    """The A/A pair's ratio of rounds' logarithms [rounds]: of the system whose two rounds in a block differ more."""
    return float(np.exp(max((np.median(np.diff(x.reshape(-1, 2), axis=1)) for x in (ours, peer)), key=abs)))


class Interleaved:
    """The peer's side of interleaved rounds: pytest-benchmark calls `setup` before each timed round of ours.

    `probe`, if given, comes before each round of either, and is timed too: what it does to the caches, it does to all.
    """

    def __init__(
        self,
        peer: Callable[[], object],
        clock: Callable[[], float] = perf_counter,
        settle: Callable[[], object] | None = None,
        probe: Callable[[], object] | None = None,
    ):
        self.peer, self.clock, self.settle = peer, clock, settle or until_idle
        self.probe = probe
        self.times: list[float] = []
        self.probes: list[float] = []
        self._round = 0

    def setup(self) -> None:
        """Before round 0: P; before 1: nothing; before 2: P of round 1, P of round 2; and so on."""
        if self._round % 2 == 0:
            if self._round:
                self._run()
            self._run()
        self._round += 1
        self._begin()

    def finish(self) -> None:
        """The last round's P, where it is still missing."""
        while len(self.times) < self._round:
            self._run()

    def _begin(self) -> None:
        if self.probe:
            self.probes.append(self._timed(self.probe, perf_counter))
        self.settle()

    def _run(self) -> None:
        self._begin()
        self.times.append(self._timed(self.peer, self.clock))

    @staticmethod
    def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
        start = clock()
        call()
        return clock() - start
