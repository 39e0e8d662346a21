"""The noise model of the gate: how far a clean run's figure may lie from those of earlier clean runs.

A figure of a run is taken from the quicker third of each system's rounds, the mean of their logarithms: the peer's
against ours ("ratio"), or ours alone ("time"). Whatever else a shared machine does makes rounds longer, never shorter,
and what a slower code takes longer, its quick rounds take longer too: that third differs between clean runs by half as
much as the median of all. The model of row r in run i is

    x[r, i] = level[r] + slope[r] · state[r, i] + between[r, i] + within[r, i]

`state` is what the machine makes of the peer, the logarithm of its time, as far from that of the earlier runs: where
memory is slow, a decoder that hangs on it alone loses more than a peer that computes as well, in every run alike. A
slope of 0 is the plain ratio. Few runs in one state say nothing about it, so it is drawn towards 0, as if a slope had
a standard deviation of SLOPE where runs scatter by SCATTER; how uncertain it is widens the interval the more the
farther away a run's state lies. A time has no state: it is judged on a calm machine only.

`within` is what other rounds of the same run would have said: its standard error comes from drawing the run's blocks
again, two neighbouring rounds of both systems each, and one stalled round moves nothing. Runs are independent and
normal around the level, which stands for what differs from process to process and hour to hour: memory layout, clocks,
neighbours. Its variance is what the runs scatter by beyond their standard errors. Few runs say little about it, so each
row's is drawn towards that of the machine, the median over all rows, which counts as much as PRIOR runs (Smyth's
moderated t, 2004); it is never taken below FLOOR. A new run is held to the median of the last ones by Student's t:

    spread² = between² · (1 + π/2 / runs) + within² of the new run + π/2 / runs · mean within² of the earlier runs
              + (uncertainty of the slope · state)²

`python -m tests.perf.power` puts the model to the test on the recorded blocks, which it does not have to fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MEDIAN = float(np.sqrt(np.pi / 2))
"""The standard error of a median over that of a mean, for normal values."""
PRIOR = 8
FLOOR = 0.005
SLOPE = 0.35
SCATTER = 0.02
RESAMPLES = 100
QUICK = 3
"""One round in so many, the shortest, is what a figure is made of."""


@dataclass(frozen=True)
class Level:
    """Where a run lies, a logarithm, its standard error, and the state of the machine."""

    centre: float
    within: float
    blocks: int
    state: float = 0.0


def levels(ours: Sequence[float], peer: Sequence[float]) -> dict[str, Level]:
    """Of both figures, by name; rounds in seconds, in the order of measurement. An odd last one is left out."""
    a, b = (_paired(side) for side in (ours, peer))
    found, drawn = _figures(a, b), _figures(redrawn(a), redrawn(b))
    state = {"ratio": float(quick(b)), "time": 0.0}
    return {name: Level(float(found[name]), float(drawn[name].std()), len(a), state[name]) for name in found}


def _figures(ours: np.ndarray, peer: np.ndarray) -> dict[str, np.ndarray]:
    own = quick(ours)
    return {"ratio": quick(peer) - own, "time": own}


def redrawn(blocks: np.ndarray) -> np.ndarray:
    """A run's blocks [blocks, …] as often as it takes for a standard error, [RESAMPLES, blocks, …]: the same ones of
    both systems."""
    return blocks[np.random.default_rng(0).integers(len(blocks), size=(RESAMPLES, len(blocks)))]


def quick(rounds: np.ndarray) -> np.ndarray:
    """Of logarithms [..., blocks, 2]: the mean of the quicker third, [...]."""
    ordered = np.sort(rounds.reshape(*rounds.shape[:-2], -1), axis=-1)
    return ordered[..., : -(-ordered.shape[-1] // QUICK)].mean(axis=-1)


def quick_seconds(rounds: Sequence[float]) -> float:
    return float(np.exp(quick(_paired(rounds))))


def _paired(rounds: Sequence[float]) -> np.ndarray:
    """Logarithms, [blocks, 2]."""
    return np.log(np.asarray(rounds[: len(rounds) // 2 * 2], np.float64)).reshape(-1, 2)


def pair(rounds: Sequence[float]) -> Level:
    """The A/A pair of one system: by how much its second rounds of a block, the quicker third of them, took longer than
    the first ones; a logarithm."""
    blocks = _paired(rounds)
    return Level(float(_later(blocks)), float(_later(redrawn(blocks)).std()), len(blocks))


def _later(rounds: np.ndarray) -> np.ndarray:
    """Of logarithms [..., blocks, 2]."""
    return quick(rounds[..., 1:]) - quick(rounds[..., :1])


@dataclass(frozen=True)
class Trend:
    """How a row's runs follow the machine's state: levels at `middle`, and what a state beside it changes."""

    middle: float
    slope: float
    information: float
    """a slope's variance is that of the levels over this"""
    degrees: float
    """of freedom that the slope has used up, less than one"""

    @classmethod
    def of(cls, runs: Sequence[Level]) -> Trend:
        states = np.array([run.state for run in runs])
        middle = float(states.mean())
        squares = float(np.square(states - middle).sum()) if len(runs) > 2 else 0.0  # two runs lie on every line
        information = squares + (SCATTER / SLOPE) ** 2
        slope = float((states - middle) @ [run.centre for run in runs]) / information if squares else 0.0
        return cls(middle, slope, information, squares / information)

    def levelled(self, run: Level) -> float:
        """Where the run would lie in the middle state."""
        return run.centre - self.slope * (run.state - self.middle)


