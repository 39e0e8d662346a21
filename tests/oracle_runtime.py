"""openai-whisper's own encoder and decoder behind `maxwhisper_impl.runtime`'s protocol.

With it the decoding rules are compared on the oracle's own logits: a difference is a rule, never a kernel.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
import whisper
import whisper.decoding

from maxwhisper_impl.decoding import task
from maxwhisper_impl.decoding.greedy import Sampler
from maxwhisper_impl.dims import ModelDimensions
from tests.picks import PicksOnHost


@contextmanager
def exact_oracle() -> Iterator[None]:
    """openai-whisper with `log_softmax` in float64: torch's float32 sum over the vocabulary is off by 3e-5 a step."""
    exact = SimpleNamespace(
        log_softmax=lambda x, dim: torch.log_softmax(x.double(), dim=dim).float(), pad=torch.nn.functional.pad
    )
    with mock.patch.object(whisper.decoding, "F", exact), warnings.catch_warnings():
        # beam search hands a torch tensor to np.argsort
        warnings.filterwarnings("ignore", "__array_wrap__", DeprecationWarning)
        yield


class Draws:
    """Makes openai-whisper sample what we sampled: `recording()` around our decoding, `replaying()` around its own.

    Only the random numbers are shared. Which distribution they draw from, and in what order windows and temperatures
    come, is each side's own affair; the seeds of a fallback that one side does not make are left over.
    """

    def __init__(self) -> None:
        self.samplers: list[tuple[float, Any]] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        def sampler(temperature: float, seed: Any, rows: int, group: int, windows: Any = None) -> Sampler:
            words = [seed] if isinstance(seed, int) else list(seed)
            self.samplers.append((temperature, [*words, *windows[0]] if windows else seed))
            return Sampler(temperature, seed, rows, group, windows)

        with mock.patch.object(task, "Sampler", sampler):
            yield

    @contextmanager
    def replaying(self) -> Iterator[None]:
        left = list(self.samplers)

        class Replayed(whisper.decoding.GreedyDecoder):
            def update(self, tokens: Any, logits: Any, sum_logprobs: Any) -> Any:
                if self.temperature > 0 and not hasattr(self, "sampler"):
                    temperature, seed = left.pop(0)
                    assert temperature == self.temperature, f"ours at {temperature}, the oracle's at {self.temperature}"
                    self.sampler = Sampler(1.0, seed, len(tokens), len(tokens))
                categorical = mock.patch.object(whisper.decoding, "Categorical", self.categorical)
                with categorical:
                    return super().update(tokens, logits, sum_logprobs)

            def categorical(self, logits: Any) -> Any:
                rows = range(len(logits))
                return SimpleNamespace(sample=lambda: torch.from_numpy(self.sampler.pick(logits.numpy(), rows)[0]))

        with mock.patch.object(whisper.decoding, "GreedyDecoder", Replayed):
            yield
        assert not left, f"the oracle made {len(left)} fewer sampled decodings than the {len(self.samplers)} of ours"


class OracleRuntime:
    """The Runtime protocol over a `whisper.Whisper` on CPU in float32. Features are torch tensors."""

    def __init__(self, model: whisper.Whisper):
        self.model = model
        self.dims = ModelDimensions(**vars(model.dims))
        self.alignment_heads = [(int(layer), int(head)) for layer, head in model.alignment_heads.indices().T]
        self.encodes = 0
        self.steps = 0

    def encode(self, mel: np.ndarray) -> Any:
        self.encodes += 1
        with torch.no_grad():
            return self.model.encoder(torch.from_numpy(np.ascontiguousarray(mel, np.float32)))

    def start(self, features: Any, rows_per_window: int = 1) -> OracleDecoderState:
        return OracleDecoderState(self, torch.as_tensor(features), rows_per_window)

    def cross_scores(
        self, features: Any, tokens: np.ndarray, heads: Sequence[tuple[int, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The cross-attention's scores as the oracle's own `find_alignment` takes them, and the logits."""
        seen: list[Any] = []
        hooks = [
            block.cross_attn.register_forward_hook(lambda _, ins, outs: seen.append(outs[1]))
            for block in self.model.decoder.blocks
        ]
        try:
            with torch.no_grad(), whisper.model.disable_sdpa():
                logits = self.model.decoder(torch.from_numpy(tokens.astype(np.int64)), torch.as_tensor(features))
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack([seen[layer][:, head] for layer, head in heads], dim=1).numpy(), logits.numpy()


class OracleDecoderState(PicksOnHost):
    """One key/value cache per state; whisper's hooks are on the model only while a step runs."""

    def __init__(self, runtime: OracleRuntime, features: Any, rows_per_window: int):
        self.runtime = runtime
        self.model = runtime.model
        # a single window is broadcast over its rows as in the oracle; several are repeated
        self.shared = len(features) == 1
        self.features = features if self.shared else features.repeat_interleave(rows_per_window, dim=0)
        self.rows = len(features) * rows_per_window
        self.length = 0
        self.cache: dict[Any, Any] = {}

    def step(self, tokens: np.ndarray, at: Sequence[int] = (-1,)) -> np.ndarray:
        rows, count = tokens.shape
        if rows != self.rows:
            raise ValueError(f"{rows} rows of tokens for {self.rows} rows of state")
        if self.length + count > self.runtime.dims.n_text_ctx:
            raise ValueError(f"position {self.length + count} is past n_text_ctx = {self.runtime.dims.n_text_ctx}")
        self.runtime.steps += 1
        self.cache, hooks = self.model.install_kv_cache_hooks(self.cache)
        try:
            with torch.no_grad():
                tokens = torch.from_numpy(np.asarray(tokens, np.int64))
                logits = self.model.decoder(tokens, self.features, kv_cache=self.cache)
        finally:
            for hook in hooks:
                hook.remove()
        self.length += count
        return logits[:, list(at)].numpy()

    def select(self, rows: Sequence[int]) -> None:
        index = list(rows)
        self.rows = len(index)
        attentions = [block.attn for block in self.model.decoder.blocks]
        if not self.shared:
            self.features = self.features[index]
            attentions += [block.cross_attn for block in self.model.decoder.blocks]
        for attention in attentions:
            for module in (attention.key, attention.value) if self.cache else ():
                self.cache[module] = self.cache[module][index]
