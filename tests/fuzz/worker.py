"""The process that cases run in: many, one after the other, each announced by whoever sent its number."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.worker import PR_SET_PDEATHSIG
from tests.fuzz.case import OUTCOMES, Case, Target, Wrong, demand

MESSAGE = 100_000
"""characters at most in an error of ours"""


@dataclass(frozen=True)
class Ended:
    """How a case ended in its process: with an outcome, or with what was wrong."""

    outcome: str | None
    kind: str = ""
    """"wrong", "foreign", "memory" or "leftover" """
    what: str = ""
    peak: int = 0
    """bytes that the process took more than before the first case, at most"""


def make(name: str) -> Target:
    """The target "module:Class"."""
    module, _, cls = name.partition(":")
    return getattr(import_module(module), cls)()


def serve(pipe: Connection, target_name: str, seed: int, folder: Path) -> None:
    """Prepares, says so, and runs the cases whose numbers come through the pipe until it is closed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _redirect(folder / "stderr.txt")
    folder.joinpath("seeds").mkdir(parents=True, exist_ok=True)
    target = make(target_name)
    target.prepare(folder / "seeds")
    unraisable: list[str] = []
    sys.unraisablehook = lambda hook: unraisable.append(f"{type(hook.exc_value).__name__}: {hook.exc_value}")
    base = resident()
    pipe.send(("ready", base))
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        case = Case(target.name, number, seed, folder)
        case.clear()
        unraisable.clear()
        pipe.send(("ended", _run(target, case, base, unraisable)))
        if os.fstat(2).st_size > 1 << 20:
            os.ftruncate(2, 0)


def _redirect(errors: Path) -> None:
    """File descriptors 1 and 2, where libraries write, into a file: of a crash its end is shown."""
    errors.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    sys.stdin = open(os.devnull)  # noqa: SIM115
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # where a case hangs; SIGTERM is the command's own


def _run(target: Target, case: Case, base: int, unraisable: list[str]) -> Ended:
    surroundings = os.getcwd(), dict(os.environ), os.sched_getaffinity(0)
    os.chdir(case.made)
    os.environ["TMPDIR"] = tempfile.tempdir = str(case.spare)
    forget_peak()
    try:
        ended = _judged(target, case)
    finally:
        os.chdir(surroundings[0])
        os.environ.clear()
        os.environ.update(surroundings[1])
        os.sched_setaffinity(0, surroundings[2])
        tempfile.tempdir = None
    peak, most = peak_resident() - base, target.memory + case.allowance
    if ended.outcome is None:
        return ended
    if unraisable:
        return Ended(None, "foreign", f"raised where nobody can catch it: {'; '.join(unraisable)}")
    if peak > most:
        return Ended(None, "memory", f"grew by {peak >> 20} MiB, its bound is {most >> 20} MiB", peak)
    if left := leftovers(case):
        return Ended(None, "leftover", f"left behind: {', '.join(left)}")
    return Ended(ended.outcome, peak=peak)


def _judged(target: Target, case: Case) -> Ended:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)  # ours, to the user
            outcome = target.run(case)
            demand(outcome in OUTCOMES, f"ended in {outcome!r}")
            return Ended(outcome)
    except Wrong as error:
        return Ended(None, "wrong", str(error))
    except MaxWhisperError as error:
        message = str(error)
        if not 0 < len(message) < MESSAGE:
            return Ended(None, "wrong", f"{type(error).__name__} with a message of {len(message)} characters")
        return Ended("refused")
    except BaseException:
        return Ended(None, "foreign", traceback.format_exc())


def leftovers(case: Case) -> list[str]:
    """Temporary files, and unfinished ones beside what was made or given."""
    left = list(case.spare.rglob("*"))
    for folder in (case.made, case.given):
        left += [path for path in folder.rglob("*") if path.name.startswith(".") or path.name.endswith(".unfinished")]
    return [str(path.relative_to(case.folder)) for path in left]


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_resident() -> int:
    """Bytes at most since `forget_peak`."""
    return _status("VmHWM")


def resident(process: int | str = "self") -> int:
    return _status("VmRSS", process)


def _status(name: str, process: int | str = "self") -> int:
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) << 10


def keep(case: Case, into: Path, what: str) -> Path:
    """A copy of a failed case's input, and of what is known of it."""
    kept = into / f"{case.target}-{case.seed}-{case.number}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    if case.given.is_dir():
        shutil.copytree(case.given, kept / "given", symlinks=True)
    if case.notes.is_file():
        shutil.copy(case.notes, kept)
    (kept / "failure.txt").write_text(what, errors="backslashreplace")
    return kept
