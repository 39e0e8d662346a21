"""A checkpoint on a device: what it takes to run its graphs, and nothing of what is decoded with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from operator import is_not
from typing import Any

import numpy as np
from max.driver import CPU, Accelerator, Buffer, Device, accelerator_count
from max.engine import InferenceSession, Model
from max.graph import DeviceRef

from .decoding.filters import Plan
from .errors import DeviceError, OptionError
from .graphs import load
from .kernels import fused, gpu, stock
from .threads import start_engine
from .weights import Checkpoint

Progress = Callable[[str], object]
HEAD = 64
"""The width of an attention head in every Whisper."""
NO_RANGES = np.zeros((0, 5), np.int32)
"""Of a step that chooses no tokens."""
KERNELS = {"fused": fused.FusedOps, "stock": stock.StockOps, "gpu": gpu.GpuOps}
DTYPES = fused.FusedOps.dtypes


def _silent(message: str) -> None:
    """Progress that nobody asked for."""


def open_device(name: str) -> Device:
    """"cpu", "cuda" or "cuda:N" as a MAX device; DeviceError where there is none."""
    kind, _, number = name.partition(":")
    if kind == "cpu" and not number:
        return CPU()
    if kind != "cuda" or (number and not number.isdecimal()):
        raise DeviceError(f"unknown device {name!r}: choose cpu, cuda or cuda:N")
    count = accelerator_count()
    if int(number or 0) >= count:
        raise DeviceError(f"device {name!r} was asked for, but MAX sees {count} GPUs on this machine: use device cpu")
    return Accelerator(int(number or 0))


class MaxRuntime:
    """Runs the encoder and the decoder of one checkpoint. Arrays are NumPy at the seam, on the device behind it."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", dtype: str = "float32", *,
                 num_threads: int | None = None, kernels: str | None = None, progress: Progress | None = None):
        """`kernels`: "fused" (ours, the default on the CPU), "gpu" (ours, the default there, and slow on the CPU) or
        "stock" (MAX's own, whose products a GPU rounds to TF32)."""
        if dtype not in DTYPES:
            raise DeviceError(f"dtype {dtype!r} is not supported: choose {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")
        start_engine(num_threads)
        self.device = open_device(device)
        kernels = kernels or ("fused" if self.device.is_host else "gpu")
        if kernels not in KERNELS or (kernels == "fused" and not self.device.is_host):
            raise OptionError(f"kernels {kernels!r} are not for {device}: choose {', '.join(KERNELS)}")
        if dtype not in KERNELS[kernels].dtypes:
            raise DeviceError(f"dtype {dtype!r} is not for the {kernels} kernels on {device}: "
                              f"choose dtype {' or '.join(KERNELS[kernels].dtypes)}, or the fused kernels on the CPU")
        self.dims = dims = checkpoint.dims
        upper = range(dims.n_text_layer // 2, dims.n_text_layer)
        every = tuple((layer, head) for layer in upper for head in range(dims.n_text_head))
        self.alignment_heads = checkpoint.alignment_heads or every
        self.progress = progress or _silent
        self.weights = KERNELS[kernels].prepare(checkpoint.tensors, dtype)
        self.session = InferenceSession(devices=[self.device])
        self.ref = DeviceRef.from_device(self.device)
        self.ops = KERNELS[kernels](self.weights, self.ref, dtype)
        models, _ = self._load(taps=False)
        self._encoder, self._cross, self._decoder = models["encoder"], models["cross"], models["decoder"]

    def _load(self, taps: bool) -> tuple[dict[str, Model], list[str]]:
        return load(self.session, self.dims, self.ops, self.weights, self.ref, self.progress, taps)

    def put(self, array: np.ndarray) -> Buffer:
        """An array on the device."""
        buffer = Buffer.from_numpy(np.ascontiguousarray(array))
        return buffer if self.device.is_host else buffer.to(self.device)

    def encode(self, mel: np.ndarray) -> Features:
        """Features `[batch, n_audio_ctx, n_audio_state]` of mel float32 `[batch, n_mels, 2 * n_audio_ctx]`."""
        want = (self.dims.n_mels, 2 * self.dims.n_audio_ctx)
        if mel.ndim != 3 or mel.shape[1:] != want:
            raise OptionError(f"mel has shape {mel.shape}, the model takes {['batch', *want]}")
        batch = np.arange(len(mel), dtype=np.int32)
        buffer = self._encoder.execute(self.put(mel.astype(np.float32, copy=False)), self.put(batch))[0]
        return Features(buffer, self._cross)

    def start(self, features: Features | np.ndarray, rows_per_window: int = 1) -> DecoderState:
        """A decoder that listens to features `[batch, n_audio_ctx, n_audio_state]`: row r to r // rows_per_window."""
        if isinstance(features, np.ndarray):
            want = (self.dims.n_audio_ctx, self.dims.n_audio_state)
            if features.ndim != 3 or features.shape[1:] != want:
                raise OptionError(f"features have shape {features.shape}, the model takes {['batch', *want]}")
            features = Features(self.put(features.astype(np.float32, copy=False)), self._cross)
        windows = np.repeat(np.arange(len(features)), rows_per_window)
        return DecoderState(self, self._decoder, features.cross, windows)

    def cross_scores(self, features: Features | np.ndarray, tokens: np.ndarray,
                     heads: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """What the cross-attention of the (layer, head) pairs weighs, before its softmax, while reading tokens.

        tokens `[batch, n]` -> scores float32 `[batch, len(heads), n, n_audio_ctx]`, logits `[batch, n, n_vocab]`.
        """
        state = self.start(features)
        logits, _, _, *queries = (result.to_numpy() for result in state.execute(tokens, range(tokens.shape[1])))
        layers = {layer for layer, _ in heads}
        keys = {layer: self.ops.keys(state.cross[layer].to_numpy(), self.dims.n_audio_ctx) for layer in layers}
        scores = []
        for layer, head in heads:
            q = queries[layer][:, :, head * HEAD : (head + 1) * HEAD] * HEAD**-0.5
            scores.append(q @ keys[layer][:, head].transpose(0, 2, 1))
        return np.stack(scores, axis=1), logits

    def taps(self, mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Every layer's output for one batch of windows and their tokens, by openai-whisper's module names.

        From graphs of its own, for which the outputs of the layers are results too.
        """
        models, names = self._load(taps=True)
        batch = self.put(np.arange(len(mel), dtype=np.int32))
        features, *encoder = models["encoder"].execute(self.put(mel), batch)
        state = DecoderState(self, models["decoder"], models["cross"].execute(features), np.arange(len(mel)))
        decoder = state.execute(tokens, range(tokens.shape[1]))[3 + self.dims.n_text_layer :]
        return {name: tap.to_numpy() for name, tap in zip(names, encoder + decoder, strict=True)}


class Features:
    """What the encoder heard in a batch of windows; `np.asarray` brings it to the host."""

    def __init__(self, buffer: Buffer, cross: Model):
        self.buffer = buffer
        self._cross = cross

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.buffer.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.buffer.to_numpy().astype(dtype or np.float32, copy=bool(copy))

    @cached_property
    def cross(self) -> list[Buffer]:
        """Keys and values for the decoder's cross-attention, once for all attempts at these windows."""
        return self._cross.execute(self.buffer)


class DecoderState:
    """Rows of tokens being decoded: their self-attention cache, and which window each of them listens to."""

    def __init__(self, runtime: MaxRuntime, decoder: Model, cross: list[Buffer], windows: np.ndarray):
        dims = runtime.dims
        self.runtime, self.decoder, self.cross = runtime, decoder, cross
        self.length = 0
        self.windows = windows.astype(np.int32)
        self._put: dict[str, tuple[bytes, Buffer]] = {}
        self.slots = len(windows)
        shape = runtime.ops.cache_shape(dims, len(windows))
        self.caches = [Buffer(runtime.ops.cache_dtype, shape, runtime.device) for _ in range(dims.n_text_layer)]
        # Which slot of the cache holds each position of each row: rows are selected by moving names, not keys.
        self.source = np.zeros((len(windows), dims.n_text_ctx), np.int32)
        self._suppressed: tuple[list[np.ndarray], Buffer] = ([], runtime.put(np.zeros(dims.n_vocab, np.uint8)))

    def step(self, tokens: np.ndarray, at: Sequence[int] = (-1,)) -> np.ndarray:
        """Appends tokens `[rows, n]`; logits float32 `[rows, len(at), n_vocab]` of those of the n positions."""
        return self.execute(tokens, at)[0].to_numpy()

    def pick(self, tokens: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """Appends tokens `[rows, 1]`; the likeliest ids that a plain plan allows and their log-probabilities, both
        `[rows]`: of a step nothing else leaves the device."""
        if len(plan.suppressed) != len(self._suppressed[0]) or any(map(is_not, plan.suppressed, self._suppressed[0])):
            flags = np.zeros(self.runtime.dims.n_vocab, np.uint8)
            for ids in plan.suppressed:
                flags[ids] = 1
            self._suppressed = list(plan.suppressed), self.runtime.put(flags)
        _, ids, logprobs, *_ = self.execute(tokens, (-1,), plan.ranges)
        return ids.to_numpy(), logprobs.to_numpy()

    def execute(self, tokens: np.ndarray, at: Sequence[int], ranges: np.ndarray = NO_RANGES) -> list[Buffer]:
        rows, n = tokens.shape
        limit, vocabulary = self.source.shape[1], self.runtime.dims.n_vocab
        if rows != len(self.windows):
            raise OptionError(f"{rows} rows of tokens for {len(self.windows)} rows being decoded")
        if self.length + n > limit:
            raise OptionError(f"{self.length} + {n} tokens are more than the model's context of {limit}")
        if tokens.min() < 0 or tokens.max() >= vocabulary:
            raise OptionError(f"token ids are {tokens.min()} to {tokens.max()}, the vocabulary has {vocabulary}")
        picked = np.array([i if i >= 0 else n + i for i in at], np.int32)
        if len(picked) and not 0 <= picked.min() <= picked.max() < n:
            raise OptionError(f"logits were asked for at {list(at)} of {n} positions")
        end = self.length + n
        self.source[:, self.length : end] = np.arange(rows)[:, None]
        put, again = self.runtime.put, self._again
        ids = [put(tokens.astype(np.int32, copy=False)), put(self.source[:, :end])]
        ids += [again("windows", self.windows), again("picked", picked), again("ranges", ranges)]
        results = self.decoder.execute(*ids, self._suppressed[1], *self.cross, *self.caches)
        self.length = end
        return results

    def _again(self, name: str, array: np.ndarray) -> Buffer:
        """An array on the device, where it often is already, as the step before had the same."""
        what, held = array.tobytes(), self._put.get(name)
        if held is None or held[0] != what:
            held = self._put[name] = what, self.runtime.put(array.copy())
        return held[1]

    def rewind(self, length: int) -> None:
        """As if no more than so many tokens had been read."""
        if not 0 <= length <= self.length:
            raise OptionError(f"a decoder that has read {self.length} tokens cannot go back to {length}")
        self.length = length

    def select(self, rows: Sequence[int]) -> None:
        """Row i continues from old row rows[i]; rows may repeat (beams) or be fewer (finished ones left out)."""
        slots = self.slots
        if len(rows) > slots:
            raise OptionError(f"{len(rows)} rows selected, but the decoder was started with {slots}")
        self.source = self.source[list(rows)]
        self.windows = self.windows[list(rows)]
