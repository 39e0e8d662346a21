"""The soak sees a leak and a changed text, and is content where there is neither."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import ENDS, WARM_UP, Soak, as_json

ROOT = Path(__file__).parents[2]
PLANTED = """
import sys
from itertools import count
from tests.soak import soak
kept, rounds = [], count(1)
def job():
    if sys.argv[1] == "leaks": kept.append(b"x" * (1 << 20))
    if sys.argv[1] == "warms up" and len(kept) < 3: kept.append(b"x" * (8 << 20))
    return f"the text {next(rounds) == 7 and sys.argv[1] == 'changes'}"
seen = soak({"job": job, "other": lambda: "its text"}, 0, print)
print(*seen.faults(), sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize(("planted", "fault"), [
    ("nothing", "\n"),
    ("warms up", "\n"),
    ("leaks", "memory grew from "),
    ("changes", "job: in round 7 'the text True', in the first one 'the text False'\n"),
])
def test_what_is_planted_is_found(planted: str, fault: str) -> None:
    """In a process of its own, whose memory is no other test's."""
    command = [sys.executable, "-c", PLANTED, planted]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stderr.startswith(fault)
    assert done.stderr.count("\n") == 1, "that, and nothing else"
    assert f"round {WARM_UP + 2 * ENDS}: " in done.stdout


def test_too_few_rounds_prove_nothing() -> None:
    assert "too few" in Soak(memory=[1] * (WARM_UP + 2 * ENDS - 1)).faults()[0]


def test_rounds_that_sway_are_no_growth_and_a_slow_one_is() -> None:
    sway = [0, 4, -3, 2, 5, -4, 1, -2, 3, -1]
    calm = [1000 + 5 * sway[i % 10] for i in range(80)]
    assert not Soak(memory=calm).faults()
    assert "memory grew" in Soak(memory=[m + i // 2 for i, m in enumerate(calm)]).faults()[0]


def test_the_run_file_says_what_was_seen() -> None:
    seen = Soak(memory=[100] * 8 + [103] * 6, changes=["job: in round 2 …"])
    written = json.loads(json.dumps(as_json(seen, 0.5)))
    assert {"kind": "soak", "minutes": 0.5, "rounds": 14, "same_text": False}.items() <= written.items()
    assert written["memory"] == seen.memory
    assert seen.faults() == ["job: in round 2 …", "memory grew from 0.0 to 0.0 MiB, +3.0%: at most +2%"]
