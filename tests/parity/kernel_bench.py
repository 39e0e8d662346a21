"""What single ops are tested with: each op as a graph of its own, and what it should give, in float64 or float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import settings
from hypothesis import strategies as st
from max.driver import Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import BufferType, DeviceRef, Graph, Module, TensorType
from max.graph.graph import KernelLibrary

from maxwhisper_impl.dims import ModelDimensions
from maxwhisper_impl.kernels.packing import bfloat16_bits, quantize
from maxwhisper_impl.weights.files import widen_bfloat16
from tests import compare
from tests.rounded import RIGHT, attend, is_fine, nearest_bfloat16, quantized_rows

STATE, HIDDEN, VOCAB, CHANNELS, FRAMES, CONTEXT, KEYS = 128, 320, 200, 21, 46, 24, 427
"""Channels and keys are odd, so that no loop over them comes out even; keys are more than are weighed together,
and hidden values more than are summed up in one run."""
HEADS = STATE // 64
DIMS = ModelDimensions(CHANNELS, KEYS, STATE, HEADS, 1, VOCAB, CONTEXT, STATE, HEADS, 1)
DEVICE = DeviceRef.CPU()
LAYERS = {
    "encoder.conv1": (STATE, CHANNELS, 3),
    "encoder.conv2": (STATE, STATE, 3),
    "decoder.norm": (STATE,),
    "decoder.wide": (HIDDEN, STATE),
    "decoder.narrow": (STATE, HIDDEN),
    "decoder.token_embedding": (VOCAB, STATE),
}
BLOCK = "decoder.blocks.0"
NORMS = ("attn_ln", "cross_attn_ln", "mlp_ln")
LAYERS |= {f"{BLOCK}.{name}": (STATE,) for name in NORMS}
LAYERS |= {f"{BLOCK}.{attn}.{name}": (STATE, STATE)
           for attn in ("attn", "cross_attn") for name in ("query", "key", "value", "out")}
LAYERS |= {f"{BLOCK}.mlp.0": (HIDDEN, STATE), f"{BLOCK}.mlp.2": (STATE, HIDDEN)}
WITHOUT_BIAS = ("decoder.token_embedding", f"{BLOCK}.attn.key", f"{BLOCK}.cross_attn.key")
ROWS_OF_LAYER = 3
FARTHER = 8
"""Logits lie so much farther apart than what other layers put out: not all of them near the top."""
LINEAR = ("plain", "norm_gelu", "residual", "vocabulary")


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    tensors = {
        "encoder.positional_embedding": rng.standard_normal((FRAMES // 2, STATE)),
        "decoder.positional_embedding": rng.standard_normal((CONTEXT, STATE)),
    }
    for name, shape in LAYERS.items():
        tensors[f"{name}.weight"] = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        if name not in WITHOUT_BIAS:
            tensors[f"{name}.bias"] = rng.standard_normal(shape[0])
    tensors |= {f"decoder.ln.{kind}": FARTHER * tensors[f"decoder.norm.{kind}"] for kind in ("weight", "bias")}
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


WEIGHTS = _weights()


class Bench:
    """Every op as a graph of its own, with symbolic sizes, compiled together.

    `twins`: more ops that read the same weights, by the name that is put before their graphs' names."""

    def __init__(self, ops: Any, dtype: str = "float32", **twins: Any):
        self.ops, self.dtype, self.device = ops, dtype, ops.device.to_device()
        self.module = Module()
        self.library = KernelLibrary()
        self.library.load_paths(ops.extensions)
        for prefix, each in {"": ops, **twins}.items():
            self._stage_all(prefix, each)
        self.session = InferenceSession(devices=[self.device])
        self.compiled = self.session.compile(self.module, custom_extensions=self.library.library_paths())

    def _stage_all(self, prefix: str, ops: Any) -> None:
        x = self.floats("rows", "n", STATE)
        wide = self.floats("rows", "n", HIDDEN)
        kv = self.floats("windows", KEYS, 3 * STATE)
        flags = TensorType(DType.uint8, [VOCAB], ops.device)
        cache = BufferType(ops.cache_dtype, ops.cache_shape(DIMS, "slots"), ops.device)

        def conv(mel: Any) -> Any:
            x = ops.conv(ops.frames(mel), "encoder.conv1", stride=1)
            return ops.conv(x, "encoder.conv2", stride=2, position="encoder.positional_embedding")

        def attend(x: Any, kv: Any, windows: Any, **weight_bytes: int) -> Any:
            return ops.attend(x, ops.pack_kv(kv, STATE), windows, KEYS, **weight_bytes)

        def decoder_layer(x: Any, cache: Any, source: Any, kv: Any, windows: Any) -> list[Any]:
            parts = ops.decoder_layer(x, BLOCK, cache, source, ops.pack_kv(kv, STATE), windows, KEYS)
            return list(parts.values())

        stages: dict[str, tuple[list[Any], Callable[..., Any]]] = {
            "layer_norm": ([x], lambda x: ops.layer_norm(x, "decoder.norm")),
            "plain": ([x], lambda x: ops.linear(x, "decoder.wide")),
            "norm_gelu": ([x], lambda x: ops.linear(x, "decoder.wide", norm="decoder.norm", gelu=True)),
            "residual": ([wide, x], lambda x, y: ops.linear(x, "decoder.narrow", residual=y)),
            "vocabulary": ([x], ops.logits),
            "conv": ([self.floats("rows", CHANNELS, FRAMES)], conv),
            "attend": ([x, kv, self.ids("rows")], attend),
            "first": ([self.floats("rows", CHANNELS, FRAMES)],
                      lambda mel: ops.conv(ops.frames(mel), "encoder.conv1", stride=1)),
            "keys_values": ([self.floats("windows", KEYS, STATE)],
                            lambda x: ops.keys_values(x, f"{BLOCK}.cross_attn.key+value")),
            "key_and_value": ([self.floats("windows", KEYS, STATE)],
                              lambda x: ops.pack_kv(ops.linear(x, f"{BLOCK}.cross_attn.key+value"), STATE)),
            "pack_kv": ([kv], lambda kv: ops.pack_kv(kv, STATE)),
            "decoder_layer": ([x, cache, self.ids("rows", "length"), kv, self.ids("rows")], decoder_layer),
            **{name: ([x], partial(ops.layer_norm, name=f"{BLOCK}.{name}")) for name in NORMS},
            "embed": ([self.ids("rows", "n"), self.ids("rows", "length")], ops.embed),
            "pick_rows": ([x, self.ids("picked")], ops.pick_rows),
            "pick": ([self.floats("rows", "picked", VOCAB), self.ids("chosen", 5), flags], ops.pick),
        }
        if self.dtype == "int8":
            stages["attend_finely"] = [x, kv, self.ids("rows")], partial(attend, weight_bytes=2)
        for name, (inputs, op) in stages.items():
            with Graph(prefix + name, input_types=inputs, module=self.module, kernel_library=self.library) as graph:
                results = op(*(v.buffer if isinstance(v.type, BufferType) else v.tensor for v in graph.inputs))
                graph.output(*(results if isinstance(results, list) else [results]))

    def load(self, weights: dict[str, np.ndarray]) -> Bench:
        """Other weights of the same dtypes."""
        registry = type(self.ops).prepare(weights, self.dtype)
        self.models = self.session.init_all(self.compiled, weights_registry=registry)
        return self

    def floats(self, *shape: Any) -> TensorType:
        return TensorType(DType.float32, shape, self.ops.device)

    def ids(self, *shape: Any) -> TensorType:
        return TensorType(DType.int32, shape, self.ops.device)

    def __call__(self, name: str, *inputs: Any) -> np.ndarray:
        return self.all(name, *inputs)[0]

    def all(self, name: str, *inputs: Any) -> list[np.ndarray]:
        placed = [x if isinstance(x, Buffer) else self.put(x) for x in inputs]
        return [result.to_numpy() for result in self.models[name].execute(*placed)]

    def put(self, array: np.ndarray) -> Buffer:
        return Buffer.from_numpy(np.ascontiguousarray(array)).to(self.device)


