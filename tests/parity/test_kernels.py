"""Each op of both kernel sets on its own, against float64: shapes and sizes that whole models do not reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import BufferType, DeviceRef, Graph, Module, TensorType
from max.graph.graph import KernelLibrary

from maxwhisper_impl.dims import ModelDimensions
from maxwhisper_impl.kernels.fused import FusedOps, pack, stored_as
from maxwhisper_impl.kernels.stock import StockOps
from tests import compare

STATE, HIDDEN, VOCAB, CHANNELS, FRAMES, CONTEXT, KEYS = 128, 192, 200, 21, 46, 24, 99
"""Channels and keys are odd, so that no loop over them comes out even."""
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
EXAMPLES = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([1e-3, 1.0, 30.0])


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    tensors = {
        "encoder.positional_embedding": rng.standard_normal((FRAMES // 2, STATE)),
        "decoder.positional_embedding": rng.standard_normal((CONTEXT, STATE)),
    }
    for name, shape in LAYERS.items():
        tensors[f"{name}.weight"] = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        if name != "decoder.token_embedding":
            tensors[f"{name}.bias"] = rng.standard_normal(shape[0])
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


WEIGHTS = _weights()


class Bench:
    """Every op as a graph of its own, with symbolic sizes, compiled together."""

    def __init__(self, ops: Any):
        self.ops = ops
        self.module = Module()
        self.library = KernelLibrary()
        self.library.load_paths(ops.extensions)
        x = self.floats("rows", "n", STATE)
        wide = self.floats("rows", "n", HIDDEN)
        qkv = self.floats("rows", "n", 3 * STATE)
        self.stage("layer_norm", [x], lambda x: ops.layer_norm(x, "decoder.norm"))
        self.stage("plain", [x], lambda x: ops.linear(x, "decoder.wide"))
        self.stage("norm_gelu", [x], lambda x: ops.linear(x, "decoder.wide", norm="decoder.norm", gelu=True))
        self.stage("residual", [wide, x], lambda x, y: ops.linear(x, "decoder.narrow", residual=y))
        self.stage("vocabulary", [x], lambda x: ops.linear(x, "decoder.token_embedding", norm="decoder.norm"))
        self.stage("conv", [self.floats("rows", CHANNELS, FRAMES)], self._conv)
        self.stage("attend", [x, self.floats("windows", KEYS, 3 * STATE), self.ids("rows")],
                   lambda x, kv, windows: ops.attend(x, ops.pack_kv(kv, STATE), windows, KEYS))
        cache = BufferType(DType.float32, ops.cache_shape(DIMS, "slots"), DEVICE)
        self.stage("self_attend", [qkv, cache, self.ids("rows", "length")], ops.self_attend)
        self.stage("embed", [self.ids("rows", "n"), self.ids("rows", "length")], ops.embed)
        self.stage("pick_rows", [x, self.ids("picked")], ops.pick_rows)
        self.session = InferenceSession(devices=[CPU()])
        self.compiled = self.session.compile(self.module, custom_extensions=self.library.library_paths())

    def load(self, weights: dict[str, np.ndarray]) -> None:
        """Other weights of the same dtypes."""
        registry = type(self.ops).prepare(weights)
        self.models = self.session.init_all(self.compiled, weights_registry=registry)

    def _conv(self, mel: Any) -> Any:
        x = self.ops.conv(self.ops.frames(mel), "encoder.conv1", stride=1)
        return self.ops.conv(x, "encoder.conv2", stride=2, position="encoder.positional_embedding")

    def floats(self, *shape: Any) -> TensorType:
        return TensorType(DType.float32, shape, DEVICE)

    def ids(self, *shape: Any) -> TensorType:
        return TensorType(DType.int32, shape, DEVICE)

    def stage(self, name: str, inputs: list[Any], op: Callable[..., Any]) -> None:
        with Graph(name, input_types=inputs, module=self.module, kernel_library=self.library) as graph:
            graph.output(op(*(v.buffer if isinstance(v.type, BufferType) else v.tensor for v in graph.inputs)))

    def __call__(self, name: str, *inputs: Any) -> np.ndarray:
        return self.models[name].execute(*inputs)[0].to_numpy()


@pytest.fixture(scope="module", params=["fused", pytest.param("stock", marks=pytest.mark.slow)])
def bench(request: pytest.FixtureRequest) -> Bench:
    kind = {"fused": FusedOps, "stock": StockOps}[request.param]
    made = Bench(kind(kind.prepare(WEIGHTS), DEVICE))
    made.load(WEIGHTS)
    return made


@pytest.fixture(scope="module")
def halves() -> tuple[Bench, Bench]:
    """The fused ops with the same weights stored as float16, and as float32."""
    half = {name: tensor.astype(np.float16) for name, tensor in WEIGHTS.items()}
    as_half, as_float = (Bench(FusedOps(FusedOps.prepare(weights), DEVICE)) for weights in (half, WEIGHTS))
    as_half.load(half)
    as_float.load({name: tensor.astype(np.float32) for name, tensor in half.items()})
    return as_half, as_float


def weight(name: str, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(WEIGHTS[name]).to(like.dtype)


def norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, (STATE,), weight("decoder.norm.weight", x), weight("decoder.norm.bias", x), 1e-5)


def product(x: torch.Tensor, name: str) -> torch.Tensor:
    bias = weight(f"{name}.bias", x) if f"{name}.bias" in WEIGHTS else None
    return F.linear(x, weight(f"{name}.weight", x), bias)


LINEAR: dict[str, Callable[..., torch.Tensor]] = {
    "layer_norm": norm,
    "plain": lambda x: product(x, "decoder.wide"),
    "norm_gelu": lambda x: F.gelu(product(norm(x), "decoder.wide")),
    "residual": lambda x, y: y + product(x, "decoder.narrow"),
    "vocabulary": lambda x: product(norm(x), "decoder.token_embedding"),
}


def convolutions(mel: torch.Tensor) -> torch.Tensor:
    for name, stride in ("encoder.conv1", 1), ("encoder.conv2", 2):
        mel = F.gelu(F.conv1d(mel, weight(f"{name}.weight", mel), weight(f"{name}.bias", mel), stride, padding=1))
    return mel.transpose(1, 2) + weight("encoder.positional_embedding", mel)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    q, k, v = (t.unflatten(2, (HEADS, 64)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def draw(seed: int, size: float, *shape: int) -> tuple[np.ndarray, torch.Tensor]:
    """Values of one size with one channel far off, as Whisper's are; in float32, and the same in float64."""
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(size)
    x[..., 5] *= 20
    return x, torch.from_numpy(x).double()


