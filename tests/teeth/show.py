"""What the faults came to: a table, and a JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maxwhisper_impl import machine
from maxwhisper_impl.files import write_whole
from tests.teeth.runs import Verdict
from tests.teeth.scratch import ROOT

PACKAGES = ("max", "numpy", "openai-whisper", "pytest", "torch")


def print_table(verdicts: Sequence[Verdict], seconds: float) -> None:
    table = Table(box=SIMPLE_HEAD, title=f"{len(verdicts)} seeded faults in {seconds / 60:.1f} min", title_style="bold")
    for column in ("stage", "fault", "caught", "right place", "first red test"):
        table.add_column(column, overflow="fold")
    table.add_column("seconds", justify="right")
    for verdict in verdicts:
        red = verdict.first_red
        first = "–" if red is None else red.nodeid if red.when == "call" else f"{red.nodeid} ({red.when})"
        table.add_row(
            verdict.fault.stage,
            verdict.fault.name,
            _mark(verdict.caught),
            _mark(verdict.at_right_place),
            Text(first.removeprefix("tests/")),  # not read as markup, which brackets would be
            f"{verdict.seconds:.0f}",
            style=None if verdict.at_right_place else "bold red",
        )
    console = Console()
    console.width = max(console.width, 150)  # a log has no width, and wraps nothing
    console.print(table)
    for verdict in verdicts:
        if not verdict.at_right_place:
            console.print(_complaint(verdict), markup=False, highlight=False, style="red")


def _mark(good: bool) -> str:
    return "yes" if good else "NO"


def _complaint(verdict: Verdict) -> str:
    fault, red = verdict.fault, verdict.first_red
    places = " or ".join(fault.speaks)
    if red is None:
        return f"{fault.name} SURVIVED: {places} should have turned red"
    how = "" if red.when == "call" else f", in its {red.when},"
    return f"{fault.name} was caught far from its place: {red.nodeid}{how} spoke first, not {places}"


def run_file(verdicts: Sequence[Verdict], seconds: float) -> dict[str, Any]:
    return {
        **machine.run_file("teeth", ROOT, PACKAGES),
        "seconds": round(seconds, 1),
        "faults": [
            {
                "name": verdict.fault.name,
                "stage": verdict.fault.stage,
                "caught": verdict.caught,
                "at_right_place": verdict.at_right_place,
                "first_red": verdict.first_red.nodeid if verdict.first_red else None,
                "expected": " | ".join(verdict.fault.speaks),
                "seconds": round(verdict.seconds, 1),
            }
            for verdict in verdicts
        ],
    }


def write_json(path: Path, verdicts: Sequence[Verdict], seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(run_file(verdicts, seconds), indent=1, ensure_ascii=False) + "\n").encode())
