"""How many threads a process computes with: as many as it may use CPUs.

MAX makes one thread for each CPU that the process may run on; asking its session for another number ends the process
(26.7: "requesting different options to those used to create the existing CPUDevice"). So the CPUs are what is limited.
"""

from __future__ import annotations

import os
from time import perf_counter, process_time, sleep
from typing import Any

from .errors import OptionError

SLICE, IDLE = 0.02, 0.25
"""Seconds over which a process is watched, and the share of a CPU that one at rest may use."""


def available_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_engine_threads: int | None = None
"""Threads that MAX was started with in this process; it cannot be told another number later."""


def start_engine(count: int | None) -> None:
    """To be called before MAX's first session, and before each later one: OptionError if `count` came too late."""
    global _engine_threads
    if _engine_threads is None:
        if count is not None:
            limit_threads(count)
        _engine_threads = available_cpus()
    elif count not in (None, _engine_threads):
        raise OptionError(
            f"num_threads={count}: MAX runs with {_engine_threads} threads in this process; give it to the first model"
        )


def verify_threads(count: Any) -> int:
    """The CPUs that this process may use; OptionError unless `count` is a number of them."""
    available = available_cpus()
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= available:
        raise OptionError(f"threads={count!r:.100}: give 1 to {available}, the CPUs that this process may use")
    return available


def limit_threads(count: int) -> None:
    """Keep this process to `count` CPUs from now on; to be called before MAX starts. OptionError out of range."""
    available = verify_threads(count)
    if count == available:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise OptionError(f"threads={count}: this system cannot keep a process to fewer than its {available} CPUs")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def until_idle(limit: float = 2.0) -> bool:
    """Waits until this process's threads use a quarter of a CPU at most; False if not within `limit` seconds.

    MAX's threads spin for half a second after their work: whoever is timed next would pay for it.
    """
    until = perf_counter() + limit
    while perf_counter() < until:
        start, used = perf_counter(), process_time()
        sleep(SLICE)
        if process_time() - used <= IDLE * (perf_counter() - start):
            return True
    return False
