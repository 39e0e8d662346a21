"""What a run's figures say beside those of earlier runs of the same kind of machine: slower, not slower, no verdict.

Each row is judged twice, by the model of `noise.py`: by its ratio to the peer of the same run, and by its own time. All
verdicts of a run together call ONCE of clean runs slower, each an equal share. A case that is slower is measured again,
in a process of its own, and is slower if it is so again, or if nothing can be said of it then: now and then a shared
machine is worse for a process than any model of its noise says, but not twice in a row. Both together raise a false
alarm in at most ALPHA of clean runs.

Nothing is judged that an A/A pair of its own run contradicts, that wrote another text, or that has too little history;
it is reported as "no verdict", with the reason.

An A/A pair contradicts where it strays by more than 2 %, and by more than CHANCE of its own standard errors. Without
the second half, fifteen blocks of a decoding on a shared machine would be refused by chance alone in every third run:
their pair has a standard error of 1.5 %. What noise does to the verdict is in its interval.

Times are judged on a calm machine only: where the same version of the peer takes as long as it usually does, within
CALM. Elsewhere the ratio has to do. Nothing is judged, or counts later, while others read so much memory that reading
takes longer than in the calmest run by more than CONTESTED: a decoder that is as fast as memory suffers from that more
than a peer that is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from scipy import stats

from maxwhisper_impl.history import Key, Row, Run
from tests.perf.noise import Baseline, Level, baseline, levels, machine_variance, pair, quick_seconds
from tests.perf.ratio import VALID

FIGURES = ("ratio", "time")
BOTH = "both"
SLOWER, NOT_SLOWER, NO_VERDICT = "slower", "not slower", "no verdict"
ALPHA = 0.01
"""How often a run that is no slower may be called so, all its rows together, when it has been measured again."""
ONCE = 0.04
"""The same of a single measurement."""
POWER = 0.95
SMALLEST = 0.03
"""What is slower by less is not called so, however sure it is."""
CHANCE = 3.0
CALM = 0.03
CONTESTED = 0.2
MIN_RUNS = 3
MIN_BLOCKS = 8
MIN_SECONDS = 0.05
"""On CPUs, shorter calls hang on threads that wake up and pages that fault: runs differ by 4 % and at times by
20 % for no other reason. Only the least ratio to the peer that their test asks for holds them."""
WINDOW = 20
"""Earlier runs that count: the last ones."""


@dataclass(frozen=True)
class Finding:
    """A row's figure now and before. `slower`, a fraction, is how much longer we take now, within [low, high]."""

    key: Key
    figure: str
    verdict: str
    reason: str = ""
    before: float = np.nan
    """a ratio, or seconds: the median over the earlier runs"""
    now: float = np.nan
    slower: float = np.nan
    low: float = np.nan
    high: float = np.nan
    sees: float = np.nan
    """the slow-down that would be called so with probability POWER"""
    runs: int = 0
    commit: str = ""
    """of the newest of the earlier runs"""

    def shown(self, value: float) -> str:
        return f"{value:.3f}×" if self.figure == "ratio" else f"{1e3 * value:.2f} ms"

    def __str__(self) -> str:
        name = f"{self.key}, {self.figure}"
        if self.verdict == NO_VERDICT:
            return f"{name}: {NO_VERDICT}: {self.reason}"
        return (
            f"{name}: {self.verdict}{self.reason}: {self.shown(self.now)} after {self.shown(self.before)}, "
            f"{self.slower:+.1%} time [{self.low:+.1%}, {self.high:+.1%}], "
            f"compared with {self.runs} runs up to commit {self.commit[:12]}"
        )


def earlier(run: Run, history: Sequence[Run]) -> list[Run]:
    """The runs that `run` may be compared with, oldest first: of this kind of machine, before it, and counting."""
    return counting([old for old in history if old.fingerprint == run.fingerprint and old.made < run.made])


def counting(same: Sequence[Run]) -> list[Run]:
    """Of one kind of machine's runs those that are a measure: not the regressed ones, and none before one that was
    accepted, slower or faster, as the new measure."""
    accepted = [number for number, old in enumerate(same) if old.accepted]
    same = list(same)[accepted[-1] :] if accepted else same
    return [old for old in same if old.gate != "regressed" or old.accepted]


def judge(run: Run, history: Sequence[Run]) -> list[Finding]:
    """Both figures of each row of the run, and a line for each row of the last earlier run that this one lacks."""
    before = earlier(run, history)
    why_not = {key: unfit(row) or contested(row, before) for key, row in run.rows.items()}
    findings = [Finding(key, BOTH, NO_VERDICT, why) for key, why in why_not.items() if why]
    last = before[-1].rows if before else {}
    findings += [Finding(key, BOTH, NO_VERDICT, "not timed in this run") for key in last if key not in run.rows]
    fit = [row for key, row in run.rows.items() if not why_not[key]]
    judged: list[tuple[Key, str, Level, Baseline, str]] = []
    for figure in FIGURES:
        old = {row.key: comparable(row, run, before, figure) for row in fit}
        lie = {key: [measured(each.rows[key], figure) for each in runs] for key, (runs, _) in old.items()}
        machine = machine_variance(list(lie.values()))
        for row in fit:
            runs, left_out = old[row.key]
            if len(runs) < MIN_RUNS:
                findings.append(Finding(row.key, figure, NO_VERDICT, too_little(len(runs), left_out)))
                continue
            if figure == "time" and (why := unrest(row, run, runs)):
                findings.append(Finding(row.key, figure, NO_VERDICT, why))
                continue
            now, then = measured(row, figure), baseline(lie[row.key], machine)
            judged.append((row.key, figure, now, then, runs[-1].commit))
    findings += [decide(*each, ONCE / len(judged)) for each in judged]
    order = list(run.rows) + list(last)
    return sorted(findings, key=lambda finding: (order.index(finding.key), finding.figure))


