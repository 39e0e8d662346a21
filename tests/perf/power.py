"""What the gate can see on recorded noise: how often it finds a slow-down of 10 %, and how often one that is not there.

    python -m tests.perf.power [--history DIR] [--machine FINGERPRINT] [--runs 5,10] [--times 1,2] [--draws 1000]

Runs are made up from recorded ones and judged by the gate itself; what it calls slower is made up once more, as it
would be measured again. In a made-up run each row lies where some recorded run lay (the same one for all rows, on
either side of the middle), and its blocks are drawn from the recorded blocks around it, both systems' rounds together:
nothing is assumed of how the noise is distributed. What a run's own rounds explain of where it lay is taken out, as its
blocks bring it along. A row that its own A/A pair invalidates finds nothing. Prints a line for each number of earlier
runs, and of measurements so many times as long; the exit status is 1 if what is in force, as many runs as have timed
every row in quiet, does not reach what is promised.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy import stats

from maxwhisper_impl.errors import HistoryError, MaxWhisperError
from maxwhisper_impl.history import Key, Row, Run, choose, read_history
from maxwhisper_impl.machine import fingerprint
from maxwhisper_impl.status import StatusLine, complain, warn
from maxwhisper_impl.tables import print_whole
from tests.perf.noise import quick, redrawn
from tests.perf.recording import HISTORY
from tests.perf.verdicts import (
    ALPHA,
    MIN_RUNS,
    NO_VERDICT,
    POWER,
    SLOWER,
    WINDOW,
    contested,
    counting,
    gated,
    unfit,
)

CHANGE = 0.10
SURE = 0.95
"""Of the interval of each estimated probability."""


@dataclass(frozen=True)
class Noise:
    """A row's recorded noise; logarithms of seconds. Sides: ours, the peer's."""

    row: Row
    centre: np.ndarray
    """[2 sides]"""
    between: np.ndarray
    """[runs, 2 sides]: where each run lay beside the centre; not a number where it has no such row"""
    blocks: list[np.ndarray]
    """of each run that has the row, [blocks, 2 rounds, 2 sides]: around where that run lay"""


def recorded_noise(runs: Sequence[Run]) -> dict[Key, Noise]:
    """Of the newest run's rows that at least MIN_RUNS have timed in quiet; HistoryError where there is none."""
    found: dict[Key, Noise] = {}
    for key in runs[-1].rows:
        timed = [run.rows.get(key) for run in runs]
        fit = [None if row is None or unfit(row) or contested(row, runs) else row for row in timed]
        rounds = [None if row is None else _rounds(row) for row in fit]
        there = [each for each in rounds if each is not None]
        if len(there) < MIN_RUNS:
            continue
        nothing = np.full(2, np.nan)
        middles = np.stack([nothing if each is None else _level(each) for each in rounds])
        centre = np.nanmedian(middles, axis=0)
        unbiased = np.sqrt(len(there) / (len(there) - 1))  # runs lie nearer to their own centre than to the true one
        blocks = [each - _level(each) for each in there]
        newest = next(row for row in reversed(fit) if row is not None)
        found[key] = Noise(newest, centre, unexplained((middles - centre) * unbiased, blocks), blocks)
    if not found:
        raise HistoryError(
            f"{len(runs)} runs, and no row that {MIN_RUNS} of them timed in quiet; make perf-full adds a run"
        )
    return found


def unexplained(between: np.ndarray, blocks: Sequence[np.ndarray]) -> np.ndarray:
    """`between`, [runs, 2 sides], drawn together by what the runs' own rounds explain of it: blocks that are drawn
    again bring that along once more. No variance falls below zero."""
    lies = between[~np.isnan(between).any(axis=1)]
    total = lies.T @ lies / len(lies) + 1e-12 * np.eye(2)
    root = np.linalg.cholesky(total)
    back = np.linalg.inv(root)
    share, axes = np.linalg.eigh(back @ (total - np.mean([_uncertainty(each) for each in blocks], axis=0)) @ back.T)
    return between @ (root @ (axes * np.sqrt(share.clip(0, 1))) @ axes.T @ back).T


def _uncertainty(blocks: np.ndarray) -> np.ndarray:
    """Of a run's level: the covariance of the two sides."""
    return np.cov(_level(redrawn(blocks)), rowvar=False)


def _rounds(row: Row) -> np.ndarray:
    """[blocks, 2 rounds, 2 sides]"""
    even = len(row.ours) // 2 * 2
    return np.log(np.stack([row.ours[:even], row.peer[:even]], axis=-1)).reshape(-1, 2, 2)


def _level(rounds: np.ndarray) -> np.ndarray:
    """[..., 2 sides], of [..., blocks, 2 rounds, 2 sides]"""
    return np.moveaxis(quick(np.moveaxis(rounds, -1, 0)), 0, -1)


class World:
    """Where the made-up runs come from: as recorded, but as many and so many times as long as one likes."""

    def __init__(self, runs: Sequence[Run], times: int = 1, seed: int = 0):
        self.noise = recorded_noise(runs)
        self.model = runs[-1]
        self.recorded = len(runs)
        self.times = times
        self.random = np.random.default_rng(seed)

    def run(self, day: int) -> Run:
        """A run in which nothing has changed."""
        source, side = self.random.integers(self.recorded), self.random.choice([-1.0, 1.0])
        rows = {key: self._row(noise, int(source), float(side)) for key, noise in self.noise.items()}
        made = self.model.made + timedelta(days=day)
        return replace(self.model, made=made, rows=rows, gate=None, accepted=None)

    def _row(self, noise: Noise, source: int, side: float) -> Row:
        lies = noise.between[source]
        if np.isnan(lies).any():
            known = noise.between[~np.isnan(noise.between).any(axis=1)]
            lies = known[self.random.integers(len(known))]
        blocks = noise.blocks[self.random.integers(len(noise.blocks))]
        drawn = blocks[self.random.integers(len(blocks), size=self.times * len(noise.blocks[-1]))]
        ours, peer = np.exp(noise.centre + side * lies + drawn).reshape(-1, 2).T
        return replace(noise.row, ours=ours.tolist(), peer=peer.tolist())


