"""Runs cases in worker processes: hands out their numbers, and says which one crashed, hung or took too much memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tests.fuzz.case import Case
from tests.fuzz.worker import Ended, keep, make, resident, serve

PREPARATION = 600.0
"""seconds for a worker to get ready; compiling graphs is the longest"""
PATIENCE = 5
"""times as much as a case may compute it may take by the clock: the machine may be busy, or the case be waiting"""
RUNAWAY = 2 << 30
"""bytes above a target's bound at which its process is ended at once, whatever the case is entitled to"""
DUMP = 0.5
"""seconds that a process gets to write where it is"""
LOOK = 0.05
"""seconds between two looks at the workers"""
ENOUGH = 20
"""failures after which a target is given up"""
TAIL = 3000
"""characters of a crashed process's last words"""


@dataclass
class Failure:
    target: str
    number: int
    seed: int
    kind: str
    what: str
    kept: str = ""

    @property
    def command(self) -> str:
        return f"python -m tests.fuzz --target {self.target} --case {self.number} --seed {self.seed}"


@dataclass
class Report:
    """What became of a target's cases."""

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    peak: int = 0
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        return sum(self.outcomes.values()) + len(self.failures)


class Slot:
    """A worker process and the case that it runs."""

    def __init__(self, target: str, seed: int, folder: Path):
        self.target, self.seed, self.folder = target, seed, folder
        self.made = make(target)
        self.name = self.made.name
        self.number: int | None = None
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.target, self.seed, self.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.ready, self.number, self.since, self.spent, self.base = False, None, time.monotonic(), 0.0, 0

    def give(self, number: int) -> None:
        self.number, self.since, self.spent = number, time.monotonic(), self._processor_time()
        with suppress(OSError):  # it has ended; the next look says so
            self.pipe.send(number)

    def look(self) -> Ended | None:
        """How the case ended, if it has; a worker that ended with it is started anew."""
        if self.pipe.poll():
            try:
                what, value = self.pipe.recv()
            except (EOFError, OSError):
                return self._over("crash", self._how_it_ended())
            if what == "ended":
                return value
            self.ready, self.base = True, value
        elif not self.process.is_alive():
            return self._over("crash", self._how_it_ended())
        if (self.number is not None or not self.ready) and (waited := self._hangs()):
            return self._over("hang", f"{waited}; it was at\n{self._dump()}")
        if self.number is not None and (grown := self._resident() - self.base) > self.made.memory + RUNAWAY:
            return self._over("memory", f"grew by {grown >> 20} MiB, and was ended", grown)
        return None

    def close(self) -> None:
        self.pipe.close()
        self.process.join(timeout=2)
        self.process.kill()
        self.process.join()

    def last_words(self) -> str:
        log = self.folder / "stderr.txt"
        return log.read_text(errors="replace")[-TAIL:] if log.is_file() else ""

    def _over(self, kind: str, what: str, peak: int = 0) -> Ended:
        ready = self.ready
        self.close()
        if not ready:
            raise RuntimeError(f"target {self.name} cannot be prepared: {kind}: {what}")
        number = self.number
        self.start()
        self.number = number
        return Ended(None, kind, what, peak)

    def _hangs(self) -> str:
        waited, limit = time.monotonic() - self.since, self.made.seconds
        if not self.ready:
            return f"not ready after {waited:.0f} s" if waited > PREPARATION else ""
        if waited > limit and (spent := self._processor_time() - self.spent) > limit:
            return f"computed for {spent:.1f} s, its limit is {limit:g} s"
        return f"not done after {waited:.0f} s" if waited > PATIENCE * limit else ""

    def _processor_time(self) -> float:
        """Seconds, of all its threads."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0  # it has just ended
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _resident(self) -> int:
        try:
            return resident(self.process.pid or "self")
        except (OSError, IndexError):
            return 0  # it has just ended

    def _how_it_ended(self) -> str:
        self.process.join(timeout=5)
        code = self.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return f"the process ended with {how}\n{self.last_words()}"

    def _dump(self) -> str:
        """Where the process is, which faulthandler writes when it is asked."""
        if self.process.pid and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(DUMP)
        return self.last_words()


def fuzz(
    target: str,
    seed: int,
    *,
    seconds: float,
    numbers: Iterable[int],
    workers: int,
    folder: Path,
    kept: Path,
    tick: Callable[[Report], Any] = lambda report: None,
) -> Report:
    """Cases of a target ("module:Class") until `seconds` are over or `numbers` are; `tick` after each of them."""
    slots = [Slot(target, seed, folder / f"{target.partition(':')[2]}-{index}") for index in range(workers)]
    report, left, started = Report(slots[0].name), iter(numbers), time.monotonic()
    try:
        while not all(slot.ready for slot in slots):
            _attend(slots, report, kept, tick)
        started = time.monotonic()
        while _hand_out(slots, left, over=_over(report, started, seconds)):
            _attend(slots, report, kept, tick)
    finally:
        for slot in slots:
            slot.close()
    report.seconds = time.monotonic() - started
    return report


def _over(report: Report, started: float, seconds: float) -> bool:
    return time.monotonic() - started > seconds or len(report.failures) >= ENOUGH


def _hand_out(slots: list[Slot], left: Iterator[int], *, over: bool) -> bool:
    """A case for each idle worker; whether any case or worker is under way."""
    for slot in slots:
        if slot.ready and slot.number is None and not over and (number := next(left, None)) is not None:
            slot.give(number)
    return any(slot.number is not None or not (slot.ready or over) for slot in slots)


def _attend(slots: list[Slot], report: Report, kept: Path, tick: Callable[[Report], Any]) -> None:
    wait([slot.pipe for slot in slots], LOOK)
    for slot in slots:
        number = slot.number
        if (ended := slot.look()) is None or number is None:
            continue
        slot.number = None
        report.peak = max(report.peak, ended.peak)
        if ended.outcome is not None:
            report.outcomes[ended.outcome] += 1
        else:
            failure = Failure(slot.name, number, slot.seed, ended.kind, ended.what)
            case = Case(slot.name, number, slot.seed, slot.folder)
            failure.kept = str(keep(case, kept, f"{failure.command}\n\n{ended.kind}: {ended.what}\n"))
            report.failures.append(failure)
        tick(report)