def own_variance(runs: Sequence[Level]) -> tuple[float, float]:
    """What the levels of a row's runs scatter by beyond their standard errors, which may be less than nothing; and from
    how many degrees of freedom: (0, 0) of one run."""
    if len(runs) < 2:
        return 0.0, 0.0
    trend = Trend.of(runs)
    degrees = len(runs) - 1 - trend.degrees
    scatter = float(np.var([trend.levelled(run) for run in runs])) * len(runs) / degrees
    return scatter - float(np.mean([run.within**2 for run in runs])), degrees


def machine_variance(rows: Sequence[Sequence[Level]]) -> tuple[float, float]:
    """The same of a machine: the median over its rows, so that one restless row does not blind the others."""
    found = [own_variance(runs) for runs in rows if len(runs) > 1]
    if not found:
        return FLOOR**2, 0.0
    # a variance's own median lies below it, the more so the fewer the runs
    unbiased = [variance * degrees / float(stats.chi2.median(degrees)) for variance, degrees in found]
    return max(FLOOR**2, float(np.median(unbiased))), sum(degrees for _, degrees in found)


@dataclass(frozen=True)
class Baseline:
    """What earlier runs say of a row: where it lies, by how much runs differ, and how sure that is."""

    centre: float
    between: float
    within: float
    runs: int
    freedom: float
    trend: Trend

    def expected(self, new: Level) -> float:
        """Where a run in this one's state lies, if nothing has changed."""
        return self.centre + self.trend.slope * (new.state - self.trend.middle)

    def spread(self, new: Level) -> float:
        """Standard deviation of the difference to a new run, if nothing has changed."""
        few = MEDIAN**2 / self.runs
        away = (new.state - self.trend.middle) ** 2 / self.trend.information if self.trend.slope else 0.0
        return float(np.sqrt(self.between**2 * (1 + few + away) + new.within**2 + few * self.within**2))

    def critical(self, alpha: float) -> float:
        """Spreads that noise exceeds upwards with probability `alpha`."""
        return float(stats.t.ppf(1 - alpha, self.freedom))


def baseline(row: Sequence[Level], machine: tuple[float, float]) -> Baseline:
    """`machine`: `machine_variance` of all its rows."""
    trend, (own, degrees) = Trend.of(row), own_variance(row)
    prior = min(PRIOR, machine[1])
    variance = max(0.0, (prior * machine[0] + degrees * own) / max(prior + degrees, 1))
    within = float(np.sqrt(np.mean([run.within**2 for run in row])))
    centre = float(np.median([trend.levelled(run) for run in row]))
    return Baseline(centre, max(FLOOR, variance**0.5), within, len(row), max(prior + degrees, 1), trend)
