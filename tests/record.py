"""What the suite has measured and proven in this run. Comparators and tests write here; `run_file.py` shows it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any

FAMILIES = ("parity", "quality", "perf")


def family_of(path: Path) -> str:
    """Of a test, by the folder that its file lies in."""
    return next((part for part in path.parts if part in FAMILIES), "suite")


@dataclass
class Family:
    """One folder of tests: how they ended, what was compared, how near the nearest margin came to its limit."""

    counts: Counter[str] = field(default_factory=Counter)
    """of the tests that passed"""
    outcomes: Counter[str] = field(default_factory=Counter)
    worst: Margin | None = None

    def line(self) -> str:
        """One line that says no more than what passed."""
        red, tests = (sum(self.outcomes[how] for how in hows) for hows in (BAD, ENDED))
        ended = f"{red:,} OF {counted(tests, 'tests')} FAILED" if red else counted(tests, "tests")
        skipped = f"{self.outcomes['skipped']:,} skipped" if self.outcomes["skipped"] else ""
        counts = [counted(n, what) for what, n in self.counts.items() if n]
        worst = f"worst margin {self.worst}" if self.worst else ""
        return " · ".join(part for part in (ended, skipped, *counts, worst) if part)


BAD = ("failed", "error")
ENDED = (*BAD, "passed", "xfailed", "xpassed")


@dataclass(frozen=True)
class Margin:
    """A measured value and its limit; `share` of it is used, more than 1 where it is broken."""

    checkpoint: str | None
    name: str
    metric: str
    value: float
    limit: float
    key: str

    @property
    def share(self) -> float:
        if not isfinite(self.value) or (self.value > 0 and not self.limit > 0):
            return inf
        return self.value / self.limit if self.limit > 0 else 0.0

    def __str__(self) -> str:
        share = f"{self.share:.0%}" if isfinite(self.share) else "∞"
        return f"{share} of the limit: {self.name} {self.metric} = {self.value:.3g}, limit {self.limit:.3g}"


def counted(n: int, what: str) -> str:
    """ "1 utterance", "2 utterances": `what` is in the plural, and for one its first word in -s loses it."""
    return f"{n:,} " + (re.sub(r"s\b", "", what, count=1) if n == 1 else what)


@dataclass
class Run:
    families: dict[str, Family] = field(default_factory=lambda: defaultdict(Family))
    margins: dict[tuple[str | None, str, str, str], Margin] = field(default_factory=dict)
    """the worst of each checkpoint, key, metric and row"""
    wer: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    ratios: list[dict[str, Any]] = field(default_factory=list)
    """speed ratios with their intervals and validity"""
    excuses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    red: list[dict[str, str]] = field(default_factory=list)
    """tests that failed, with what they said, in the order of the run"""
    family: str = "suite"
    checkpoint: str | None = None
    pending: Counter[str] = field(default_factory=Counter)
    """counts of the test that is running: proven when it passes"""

    def start(self, family: str, checkpoint: str | None) -> None:
        self.family, self.checkpoint, self.pending = family, checkpoint, Counter()

    def end(self, family: str, outcome: str) -> None:
        self.families[family].outcomes[outcome] += 1
        if outcome == "passed":
            self.families[family].counts.update(self.pending)
        self.pending = Counter()


run = Run()


def count(what: str, n: int = 1) -> None:
    """`n` things (layers, utterances, words, steps …, in the plural) were compared, and the test goes on."""
    run.pending[what] += n


def margin(name: str, value: float, limit: float, *, key: str, row: str | None = None) -> None:
    """What was measured and the ledger's limit, whether it holds or not. `key`: the ledger's, "quantity/metric".

    Of equal `row`s (by default the name) of one checkpoint and key the run file keeps the worst.
    """
    quantity, _, metric = key.rpartition("/")
    got = Margin(run.checkpoint, name, metric, value, limit, quantity)
    where = (run.checkpoint, quantity, metric, name if row is None else row)
    if where not in run.margins or run.margins[where].share <= got.share:
        run.margins[where] = got
    family = run.families[run.family]
    if family.worst is None or got.share > family.worst.share:
        family.worst = got


def word_errors(group: str, system: str, checkpoint: str, dtype: str, errors: int, words: int) -> None:
    """A system's word errors on a group of clips."""
    row = {"group": group, "system": system, "checkpoint": checkpoint, "dtype": dtype, "words": words,
           "errors": errors, "wer": errors / words}  # fmt: skip
    run.wer[group, system, checkpoint, dtype] = row


def excuse(text: str) -> None:
    """A difference that was let through, with the reason; every one is printed."""
    run.excuses.append(text)


def note(text: str) -> None:
    """A line for the summary: a measured figure or table row that is not a verdict."""
    run.notes.append(text)