EXAMPLES = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([1e-3, 1.0, 30.0])
ROWS = st.sampled_from([1, 2, 5, 6, 7, 31, 32, 33, 65, 200])
Drawn = tuple[np.ndarray, torch.Tensor]


def draw(seed: int, size: float, *shape: int) -> Drawn:
    """Values of one size with one channel far off, as Whisper's are; in float32, and the same in float64."""
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(size)
    x[..., 5] *= 20
    return x, torch.from_numpy(x).double()


def linear_inputs(op: str, seed: int, size: float, rows: int, n: int) -> list[Drawn]:
    """What a linear op reads: x, behind the wide left side of one that adds x to it."""
    x = draw(seed, size, rows, n, STATE)
    return [draw(seed + 1, size, rows, n, HIDDEN), x] if op == "residual" else [x]


def draw_windows(seed: int, windows: int, dtype: str) -> Drawn:
    """`[windows, KEYS, 3 * STATE]`, with keys that the dtype has: between two of its numbers they could fall to either.
    """
    kv, _ = draw(seed, 1.0, windows, KEYS, 3 * STATE)
    if dtype != "float32":
        keys = torch.from_numpy(kv[:, :, STATE : 2 * STATE]).unflatten(2, (HEADS, 64))
        kv[:, :, STATE : 2 * STATE] = RIGHT[dtype](keys).flatten(2).numpy()
    return kv, torch.from_numpy(kv).double()


