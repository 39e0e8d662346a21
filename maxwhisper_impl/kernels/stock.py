"""The same layers out of MAX's own ops: for GPUs, and as the plain twin that `fused` is held against."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from max.dtype import DType
from max.graph import BufferValue, DeviceRef, Dim, Graph, TensorValue, Weight, ops

from ..dims import ModelDimensions
from .fused import DECODER_LAYER

HEAD = 64
EPSILON = 1e-5


class StockOps:
    """Stages MAX's ops in the current graph; `fused.FusedOps` says what each method does."""

    extensions: tuple[Path, ...] = ()
    dtypes = ("float32",)
    cache_dtype = cross_dtype = DType.float32

    def __init__(self, weights: Mapping[str, np.ndarray], device: DeviceRef, dtype: str = "float32"):
        self.device = device
        self.weights = {name: Weight(name, DType.float32, array.shape, device) for name, array in weights.items()}

    @staticmethod
    def prepare(tensors: Mapping[str, np.ndarray], dtype: str = "float32") -> dict[str, np.ndarray]:
        """A checkpoint's tensors in float32; convolutions `[n, channels, taps]` as products `[n, taps * channels]`."""
        ready = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
        for name, tensor in ready.items():
            if tensor.ndim == 3:
                ready[name] = np.ascontiguousarray(tensor.transpose(0, 2, 1).reshape(tensor.shape[0], -1))
        return ready

    @staticmethod
    def cross_shape(dims: ModelDimensions) -> list[int]:
        """Of one window's cross-attention keys and values."""
        return [2, dims.n_text_head, dims.n_audio_ctx, HEAD]

    @staticmethod
    def keys(cross: np.ndarray, count: int) -> np.ndarray:
        return cross[:, 0, :, :count]

    @staticmethod
    def cache_shape(dims: ModelDimensions, slots: Any) -> list[Any]:
        """Of one layer's self-attention keys and values."""
        return [slots, dims.n_text_ctx, 2 * dims.n_text_state]

    def weight(self, name: str) -> TensorValue:
        return Graph.current.add_weight(self.weights[name])

    def frames(self, mel: TensorValue) -> TensorValue:
        return mel.permute([0, 2, 1])

    def conv(self, x: TensorValue, name: str, stride: int, position: str | None = None) -> TensorValue:
        frames = int(x.shape[1])
        x = ops.pad(x, [0, 0, 1, 1, 0, 0])
        taps = [x[:, tap : tap + frames : stride, :] for tap in range(3)]
        y = ops.gelu(self._product(ops.concat(taps, axis=2), name))
        return y if position is None else y + self.weight(position)

    def layer_norm(self, x: TensorValue, name: str) -> TensorValue:
        return ops.layer_norm(x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), EPSILON)

    def linear(self, x: TensorValue, name: str, *, norm: str | None = None, gelu: bool = False,
               residual: TensorValue | None = None) -> TensorValue:
        if norm:
            x = self.layer_norm(x, norm)
        stem, _, last = name.rpartition(".")
        layers = [self._product(x, f"{stem}.{part}") for part in last.split("+")]
        y = layers[0] if len(layers) == 1 else ops.concat(layers, axis=2)
        y = ops.gelu(y) if gelu else y
        return y if residual is None else residual + y

    def _product(self, x: TensorValue, name: str) -> TensorValue:
        y = x @ self.weight(f"{name}.weight").transpose(0, 1)
        return y + self.weight(f"{name}.bias") if f"{name}.bias" in self.weights else y

    def pack_kv(self, x: TensorValue, state: int) -> TensorValue:
        batch, n, width = x.shape
        kv = x[:, :, int(width) - 2 * state :].reshape([batch, n, 2, state // HEAD, HEAD])
        return kv.permute([0, 2, 3, 1, 4])

    def keys_values(self, x: TensorValue, name: str) -> TensorValue:
        kv = self.linear(x, name)
        return self.pack_kv(kv, int(kv.shape[2]) // 2)

    def attend(self, x: TensorValue, kv: TensorValue, windows: TensorValue, keys: int) -> TensorValue:
        heads = int(kv.shape[2])
        mine = ops.gather(kv, windows, axis=0)
        q = self._heads(x[:, :, : heads * HEAD], heads)
        return self._merge(self._weigh(q, mine[:, 0], mine[:, 1]))

    def decoder_layer(self, x: TensorValue, block: str, cache: BufferValue, source: TensorValue, cross: TensorValue,
                      windows: TensorValue, keys: int) -> dict[str, TensorValue]:
        qkv = self.linear(x, f"{block}.attn.query+key+value", norm=f"{block}.attn_ln")
        attended = self.self_attend(qkv, cache, source)
        said = self.linear(attended, f"{block}.attn.out", residual=x)
        query = self.linear(said, f"{block}.cross_attn.query", norm=f"{block}.cross_attn_ln")
        heard = self.attend(query, cross, windows, keys)
        both = self.linear(heard, f"{block}.cross_attn.out", residual=said)
        hidden = self.linear(both, f"{block}.mlp.0", norm=f"{block}.mlp_ln", gelu=True)
        y = self.linear(hidden, f"{block}.mlp.2", residual=both)
        return dict(zip(DECODER_LAYER, (qkv, attended, said, query, heard, both, hidden, y), strict=True))

    def self_attend(self, x: TensorValue, cache: BufferValue, source: TensorValue) -> TensorValue:
        self._remember(x, cache, source)
        n, length, state = x.shape[1], source.shape[1], int(x.shape[2]) // 3
        past, positions = length - n, int(cache.shape[1])
        column = self._range(0, length)
        held = ops.buffer_load(cache).reshape([cache.shape[0] * positions, 2 * state])
        kv = ops.gather(held, source * positions + column, axis=0)
        keys, values = kv[:, :, :state], kv[:, :, state:]
        heads = state // HEAD
        visible = ops.unsqueeze(column, 0) <= ops.unsqueeze(self._range(past, length), 1)
        mask = ops.where(visible, self._scalar(0.0), self._scalar(float("-inf")))
        q = self._heads(x[:, :, :state], heads)
        return self._merge(self._weigh(q, self._heads(keys, heads), self._heads(values, heads), mask))

    def _remember(self, x: TensorValue, cache: BufferValue, source: TensorValue) -> None:
        """Stores the keys and values behind x's queries in the cache, at the last positions of `source`."""
        (rows, n, width), length = x.shape, source.shape[1]
        state = int(width) // 3
        here = [(slice(0, _size(rows)), rows), (slice(_size(length - n), _size(length)), n), slice(0, 2 * state)]
        ops.buffer_store_slice(cache, x[:, :, state:], here)

    def _weigh(self, q: TensorValue, k: TensorValue, v: TensorValue, mask: TensorValue | None = None) -> TensorValue:
        scores = (q @ k.transpose(2, 3)) * HEAD**-0.5
        if mask is None:
            return ops.softmax(scores) @ v
        # Written out: MAX 26.7 turns softmax(scores + mask) @ v into an op of its own that loses a computed mask.
        scores = scores + mask
        weights = ops.exp(scores - ops.max(scores, axis=-1))
        return weights / ops.sum(weights, axis=-1) @ v

    def _heads(self, x: TensorValue, heads: int) -> TensorValue:
        return x.reshape([*x.shape[:2], heads, HEAD]).permute([0, 2, 1, 3])

    def _merge(self, x: TensorValue) -> TensorValue:
        rows, heads, n, _ = x.shape
        return x.permute([0, 2, 1, 3]).reshape([rows, n, int(heads) * HEAD])

    def _range(self, start: Dim | int, stop: Dim) -> TensorValue:
        return ops.range(start, stop, 1, out_dim=stop - start, dtype=DType.int32, device=self.device)

    def _scalar(self, value: float) -> TensorValue:
        return ops.constant(value, DType.float32, self.device)

    def embed(self, tokens: TensorValue, source: TensorValue) -> TensorValue:
        length = source.shape[1]
        positions = self._range(length - tokens.shape[1], length)
        embedded = ops.gather(self.weight("decoder.token_embedding.weight"), tokens, axis=0)
        return embedded + ops.gather(self.weight("decoder.positional_embedding"), positions, axis=0)

    def pick_rows(self, x: TensorValue, at: TensorValue) -> TensorValue:
        return ops.gather(x, at, axis=1)

    def logits(self, x: TensorValue) -> TensorValue:
        return self.linear(x, "decoder.token_embedding", norm="decoder.ln")

    def pick(self, logits: TensorValue, ranges: TensorValue, suppressed: TensorValue) -> list[TensorValue]:
        rows, (_, _, vocabulary) = ranges.shape[0], logits.shape
        mine = ops.gather(logits[:, -1], self._range(0, rows), axis=0)
        begin, text_from, time_from, time_to, prefers = (ranges[:, i : i + 1] for i in range(5))
        ids = ops.unsqueeze(self._range(0, vocabulary), 0)
        spoken, none = ops.unsqueeze(suppressed == 0, 0), self._scalar(float("-inf"))
        is_text = ids < begin
        text = ops.where(is_text & (ids >= text_from) & spoken, mine, none)
        times = ops.where(~is_text & (ids >= time_from) & (ids < time_to) & spoken, mine, none)
        likelier = (prefers != 0) & (self._log_sum(times) > self._top(text))
        left = ops.where(likelier, times, ops.where(is_text, text, times))
        logprob = self._top(left) - self._log_sum(left)
        token = ops.cast(ops.argmax(left, axis=-1), DType.int32)
        return [token.reshape([rows]), logprob.reshape([rows])]

    def _log_sum(self, x: TensorValue) -> TensorValue:
        """log(sum(exp(x))) over the last axis, which stays; minus infinity for nothing else."""
        top = self._top(x)
        finite = ops.where(top == self._scalar(float("-inf")), self._scalar(0.0), top)
        return finite + ops.log(ops.sum(ops.exp(x - finite), axis=-1))

    def _top(self, x: TensorValue) -> TensorValue:
        """The maximum over the last axis, which stays; `ops.max` says of minus infinities: the lowest finite number."""
        top = ops.max(x, axis=-1)
        return ops.where(top > self._scalar(float(np.finfo(np.float32).min)), top, self._scalar(float("-inf")))


def _size(dim: Dim) -> TensorValue:
    return ops.shape_to_tensor([dim]).reshape([])
