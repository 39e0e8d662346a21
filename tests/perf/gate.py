"""Compares a run with the history of this kind of machine.

    python -m tests.perf.gate RUN.json [--tests FILE | --again RUN.json] [--history DIR] [--keep] [--accept REASON]
                              [--summary FILE]

RUN.json is what `pytest -m perf --benchmark-json RUN.json` wrote. Prints a table; the exit status is 1 if a row is
slower, 2 if a file cannot be read or written. `--tests` names a file to write the tests of the slower cases into, for
`pytest @FILE` to measure them again: the exit status is 3 then, and nothing is kept. `--again` is that second run: what
is not slower in it is not slower. `--keep` puts the run into the history, with the verdict: a run that is slower is
kept, but no later one is compared with it. `--accept` keeps it as the new measure, and says why.
`--summary` appends the table as Markdown; where $GITHUB_STEP_SUMMARY is set, to that file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.files import write_whole
from maxwhisper_impl.history import Run, read_history, read_row, read_run
from maxwhisper_impl.status import complain, warn
from maxwhisper_impl.tables import print_whole
from tests.perf import fastest
from tests.perf.recording import HISTORY
from tests.perf.verdicts import NO_VERDICT, NOT_SLOWER, ONCE, SLOWER, Finding, confirmed, judge

MEASURE_AGAIN = 3
COLUMNS = ("case", "against", "figure", "before", "now", "time", "interval", "sees", "runs", "commit", "verdict")


def cells(finding: Finding) -> tuple[str, ...]:
    head = (finding.key.what, finding.key.against, finding.figure)
    if finding.verdict == NO_VERDICT:
        return (*head, "–", "–", "–", "–", "–", "–", "–", f"no verdict: {finding.reason}")
    return (
        *head,
        finding.shown(finding.before),
        finding.shown(finding.now),
        f"{finding.slower:+.1%}",
        f"[{finding.low:+.1%}, {finding.high:+.1%}]",
        f"{finding.sees:.1%}",
        str(finding.runs),
        finding.commit[:9],
        finding.verdict + finding.reason,
    )


def verdict(findings: Sequence[Finding]) -> str:
    """Of the whole run: regressed, passed (a row was judged, none is slower), or no verdict."""
    found = {finding.verdict for finding in findings}
    return "regressed" if SLOWER in found else "passed" if NOT_SLOWER in found else "no verdict"


def headline(run: Run, findings: Sequence[Finding]) -> str:
    judged = [finding for finding in findings if finding.verdict != NO_VERDICT]
    return (
        f"{verdict(findings)}: {len(judged)} of {len(findings)} figures judged, "
        f"{sum(finding.verdict == 'slower' for finding in judged)} slower · commit {run.commit[:12]} on "
        f"{run.machine['processor']}, {run.machine['cores']} cores ({run.fingerprint})"
    )


EXPLAINED = (
    f"time: change of our time, in the interval that clean runs exceed upwards in {ONCE:.0%} of all runs · "
    "sees: the slow-down that would be found in 95 of 100 runs"
)


def show(run: Run, findings: Sequence[Finding]) -> None:
    table = Table(box=SIMPLE_HEAD, title=headline(run, findings), caption=EXPLAINED, caption_justify="left")
    for column in COLUMNS:
        table.add_column(column)
    for finding in findings:
        table.add_row(*cells(finding), style="red" if finding.verdict == SLOWER else None)
    print_whole(table)
    for finding in findings:
        if finding.verdict == SLOWER:
            complain(str(finding))


def markdown(run: Run, findings: Sequence[Finding]) -> str:
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(cells, findings)]
    slower = [f"- **{finding}**" for finding in findings if finding.verdict == SLOWER]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"### Speed: {headline(run, findings)}", "", *slower, "", *lines, "", EXPLAINED, ""])


def tests_of(run: Run, findings: Sequence[Finding]) -> list[str]:
    """The tests that timed the slower cases, beside whichever peer."""
    slower = {finding.key.what for finding in findings if finding.verdict == SLOWER}
    timed = json.loads(run.path.read_text(encoding="utf-8"))["benchmarks"]
    rows = [(test["fullname"], read_row(test)) for test in timed]
    return [name for name, row in rows if row is not None and row.key.what in slower]


def keep(run: Run, folder: Path, gate: str, accepted: str | None = None) -> Path:
    """Writes the run into the history, whole or not at all; named by time, machine and commit."""
    data = json.loads(run.path.read_text(encoding="utf-8"))
    data["gate"] = gate
    if accepted:
        data["accepted"] = accepted
    commit = run.commit[:12] + ("-changed" if run.commit.endswith("+") else "")
    # four digits and an underscore: how pytest-benchmark knows its files
    path = folder / f"{run.made.astimezone(UTC):%Y_%m-%dT%H-%M-%SZ}_{run.fingerprint}_{commit}.json"
    write_whole(path, (json.dumps(data, separators=(",", ":")) + "\n").encode())
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.perf.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN.json")
    second = parser.add_mutually_exclusive_group()
    second.add_argument("--tests", type=Path, metavar="FILE", help="where to write what has to be measured again")
    second.add_argument("--again", type=Path, metavar="RUN.json", help="the second measurement of what was slower")
    parser.add_argument("--history", type=Path, default=HISTORY, metavar="DIR", help="recorded runs")
    parser.add_argument("--keep", action="store_true", help="put the run into the history")
    parser.add_argument("--accept", metavar="REASON", help="keep it as the new measure, slower or not")
    parser.add_argument("--summary", default=os.environ.get("GITHUB_STEP_SUMMARY"), metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        run = read_run(options.run)
        history = read_history(options.history, warn)
        findings = judge(run, history)
        if options.again:
            findings = confirmed(findings, judge(read_run(options.again), history))
        show(run, findings)
        if options.tests and verdict(findings) == "regressed" and not options.accept:
            write_whole(options.tests, "".join(f"{name}\n" for name in tests_of(run, findings)).encode())
            return MEASURE_AGAIN
        fastest.show(fastest.choose(run.rows.values()))
        if options.summary:
            with open(options.summary, "a", encoding="utf-8") as file:
                file.write(markdown(run, findings))
        if options.keep or options.accept:
            print(f"kept as {keep(run, options.history, verdict(findings), options.accept)}")
    except (MaxWhisperError, OSError) as error:
        complain(error)
        return 2
    return 1 if verdict(findings) == "regressed" and not options.accept else 0


if __name__ == "__main__":
    sys.exit(main())