def window_inputs(
    seed: int, n: int, windows: list[int], dtype: str = "float32"
) -> tuple[list[np.ndarray], list[torch.Tensor]]:
    """For `attend`, n queries of each row over the keys of one of three windows; and queries, keys and values of it."""
    q, q64 = draw(seed, 1.0, len(windows), n, STATE)
    kv, kv64 = draw_windows(seed + 1, 3, dtype)
    keys, values = kv64[windows, :, STATE : 2 * STATE], kv64[windows, :, 2 * STATE :]
    return [q, kv, np.array(windows, np.int32)], [q64, keys, values]


class Reference:
    """The ops on the weights as a dtype stores them, in the dtype of the given values: float64, or float32 to see what
    that is off by. What a kernel rounds on its way is rounded here as well; nothing else is."""

    def __init__(self, dtype: str = "float32"):
        self.dtype = dtype

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        return {name: self._stored(name, tensor) for name, tensor in WEIGHTS.items()}

    def _stored(self, name: str, tensor: np.ndarray) -> np.ndarray:
        if self.dtype == "float32" or not name.endswith(".weight") or tensor.ndim == 1:
            return tensor
        if self.dtype == "bfloat16" or is_fine(name.removesuffix(".weight")):
            return widen_bfloat16(bfloat16_bits(tensor))
        values, step = quantize(tensor)
        return values.astype(np.float64) * step[:, None]

    def half(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.dtype == "float32" else nearest_bfloat16(x)

    def weight(self, name: str, like: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.weights[name]).to(like.dtype)

    def norm(self, x: torch.Tensor, name: str = "decoder.norm") -> torch.Tensor:
        gamma, beta = (self.weight(f"{name}.{kind}", x) for kind in ("weight", "bias"))
        return F.layer_norm(x, (STATE,), gamma, beta, 1e-5)

    def product(self, x: torch.Tensor, name: str) -> torch.Tensor:
        bias = self.weight(f"{name}.bias", x) if f"{name}.bias" in WEIGHTS else None
        left = quantized_rows(x) if self.dtype == "int8" and not is_fine(name) else self.half(x)
        return F.linear(left, self.weight(f"{name}.weight", x), bias)

    def linear(self, op: str, *x: torch.Tensor, normed: bool = False) -> torch.Tensor:
        """`normed`: x has been through its norm already."""
        norm = (lambda x: x) if normed else self.norm
        return {
            "layer_norm": lambda x: norm(x),
            "plain": lambda x: self.product(x, "decoder.wide"),
            "norm_gelu": lambda x: F.gelu(self.product(norm(x), "decoder.wide")),
            "residual": lambda x, y: y + self.product(x, "decoder.narrow"),
            "vocabulary": lambda x: self.product(FARTHER * norm(x), "decoder.token_embedding"),
        }[op](*x)

    def convolution(self, frames: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        """frames `[rows, n, channels]`"""
        kernel, bias = self.weight(f"{name}.weight", frames), self.weight(f"{name}.bias", frames)
        return F.gelu(F.conv1d(self.half(frames).transpose(1, 2), kernel, bias, stride, padding=1)).transpose(1, 2)

    def second(self, frames: torch.Tensor) -> torch.Tensor:
        """The second convolution, with positions."""
        return self.convolution(frames, "encoder.conv2", 2) + self.weight("encoder.positional_embedding", frames)

    def first(self, mel: torch.Tensor) -> torch.Tensor:
        return self.convolution(mel.transpose(1, 2), "encoder.conv1", 1)

    def attention(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, weight_bytes: int = 1) -> torch.Tensor:
        """Over all keys; see `rounded.attend`."""
        q, k, v = (t.unflatten(2, (HEADS, 64)).transpose(1, 2) for t in (q, k, v))
        if self.dtype == "float32":
            attended = F.scaled_dot_product_attention(q, k, v)
        else:
            attended = attend(q * 0.125, k, v, self.dtype, weight_bytes)
        return attended.transpose(1, 2).flatten(2)

    def errors(self, samples: int = 100) -> dict[str, float]:
        """What float32 is off from float64 in these references, for the ledger's rows.

        Of attention in a smaller dtype, where a weight between two numbers may fall to either, in the worst row: that
        happens seldom, and needs more samples to be seen."""
        return {
            "kernels/rel_l2": max(map(self._product_error, range(samples))),
            "kernels.attention/rel_l2": max(map(self._attention_error, range(4 * samples))),
        }

    def _product_error(self, seed: int) -> float:
        normed = self.dtype != "float32"
        x, wide = draw(seed, 1.0, 2, 33, STATE), draw(seed, 1.0, 2, 33, HIDDEN)
        mel, frames = draw(seed, 1.0, 2, CHANNELS, FRAMES), draw(seed, 1.0, 2, FRAMES, STATE)
        cases: list[tuple[Callable[..., torch.Tensor], list[Drawn]]] = [
            *((partial(self.linear, op, normed=normed), [wide, x] if op == "residual" else [x]) for op in LINEAR),
            (self.first, [mel]),
            (self.second, [frames]),
        ]
        return max(compare.rel_l2(*_both(op, inputs)) for op, inputs in cases)

    def _attention_error(self, seed: int) -> float:
        inputs = [draw(seed, 1.0, 2, 33, STATE), draw_windows(seed + 1, 2, self.dtype)]
        got, want = _both(lambda q, kv: self.attention(q, *kv.split(STATE, 2)[1:]), inputs)
        rows = [(got, want)] if self.dtype == "float32" else zip(got[0], want[0], strict=True)
        return max(compare.rel_l2(*row) for row in rows)


def _both(op: Callable[..., torch.Tensor], inputs: list[Drawn]) -> tuple[np.ndarray, np.ndarray]:
    """In float32, as float64, and in float64."""
    return op(*(torch.from_numpy(a) for a, _ in inputs)).double().numpy(), op(*(b for _, b in inputs)).numpy()
