"""The systems that the suite can test or take as its oracle: one Protocol, one adapter each, one registry.

Nothing heavy is imported before an adapter loads. What an implementation cannot do is left out of `capabilities`,
and tests that need it are skipped for it, by capability and never by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from maxwhisper_impl.dims import SIZES, ModelDimensions

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

PINNED: dict[str, Any] = {"temperature": 0.0}
"""Greedy without fallback; everything else, the prompt from the previous text too, is openai-whisper's default."""


@dataclass(frozen=True)
class Decoded:
    """One window's result; the field names are openai-whisper's `DecodingResult`."""

    tokens: list[int]
    text: str
    language: str
    avg_logprob: float
    no_speech_prob: float
    language_probs: dict[str, float] = field(default_factory=dict)


class Model(Protocol):
    """A loaded implementation. Arrays are NumPy: mel [batch, n_mels, 3000], features [batch, 1500, n_audio_state].

    `capabilities`: the methods that work (encode, logits, decode, detect_language, transcribe, taps), and "words" (word
    times), "cache" (a decoder that is stepped), "options" (decode and transcribe take all of openai-whisper's),
    "sampling" (what it draws can be handed to the oracle, see `oracle_runtime.Draws`), "live" (`whisper.live`), and of
    faster-whisper's options "batched" (`batch_size`, several windows' language) and "repetition" (penalties, hotwords).
    """

    capabilities: frozenset[str]
    dims: ModelDimensions

    def mel(self, audio: np.ndarray) -> np.ndarray: ...  # of the first 30 s: [n_mels, 3000]
    def long_mel(self, audio: np.ndarray) -> np.ndarray: ...  # of all, with 30 s of silence behind it: [n_mels, frames]
    def encode(self, mel: np.ndarray) -> np.ndarray: ...
    def logits(self, tokens: np.ndarray, features: np.ndarray) -> np.ndarray: ...
    def decode(self, mel: np.ndarray, **options: Any) -> list[Decoded]: ...
    def detect_language(self, mel: np.ndarray) -> list[dict[str, float]]: ...
    def transcribe(self, audio: np.ndarray, **options: Any) -> Mapping[str, Any]: ...
    def taps(self, mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Implementation:
    """A system by name; `load(checkpoint, device, dtype)` gives the model with exactly those weights."""

    name: str
    packages: tuple[str, ...]
    adapter: str
    load: Callable[[Checkpoint, str, str], Model]

    def versions(self) -> str:
        return ", ".join(f"{package} {_version(package)}" for package in self.packages)


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _load_ours(checkpoint: Checkpoint, device: str, dtype: str) -> Model:
    from tests.adapters.ours import Ours

    return Ours(checkpoint, device, dtype)


def _load_openai(checkpoint: Checkpoint, device: str, dtype: str) -> Model:
    from tests.adapters.openai import OpenAI

    return OpenAI(checkpoint, device, dtype)


def _load_faster(checkpoint: Checkpoint, device: str, dtype: str) -> Model:
    from maxwhisper_impl.threads import available_cpus
    from tests.adapters.faster import Faster

    return Faster(checkpoint, device, dtype, available_cpus())  # as many as ours and torch take


IMPLEMENTATIONS: dict[str, Implementation] = {
    i.name: i
    for i in (
        Implementation("maxwhisper_impl", ("maxwhisper", "max"), "ours.py", _load_ours),
        Implementation("openai-whisper", ("openai-whisper", "torch"), "openai.py", _load_openai),
        Implementation("faster-whisper", ("faster-whisper", "ctranslate2"), "faster.py", _load_faster),
    )
}


def checkpoint_name(checkpoint: Checkpoint) -> str:
    """The official name of a checkpoint's dims, else its file's name."""
    return next((name for name, dims in SIZES.items() if dims == checkpoint.dims), checkpoint.source.name)


_MLP = (".mlp_ln.input", ".mlp.1", "")
_ENCODER_BLOCK = (".attn.query+key+value", ".attn.out.input", *_MLP)
_DECODER_BLOCK = (
    ".attn.query+key+value",
    ".attn.out.input",
    ".cross_attn_ln.input",
    ".cross_attn.query",
    ".cross_attn.out.input",
    *_MLP,
)


def tap_names(dims: ModelDimensions) -> list[str]:
    """The tapped values in the order in which a window flows through the model, by openai-whisper's module names.

    A block is tapped where a fused implementation can still be: the three projections side by side, the attended values
    that go into `out`, the residual stream that goes into the next norm, the MLP behind its GELU, the block's output.
    """
    encoder = [f"encoder.blocks.{i}{part}" for i in range(dims.n_audio_layer) for part in _ENCODER_BLOCK]
    decoder = [f"decoder.blocks.{i}{part}" for i in range(dims.n_text_layer) for part in _DECODER_BLOCK]
    return ["encoder.conv1", "encoder.conv2", *encoder, "encoder.ln_post", "decoder.embedding", *decoder, "logits"]
