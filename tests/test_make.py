"""`make` and `.ci/run` fail where anything that they run fails, and leave nothing of an earlier run to be judged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in *"$FAILS"*) exit "$STATUS";; esac
"""
"""Takes the place of any program: notes what it was asked for, and fails where that holds a text."""
TARGETS = (
    "compare", "report", "test", "parity", "quality", "suite", "perf", "perf-full", "fastest", "sweep", "roofline",
    "slowdowns", "power", "slow", "teeth", "fuzz", "soak", "coverage", "lint",
)  # fmt: skip
RUNS = {"report": ("build/compare.json", "build/suite.json"), "fastest": (".benchmarks/fastest.json",),
        "perf": (".benchmarks/perf.json", ".benchmarks/perf-again.json"),
        "perf-full": (".benchmarks/perf-full.json", ".benchmarks/perf-full-again.json")}  # fmt: skip
"""What a target writes first and reads then."""


class Fakes:
    """A folder with the Makefile, in which every program is a fake one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        bin = folder / ".venv" / "bin"
        bin.mkdir(parents=True)
        for program in ("python", "maxwhisper", "ruff", "pyright"):
            self.fake(bin / program)
        for file in ("Makefile", ".ci/run"):
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / file, folder / file)
        for file in ("pyproject.toml", "constraints.txt", ".venv/.installed"):
            (folder / file).touch()

    def fake(self, path: Path) -> None:
        path.write_text(FAKE)
        path.chmod(0o755)

    def run(self, *command: str, fails: str = "nothing", by: int = 1) -> tuple[int, list[str]]:
        """Exit status, and what was called."""
        self.calls.write_text("")
        paths = f"{self.folder / 'path'}:{os.environ['PATH']}"
        variables = {"PATH": paths, "CALLS": str(self.calls), "FAILS": fails, "STATUS": str(by)}
        done = subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False)
        return done.returncode, self.calls.read_text().splitlines()


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_fails_with_each_of_its_commands(fakes: Fakes, target: str) -> None:
    """And what was measured is judged or shown also where a test failed."""
    status, calls = fakes.run("make", target)
    assert status == 0
    assert calls
    for call in calls:
        status, made = fakes.run("make", target, fails=call.partition(" ")[2])
        assert status != 0, call
        assert made == calls or target in ("coverage", "lint"), call


@pytest.mark.parametrize("target", RUNS)
def test_no_earlier_run_is_judged(fakes: Fakes, target: str) -> None:
    files = [fakes.folder / name for name in RUNS[target]]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    fakes.run("make", target)
    assert not [file for file in files if file.exists()]


def test_full_measurements_are_kept_and_compared_with_no_other(fakes: Fakes) -> None:
    """Each is judged by the run that was just written; the history has the full ones alone."""
    for target, kept in (("perf", ""), ("perf-full", " --keep")):
        pytest_, gate = fakes.run("make", target)[1]
        assert f"--benchmark-json .benchmarks/{target}.json" in pytest_
        assert gate == f"python -m tests.perf.gate .benchmarks/{target}.json{kept} --tests .benchmarks/{target}.txt"
    pytest_, shown = fakes.run("make", "fastest")[1]
    assert "tests/perf/test_fastest.py" in pytest_
    assert "--benchmark-json .benchmarks/fastest.json" in pytest_
    assert shown == "python -m tests.perf.fastest .benchmarks/fastest.json"


@pytest.mark.parametrize("target", ["perf", "perf-full"])
def test_what_is_slower_is_measured_again(fakes: Fakes, target: str) -> None:
    run = f".benchmarks/{target}"
    status, (*first, pytest_, gate) = fakes.run("make", target, fails="--tests", by=3)
    assert (status, first) == (0, fakes.run("make", target)[1])
    assert pytest_.rstrip().endswith(f" @{run}.txt --benchmark-json {run}-again.json")
    assert gate.rstrip() == first[1].replace(f"--tests {run}.txt", f"--again {run}-again.json")
    status, calls = fakes.run("make", target, fails="tests.perf.gate", by=3)
    assert (status != 0, len(calls)) == (True, 4)
    status, calls = fakes.run("make", target, fails="--tests", by=1)
    assert (status != 0, calls) == (True, first)


def test_the_report_is_of_the_runs_just_made(fakes: Fakes) -> None:
    for file in ("tests/perf/history/a.json", "build/fuzz/fuzz.json", "build/soak.json"):
        (fakes.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (fakes.folder / file).touch()
    compare, suite, report = fakes.run("make", "report")[1]
    assert compare.rstrip() == "maxwhisper compare --json build/compare.json"
    assert suite.endswith("--run-json build/suite.json")
    assert report == ("maxwhisper report --from tests/perf/history/a.json build/fuzz/fuzz.json build/soak.json "
                      "--out build/report.html")  # fmt: skip


def test_ci_runs_everything_and_fails_with_any_of_it(fakes: Fakes) -> None:
    (fakes.folder / "path").mkdir()
    fakes.fake(fakes.folder / "path" / "make")
    status, calls = fakes.run("bash", ".ci/run")
    assert status == 0
    assert {re.sub(r"ARGS=.*", "…", call) for call in calls} == {
        "make lint", "make test", "make suite", "make teeth QUICK=1", "make fuzz", "make slow …"
    }  # fmt: skip
    for call in calls:
        status, made = fakes.run("bash", ".ci/run", fails=call.partition(" ")[2])
        assert (status, made) == (1, calls)
