"""Whisper's layers as kernels of our own (`mojo/`), for the CPU: few ops, each with its neighbours fused in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from max.dtype import DType
from max.graph import BufferValue, DeviceRef, Graph, TensorType, TensorValue, Weight, ops

from ..dims import ModelDimensions
from ..weights.files import widen_bfloat16
from .packing import PANEL, in_rows, joined, pack, pack_nibbles, pack_pairs, pack_quads, padded_to_groups

HEAD = 64
KEY = HEAD + 8
"""Bytes of a key in int8: behind its numbers their size, and their sum times that, as float32."""
OF_VALUES = 2 * 4 * HEAD
"""Bytes of the steps and the means of a head's values in int8, as float32."""
CACHE = {"float32": DType.float32, "bfloat16": DType.uint16, "int8": DType.uint16}
"""What keys and values of what has been said are stored as: uint16 are the bits of bfloat16."""
CROSS = {"float32": DType.float32, "bfloat16": DType.uint16, "int8": DType.int8}
"""The same of a window's."""


def stored_as(name: str, weight: np.ndarray) -> Any:
    """Of the decoder's layers, which a step does nothing but read: float16 where the checkpoint has no more than that.

    Products are of float32 all the same, and exactly those of float32 weights. Keys and values of a whole window are
    arithmetic, like the encoder: to widen their weights would only cost."""
    read = name.startswith("decoder.") and "cross_attn.key+value" not in name
    return np.float16 if read and weight.dtype == np.float16 else np.float32


TABLE = "decoder.token_embedding"
"""For logits of int8, which read it twice, see `mojo/logits.mojo`."""
FINE = ("encoder.conv", "encoder.blocks.*.attn.out.")
"""What stays bfloat16 in int8: it made much of what int8 costs, and takes little of its time."""


def packed(name: str, weight: np.ndarray, dtype: str) -> np.ndarray:
    """A layer's weight `[n, k]` as `dtype` has it."""
    if dtype == "float32":
        return pack(weight, stored_as(name, weight))
    if dtype == "int8" and name == f"{TABLE}.weight":
        return in_rows(weight)
    fine = re.sub(r"\.\d+\.", ".*.", name, count=1).startswith(FINE)
    return pack_pairs(weight) if dtype == "bfloat16" or fine else pack_quads(weight)


DECODER_LAYER = (".attn.query+key+value", ".attn.out.input", ".cross_attn_ln.input", ".cross_attn.query",
                 ".cross_attn.out.input", ".mlp_ln.input", ".mlp.1", "")
"""What a decoder layer's parts put out, in their order, by their names in the suite's taps."""
_LAYER_WEIGHTS = [
    f"{part}.{kind}"
    for part in ("attn_ln", "attn.query+key+value", "attn.out", "cross_attn_ln", "cross_attn.query", "cross_attn.out",
                 "mlp_ln", "mlp.0", "mlp.2")
    for kind in ("weight", "bias")
]


def staged(op: str, values: list[Any], out: TensorType, parameters: Mapping[str, int | bool]) -> TensorValue:
    """One of our ops that puts out one tensor; a cache among its values is one that it may write to."""
    stage = ops.inplace_custom if any(isinstance(v, BufferValue) for v in values) else ops.custom
    return stage(f"whisper.{op}", out.device, values, [out], parameters)[0].tensor


