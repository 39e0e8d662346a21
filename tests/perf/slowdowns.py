"""Seeded slow-downs, from end to end: each is timed as any run is, and has to be caught by the gate.

    python -m tests.perf.slowdowns [--into DIR] [--only NAME]

times tiny.en beside faster-whisper, encoding and decoding, in processes of their own: MIN_RUNS clean runs, the
history; a clean rerun, which must not be flagged; and a run for each slow-down, which must be. As in `make perf-full`
what is slower is timed a second time, and stays so unless that clears it. Runs that are in DIR already, by these names,
are not timed again: earlier ones of the whole suite may be put there as clean-1.json and so on. The exit status is 1 if
the gate is wrong about one of them.

In the timed process `tests.perf.slowed` is a plugin; parity is proven there as ever, for none of them changes a result.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.history import Run, read_run
from maxwhisper_impl.status import StatusLine, complain
from maxwhisper_impl.tables import print_whole
from tests.perf.gate import cells
from tests.perf.recording import ROOT
from tests.perf.slowed import SLOW_DOWNS, VARIABLE
from tests.perf.verdicts import MIN_RUNS, NOT_SLOWER, SLOWER, Finding, gated, unfit

CLEAN = [f"clean-{number + 1}" for number in range(MIN_RUNS)]
RERUN = "clean-again"
SECOND = "-second"
TRIES = 3
CASES = ("test_encode", "test_decode")


def record(name: str, folder: Path, time: str = "") -> Run:
    """The run of that name; timed, if it has not been, and again while its A/A pair strays, at most TRIES times.

    `time` is SECOND for its second measurement."""
    path = folder / f"{name}{time}.json"
    for _ in range(0 if path.is_file() else TRIES):
        draft = folder / f".{path.name}"
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
            clean = [record(name, options.into) for name in CLEAN]
            found = {name: judged(name, options.into, clean, status) for name in [RERUN, *SLOW_DOWNS]}
        return show(found)
    except MaxWhisperError as error:
        complain(error)
        return 1


def judged(name: str, folder: Path, clean: Sequence[Run], say: Callable[[str], object]) -> list[Finding]:
    """What the gate says of the run beside the clean ones."""
    run = record(name, folder)

    def again() -> Run:
        say(f"timing {name} a second time")
        return record(name, folder, SECOND)

    return [finding for finding in gated(run, clean, again) if finding.key in run.rows]


def show(found: dict[str, list[Finding]]) -> int:
    """Every run's findings; 1 if a slow-down was missed or the clean rerun was not."""
    table = Table(box=SIMPLE_HEAD, title=f"seeded slow-downs, beside {len(CLEAN)} clean runs")
    for column in ("run", "case", "figure", "before", "now", "time", "interval", "verdict", "right?"):
        table.add_column(column)
    wrong = False
    for name, findings in found.items():
        verdicts = {finding.verdict for finding in findings}
        # of a clean run a time may have no verdict, but each case has one
        said = {finding.key for finding in findings if finding.verdict == NOT_SLOWER}
        clean = SLOWER not in verdicts and said == {finding.key for finding in findings}
        right = (SLOWER in verdicts) if name in SLOW_DOWNS else clean
        wrong |= not right
        for f in findings:
            case, _, figure, before, now, change, interval, *_, verdict = cells(f)
            shown = (name, case, figure, before, now, change, interval, verdict, "yes" if right else "NO")
            table.add_row(*shown, style=None if right else "red")
    print_whole(table)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
