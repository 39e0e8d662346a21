"""Seeded slow-downs, from end to end: each is timed as any run is, and has to be caught by the gate.

    python -m tests.perf.slowdowns [--into DIR] [--only NAME]

times tiny.en beside faster-whisper, encoding and decoding, in processes of their own: MIN_RUNS clean runs, the
history; a clean rerun, which must not be flagged; and a run for each slow-down, which must be. Runs that are in DIR
already, by these names, are not timed again: earlier ones of the whole suite may be put there as clean-1.json and so
on. The exit status is 1 if the gate is wrong about one of them.

In the timed process `tests.perf.slowed` is a plugin; parity is proven there as ever, for none of them changes a result.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.history import Run, read_run
from maxwhisper_impl.status import StatusLine, complain
from maxwhisper_impl.tables import print_whole
from tests.perf.recording import ROOT
from tests.perf.slowed import SLOW_DOWNS, VARIABLE
from tests.perf.verdicts import MIN_RUNS, NOT_SLOWER, SLOWER, judge, unfit

CLEAN = [f"clean-{number + 1}" for number in range(MIN_RUNS)]
RERUN = "clean-again"
TRIES = 3
CASES = ("test_encode", "test_decode")


def record(name: str, folder: Path) -> Run:
    """The run of that name; timed, if it has not been, and again while its A/A pair strays, at most TRIES times."""
    path = folder / f"{name}.json"
    for _ in range(0 if path.is_file() else TRIES):
        draft = folder / f".{name}.json"
        time_it(name, draft)
        draft.replace(path)
        if not any(map(unfit, read_run(path).rows.values())):
            break
    return read_run(path)


def time_it(name: str, path: Path) -> None:
    """In a process of its own; MaxWhisperError with pytest's words if a case did not come to be timed.

    A test that fails behind its race, by the least ratio that it demands, has timed what it was to time.
    """
    path.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "tests.perf.slowed", "tests/perf/test_speed.py"),
        *("-k", f"({' or '.join(CASES)}) and faster-whisper and not smoke", "--checkpoint", "tiny.en"),
        *("--benchmark-json", str(path.absolute())),
    ]
    slow = {VARIABLE: name} if name in SLOW_DOWNS else {}
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **slow}, capture_output=True, text=True, check=False)
    if not path.is_file() or len(read_run(path).rows) < len(CASES):
        raise MaxWhisperError(f"{name}: its test failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.perf.slowdowns", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, default=ROOT / ".benchmarks/slowdowns", metavar="DIR")
    parser.add_argument("--only", choices=[*CLEAN, RERUN, *SLOW_DOWNS], action="append", metavar="NAME")
    options = parser.parse_args(arguments)
    options.into.mkdir(parents=True, exist_ok=True)
    try:
        with StatusLine() as status:
            for name in options.only or [*CLEAN, RERUN, *SLOW_DOWNS]:
                status(f"timing {name}")
                record(name, options.into)
        if options.only:
            return 0
        return show(options.into)
    except MaxWhisperError as error:
        complain(error)
        return 1


def show(folder: Path) -> int:
    """Every run judged beside the clean ones; 1 if a slow-down was missed or the clean rerun was not."""
    clean = [read_run(folder / f"{name}.json") for name in CLEAN]
    table = Table(box=SIMPLE_HEAD, title=f"seeded slow-downs, beside {len(clean)} clean runs")
    for column in ("run", "case", "figure", "before", "now", "time", "interval", "verdict", "right?"):
        table.add_column(column)
    wrong = False
    for name in [RERUN, *SLOW_DOWNS]:
        run = read_run(folder / f"{name}.json")
        findings = [finding for finding in judge(run, clean) if finding.key in run.rows]
        verdicts = {finding.verdict for finding in findings}
        right = (SLOWER in verdicts) if name in SLOW_DOWNS else (verdicts == {NOT_SLOWER})  # "no verdict" is neither
        wrong |= not right
        for f in findings:
            interval = f"[{f.low:+.1%}, {f.high:+.1%}]"
            cells = (f.shown(f.before), f.shown(f.now), f"{f.slower:+.1%}", interval, f.verdict + f.reason)
            table.add_row(name, f.key.what, f.figure, *cells, "yes" if right else "NO", style=None if right else "red")
    print_whole(table)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
