"""The package under test among its peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from maxwhisper_impl.threads import available_cpus
from maxwhisper_impl.tokenizer import get_tokenizer
from tests.implementations import PINNED
from tests.perf.peers import Cuts, Setting, Shared

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint
    from maxwhisper_impl.whisper import Whisper


class Ours(Shared):
    """With as many threads as the process has CPUs: MAX takes no other number later."""

    def __init__(self, checkpoint: Checkpoint, dtype: str, setting: Setting) -> None:
        from maxwhisper_impl.whisper import load_model

        self.model: Whisper = load_model(checkpoint.source, dtype=dtype)
        self.eot = get_tokenizer(checkpoint.dims.is_multilingual).eot
        self.setting = _checked(setting)

    def at(self, setting: Setting) -> Self:
        return super().at(_checked(setting))

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.encode(mel))

    def features(self, mel: np.ndarray) -> np.ndarray:
        """As an array: what MAX would keep of an earlier decoding of its own `Features` would not be timed."""
        return self.encode(mel)

    def decode(self, features: np.ndarray, steps: int) -> list[list[int]]:
        options: dict[str, Any] = {"sample_len": steps, "suppress_tokens": f"-1,{self.eot}"}
        results = self.model.decode(features, language="en", without_timestamps=True, **options)
        assert isinstance(results, list)
        return [list(result.tokens) for result in results]

    def read(self, audio: np.ndarray) -> str:
        return self.model.transcribe(audio, language="en", **PINNED)["text"]

    def read_in_batches(self, audio: np.ndarray, cuts: Cuts) -> str:
        """It cuts by itself, and that is timed."""
        options = {**PINNED, "language": "en", "without_timestamps": True, "batch_size": self.setting.batch}
        return self.model.transcribe(audio, **options)["text"]


def _checked(setting: Setting) -> Setting:
    if (setting.threads, setting.workers) != (available_cpus(), 1):
        raise ValueError(f"MAX computes with {available_cpus()} threads here, not with {setting}")
    return setting
