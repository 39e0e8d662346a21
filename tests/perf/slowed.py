"""Ways to slow the model down. As a pytest plugin (`-p tests.perf.slowed`) it does so as $SLOW_DOWN says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

VARIABLE = "SLOW_DOWN"
SHARE = 0.15
"""Of a step's time, that the sleep adds."""


def sleep_in_the_step() -> None:
    """Each step sleeps for SHARE of the time that it has taken."""
    from maxwhisper_impl.runtime import DecoderState

    execute = DecoderState.execute

    def slow(self: Any, *arguments: Any) -> Any:
        begin = time.perf_counter()
        results = execute(self, *arguments)
        time.sleep(SHARE * (time.perf_counter() - begin))
        return results

    DecoderState.execute = slow


def one_thread_less() -> None:
    """MAX starts with one CPU fewer than the peer has."""
    from maxwhisper_impl import runtime

    start_engine = runtime.start_engine

    def slow(count: int | None) -> None:
        start_engine(count)
        every = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(every)[:-1])
        try:
            runtime.InferenceSession(devices=[runtime.CPU()])  # its threads are those of the process now
        finally:
            os.sched_setaffinity(0, every)

    runtime.start_engine = slow


def uncached_cross() -> None:
    """The keys and values of the cross-attention are computed again in each step."""
    from maxwhisper_impl.runtime import DecoderState, Features, MaxRuntime

    start, execute = MaxRuntime.start, DecoderState.execute

    def listening(self: Any, features: Any, *arguments: Any) -> Any:
        if not isinstance(features, Features):
            features = Features(self.put(features), self._cross)
        state = start(self, features, *arguments)
        state.heard = features
        return state

    def slow(self: Any, *arguments: Any) -> Any:
        self.cross = self.runtime._cross.execute(self.heard.buffer)
        return execute(self, *arguments)

    MaxRuntime.start, DecoderState.execute = listening, slow


SLOW_DOWNS: dict[str, Callable[[], None]] = {
    "sleep": sleep_in_the_step,
    "thread": one_thread_less,
    "cross": uncached_cross,
}


def pytest_configure() -> None:
    if name := os.environ.get(VARIABLE):
        SLOW_DOWNS[name]()