class FusedOps:
    """Stages our ops in the current graph. Layers are named as in openai-whisper's state dict.

    In bfloat16 and int8, attention over a window is of that dtype, and over what has been said of float32 with keys and
    values of bfloat16; norms, and what goes from op to op, are float32.
    """

    extensions = (Path(__file__).parent / "mojo",)
    dtypes = ("float32", "bfloat16", "int8")

    def __init__(self, weights: Mapping[str, np.ndarray], device: DeviceRef, dtype: str = "float32", *,
                 portable: bool = False):
        """`portable`: without the processor's instructions for small numbers, as on one that has none."""
        self.device = device
        self.cache_dtype, self.cross_dtype = CACHE[dtype], CROSS[dtype]
        self.portable = portable
        self.weights = {
            name: Weight(name, DType.from_numpy(array.dtype), array.shape, device) for name, array in weights.items()
        }

    @staticmethod
    def prepare(tensors: Mapping[str, np.ndarray], dtype: str = "float32") -> dict[str, np.ndarray]:
        """A checkpoint's tensors as these ops read them: panels, with query, key and value side by side."""
        ready: dict[str, np.ndarray] = {}
        for name, tensor in tensors.items():
            stem, _, kind = name.rpartition(".")
            if stem.endswith(("attn.key", "attn.value", ".attn.query")):
                continue  # joined below
            if kind == "weight" and tensor.ndim == 3:  # conv [n, channels, taps]: a frame's channels lie together
                ready[name] = packed(name, tensor.transpose(0, 2, 1).reshape(tensor.shape[0], -1), dtype)
            elif kind == "weight" and tensor.ndim == 2:
                ready[name] = packed(name, tensor, dtype)
            else:
                ready[name] = np.ascontiguousarray(tensor, np.float32)
        for name, weight, bias in joined(tensors):
            ready |= {f"{name}.weight": packed(f"{name}.weight", weight, dtype), f"{name}.bias": bias}
        if dtype == "int8":
            ready[f"{TABLE}.nibbles"] = pack_nibbles(tensors[f"{TABLE}.weight"])
        ready[f"{TABLE}.bias"] = np.zeros(tensors[f"{TABLE}.weight"].shape[0], np.float32)
        return ready

    def cross_shape(self, dims: ModelDimensions) -> list[int]:
        """Of one window's cross-attention keys and values, as `pack_kv` makes them."""
        return [dims.n_text_head, self._kv_size(dims.n_audio_ctx)]

    def _kv_size(self, n: int) -> int:
        """Of a head: n keys and values, padded."""
        if self.cross_dtype == DType.int8:
            return padded_to_groups(n) * (KEY + HEAD) + OF_VALUES
        return padded_to_groups(n) * 2 * HEAD

    @staticmethod
    def keys(cross: np.ndarray, count: int) -> np.ndarray:
        """Keys `[batch, heads, count, 64]`, all that there are, out of what `pack_kv` made."""
        batch, heads, _ = cross.shape
        each = 4 // cross.itemsize  # a line holds quads of int8, pairs of bfloat16, or single floats
        lines = KEY // 4 if each == 4 else HEAD // each
        panels = cross[:, :, : padded_to_groups(count) * lines * each].reshape(batch, heads, -1, lines, PANEL, each)
        keys = panels[:, :, :, : HEAD // each].transpose(0, 1, 2, 4, 3, 5).reshape(batch, heads, -1, HEAD)[:, :, :count]
        if each < 4:
            return widen_bfloat16(keys) if each == 2 else keys
        steps = np.ascontiguousarray(panels[:, :, :, -2]).view(np.float32).reshape(batch, heads, -1, 1)[:, :, :count]
        return keys * steps

    @staticmethod
    def cache_shape(dims: ModelDimensions, slots: Any) -> list[Any]:
        """Of one layer's self-attention keys and values."""
        return [2, slots, dims.n_text_head, dims.n_text_ctx, HEAD]

    def weight(self, name: str) -> TensorValue:
        return Graph.current.add_weight(self.weights[name])

    def _stage(self, op: str, values: list[Any], shape: list[Any], *, dtype: DType = DType.float32,
               **parameters: int | bool) -> TensorValue:
        return staged(op, values, TensorType(dtype, shape, self.device), parameters)

    def frames(self, mel: TensorValue) -> TensorValue:
        """mel `[batch, channels, frames]` -> `[batch, frames + 2, channels]`, zero at both ends."""
        batch, channels, frames = mel.shape
        return self._stage("frames", [mel], [batch, int(frames) + 2, channels])

    def conv(self, x: TensorValue, name: str, stride: int, position: str | None = None) -> TensorValue:
        """gelu(conv(x)), three taps; without `position` the result is padded for the next convolution."""
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        padded = position is None
        frames = (int(x.shape[1]) - 2) // stride + 2 * padded
        added = self.weight(position or "encoder.positional_embedding")  # read only where it is asked for
        return self._stage("conv", [x, weight, bias, added], [x.shape[0], frames, bias.shape[0]],
                           stride=stride, padded=padded, adds=not padded, portable=self.portable)

    def layer_norm(self, x: TensorValue, name: str) -> TensorValue:
        return self._stage("layer_norm", [x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")], list(x.shape))

    def linear(self, x: TensorValue, name: str, *, norm: str | None = None, gelu: bool = False,
               residual: TensorValue | None = None) -> TensorValue:
        """residual + gelu(norm(x) @ weight.T + bias); `name` may be several layers side by side, joined by "+"."""
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        gamma, beta = (self.weight(f"{norm}.weight"), self.weight(f"{norm}.bias")) if norm else (bias, bias)
        return self._stage("linear", [x, weight, bias, gamma, beta, x if residual is None else residual],
                           [*x.shape[:2], bias.shape[0]], norm=norm is not None, gelu=gelu, adds=residual is not None,
                           portable=self.portable)

    def pack_kv(self, x: TensorValue, state: int) -> TensorValue:
        """Keys and values at the end of x's rows, as `attend` and a decoder layer read them: `[batch, heads, size]`."""
        shape = [x.shape[0], state // HEAD, self._kv_size(int(x.shape[1]))]
        return self._stage("pack_kv", [x], shape, dtype=self.cross_dtype)

    def keys_values(self, x: TensorValue, name: str) -> TensorValue:
        """The same of a layer's keys and values, side by side, of x `[batch, n, state]`."""
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        shape = [x.shape[0], int(bias.shape[0]) // (2 * HEAD), self._kv_size(int(x.shape[1]))]
        return self._stage("keys_values", [x, weight, bias], shape, dtype=self.cross_dtype, portable=self.portable)

    def attend(self, x: TensorValue, kv: TensorValue, windows: TensorValue, keys: int,
               weight_bytes: int = 1) -> TensorValue:
        """Queries at the start of x's rows `[rows, n, state (…)]` over the `keys` of window `windows[row]`.

        `weight_bytes`: of the softmax's weights in int8, 1 or, as in a decoder's layer, 2."""
        shape = [*x.shape[:2], int(kv.shape[1]) * HEAD]
        return self._stage("attend", [x, kv, windows], shape,
                           keys=keys, weight_bytes=weight_bytes, portable=self.portable)

    def decoder_layer(self, x: TensorValue, block: str, cache: BufferValue, source: TensorValue, cross: TensorValue,
                      windows: TensorValue, keys: int) -> dict[str, TensorValue]:
        """A decoder layer of x `[rows, n, state]`: what each of its parts puts out, itself (under "") last.

        The self-attention's keys and values are stored in the cache; `source` and `windows` are `text_decoder`'s."""
        state, hidden = int(x.shape[2]), self.weights[f"{block}.mlp.0.bias"].shape[0]
        parts = dict.fromkeys(DECODER_LAYER, state) | {DECODER_LAYER[0]: 3 * state, ".mlp.1": hidden}
        names = [f"{block}.{part}" for part in _LAYER_WEIGHTS]
        values = [x, cache, source, cross, windows, *map(self.weight, names)]
        outs = [TensorType(DType.float32, [*x.shape[:2], width], self.device) for width in parts.values()]
        parameters = {"keys": keys, "portable": self.portable}
        results = ops.inplace_custom("whisper.decoder_layer", self.device, values, outs, parameters)
        return {part: result.tensor for part, result in zip(parts, results, strict=True)}

    def pick_rows(self, x: TensorValue, at: TensorValue) -> TensorValue:
        """x `[rows, n, state]` at the positions `at`, the same in every row."""
        return self._stage("pick_rows", [x, at], [x.shape[0], at.shape[0], x.shape[2]])

    def logits(self, x: TensorValue) -> TensorValue:
        """Logits of x `[rows, n, state]` behind the decoder's last norm."""
        if f"{TABLE}.nibbles" not in self.weights:
            return self.linear(x, TABLE, norm="decoder.ln")
        names = [f"{TABLE}.nibbles", f"{TABLE}.weight", f"{TABLE}.bias", "decoder.ln.weight", "decoder.ln.bias"]
        shape = [*x.shape[:2], self.weights[f"{TABLE}.bias"].shape[0]]
        return self._stage("logits", [x, *map(self.weight, names)], shape, portable=self.portable)

    def pick(self, logits: TensorValue, ranges: TensorValue, suppressed: TensorValue) -> list[TensorValue]:
        """The likeliest token by each row's last logits of those that `filters.apply_plan` allows, and its logprob."""
        outs = [TensorType(dtype, [ranges.shape[0]], self.device) for dtype in (DType.int32, DType.float32)]
        results = ops.custom("whisper.pick", self.device, [logits, ranges, suppressed], outs)
        return [result.tensor for result in results]

    def embed(self, tokens: TensorValue, source: TensorValue) -> TensorValue:
        """Token embeddings `[rows, n, state]` plus positions, the last of which is source's length - 1."""
        weight, position = self.weight(f"{TABLE}.weight"), self.weight("decoder.positional_embedding")
        return self._stage("embed", [tokens, source, weight, position], [*tokens.shape, position.shape[1]])
