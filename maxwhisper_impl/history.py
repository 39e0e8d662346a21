"""Recorded runs of the benchmarks: pytest-benchmark's JSON, completed by `tests/perf/recording.py`, one file a run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

from .errors import HistoryError
from .machine import fingerprint
from .systems import SYSTEMS

FOLDER = Path("tests/perf/history")
"""Where a checkout keeps its runs."""
OTHERS = {"transformers": ("transformers", "torch")}
"""Distributions of peers that `compare` does not know."""


class Key(NamedTuple):
    """What a row times, and against whom; rows of two runs with one key may be compared."""

    case: str
    checkpoint: str
    peer: str
    dtype: str
    device: str
    peer_dtype: str = "float32"

    @property
    def what(self) -> str:
        """Case and checkpoint, with what is not usual of our dtype and device."""
        unusual = (part for part in (self.dtype, self.device) if part not in ("float32", "cpu"))
        return " ".join([self.case, self.checkpoint, *unusual])

    @property
    def against(self) -> str:
        """The peer, with its dtype if that is not float32."""
        return self.peer if self.peer_dtype == "float32" else f"{self.peer}:{self.peer_dtype}"

    def __str__(self) -> str:
        return f"{self.what} / {self.against}"


@dataclass(frozen=True)
class Row:
    """One timed case beside one peer. Rounds are seconds, in the order of measurement, equally many of both sides."""

    key: Key
    ours: list[float]
    peer: list[float]
    ratio: float
    """the peer's time over ours, with the interval [low, high]"""
    low: float
    high: float
    validity: float
    """the A/A pair's ratio, 1 where the machine was quiet"""
    valid: bool
    text_hash: str | None
    """of the text that the timed configuration wrote; None for random weights"""
    wer: float | None
    """of that text, a fraction"""
    peer_wer: float | None = None
    """of what the peer wrote, where that was scored"""
    memory: list[float] | None = None
    """what it took to read some memory, before each block of rounds; seconds"""
    audio_seconds: float | None = None
    """of a recording that was read as a whole"""

    @property
    def seconds(self) -> float:
        return median(self.ours)

    @property
    def peer_seconds(self) -> float:
        return median(self.peer)


@dataclass(frozen=True)
class Run:
    """All rows of one run of the suite, and what they were measured on."""

    path: Path
    made: datetime
    commit: str
    """hash, with "+" behind it where files had been changed; "unknown" outside a checkout"""
    machine: dict[str, Any]
    versions: dict[str, str | None]
    rows: dict[Key, Row]
    gate: str | None = None
    """what the gate said when the run was kept: passed, regressed, no verdict"""
    accepted: str | None = None
    """why a slower run is the new measure; runs before it are not compared with"""

    @property
    def fingerprint(self) -> str:
        return self.machine["fingerprint"]

    def peer_versions(self, peer: str) -> dict[str, str | None]:
        packages = SYSTEMS[peer].packages if peer in SYSTEMS else OTHERS.get(peer, ())
        return {package: self.versions.get(package) for package in packages}


def read_run(path: Path) -> Run:
    """One run file; HistoryError where it is none, or cut off."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for row in map(read_row, data["benchmarks"]) if row is not None]
        rows.sort(key=lambda row: len(row.ours))  # of a smoke and a full measurement the full one stays
        return Run(
            path=path,
            made=_moment(data["made"]),
            commit=_text(data["commit"]) or "unknown",
            machine={**data["machine"], "fingerprint": str(data["machine"]["fingerprint"])},
            versions=data["versions"],
            rows={row.key: row for row in rows},
            gate=_text(data.get("gate")),
            accepted=_text(data.get("accepted")),
        )
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise HistoryError(f"{path}: not a recorded run: {what}; make perf-full records one") from error


def read_row(benchmark: dict[str, Any]) -> Row | None:
    """None for a benchmark that is no race with a peer. ValueError, KeyError, TypeError where it is damaged."""
    told = benchmark["extra_info"]
    if "peer" not in told:
        return None
    row = Row(
        key=Key(**{name: str(told[name]) for name in Key._fields if name in told or name not in Key._field_defaults}),
        ours=[round / told.get("calls", 1) for round in _rounds(benchmark["stats"]["data"])],
        peer=_rounds(told["peer_rounds"]),
        **{name: float(told[name]) for name in ("ratio", "low", "high", "validity")},
        valid=_bool(told["valid"]),
        text_hash=_text(told["text_hash"]),
        wer=_number(told["wer"]),
        peer_wer=_number(told.get("peer_wer")),
        memory=_rounds(told["memory_rounds"]) if "memory_rounds" in told else None,
        audio_seconds=_number(told.get("audio_seconds")),
    )
    if len(row.ours) != len(row.peer):
        raise ValueError(f"{row.key} has {len(row.ours)} rounds of ours and {len(row.peer)} of the peer")
    if not row.low <= row.ratio <= row.high:
        raise ValueError(f"{row.key} has the ratio {row.ratio}, which is not from {row.low} to {row.high}")
    return row


def _moment(value: str) -> datetime:
    if (made := datetime.fromisoformat(value)).tzinfo is None:
        raise ValueError(f"{value} is in no time zone")
    return made


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{value!r:.100} is no text")
    return value


def _number(value: object) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{value!r:.100} is no number")
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")
    return value


def _rounds(values: object) -> list[float]:
    rounds = [float(value) for value in cast("list[float]", values)]
    if not rounds or not all(math.isfinite(value) and value > 0 for value in rounds):
        raise ValueError("a round's time is missing, zero or not finite")
    return rounds


def read_history(folder: Path, skipped: Callable[[HistoryError], object]) -> list[Run]:
    """All runs below `folder`, oldest first; `skipped` is told of each file that is none. HistoryError: no folder."""
    if not folder.is_dir():
        raise HistoryError(f"{folder}: no such folder; name the one that holds the recorded runs")
    runs: list[Run] = []
    for path in sorted(folder.rglob("*.json")):
        if path.name.startswith("."):  # being written
            continue
        try:
            runs.append(read_run(path))
        except HistoryError as error:
            skipped(error)
    return sorted(runs, key=lambda run: run.made)


def choose(runs: list[Run], folder: Path, machine: str | None, case: str | None) -> list[Run]:
    """The runs of this kind of machine, of the one whose fingerprint begins with `machine`, or of "all", with a row of
    `case`; HistoryError, which says what there is, if none is left."""
    if not runs:
        raise HistoryError(f"{folder} holds no recorded run; make perf-full records one")
    wanted = fingerprint() if machine is None else "" if machine == "all" else machine
    found = [run for run in runs if run.fingerprint.startswith(wanted)]
    if not found:
        counts = Counter(f"{run.fingerprint} ({run.machine.get('processor')})" for run in runs)
        others = ", ".join(f"{count} of {name}" for name, count in counts.items())
        kind = f"this kind of machine ({wanted})" if machine is None else f"a machine {machine}"
        raise HistoryError(f"{folder} holds no run of {kind}, but {others}; choose with --machine, or --machine all")
    with_case = [run for run in found if case is None or any(case in str(key) for key in run.rows)]
    if not with_case:
        cases = dict.fromkeys(str(key) for run in found for key in run.rows)
        raise HistoryError(f"no recorded run has a case {case!r}; there are {', '.join(cases)}")
    return with_case
