"""What parity and quality leave uncovered of the package, function by function, each with the reason: reviewed.

    python -m tests.uncovered COVERAGE.json

prints what is uncovered and exits with 1 where the measurement and the list differ: a new line or branch that no test
takes, or one in the list that is covered by now. `make coverage` measures and asks it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = "maxwhisper_impl/"


class Gap(NamedTuple):
    """Uncovered lines, and branches of covered lines that are never taken."""

    lines: int
    branches: int


REVIEWED: dict[str, tuple[Gap, str]] = {}
"""by file and function: "runtime.py open_device" """


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


def differences(found: Mapping[str, tuple[Gap, str]], reviewed: Mapping[str, tuple[Gap, str]]) -> list[str]:
    """A line for each function whose gap is not the reviewed one."""
    wrong: list[str] = []
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
        print(f"  {key}: {where}\n      {REVIEWED.get(key, (None, 'NOT REVIEWED'))[1]}")
    print(f"{totals['covered_branches']} of {totals['num_branches']} branches and "
          f"{totals['covered_lines']} of {totals['num_statements']} statements are covered")
    wrong = differences(found, REVIEWED)
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if wrong:
        print("error: test it, remove it, or list it with its reason in tests/uncovered.py", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
