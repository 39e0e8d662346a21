"""The systems that ours is raced against at their best, ours among them: one interface, a setting each.

All have the same weights, converted tensor for tensor, and do the same work: greedy, English, no fallback. A window is
decoded without timestamps for a given number of steps (no end of text), so that nobody is fast by saying less.
Nothing of another system is imported before it is loaded. What is here is no oracle: answers are not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

OURS = "maxwhisper_impl"
CASES = ("encode", "step", "batch", "reading", "batched")
"""One window encoded; one window, eight windows decoded; a recording in sequence, and cut into windows."""
WINDOWS = 8
"""of the case "batch" """


@dataclass(frozen=True)
class Setting:
    """What a user of a system may choose to make it fast."""

    threads: int
    """of each worker"""
    workers: int = 1
    """that compute side by side: faster-whisper's `num_workers`, whisper.cpp's processors"""
    batch: int = 1
    """windows decoded together, of the case "batched" alone"""

    def __str__(self) -> str:
        parts = [f"{self.threads} threads" if self.threads > 1 else "1 thread"]
        parts += [f"{self.workers} workers"] if self.workers > 1 else []
        parts += [f"batches of {self.batch}"] if self.batch > 1 else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Configuration:
    """A system and what it computes in."""

    system: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.system}:{self.dtype}"


class Contestant(Protocol):
    """A loaded system with a setting. mel: float32 [windows, n_mels, 3000]; audio: float32 [n_samples] at 16 kHz."""

    def at(self, setting: Setting) -> Self: ...  # the same weights with another setting
    def encode(self, mel: np.ndarray) -> Any: ...  # [windows, n_audio_ctx, n_audio_state]; None where it cannot be seen
    def features(self, mel: np.ndarray) -> Any: ...  # what its `decode` takes
    def decode(self, features: Any, steps: int) -> list[list[int]]: ...  # text tokens of each window
    def read(self, audio: np.ndarray) -> str: ...  # in sequence, each window told the text before it
    def read_in_batches(self, audio: np.ndarray, cuts: Cuts) -> str: ...
    def clock(self, case: str) -> Callable[[], float]: ...  # seconds; of the process unless the system has its own


class Shared:
    """A contestant that takes its setting with each call: others with the same weights are copies of it."""

    setting: Setting

    def at(self, setting: Setting) -> Self:
        other = copy(self)
        other.setting = setting
        return other

    def clock(self, case: str) -> Callable[[], float]:
        return perf_counter


Cuts = list[tuple[int, int]]
"""Samples [start, end) of a recording, 30 s at most: where it is cut for systems that do not cut it themselves."""

_ADAPTERS = {
    OURS: ("ours", "Ours"),
    "openai-whisper": ("openai", "OpenAI"),
    "faster-whisper": ("faster", "Faster"),
    "whisper.cpp": ("cpp", "Cpp"),
    "transformers": ("hugging", "Hugging"),
}
OUR_DTYPES = ("float32", "bfloat16", "int8")
PEERS = (
    Configuration("openai-whisper", "float32"),
    Configuration("openai-whisper", "bfloat16"),
    Configuration("faster-whisper", "float32"),
    Configuration("faster-whisper", "int8"),
    Configuration("whisper.cpp", "float16"),
    Configuration("transformers", "float32"),
    Configuration("transformers", "bfloat16"),
)
"""CTranslate2 has no bfloat16 on CPUs; whisper.cpp's wheels abort on float32 matrices."""
CONFIGURATIONS = (*(Configuration(OURS, dtype) for dtype in OUR_DTYPES), *PEERS)

CANNOT = {
    ("whisper.cpp", "batch"): "its bindings decode one window at a time",
    ("openai-whisper", "batched"): "it reads recordings in sequence alone",
}
"""Rows that a system is left out of, and why."""


def able(case: str, configurations: tuple[Configuration, ...] = CONFIGURATIONS) -> list[Configuration]:
    return [each for each in configurations if (each.system, case) not in CANNOT]


def find(name: str) -> list[Configuration]:
    """Of "faster-whisper:int8", or of a system all; ValueError, which says what there is, for a name of none."""
    found = [each for each in CONFIGURATIONS if name in (each.system, str(each))]
    if not found:
        raise ValueError(f"unknown configuration {name!r}; there are {', '.join(map(str, CONFIGURATIONS))}")
    return found


def load(which: Configuration, checkpoint: Checkpoint, setting: Setting) -> Contestant:
    module, name = _ADAPTERS[which.system]
    return getattr(import_module(f"{__name__}.{module}"), name)(checkpoint, which.dtype, setting)
