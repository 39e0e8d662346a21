"""What parity and quality leave uncovered of the package, function by function, each with the reason: reviewed.

    python -m tests.uncovered COVERAGE.json

prints what is uncovered and exits with 1 where the measurement and the list differ: a new line or branch that no test
takes, or one in the list that is covered by now. `make coverage` measures and asks it. Files that other parts of the
suite hold stand in a list of their own, and so does what only they can reach of a function: a full disk, a kill.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = "maxwhisper_impl/"


class Gap(NamedTuple):
    """Uncovered lines, and branches of covered lines that are never taken."""

    lines: int
    branches: int


_DISK = "full and closed disks: tests/robustness/test_disk.py, in make suite"

REVIEWED: dict[str, tuple[Gap, str]] = {
    "cli.py _drop_what_cannot_be_printed": (Gap(2, 0), f"{_DISK}, in a process that has no other standard output"),
    "commands.py _saved": (Gap(3, 0), _DISK),
    "commands.py history": (Gap(11, 0), "tests/test_history.py, in make suite"),
    "commands.py report": (Gap(13, 0), "tests/report/test_page.py, in make suite"),
    "decoding/beam.py Beams.update": (
        Gap(0, 1), "the loop is always left by its break: of size + 1 candidates a beam, one at most is the end"
    ),
    "files.py write_whole": (Gap(2, 1), f"devices are written to: {_DISK}"),
    "graphs.py compile_graphs": (Gap(2, 0), _DISK),
    "termination.py _watch": (Gap(2, 1), "ends the process before it is measured: tests/robustness/test_killed.py"),
    "worker.py _serve": (Gap(0, 1), "another operating system than Linux"),
    "writers.py get_writer.write": (Gap(3, 1), _DISK),
}
"""by file and function: "worker.py _serve" """

ELSEWHERE: dict[str, str] = {
    "history.py": "tests/test_history.py and tests/test_gate_command.py, in make suite",
    "history_view.py": "tests/test_history.py, in make suite",
    "kernels/stock.py": "tests/parity/test_kernels.py and test_gpu_model.py, which are slow: .ci/run runs them",
    "report/*": "tests/report, in make suite",
}
"""by pattern of files: which tests take what parity and quality do not"""


def measured(report: Mapping[str, Any]) -> dict[str, tuple[Gap, str]]:
    """Gaps by file and function of coverage's JSON report, and where they are: lines, and branches as from→to."""
    found: dict[str, tuple[Gap, str]] = {}
    for file, seen in report["files"].items():
        for name, function in seen["functions"].items():
            lines = function["missing_lines"]
            branches = [(a, b) for a, b in function["missing_branches"] if a not in lines]
            if lines or branches:
                where = [*map(str, lines), *(f"{a}→{'exit' if b < 0 else b}" for a, b in branches)]
                key = f"{file.removeprefix(PACKAGE)} {name or '(module)'}"
                found[key] = Gap(len(lines), len(branches)), ", ".join(where)
    return found


def held(key: str, pattern: str) -> bool:
    """Whether a function's file is one of the pattern's."""
    return fnmatchcase(key.partition(" ")[0], pattern)


def differences(
    found: Mapping[str, tuple[Gap, str]], reviewed: Mapping[str, tuple[Gap, str]], elsewhere: Collection[str] = ()
) -> list[str]:
    """A line for each function whose gap is not the reviewed one, and for files held elsewhere that have none."""
    needless = [pattern for pattern in elsewhere if not any(held(key, pattern) for key in found)]
    wrong = [f"{pattern}: all of it is covered" for pattern in needless]
    found = {key: gap for key, gap in found.items() if not any(held(key, pattern) for pattern in elsewhere)}
    for key in sorted(found.keys() | reviewed.keys()):
        gap, where = found.get(key, (Gap(0, 0), ""))
        listed = reviewed.get(key, (Gap(0, 0), ""))[0]
        if gap != listed:
            wrong.append(f"{key}: {gap.lines} lines and {gap.branches} branches are uncovered ({where or 'none'}), "
                         f"reviewed are {listed.lines} and {listed.branches}")
    return wrong


def main(file: str) -> int:
    report = json.loads(Path(file).read_text())
    found, totals = measured(report), report["totals"]
    print("what no test of parity and quality takes:")
    for key, (_, where) in sorted(found.items()):
        if not any(held(key, pattern) for pattern in ELSEWHERE):
            print(f"  {key}: {where}\n      {REVIEWED.get(key, (None, 'NOT REVIEWED'))[1]}")
    for pattern, tests in ELSEWHERE.items():
        lines = sum(gap.lines for key, (gap, _) in found.items() if held(key, pattern))
        print(f"  {pattern}: {lines} lines\n      {tests}")
    print(f"{totals['covered_branches']} of {totals['num_branches']} branches and "
          f"{totals['covered_lines']} of {totals['num_statements']} statements are covered")
    wrong = differences(found, REVIEWED, ELSEWHERE)
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if wrong:
        print("error: test it, remove it, or list it with its reason in tests/uncovered.py", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
