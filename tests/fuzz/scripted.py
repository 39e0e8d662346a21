"""A model that always says the same sentence: fast, and every option works on it as on any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from maxwhisper_impl.dims import SIZES, ModelDimensions
from maxwhisper_impl.tokenizer import get_tokenizer
from maxwhisper_impl.weights import random_checkpoint, save_checkpoint
from tests.picks import PicksOnHost

SENTENCE = " The quick brown fox jumps over a lazy dog."
END = 1.5
"""seconds at which the sentence ends in its window"""
SURE = 60.0
"""of the logit of what comes next; of all others it is 0"""
NARROW = {
    "n_audio_state": 2,
    "n_audio_head": 1,
    "n_audio_layer": 1,
    "n_text_state": 2,
    "n_text_head": 1,
    "n_text_layer": 2,
}
DIMS = {name: replace(SIZES[name], **NARROW) for name in ("tiny.en", "tiny")}
"""An English-only and a multilingual model's: vocabulary and windows of real ones, hardly any weights."""


def save_models(folder: Path) -> dict[str, Path]:
    """Checkpoints of DIMS, whose paths tell `load` which is meant."""
    for name, dims in DIMS.items():
        if not (folder / f"{name}.npz").exists():
            save_checkpoint(random_checkpoint(dims, seed=0), folder / f"{name}.npz")
    return {name: folder / f"{name}.npz" for name in DIMS}


class Scripted:
    """What decoding asks of a runtime; it says SENTENCE in every window, whatever is in it."""

    def __init__(self, dims: ModelDimensions):
        self.dims = dims
        self.alignment_heads = ((1, 0),)
        tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages)
        begin = tokenizer.timestamp_begin
        said = [begin, *tokenizer.encode(SENTENCE), begin + round(END / 0.02), tokenizer.eot]
        self.script = [*tokenizer.sot_sequence[1:], *said]
        self.sot = tokenizer.sot

    def encode(self, mel: np.ndarray) -> np.ndarray:
        assert mel.dtype == np.float32
        assert mel.shape[1:] == (self.dims.n_mels, 2 * self.dims.n_audio_ctx)
        assert np.isfinite(mel).all()
        return np.zeros((len(mel), self.dims.n_audio_ctx, self.dims.n_audio_state), np.float32)

    def start(self, features: Any, rows_per_window: int = 1) -> ScriptedState:
        return ScriptedState(self, len(features) * rows_per_window)

    def cross_scores(
        self, features: Any, tokens: np.ndarray, heads: Sequence[tuple[int, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, count = tokens.shape
        places = 3 * np.arange(count)[:, None] - np.arange(self.dims.n_audio_ctx)
        scores = np.broadcast_to(np.exp(-0.1 * np.abs(places)).astype(np.float32), (rows, len(heads), *places.shape))
        return scores, np.zeros((rows, count, self.dims.n_vocab), np.float32)


class ScriptedState(PicksOnHost):
    """Rows being decoded. Each is at the place in the script that it has reached behind the start of the transcript."""

    def __init__(self, runtime: Scripted, rows: int):
        self.runtime = runtime
        self.behind = np.full(rows, -1)
        self.length = 0

    def step(self, tokens: np.ndarray, at: Sequence[int] = (-1,)) -> np.ndarray:
        runtime = self.runtime
        assert len(tokens) == len(self.behind)
        assert 0 <= tokens.min() <= tokens.max() < runtime.dims.n_vocab
        self.length += tokens.shape[1]
        assert self.length <= runtime.dims.n_text_ctx
        starts = [row.index(runtime.sot) if runtime.sot in row else None for row in tokens.tolist()]
        self.behind = np.array([
            tokens.shape[1] - 1 - start if start is not None else behind + tokens.shape[1]
            for start, behind in zip(starts, self.behind, strict=True)
        ])  # fmt: skip
        logits = np.zeros((len(tokens), len(at), runtime.dims.n_vocab), np.float32)
        for row, behind in zip(logits, self.behind, strict=True):
            for place, position in enumerate(at):
                reached = behind - (-1 - position if position < 0 else tokens.shape[1] - 1 - position)
                if reached >= 0:
                    row[place, runtime.script[min(reached, len(runtime.script) - 1)]] = SURE
        return logits

    def rewind(self, length: int) -> None:
        assert 0 <= length <= self.length
        self.behind -= self.length - length
        self.length = length

    def select(self, rows: Sequence[int]) -> None:
        self.behind = self.behind[list(rows)]


def load(checkpoint: Any, device: str = "cpu", dtype: str = "float32", **options: Any) -> Scripted:
    """In the place of MaxRuntime: what it refuses is refused, and nothing is compiled."""
    from maxwhisper_impl import runtime

    if dtype not in runtime.DTYPES or device != "cpu":
        return REAL(checkpoint, device, dtype, **options)  # type: ignore[return-value]
    return Scripted(checkpoint.dims)


REAL: Any = None


def take_the_place_of_max() -> None:
    """In this process models are scripted from now on."""
    global REAL
    from maxwhisper_impl import runtime

    if runtime.MaxRuntime is not load:
        REAL, runtime.MaxRuntime = runtime.MaxRuntime, load  # type: ignore[misc,assignment]
