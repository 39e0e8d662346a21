"""Which peer is the fastest in each row of a run, how ours compares with it, and what the project wants to reach.

    python -m tests.perf.fastest RUN.json

RUN.json is what `pytest -m perf --benchmark-json RUN.json` wrote. Peers are ordered by their ratio to ours in the races
of that run: each race has its own interleaved rounds, so that a machine that changes its pace between two races orders
nobody. Nothing here fails a run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from maxwhisper_impl.errors import HistoryError
from maxwhisper_impl.history import Row, read_run
from maxwhisper_impl.status import complain
from maxwhisper_impl.tables import print_whole
from tests.perf.peers import CANNOT

NAMES = {
    "encode": "fastest encode",
    "step": "fastest step",
    "batch": "fastest step of 8 windows",
    "reading": "fastest reading",
    "batched": "fastest reading in batches",
}
"""A row's case, as the history has it, of each case."""
EXACT, ANY = "float32", "any dtype"
TARGETS = {
    ("encode", EXACT): 1.3, ("encode", ANY): 2.5, ("step", EXACT): 1.3, ("step", ANY): 2.5, ("batch", ANY): 3.0,
    ("reading", EXACT): 1.6, ("reading", ANY): 2.5, ("batched", ANY): 3.0,
}  # fmt: skip
"""Least ratio to the fastest peer, at the lower end of its interval."""
REAL_TIME = {("batched", "tiny.en"): 130.0}
"""Least seconds of audio in a second."""
COLUMNS = ("case", "among", "ours", "fastest peer", "its time", "ratio", "interval", "target", "others")


@dataclass(frozen=True)
class Fastest:
    """The fastest peer of one case and checkpoint, in float32 or in any dtype."""

    case: str
    """of NAMES"""
    among: str
    """EXACT: both sides in float32; ANY: ours in its fastest dtype, peers in every dtype that they have"""
    row: Row
    others: tuple[Row, ...]
    """the slower ones, the next fastest first"""

    @property
    def target(self) -> float | None:
        return TARGETS.get((self.case, self.among))

    @property
    def speed(self) -> float | None:
        """Seconds of audio that ours reads in a second."""
        return self.row.audio_seconds / self.row.seconds if self.row.audio_seconds else None

    @property
    def misses(self) -> list[str]:
        """What of the targets is not reached, in words."""
        found: list[str] = []
        if self.target is not None and self.row.low < self.target:
            found.append(f"{self.row.low:.2f}× of {self.target:.1f}×")
        if not self.row.valid:
            found.append(f"invalid run, A/A {self.row.validity:.3f}")
        least = REAL_TIME.get((self.case, self.row.key.checkpoint))
        if least is not None and self.among == ANY and (self.speed or 0) < least:
            found.append(f"{self.speed or 0:.0f} of {least:.0f} times real time")
        if self.case == "batched" and self.row.wer is not None and self.row.peer_wer is not None:
            found += ["WER worse than theirs"] if self.row.wer > self.row.peer_wer else []
        return found

    @property
    def verdict(self) -> str:
        if self.target is None:
            return "–"
        return "not reached: " + ", ".join(self.misses) if self.misses else f"reached: {self.target:.1f}×"


def case_of(row: Row) -> str | None:
    """None for a row of another family."""
    found = [case for case, name in NAMES.items() if row.key.case == name or row.key.case.startswith(f"{name}, ")]
    return found[0] if found else None


def choose(rows: Iterable[Row]) -> list[Fastest]:
    """Of each case and checkpoint, in the order of the rows."""
    fields: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if (case := case_of(row)) is None:
            continue
        exact = row.key.dtype == row.key.peer_dtype == "float32"
        fields.setdefault((case, row.key.checkpoint, EXACT if exact else ANY), []).append(row)
    found: list[Fastest] = []
    for (case, _, among), field in fields.items():
        ours = {row.key.dtype for row in field}
        if len(ours) != 1:
            raise ValueError(f"{NAMES[case]} was raced in {', '.join(sorted(ours))}: there is one fastest dtype")
        first, *others = sorted(field, key=lambda row: row.ratio)
        found.append(Fastest(case, among, first, tuple(others)))
    return found


def peer_of(row: Row) -> str:
    return f"{row.key.peer}:{row.key.peer_dtype}"


def as_json(each: Fastest) -> dict[str, Any]:
    """Ratios are the peer's time over ours; `reached` is null where there is no target."""
    row = each.row
    return {
        "case": row.key.case,
        "checkpoint": row.key.checkpoint,
        "among": each.among,
        "dtype": row.key.dtype,
        "peer": row.key.peer,
        "peer_dtype": row.key.peer_dtype,
        "ratio": row.ratio,
        "low": row.low,
        "high": row.high,
        "valid": row.valid,
        "target": each.target,
        "reached": None if each.target is None else not each.misses,
        "real_time": each.speed,
        "others": {peer_of(other): other.ratio for other in each.others},
    }


def cells(each: Fastest) -> tuple[str, ...]:
    row, key = each.row, each.row.key
    speed = "" if each.speed is None else f" ({each.speed:.0f} × real time)"
    return (
        f"{key.case} {key.checkpoint}",
        each.among,
        f"{key.dtype} {1e3 * row.seconds:.1f} ms{speed}",
        peer_of(row),
        f"{1e3 * row.peer_seconds:.1f} ms",
        f"{row.ratio:.2f}×",
        f"{row.low:.2f}–{row.high:.2f}",
        each.verdict,
        ", ".join(f"{peer_of(other)} {other.ratio:.2f}×" for other in each.others),
    )


def left_out(found: Sequence[Fastest]) -> str:
    """Systems that cannot do what some rows ask."""
    cases = {each.case for each in found}
    return "\n".join(f"{NAMES[case]} is without {who}: {why}" for (who, case), why in CANNOT.items() if case in cases)


def show(found: Sequence[Fastest]) -> None:
    """Nothing where no such row was raced."""
    if not found:
        return
    title = "ours against the fastest peer of each row: the peer's time over ours"
    table = Table(box=SIMPLE_HEAD, title=title, caption=left_out(found), caption_justify="left")
    for column in COLUMNS:
        table.add_column(column)
    for each in found:
        table.add_row(*cells(each), style="dim" if not each.row.valid else None)
    print_whole(table)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        complain("usage: python -m tests.perf.fastest RUN.json")
        return 2
    try:
        found = choose(read_run(Path(arguments[0])).rows.values())
    except HistoryError as error:
        complain(str(error))
        return 2
    if not found:
        complain(f"{arguments[0]} has no race of the fastest; pytest -m perf tests/perf/test_fastest.py makes them")
        return 2
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
