"""Speeds as bars with intervals: of a comparison, of the suite's races, of a roofline's stages, over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from . import figures
from .kinds import Benchmark, Benchmarks, Comparison, Row, Suite
from .read import Source

OURS = "maxwhisper"


@dataclass(frozen=True)
class Bar:
    """`value` with its interval [low, high], all three also as percent of the axis."""

    label: str
    value: float
    low: float
    high: float
    ours: bool
    axis: float
    note: str = ""

    @property
    def at(self) -> float:
        return 100 * self.value / self.axis

    @property
    def from_(self) -> float:
        return 100 * self.low / self.axis

    @property
    def to(self) -> float:
        return 100 * self.high / self.axis


def model_name(model: str) -> str:
    """A model given as a path is called by the path's last part."""
    return Path(model).name


def row_name(row: Row) -> str:
    return f"{model_name(row.model)} · {system_name(row)}"


def system_name(row: Row) -> str:
    return row.system + ("" if row.dtype == "float32" else f":{row.dtype}")


def speed_bars(comparison: Comparison) -> list[Bar]:
    """Seconds of audio in a second; the interval is the slowest and the fastest round."""
    total = comparison.audio_seconds
    axis = max((total / min(row.round_seconds) for row in comparison.rows), default=1.0)
    return [
        Bar(
            row_name(row),
            total / row.seconds,
            total / max(row.round_seconds),
            total / min(row.round_seconds),
            row.system == OURS,
            axis,
        )
        for row in comparison.rows
    ]


def race_bars(suite: Suite) -> list[Bar]:
    """The peer's time over ours, with the ratio's own interval."""
    axis = max((race.high for race in suite.ratios), default=1.0)
    return [
        Bar(
            f"{race.case} / {race.peer}",
            race.median,
            race.low,
            race.high,
            race.valid and race.median >= 1,
            max(axis, 1.0),
            "" if race.valid else "invalid: the machine was too noisy",
        )
        for race in suite.ratios
    ]


@dataclass(frozen=True)
class Point:
    """A run's figure; `x` and `y` in percent of the chart, y downwards, as are those of its interval."""

    source: Source
    value: float
    low: float
    high: float
    valid: bool
    x: float = 0.0
    y: float = 0.0
    y_low: float = 0.0
    y_high: float = 0.0


@dataclass(frozen=True)
class Series:
    """One benchmark on one kind of machine, oldest first."""

    label: str
    machine: str
    is_ratio: bool
    points: list[Point]
    top: float
    """the axis goes from zero to this"""

    @property
    def change(self) -> float | None:
        """of the last figure against the median of the valid ones before it; None where there are none"""
        before = [point.value for point in self.points[:-1] if point.valid]
        return self.points[-1].value / median(before) - 1 if before else None


def history(runs: Sequence[tuple[Source, Benchmarks]]) -> list[Series]:
    """A line for each benchmark and kind of machine, in the order in which the newest run has them."""
    found: dict[tuple[str, str, bool], list[Point]] = {}
    for source, run in sorted(runs, key=lambda pair: pair[0].made, reverse=True):
        for benchmark in run.benchmarks:
            is_ratio = benchmark.extra_info.ratio is not None
            where = (_name(benchmark), machine_name(source), is_ratio)
            found.setdefault(where, []).insert(0, _point(source, benchmark))
    return [_series(*where, points) for where, points in found.items()]


def _name(benchmark: Benchmark) -> str:
    told = benchmark.extra_info
    more = [part for part in (told.dtype, told.device) if part not in (None, "float32", "cpu")]
    named = " ".join(part for part in (told.case or benchmark.name, told.checkpoint, *more) if part)
    peer = told.peer if told.peer_dtype == "float32" else f"{told.peer}:{told.peer_dtype}"
    return f"{named} / {peer}" if told.peer else named


def machine_name(source: Source) -> str:
    known = source.machine
    cores = "" if known.cores is None else f", {figures.things(known.cores, 'core')}"
    fingerprint = f" [{known.fingerprint}]" if known.fingerprint else ""
    return f"{known.processor or 'an unnamed machine'}{cores}{fingerprint}"


def _point(source: Source, benchmark: Benchmark) -> Point:
    told, stats = benchmark.extra_info, benchmark.stats
    if told.ratio is None:
        return Point(source, stats.median, stats.min, stats.max, True)
    return Point(source, told.ratio, told.low or told.ratio, told.high or told.ratio, told.valid)


def _series(label: str, machine: str, is_ratio: bool, points: Sequence[Point]) -> Series:
    top = 1.1 * max([point.high for point in points] + ([1.0] if is_ratio else []))
    step = 96 / max(1, len(points) - 1)

    def height(value: float) -> float:
        return 100 - 100 * value / top

    placed = [
        Point(p.source, p.value, p.low, p.high, p.valid,
              2 + step * i if len(points) > 1 else 50, height(p.value), height(p.low), height(p.high))
        for i, p in enumerate(points)
    ]  # fmt: skip
    return Series(label, machine, is_ratio, placed, top)
