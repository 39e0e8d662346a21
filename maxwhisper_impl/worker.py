"""A system in a process of its own: its memory and its threads are its own, and so is its crash."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MaxWhisperError
from .systems import SYSTEMS, Pinned, Progress, System, SystemSpec, Transcript
from .threads import limit_threads, until_idle

if TYPE_CHECKING:
    import numpy as np

PR_SET_PDEATHSIG = 1
"""of `linux/prctl.h`: the signal that a process gets when its parent dies"""


class SystemFailed(MaxWhisperError):
    """A system could not do what it was asked; the message is the system's own."""


@dataclass(frozen=True)
class Timed:
    """An answer and the wall time it took inside the process, without the way there and back."""

    value: Any
    seconds: float


class Worker:
    """A running process with one system in it. SystemFailed when a call raised there, or the process died."""

    def __init__(self, spec: SystemSpec) -> None:
        self.spec = spec
        context = multiprocessing.get_context("spawn")  # forked threads of torch or MAX would hang
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, SYSTEMS[spec.system], spec), daemon=True)
        self._process.start()
        theirs.close()

    def prepare(self) -> Timed:
        return self._call("prepare")

    def load(self, progress: Progress | None = None) -> Timed:
        return self._call("load", progress=progress)

    def transcribe(self, audio: np.ndarray, pinned: Pinned) -> tuple[Transcript, float]:
        """The transcript and the seconds it took."""
        answer = self._call("transcribe", audio, pinned)
        return answer.value, answer.seconds

    def rest(self) -> None:
        """Returns when its threads have come to rest, so that the next system has the machine for itself."""
        self._call("rest")

    def peak_memory(self) -> int:
        """Bytes of resident memory at most so far."""
        return self._call("peak_memory").value

    def close(self) -> None:
        self._pipe.close()  # the process sees the end of its pipe and leaves
        self._process.join(timeout=2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _call(self, method: str, *arguments: Any, progress: Progress | None = None) -> Timed:
        try:
            self._pipe.send((method, arguments))
            while (answer := self._pipe.recv())[0] == "progress":
                if progress:
                    progress(answer[1])
        except (EOFError, OSError) as error:
            self._process.join(timeout=5)
            raise SystemFailed(f"the process ended while in {method}, exit code {self._process.exitcode}") from error
        if answer[0] == "error":
            raise SystemFailed(answer[1])
        return answer[1]


def peak_memory() -> int:
    """Bytes of resident memory that this process had at most so far."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # unlike ru_maxrss, not inherited from the process that started this one
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _serve(pipe: Connection, kind: type[System], spec: SystemSpec) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody waits for the answer of an orphan
    limit_threads(spec.threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(spec.threads)  # for NumPy's matrix products in the peers' feature extractors
    system = kind(spec)
    methods: dict[str, Callable[..., Any]] = {
        "prepare": system.prepare,
        "load": lambda: system.load(lambda message: pipe.send(("progress", message))),
        "transcribe": system.transcribe,
        "rest": until_idle,
        "peak_memory": peak_memory,
    }
    while True:
        try:
            method, arguments = pipe.recv()
            pipe.send(_answer(methods[method], arguments))
        except (EOFError, BrokenPipeError):  # the parent closed its end, or is gone
            return


def _answer(method: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        start = time.perf_counter()
        value = method(*arguments)
        return "done", Timed(value, time.perf_counter() - start)
    except MaxWhisperError as error:
        return "error", str(error)
    except Exception as error:  # whatever a library raises: it is the row's fate, not the comparison's
        return "error", f"{type(error).__name__}: {error}"