def slowed(run: Run, factor: float) -> Run:
    """The same run with every time of ours so many times as long."""
    rows = {key: replace(row, ours=[factor * x for x in row.ours]) for key, row in run.rows.items()}
    return replace(run, rows=rows)


@dataclass
class Outcome:
    """Of `draws` made-up runs, each judged as it is and slowed down."""

    draws: int
    false_alarms: int = 0
    caught: Counter[str] | None = None
    """by case: slowed runs in which a figure of that case was called slower"""
    silent: int = 0
    """clean runs of which nothing could be said"""

    @property
    def least(self) -> int:
        return min((self.caught or Counter({"": 0})).values())

    @property
    def alarm_at_most(self) -> float:
        return float(stats.binomtest(self.false_alarms, self.draws).proportion_ci(SURE).high)

    @property
    def power_at_least(self) -> float:
        return float(stats.binomtest(self.least, self.draws).proportion_ci(SURE).low)


def simulate(world: World, runs: int, draws: int) -> Outcome:
    caught: Counter[str] = Counter({key.what: 0 for key in world.noise})
    outcome = Outcome(draws, caught=caught)
    for _ in range(draws):
        history = [world.run(day) for day in range(runs)]
        run, again = (world.run(day) for day in (runs, runs + 1))
        found, slow = (gated(slowed(run, by), history, partial(slowed, again, by)) for by in (1, 1 + CHANGE))
        outcome.false_alarms += any(finding.verdict == SLOWER for finding in found)
        outcome.silent += {finding.verdict for finding in found} == {NO_VERDICT}
        caught.update({finding.key.what for finding in slow if finding.verdict == SLOWER})
    return outcome


def most_recorded(runs: Sequence[Run]) -> str | None:
    """The fingerprint of this kind of machine if there are runs of it, else of the one with the most."""
    counts = Counter(run.fingerprint for run in runs)
    return None if not counts or fingerprint() in counts else counts.most_common(1)[0][0]


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.perf.power", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--history", type=Path, default=HISTORY, metavar="DIR")
    parser.add_argument("--machine", metavar="FINGERPRINT", help="default: this kind, or the most recorded")
    parser.add_argument("--runs", type=numbers, default=[5, 10], help="earlier runs")
    parser.add_argument("--times", type=numbers, default=[1, 2], help="the rounds of a recorded run")
    parser.add_argument("--draws", type=int, default=1000, help="made-up runs for each line")
    options = parser.parse_args(arguments)
    try:
        every = read_history(options.history, warn)
        machine = options.machine or most_recorded(every)
        runs = counting(choose(every, options.history, machine, None))
        return show(runs, options.runs, options.times, options.draws)
    except MaxWhisperError as error:
        complain(error)
        return 2


def show(runs: Sequence[Run], earlier: Sequence[int], times: Sequence[int], draws: int) -> int:
    in_force = (min(WINDOW, *(len(noise.blocks) for noise in recorded_noise(runs).values())), 1)
    lines = sorted({*((a, b) for a in earlier for b in times), in_force})
    table = Table(
        box=SIMPLE_HEAD,
        title=f"A slow-down of {CHANGE:.0%} on the noise of {len(runs)} recorded runs ({runs[-1].fingerprint})",
        caption=f"promised: power at least {POWER:.0%}, false alarms in at most {ALPHA:.0%} of runs, all their rows "
        f"together; in brackets what is {SURE:.0%} certain",
    )
    for column in ("runs", "as long", "false alarms", "power", "of the hardest case", "no verdict", "enough"):
        table.add_column(column)
    enough: dict[tuple[int, int], bool] = {}
    with StatusLine() as status:
        for number, (before, longer) in enumerate(lines):
            status(f"{number + 1} of {len(lines)}: {before} runs, {longer} × as long")
            got = simulate(World(runs, longer), before, draws)
            line = before, longer
            enough[line] = got.power_at_least >= POWER and got.alarm_at_most <= ALPHA
            table.add_row(*cells(got, *line, enough[line], line == in_force))
    print_whole(table)
    needed = next((f"{a} earlier runs, {b} × as long" for a, b in lines if enough[a, b]), "more than what was tried")
    print(f"needed: {needed}")
    print(f"in force: {in_force[0]} runs: {'enough' if enough[in_force] else 'NOT ENOUGH'}")
    return 0 if enough[in_force] else 1


def cells(got: Outcome, runs: int, times: int, enough: bool, in_force: bool) -> tuple[str, ...]:
    hardest = min(got.caught or {"–": 0}, key=lambda case: (got.caught or {"–": 0})[case])
    return (
        f"{runs}" + (" (in force)" if in_force else ""),
        f"{times} ×",
        f"{got.false_alarms / got.draws:.2%} (≤ {got.alarm_at_most:.2%})",
        f"{got.least / got.draws:.1%} (≥ {got.power_at_least:.1%})",
        hardest,
        f"{got.silent / got.draws:.1%}",
        "yes" if enough else "no",
    )


if __name__ == "__main__":
    sys.exit(main())