def float32_errors(samples: int = 100) -> dict[str, float]:
    """What torch's float32 is off from float64 in these references, for the ledger's rows."""
    worst = {"kernels/rel_l2": 0.0, "kernels.attention/rel_l2": 0.0}
    for seed in range(samples):
        x, x64 = draw(seed, 1.0, 2, 33, STATE)
        wide, wide64 = draw(seed, 1.0, 2, 33, HIDDEN)
        mel, mel64 = draw(seed, 1.0, 2, CHANNELS, FRAMES)
        kv, kv64 = draw(seed + 1, 1.0, 2, KEYS, 3 * STATE)
        single, double = (
            [*(op(a, b) if name == "residual" else op(b) for name, op in LINEAR.items()), convolutions(c)]
            for a, b, c in ((torch.from_numpy(wide), torch.from_numpy(x), torch.from_numpy(mel)), (wide64, x64, mel64))
        )
        for got, want in zip(single, double, strict=True):
            worst["kernels/rel_l2"] = max(worst["kernels/rel_l2"], compare.rel_l2(got.numpy(), want.numpy()))
        got = attention(torch.from_numpy(x), *torch.from_numpy(kv).split(STATE, 2)[1:])
        error = compare.rel_l2(got.numpy(), attention(x64, *kv64.split(STATE, 2)[1:]).numpy())
        worst["kernels.attention/rel_l2"] = max(worst["kernels.attention/rel_l2"], error)
    return worst


@EXAMPLES
@given(seed=SEEDS, size=SIZES, rows=st.integers(1, 3), n=st.sampled_from([1, 2, 5, 6, 7, 31, 32, 33, 65, 200]))
@pytest.mark.parametrize("op", ["layer_norm", "plain", "norm_gelu", "residual", "vocabulary"])
def test_linear(bench: Bench, op: str, seed: int, size: float, rows: int, n: int) -> None:
    inputs = [draw(seed, size, rows, n, STATE)]
    if op == "residual":
        inputs.insert(0, draw(seed + 1, size, rows, n, HIDDEN))
    got = bench(op, *(x for x, _ in inputs))
    compare.assert_tensor(op, got, LINEAR[op](*(x64 for _, x64 in inputs)).numpy(), "kernels")


@EXAMPLES
@given(seed=SEEDS, size=SIZES, rows=st.integers(1, 3))
def test_convolutions(bench: Bench, seed: int, size: float, rows: int) -> None:
    mel, mel64 = draw(seed, size, rows, CHANNELS, FRAMES)
    compare.assert_tensor("convolutions", bench("conv", mel), convolutions(mel64).numpy(), "kernels")


