"""Figures as they are written: the filters of the templates."""

from __future__ import annotations

from math import floor, isfinite, log10


def count(n: int) -> str:
    return f"{n:,}"


def percent(rate: float) -> str:
    return f"{rate * 100:.2f} %"


def growth(rate: float) -> str:
    return f"{'fell' if rate < 0 else 'grew'} by {percent(abs(rate))}"


def share(part: float) -> str:
    """Whole percents; what is not nothing is not shown as nothing, nor what is not all as all."""
    if not isfinite(part):
        return "∞"
    if 0 < part < 0.005:
        return "<1"
    return "99" if 0.99 < part < 1 else "101" if 1 < part < 1.01 else f"{part * 100:.0f}"


def equal(agreement: float) -> str:
    """Rounded down: 100 % stands for equal, and for nothing else."""
    return f"{floor(agreement * 1e4) / 100:.2f} %"


def seconds(value: float) -> str:
    """Three digits, in the unit that suits them."""
    if value >= 3600:
        return f"{value / 3600:.1f} h"
    if value >= 120:
        return f"{value / 60:.1f} min"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{_digits(value / size)} {unit}"
    return f"{_digits(value * 1e6)} µs"


def minutes(value: float) -> str:
    return f"{round(value, 1):g} minute" + ("" if round(value, 1) == 1 else "s")


def clock(value: float) -> str:
    """Minutes and seconds of a place in a recording."""
    return f"{int(value) // 60}:{int(value) % 60:02d}"


def memory(value: float) -> str:
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 100 else f"{ratio:.0f}×"


def rate(per_second: float) -> str:
    """Of operations or bytes, in thousands of millions."""
    return _digits(per_second / 1e9)


def measured(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def things(n: int, singular: str, plural: str | None = None) -> str:
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listed(parts: list[str]) -> str:
    """ "a", "a and b", "a, b and c" """
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _digits(value: float) -> str:
    return f"{value:.{max(0, 2 - floor(log10(value)))}f}" if value > 0 else "0"


FILTERS = (count, percent, growth, share, equal, seconds, minutes, clock, memory, times, rate, measured, things, listed)
