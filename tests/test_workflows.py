"""The workflows say nothing that cannot be run here: each step is a make target that exists, each action is pinned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from maxwhisper_impl.history import FOLDER

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$")
MAKE = re.compile(r"make ([a-z-]+)( [A-Z]+=\S+)*$")


def jobs(file: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github/workflows" / file).read_text())["jobs"]


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def faults(text: str) -> list[str]:
    """What is wrong with a workflow that actionlint does not look at."""
    read = yaml.safe_load(text)
    found = [f"not pinned: {line.strip()}" for line in text.splitlines() if "uses:" in line and not pinned(line)]
    if read.get("permissions") != {"contents": "read"}:
        found.append("may do more than read")
    for name, job in read["jobs"].items():
        if "timeout-minutes" not in job:
            found.append(f"{name} may hang")
        found += [f"not a make target: {run}" for run in commands(job) if not runs_here(run)]
    return found


def pinned(line: str) -> bool:
    return bool(PINNED.match(line.strip().removeprefix("- ")))


def runs_here(command: str) -> bool:
    """Whether make knows what to do, without doing it."""
    if not MAKE.match(command):
        return False
    dry = ["make", "--dry-run", "--old-file=.venv/.installed", *command.split()[1:]]
    return subprocess.run(dry, cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflow(file: Path) -> None:
    assert faults(file.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("make parity", "make party", "not a make target: make party"),
        ("make parity", "pip install evil", "not a make target: pip install evil"),
        ("@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2", "@v4", "not pinned: - uses: actions/checkout@v4"),
        ("contents: read", "contents: write", "may do more than read"),
        ("    timeout-minutes: 120\n", "", "suite may hang"),
    ],
)
def test_a_fault_is_found(old: str, new: str, fault: str) -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    assert old in text
    assert fault in faults(text.replace(old, new))


def test_every_push() -> None:
    read = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert set(read[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key "on" as a truth value
    run = {command for job in read["jobs"].values() for command in commands(job)}
    assert run >= {"make lint", "make actions", "make parity", "make quality", "make suite", "make perf"}


def test_nightly() -> None:
    read = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text())
    assert read[True]["schedule"]
    perf = read["jobs"]["perf"]
    run = commands(perf)
    steps = [run.index(step) for step in ("make history-pull", "make perf-full", "make history-push")]
    assert steps == sorted(steps)
    raced = commands(read["jobs"]["fastest"])
    settings = "build/settings.json"
    assert raced.index(f"make sweep ARGS=--out={settings}") < raced.index(f"make fastest ARGS=--settings={settings}")
    assert perf["permissions"] == {"contents": "write"}
    kept = [step for step in perf["steps"] if "upload-artifact" in step.get("uses", "")]
    assert f"{FOLDER}/*.json" in kept[0]["with"]["path"]
    for step in (*kept, next(step for step in perf["steps"] if step.get("run") == "make history-push")):
        assert step["if"] == "always()", "a regression has to be on record too"
    assert "make teeth" in {command for job in read["jobs"].values() for command in commands(job)}


class Clones:
    """Two checkouts of one project with a common origin, and the script under test in both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git(folder, "init", "--bare", "-q", "origin")
        for name in ("one", "two"):
            self.git(folder, "init", "-q", "-b", "main", name)
            self.git(folder / name, "remote", "add", "origin", str(folder / "origin"))
            (folder / name / ".ci").mkdir()
            (folder / name / FOLDER).mkdir(parents=True)
            shutil.copy(ROOT / ".ci/history", folder / name / ".ci")

    def git(self, where: Path, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True, check=True)
        return done.stdout

    def history(self, name: str, action: str, status: int = 0) -> str:
        script = self.folder / name / ".ci/history"
        done = subprocess.run([script, action], capture_output=True, text=True, check=False, cwd="/", env=bare())
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def put(self, name: str, file: str) -> None:
        (self.folder / name / FOLDER / file).write_text(file)

    def there(self, name: str) -> list[str]:
        return sorted(path.name for path in (self.folder / name / FOLDER).iterdir())

    @property
    def branch(self) -> list[str]:
        return self.git(self.folder / "origin", "ls-tree", "--name-only", "perf-history").split()


def bare() -> dict[str, str]:
    """No user, no configuration: as on a fresh runner."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def test_the_branch_of_recorded_runs(tmp_path: Path) -> None:
    clones = Clones(tmp_path)
    assert "no branch perf-history yet" in clones.history("one", "pull")
    clones.put("one", "2026_a.json")
    assert "1 runs are on perf-history" in clones.history("one", "push")
    assert "nothing new" in clones.history("one", "push")
    clones.put("two", "2026_b.json")
    clones.history("two", "push")  # without having pulled: nothing of the other's is lost
    assert clones.branch == ["2026_a.json", "2026_b.json"]
    clones.history("one", "pull")
    assert clones.there("one") == ["2026_a.json", "2026_b.json"]
    log = clones.git(tmp_path / "origin", "log", "--format=%s", "perf-history").split("\n")
    assert log[:2] == ["Runs up to 2026_b", "Runs up to 2026_a"]
    assert not clones.git(tmp_path / "one", "diff", "--cached", "--name-only")


def test_a_remote_that_is_gone_is_an_error(tmp_path: Path) -> None:
    clones = Clones(tmp_path)
    clones.put("one", "2026_a.json")
    shutil.rmtree(tmp_path / "origin")
    for action in ("pull", "push"):
        assert "cannot be asked" in clones.history("one", action, status=1)
    assert "usage" in clones.history("one", "sideways", status=2)
