"""A target with one fault planted in each case, for the tests of what has to catch them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from maxwhisper_impl.errors import AudioError
from tests.fuzz.case import Case, demand

MIB = 1 << 20
BOUND = 64
"""MiB"""


class Unraisable:
    def __del__(self) -> None:
        raise KeyError("where nobody can catch it")


def crash(case: Case) -> str:
    case.write("last.bin", b"what it was given")
    os.kill(os.getpid(), signal.SIGSEGV)
    return "text"


def leave(case: Case) -> str:
    os._exit(7)


def computes(case: Case) -> str:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as the command leaves it
    while True:
        pass


def waits(case: Case) -> str:
    while True:
        time.sleep(0.01)


def foreign(case: Case) -> str:
    return {}["deep down"]


def exits(case: Case) -> str:
    sys.exit("left")


def wrong(case: Case) -> str:
    demand(2 + 2 == 5, "five was expected")
    return "text"


def unknown(case: Case) -> str:
    return "all right"


def silent(case: Case) -> str:
    raise AudioError("")


def memory(case: Case) -> str:
    """More than its bound for a moment, and all of it given back."""
    np.ones(2 * BOUND * MIB, np.uint8)
    return "text"


def runaway(case: Case) -> str:
    kept = []
    while True:
        kept.append(np.ones(8 * MIB, np.uint8))
        time.sleep(0.01)


def entitled(case: Case) -> str:
    case.allowance = 3 * BOUND * MIB
    return memory(case)


def leftover(case: Case) -> str:
    (case.spare / "forgotten").touch()
    return "text"


def unfinished(case: Case) -> str:
    (case.made / ".out.npz.x.unfinished").touch()
    return "text"


def unraisable(case: Case) -> str:
    Unraisable()
    return "text"


def warns(case: Case) -> str:
    np.log(np.zeros(1))
    return "text"


def moves(case: Case) -> str:
    """What one case changes must not reach the next one."""
    os.chdir("/")
    os.environ["LANG"] = "xx"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return "text"


def stays(case: Case) -> str:
    demand(Path.cwd() == case.made.resolve() and os.environ.get("LANG") != "xx", "the case before it moved it")
    demand(not any(case.made.iterdir()) and not any(case.given.iterdir()), "there are files of another case")
    return "empty"


def refused(case: Case) -> str:
    raise AudioError("this is no audio")


CASES = (
    moves, stays, refused, entitled, crash, leave, computes, waits, foreign, exits, wrong, unknown, silent, memory,
    runaway, leftover, unfinished, unraisable, warns, stays,
)  # fmt: skip


class Toys:
    name = "toys"
    share = 1.0
    seconds = 0.8
    memory = BOUND * MIB

    def prepare(self, folder: Path) -> None:
        np.log(np.ones(1))

    def run(self, case: Case) -> str:
        case.note(CASES[case.number].__name__)
        return CASES[case.number](case)


class Unprepared(Toys):
    def prepare(self, folder: Path) -> None:
        raise OSError("no seeds")
