"""Systems that do as they are told, for tests of the comparison itself. A worker process imports this module."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from maxwhisper_impl import threads
from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.systems import Pinned, Progress, SystemSpec, Transcript

LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def set_for_libraries() -> list[str | None]:
    """The threads that NumPy's matrix products may have, whichever library they come from."""
    return [os.environ.get(name) for name in LIBRARIES]


class Fake:
    """`spec.model` is the path of a JSON file that tells each system by name what to do:

    text, tokens, load_seconds, seconds, fails_at ("prepare", "load", "crash", "round"), forgets (says more each
    time), allocate (bytes), lingers (how often its process is still found at work when the answer is there).
    All that is asked of the systems goes to the file's neighbour `log.jsonl`, in order.
    """

    packages = ("pytest",)
    dtypes = ("float32", "int8")

    def __init__(self, spec: SystemSpec) -> None:
        self.spec = spec
        self.script: dict[str, Any] = json.loads(Path(spec.model).read_text())[spec.system]
        self.calls = 0
        self.kept = b""
        self.looks, self.cpu_seconds = 0, 0.0

    def prepare(self) -> None:
        self._log("prepare")
        if self.script.get("fails_at") == "prepare":
            raise CheckpointError("these weights are not here")

    def load(self, progress: Progress | None = None) -> None:
        self._log("load")
        if progress:
            progress("compiling something")
        if self.script.get("fails_at") == "load":
            raise KeyError("deep down")
        time.sleep(self.script.get("load_seconds", 0))
        self.kept = bytes(bytearray(os.urandom(4096)) * (self.script.get("allocate", 0) // 4096))

    def transcribe(self, audio: Any, pinned: Pinned) -> Transcript:
        self._log("transcribe", samples=len(audio), language=pinned.language)
        self.calls += 1
        if self.script.get("fails_at") == "crash" and self.calls == 2:
            os._exit(41)
        if self.script.get("fails_at") == "round" and self.calls == 3:
            raise ValueError("not again")
        time.sleep(self.script.get("seconds", 0))
        if "lingers" in self.script:
            self.looks = 2 * self.script["lingers"]  # at the beginning and at the end of the time watched
            threads.process_time = self._process_time
        text = self.script.get("text", "one two")
        if self.script.get("forgets"):
            text += f" {WORDS[self.calls]}"
        return Transcript(text, self.script.get("tokens", [1, 2, 3]), [(0.0, 1.0, text)])

    def _process_time(self) -> float:
        """As if threads lingered: a real one would look idle where other processes leave it no CPU."""
        if self.looks > 0:
            self.cpu_seconds += 1000
        elif self.looks == 0:
            self._log("at rest")
        self.looks -= 1
        return self.cpu_seconds

    def _log(self, what: str, **more: Any) -> None:
        process = {"process": os.getpid(), "cpus": len(os.sched_getaffinity(0)), "libraries": set_for_libraries()}
        row = {"system": self.spec.system, "what": what, **process, **more}
        with Path(self.spec.model).with_name("log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
