"""Killed at any moment: no half-written file is taken for a whole one, and the next run works."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl.termination import GRACE, STATUS
from tests import record

ROOT = Path(__file__).parents[2]
KILLS = 4
"""of each kind, at least; SIGKILL strikes until it has met a file half-written"""
LONGEST = 0.15
"""seconds; some ten files are written in this time"""
ENOUGH = 60


class Victim:
    """A process that starts children that write the files of `victims.WRITERS[name]`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder, self.stderr = folder, folder / "stderr"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.victims", name, str(folder)],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def _start(self, rounds: int) -> int:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"rounds": rounds, "stderr": str(self.stderr)}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line.strip(), f"the victims' parent ended with {self._process.wait()}"
        return int(line)

    def run(self, rounds: int) -> int:
        """The exit status of an undisturbed run."""
        self._start(rounds)
        return self._answer()

    def strike(self, number: signal.Signals, after: float) -> int:
        """The exit status of an endless run that is sent a signal."""
        child = self._start(-1)
        time.sleep(after)
        os.kill(child, number)
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def drafts(self) -> list[Path]:
        return [path for path in (self.folder / "got" / "files").iterdir() if path.name.startswith(".")]

    def assert_whole(self) -> None:
        """Whatever can be seen is, to the byte, one of the versions."""
        wanted = [contents(path) for path in (self.folder / "wanted").glob("*/*")]
        for path in (self.folder / "got" / "files").glob("[!.]*"):
            assert contents(path) in wanted, f"{path.name} is neither version"


def contents(path: Path) -> Any:
    if path.is_file():
        return path.suffix, path.read_bytes()
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture
def victim(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Victim]:
    made = Victim(request.param, tmp_path)
    yield made
    made.close()


WRITERS = ["transcripts", "comparison", "artifact", "npz", "huggingface", "ctranslate2",
           pytest.param("pt", marks=pytest.mark.slow)]  # fmt: skip


@pytest.mark.parametrize("victim", WRITERS, indirect=True)
def test_sigkill_while_writing(victim: Victim, request: pytest.FixtureRequest) -> None:
    moments = random.Random(request.node.name)
    for number in range(ENOUGH):
        if number >= KILLS and victim.drafts():
            break
        assert victim.strike(signal.SIGKILL, after=moments.uniform(0, LONGEST)) == -signal.SIGKILL
        victim.assert_whole()
        record.count("kills")
    assert victim.drafts(), "no kill met a file half-written"
    assert victim.run(rounds=2) == 0, victim.stderr.read_text()
    victim.assert_whole()


@pytest.mark.parametrize("victim", WRITERS, indirect=True)
def test_sigterm_while_writing(victim: Victim, request: pytest.FixtureRequest) -> None:
    """One line, a status that says so, and nothing left behind."""
    moments = random.Random(request.node.name)
    for _ in range(2 * KILLS):
        assert victim.strike(signal.SIGTERM, after=moments.uniform(0, LONGEST)) == STATUS
        assert victim.stderr.read_text() == "maxwhisper: error: terminated\n"
        assert victim.drafts() == []
        victim.assert_whole()
        record.count("kills")
    assert victim.run(rounds=2) == 0, victim.stderr.read_text()
    victim.assert_whole()


DYING = """
import os, signal, sys, time
from maxwhisper_impl import cli
class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)  # the handler runs here, where nothing can be raised
def job():
    dying = Dying()
    del dying
    try:
        time.sleep(60)
    finally:
        print("unwound", flush=True)
    return 0
sys.exit(cli.run(job))
"""


def test_sigterm_inside_a_destructor() -> None:
    """It is raised as soon as that is through, and everything is unwound."""
    command = [sys.executable, "-c", DYING]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=30, check=False)
    assert done.returncode == STATUS
    assert done.stderr == "maxwhisper: error: terminated\n"
    assert done.stdout == "unwound\n"


FAILING = """
import os, signal, sys, time
from maxwhisper_impl import cli
def job():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        raise RuntimeError("not the end that a file must have")
sys.exit(cli.run(job))
"""


def test_sigterm_where_unwinding_fails() -> None:
    """As torch.save's does: the process was terminated all the same."""
    command = [sys.executable, "-c", FAILING]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (STATUS, "maxwhisper: error: terminated\n")


BUSY = """
import hashlib, sys
from maxwhisper_impl import cli
def job():
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes, in which no handler of Python's runs, as in a compiler
    return 0
sys.exit(cli.run(job))
"""


def test_sigterm_while_nothing_of_python_runs() -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "busy\n"
    time.sleep(0.2)
    process.terminate()
    _, said = process.communicate(timeout=10 * GRACE)
    assert (process.returncode, said) == (STATUS, "maxwhisper: error: terminated\n")
