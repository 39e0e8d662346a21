"""Runs of the suite in scratch copies: first without a fault, then with one (or a group of them) at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue

from maxwhisper_impl.errors import MaxWhisperError
from tests.teeth.fault import Fault
from tests.teeth.scratch import Scratch

TIMEOUT = 600
"""seconds a test may take under a fault: one that makes a loop endless is seen as well"""
OUTPUT = 6000
"""characters of a run's output that are shown where it went wrong"""

Say = Callable[[str], None]


class RedWithoutFault(MaxWhisperError):
    """The suite is red, or cannot run, before any fault is there: nothing can be said of faults."""


@dataclass(frozen=True)
class Red:
    """A red test; `when` is "call" where it is the test itself that failed, not its fixtures or its import."""

    nodeid: str
    when: str


@dataclass(frozen=True)
class Run:
    """What pytest said."""

    reds: list[Red]
    passed: int | None
    """None where it did not come to its end"""
    output: str


@dataclass(frozen=True)
class Verdict:
    fault: Fault
    first_red: Red | None
    seconds: float
    """of its run, or its share of the group's"""

    @property
    def caught(self) -> bool:
        return self.first_red is not None

    @property
    def at_right_place(self) -> bool:
        red = self.first_red
        return red is not None and red.when == "call" and self.fault.is_right(red.nodeid)

    def __str__(self) -> str:
        red = self.first_red
        how = "caught" if self.at_right_place else f"FAR: {red.nodeid}, {red.when}" if red else "SURVIVED"
        return f"{self.fault.name} · {self.seconds:.0f} s · {how}"


def control(faults: Sequence[Fault], folder: Path, say: Say) -> None:
    """Everything that the faults' runs will run, once without any; RedWithoutFault names what is red."""
    scratch = Scratch(folder)
    by_checkpoint = sorted(faults, key=lambda fault: fault.checkpoint)
    for checkpoint, group in groupby(by_checkpoint, key=lambda fault: fault.checkpoint):
        tests = _without_repeats(name for fault in group for name in fault.tests)
        say(f"without a fault, {checkpoint}: {len(tests)} files and tests")
        run = run_pytest(scratch, checkpoint, tests, apart=False)
        if run.reds:
            listed = "\n".join(f"  {red.nodeid}" for red in run.reds)
            raise RedWithoutFault(f"red before any fault is there:\n{listed}\n{run.output}")
        if not run.passed:
            raise RedWithoutFault(f"nothing ran, or pytest itself failed, without a fault:\n{run.output}")


def _without_repeats(names: Sequence[str] | object) -> list[str]:
    """Files and tests once each, no test whose file is there."""
    unique = dict.fromkeys(names)
    return [name for name in unique if "::" not in name or name.split("::")[0] not in unique]


def jobs(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Each fault by itself and each group together, those that have to be compiled first: they take longest."""
    together: dict[str, list[Fault]] = {}
    for fault in faults:
        together.setdefault(fault.group or fault.name, []).append(fault)
    return sorted(together.values(), key=lambda job: not job[0].recompiles)


def run_faults(faults: Sequence[Fault], workers: int, say: Say) -> list[Verdict]:
    """A verdict for each fault, in the catalogue's order."""
    verdicts: dict[str, Verdict] = {}
    lock = threading.Lock()
    with tempfile.TemporaryDirectory(prefix="teeth-") as folder, ThreadPoolExecutor(workers) as pool:
        control(faults, Path(folder, "control"), say)
        free: SimpleQueue[Scratch] = SimpleQueue()
        for number in range(workers):
            free.put(Scratch(Path(folder, str(number))))

        def work(job: list[Fault]) -> None:
            scratch = free.get()
            try:
                found = run_job(scratch, job)
            finally:
                free.put(scratch)
            with lock:
                for verdict in found:
                    verdicts[verdict.fault.name] = verdict
                    say(f"{len(verdicts)} of {len(faults)} · {verdict}")

        for done in [pool.submit(work, job) for job in jobs(faults)]:
            done.result()
    return [verdicts[fault.name] for fault in faults]


def run_job(scratch: Scratch, job: list[Fault]) -> list[Verdict]:
    """The faults of a job together; each gets the first red test that is its own, else one that is nobody's."""
    start = time.monotonic()
    try:
        for fault in job:
            fault.apply(scratch.root)
        tests = _without_repeats(name for fault in job for name in fault.tests)
        run = run_pytest(scratch, job[0].checkpoint, tests, apart=True, first=len(job) == 1)
    finally:
        for fault in job:
            scratch.restore(fault.file)
    seconds = (time.monotonic() - start) / len(job)
    if run.passed is None and not run.reds:
        raise MaxWhisperError(f"{' and '.join(f.name for f in job)}: pytest did not come to its end:\n{run.output}")
    return [Verdict(fault, _first_red(fault, job, run.reds), seconds) for fault in job]


def _first_red(fault: Fault, job: list[Fault], reds: list[Red]) -> Red | None:
    if len(job) == 1:
        return reds[0] if reds else None
    # of a group: a red test at another's right place is the other's
    unclaimed = (red for red in reds if not any(other.is_right(red.nodeid) for other in job if other is not fault))
    return next(unclaimed, None)


def run_pytest(scratch: Scratch, checkpoint: str, tests: Sequence[str], *, apart: bool, first: bool = False) -> Run:
    """pytest in a scratch copy; `first`: only up to the first red test."""
    witness = scratch.root.parent / "witness.jsonl"
    witness.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "tests.teeth.witness", "--witness", str(witness), "-q"]
    command += ["-m", "not slow", "--checkpoint", checkpoint, "--timeout", str(TIMEOUT), "--hypothesis-seed", "0"]
    command += ["-x"] if first else []
    done = subprocess.run(
        [*command, *tests],
        cwd=scratch.root,
        env=scratch.environment(apart=apart),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in witness.read_text().splitlines()] if witness.exists() else []
    reds = [Red(line["red"], line["when"]) for line in lines if "red" in line]
    passed = next((line["passed"] for line in lines if "passed" in line), None)
    return Run(reds, passed, done.stdout[-OUTPUT:])
