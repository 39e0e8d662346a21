"""What the parity tests share: one probe per checkpoint, and what the oracle in float64 makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.corpus import Clip
from tests import compare
from tests.implementations import Model
from tests.measure_tolerances import probe
from tests.parity.recordings import joined

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint
    from tests.adapters.openai import OpenAI


def needs(model: Model, *capabilities: str) -> None:
    if lacking := set(capabilities) - model.capabilities:
        pytest.skip(f"the implementation cannot show: {', '.join(sorted(lacking))}")


@dataclass(frozen=True)
class Judge:
    """The comparators with the ledger's rows for the checkpoint, device and dtype under test."""

    prefix: str
    """random weights have rows of their own, as their values have another size"""
    device: str
    dtype: str

    def tensor(self, name: str, got: np.ndarray, want: np.ndarray, family: str) -> None:
        compare.assert_tensor(name, got, want, self.prefix + family, device=self.device, dtype=self.dtype)

    def logits(self, name: str, got: np.ndarray, want: np.ndarray) -> None:
        """Of whole sequences that the model is at home in."""
        compare.assert_logits(name, got, want, key=f"{self.prefix}logits", device=self.device, dtype=self.dtype)

    def step(self, name: str, got: np.ndarray, want: np.ndarray) -> None:
        """Of single positions behind any tokens: one such row may err by more than a sequence does on average."""
        compare.assert_logits(name, got, want, key=f"{self.prefix}row.logits", device=self.device, dtype=self.dtype)


@pytest.fixture(scope="session")
def judge(checkpoint: Checkpoint, device: str, dtype: str) -> Judge:
    return Judge("random." if checkpoint.source.name.startswith("random-") else "", device, dtype)


@dataclass(frozen=True)
class Probe:
    """Two windows of real speech, of different length, and the tokens that belong to them."""

    mel: np.ndarray
    """float32 [2, n_mels, 3000]"""
    tokens: np.ndarray
    """int64 [2, T]: the initial tokens and the oracle's own answers"""


def probing_clips(clips: list[Clip]) -> list[Clip]:
    """A short and a long clip of a window's length or less, with words."""
    spoken = sorted((c for c in clips if c.text and 2 < c.seconds < 30), key=lambda c: (c.seconds, c.id))
    if not spoken:
        raise pytest.UsageError("the corpora have no transcribed clip of 2 s to 30 s: nothing to probe the layers with")
    return [spoken[len(spoken) // 3], spoken[-1]]


@pytest.fixture(scope="session")
def speech(clips: list[Clip]) -> list[np.ndarray]:
    """Samples of the probing clips."""
    return [load_audio(clip.audio) for clip in probing_clips(clips)]


@pytest.fixture(scope="session")
def recording(clips: list[Clip]) -> np.ndarray:
    """English, two windows: 38.3 s."""
    return joined(clips, "en", 38.3)


@pytest.fixture(scope="session")
def transcribe(model: Model) -> Callable[..., Any]:
    """Whole recordings, by an implementation that has batches."""
    needs(model, "batched")
    return model.transcribe


@pytest.fixture(scope="session")
def window_probe(checkpoint: Checkpoint, oracle: Model, speech: list[np.ndarray]) -> Probe:
    mel = np.stack([oracle.mel(audio) for audio in speech])
    return Probe(mel, probe(oracle, mel))


Features = Callable[[Model, Path], np.ndarray]


@pytest.fixture(scope="module")
def features_of() -> Features:
    """The features [1, n_audio_ctx, n_audio_state] of an audio file, encoded once by each system."""
    kept: dict[tuple[int, Path], np.ndarray] = {}

    def get(model: Model, audio: Path) -> np.ndarray:
        key = (id(model), audio)
        if key not in kept:
            kept[key] = model.encode(model.mel(load_audio(audio))[None])
        return kept[key]

    return get


Taps = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def model_taps(model: Model, window_probe: Probe) -> Taps:
    needs(model, "taps")
    return model.taps(window_probe.mel, window_probe.tokens)


@pytest.fixture(scope="session")
def float64(checkpoint: Checkpoint) -> OpenAI:
    """openai-whisper in float64: what all float32 implementations, the oracle too, are rounded versions of."""
    from tests.adapters.openai import OpenAI

    return OpenAI(checkpoint, dtype="float64")


@pytest.fixture(scope="session")
def float64_taps(float64: OpenAI, window_probe: Probe) -> Taps:
    return float64.taps(window_probe.mel, window_probe.tokens)


@pytest.fixture(scope="session")
def exact(float64: OpenAI, float64_taps: Taps) -> Callable[..., np.ndarray]:
    """(tokens [rows, T], windows [rows]) -> float64's logits [rows, T, n_vocab] of the probe's windows."""
    return lambda tokens, windows: float64.logits(tokens, float64_taps["encoder.ln_post"][list(windows)])