@EXAMPLES
@given(seed=SEEDS, n=st.sampled_from([1, 5, 6, 7, 97, 130]), windows=st.lists(st.integers(0, 2), min_size=1))
def test_attention_over_a_window(bench: Bench, seed: int, n: int, windows: list[int]) -> None:
    q, q64 = draw(seed, 1.0, len(windows), n, STATE)
    kv, kv64 = draw(seed + 1, 1.0, 3, KEYS, 3 * STATE)
    keys, values = kv64[windows, :, STATE : 2 * STATE], kv64[windows, :, 2 * STATE :]
    got = bench("attend", q, kv, np.array(windows, np.int32))
    compare.assert_tensor("attention", got, attention(q64, keys, values).numpy(), "kernels.attention")


@EXAMPLES
@given(seed=SEEDS, splits=st.lists(st.integers(1, 7), min_size=1, max_size=4), data=st.data())
def test_attention_behind_a_cache(bench: Bench, seed: int, splits: list[int], data: st.DataObject) -> None:
    """Prefill and steps over rows that swap their pasts, as beams do: what is new is written before it is read."""
    rows = 3
    past = torch.zeros(rows, 0, 3 * STATE, dtype=torch.float64)
    cache = Buffer.from_numpy(np.full(bench.ops.cache_shape(DIMS, rows), 1e30, np.float32))  # never read unwritten
    source = np.zeros((rows, 0), np.int32)
    for number, n in enumerate(splits[: CONTEXT // 7]):
        x, x64 = draw(seed + number, 1.0, rows, n, 3 * STATE)
        order = data.draw(st.lists(st.integers(0, rows - 1), min_size=rows, max_size=rows))
        own = np.repeat(np.arange(rows, dtype=np.int32)[:, None], n, axis=1)
        source = np.ascontiguousarray(np.concatenate([source[order], own], axis=1))
        past = torch.cat([past[order], x64], dim=1)
        length = past.shape[1]
        mask = torch.arange(length)[None] <= torch.arange(length - n, length)[:, None]
        q, k, v = past.split(STATE, dim=2)
        got = bench("self_attend", x, cache, source)
        want = attention(q[:, -n:], k, v, mask)
        compare.assert_tensor(f"part {number}", got, want.numpy(), "kernels.attention")


@EXAMPLES
@given(data=st.data(), rows=st.integers(1, 3), n=st.integers(1, 6), past=st.integers(0, CONTEXT - 6))
def test_embedding_and_picked_rows(bench: Bench, data: st.DataObject, rows: int, n: int, past: int) -> None:
    tokens = np.array(data.draw(st.lists(st.integers(0, VOCAB - 1), min_size=rows * n, max_size=rows * n)), np.int32)
    tokens = tokens.reshape(rows, n)
    x = bench("embed", tokens, np.zeros((rows, past + n), np.int32))
    want = WEIGHTS["decoder.token_embedding.weight"][tokens] + WEIGHTS["decoder.positional_embedding"][past : past + n]
    np.testing.assert_array_equal(x, want)
    at = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4))
    np.testing.assert_array_equal(bench("pick_rows", x, np.array(at, np.int32)), want[:, at])


@EXAMPLES
@given(seed=SEEDS, rows=st.integers(1, 2), n=st.sampled_from([1, 5, 6, 7, 65]), token=st.integers(0, VOCAB - 1))
@pytest.mark.parametrize("op", ["plain", "norm_gelu", "residual", "vocabulary", "embed"])
def test_half_weights_give_the_same_bits(
    halves: tuple[Bench, Bench], op: str, seed: int, rows: int, n: int, token: int
) -> None:
    inputs: list[np.ndarray] = [draw(seed, 1.0, rows, n, STATE)[0]]
    if op == "residual":
        inputs.insert(0, draw(seed + 1, 1.0, rows, n, HIDDEN)[0])
    if op == "embed":
        n = min(n, CONTEXT)
        inputs = [np.full((rows, n), token, np.int32), np.zeros((rows, n), np.int32)]
    half, full = (bench(op, *inputs) for bench in halves)
    np.testing.assert_array_equal(half, full)


def test_only_what_a_step_reads_is_stored_in_halves() -> None:
    """And only where the checkpoint has no more than halves."""
    names = ("decoder.token_embedding", "decoder.blocks.0.mlp.0", "decoder.blocks.0.cross_attn.key+value",
             "encoder.blocks.0.mlp.0")  # fmt: skip
    for dtype, want in ((np.float16, [np.float16, np.float16, np.float32, np.float32]), (np.float32, [np.float32] * 4)):
        assert [stored_as(name, np.zeros((2, 2), dtype)) for name in names] == want


@given(n=st.integers(1, 200), k=st.integers(1, 9))
def test_packing_keeps_every_weight(n: int, k: int) -> None:
    weight = np.arange(n * k, dtype=np.float32).reshape(n, k) + 1
    packed = pack(weight)
    unpacked = packed.transpose(0, 2, 1).reshape(-1, k)
    np.testing.assert_array_equal(unpacked[:n], weight)
    assert not unpacked[n:].any(), "the columns beyond the layer's own are not zero"