def gated(run: Run, history: Sequence[Run], again: Callable[[], Run]) -> list[Finding]:
    """What the gate says of a run, which is measured `again` if it is slower."""
    first = judge(run, history)
    slower = any(finding.verdict == SLOWER for finding in first)
    return confirmed(first, judge(again(), history)) if slower else first


def confirmed(first: Sequence[Finding], again: Sequence[Finding]) -> list[Finding]:
    """The first measurement's findings, of which those are slower whose case the second does not clear."""
    twice = {finding.key.what for finding in again if finding.verdict == SLOWER}
    cleared = {finding.key.what for finding in again if finding.verdict == NOT_SLOWER} - twice
    return [
        finding
        if finding.verdict != SLOWER or finding.key.what not in cleared
        else replace(finding, verdict=NOT_SLOWER, reason=" when measured again")
        for finding in first
    ]


def measured(row: Row, figure: str) -> Level:
    return levels(row.ours, row.peer)[figure]


def unfit(row: Row) -> str:
    """Why the row's own measurement says nothing; empty if it does."""
    blocks = len(row.ours) // 2
    if blocks < MIN_BLOCKS:
        return f"{blocks} blocks, at least {MIN_BLOCKS} are needed"
    if row.key.device == "cpu" and median(row.ours) < MIN_SECONDS:
        return f"a call takes {1e3 * median(row.ours):.0f} ms, at least {1e3 * MIN_SECONDS:.0f} are needed"
    for side, rounds in (("ours", row.ours), ("the peer", row.peer)):
        aa = pair(rounds)
        if abs(aa.centre) > max(np.log1p(VALID), CHANCE * aa.within):
            return f"invalid run: the A/A pair of {side} strays to {np.exp(aa.centre):.3f} ± {aa.within:.3f}"
    return ""


def contested(row: Row, among: Sequence[Run]) -> str:
    """How much longer memory is read than in the calmest of these runs, if that is far; empty where nobody knows."""
    rows = [old.rows[row.key] for old in among if row.key in old.rows]
    known = [median(other.memory) for other in rows if other.memory]
    if not (row.memory and known) or median(row.memory) <= (1 + CONTESTED) * min(known):
        return ""
    return f"others read memory: it takes {median(row.memory) / min(known):.2f} times as long as in the calmest run"


def comparable(row: Row, run: Run, before: Sequence[Run], figure: str) -> tuple[list[Run], Counter[str]]:
    """The last runs with the same row, and why others are left out."""
    kept: list[Run] = []
    left_out: Counter[str] = Counter()
    for old in before:
        other = old.rows.get(row.key)
        if other is None:
            continue
        if unfit(other):
            left_out["invalid or too short"] += 1
        elif contested(other, before):
            left_out["while others read memory"] += 1
        elif other.text_hash != row.text_hash:
            left_out["with another text"] += 1
        elif figure == "ratio" and old.peer_versions(row.key.peer) != run.peer_versions(row.key.peer):
            left_out["with another version of the peer"] += 1
        else:
            kept.append(old)
    if figure == "time":
        calm = [old for old in kept if not unrest(old.rows[row.key], old, kept)]
        left_out["on a machine that was not calm"] += len(kept) - len(calm)
        kept = calm
    return kept[-WINDOW:], +left_out


def unrest(row: Row, run: Run, among: Sequence[Run]) -> str:
    """How far the peer's time is from what it usually takes, if that is far; versions that differ say nothing."""
    same = [old for old in among if old.peer_versions(row.key.peer) == run.peer_versions(row.key.peer)]
    if not same:
        return ""
    usual = float(np.median([quick_seconds(old.rows[row.key].peer) for old in same]))
    now = quick_seconds(row.peer)
    if abs(np.log(now / usual)) <= np.log1p(CALM):
        return ""
    times = f"{now / usual:.2f} times its usual time"
    return f"the machine is not what it was: {row.key.against} takes {times}"


def too_little(runs: int, left_out: Counter[str]) -> str:
    others = "".join(f", {count} {why}" for why, count in left_out.items())
    return f"{runs} earlier runs on this kind of machine{others}; {MIN_RUNS} are needed"


def decide(key: Key, figure: str, new: Level, old: Baseline, commit: str, alpha: float) -> Finding:
    expected = old.expected(new)
    change = new.centre - expected
    change = -change if figure == "ratio" else change  # our time is the ratio's denominator
    spread, critical = old.spread(new), old.critical(alpha)
    smallest = float(np.log1p(SMALLEST))
    slower = change - critical * spread > 0 and change > smallest
    sees = max(critical * spread, smallest) + float(stats.t.ppf(POWER, old.freedom)) * spread
    return Finding(
        key,
        figure,
        SLOWER if slower else NOT_SLOWER,
        before=float(np.exp(expected)),
        now=float(np.exp(new.centre)),
        slower=float(np.expm1(change)),
        low=float(np.expm1(change - critical * spread)),
        high=float(np.expm1(change + critical * spread)),
        sees=float(np.expm1(sees)),
        runs=old.runs,
        commit=commit,
    )
