"""What the history of the benchmarks looks like: a table, a JSON file, a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import utf8, write_whole
from .history import Key, Row, Run
from .machine import machine
from .tables import print_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

COLUMNS = ("date", "commit", "machine", "case", "ours", "peer", "", "ratio", "interval", "A/A", "WER", "gate")
PANEL = (8.0, 2.6)
"""inches of a chart, for each case"""


def print_table(runs: Sequence[Run], case: str | None) -> None:
    print_whole(table(runs, case))


def chosen(run: Run, case: str | None) -> list[Row]:
    """The rows whose names have `case` in them."""
    return [row for key, row in run.rows.items() if case is None or case in str(key)]


def table(runs: Sequence[Run], case: str | None = None) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=SIMPLE_HEAD,
        title=f"{len(runs)} recorded run{'' if len(runs) == 1 else 's'}, oldest first",
        caption="ratio: peer's time over ours, with its 95 % interval · A/A: one system beside itself in the run,\n"
        "invalid beyond 2 % · gate: what the run was found to be beside those before it",
        caption_justify="left",
    )
    for column in COLUMNS:
        made.add_column(column, justify="right" if column in COLUMNS[4:6] + COLUMNS[7:10] else "left", no_wrap=True)
    for run in runs:
        made.add_section()
        for row in chosen(run, case):
            made.add_row(*map(Text, cells(run, row)), style=None if row.valid else "dim")  # brackets are no markup
    return made


def cells(run: Run, row: Row) -> tuple[str, ...]:
    """The row as it is shown, in the order of COLUMNS."""
    return (
        f"{run.made:%Y-%m-%d %H:%M}",
        run.commit[:9] + ("+" if run.commit.endswith("+") else ""),
        run.fingerprint,
        row.key.what,
        _time(row.seconds),
        _time(row.peer_seconds),
        row.key.against,
        f"{row.ratio:.2f}×",
        f"{row.low:.2f}–{row.high:.2f}",
        f"{row.validity:.3f}" + ("" if row.valid else " invalid"),
        "–" if row.wer is None else f"{100 * row.wer:.2f} %",
        (run.gate or "–") + (", accepted" if run.accepted else ""),
    )


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


def as_json(runs: Iterable[Run], case: str | None = None) -> dict[str, Any]:
    """What `--json` writes; times are seconds, rates fractions."""
    return {
        "machine": machine(),
        "runs": [
            {
                "file": run.path.name,
                "made": run.made.isoformat(),
                "commit": run.commit,
                "machine": run.machine,
                "versions": run.versions,
                "gate": run.gate,
                "accepted": run.accepted,
                "rows": [_row_as_json(row) for row in chosen(run, case)],
            }
            for run in runs
        ],
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    figures = {name: getattr(row, name) for name in ("ratio", "low", "high", "validity", "valid", "text_hash", "wer")}
    return {**row.key._asdict(), "seconds": row.seconds, "peer_seconds": row.peer_seconds, **figures}


def write_json(path: Path, runs: Sequence[Run], case: str | None = None) -> None:
    write_whole(path, utf8(json.dumps(as_json(runs, case), ensure_ascii=False, indent=1) + "\n"))


def write_plot(path: Path, runs: Sequence[Run], case: str | None = None) -> None:
    """A picture (PNG, SVG or PDF, by its name): each case's ratios to the peers, run by run."""
    from io import BytesIO

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    keys = list(dict.fromkeys(row.key for run in runs for row in chosen(run, case)))
    cases = list(dict.fromkeys(key.what for key in keys))
    peers = list(dict.fromkeys(key.against for key in keys))
    figure, panels = pyplot.subplots(
        len(cases), 1, figsize=(PANEL[0], 0.8 + PANEL[1] * len(cases)), sharex=True, squeeze=False, layout="constrained"
    )
    for axes, what in zip(panels[:, 0], cases, strict=True):
        for key in keys:
            if key.what == what:
                _line(axes, runs, key, f"C{peers.index(key.against)}")
        axes.axhline(1, color="0.7", linewidth=1, zorder=0)
        axes.set_title(what, loc="left", fontsize="medium")
        axes.set_ylabel("peer / ours")
        axes.legend(loc="best", fontsize="small", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    labels = [f"{run.made:%Y-%m-%d %H:%M}\n{run.commit[:9]}" for run in runs]
    panels[-1, 0].set_xticks(range(len(runs)), labels, rotation=45, ha="right", fontsize="small")
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix[1:] or "png", dpi=150)
    pyplot.close(figure)
    write_whole(path, buffer.getvalue())


def _line(axes: Axes, runs: Sequence[Run], key: Key, colour: str) -> None:
    """One row, a line for each kind of machine; a run whose A/A pair strayed is hollow."""
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for number, run in enumerate(runs):
        if row := run.rows.get(key):
            numbers, ratios = lines.setdefault(run.fingerprint, ([], []))
            numbers.append(number)
            ratios.append(row.ratio)
            reach = [[row.ratio - row.low], [row.high - row.ratio]]
            face = colour if row.valid else "none"
            axes.errorbar(number, row.ratio, yerr=reach, fmt="o", color=colour, capsize=3, mfc=face)
    for numbers, ratios in lines.values():
        axes.plot(numbers, ratios, color=colour, linewidth=1, alpha=0.6)
    axes.plot([], [], "o-", color=colour, label=key.against)
