"""Each op of all kernel sets on its own, against float64: shapes and sizes that whole models do not reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from max.graph import DeviceRef

from maxwhisper_impl.decoding.filters import Plan, apply_plan
from maxwhisper_impl.decoding.greedy import pick_likeliest
from maxwhisper_impl.kernels.fused import FusedOps, stored_as
from maxwhisper_impl.kernels.packing import pack
from maxwhisper_impl.runtime import KERNELS, open_device
from tests import compare
from tests.parity.decoder_layer import check_layer
from tests.parity.kernel_bench import (
    CHANNELS,
    CONTEXT,
    DEVICE,
    EXAMPLES,
    FRAMES,
    KEYS,
    ROWS,
    SEEDS,
    SIZES,
    STATE,
    VOCAB,
    WEIGHTS,
    Bench,
    Reference,
    draw,
    linear_inputs,
    window_inputs,
)  # fmt: skip

REFERENCE = Reference()


@pytest.fixture(
    scope="module",
    params=["fused", "gpu", pytest.param("stock", marks=pytest.mark.slow)],
)
def bench(request: pytest.FixtureRequest, device: str) -> Bench:
    """The GPU's kernels run on a CPU too, so that they are tested where there is no GPU."""
    if device != "cpu" and request.param == "fused":
        pytest.skip("the fused kernels are the CPU's")
    kind, on = KERNELS[request.param], DeviceRef.from_device(open_device(device))
    return Bench(kind(kind.prepare(WEIGHTS), on)).load(WEIGHTS)


@pytest.fixture(scope="module")
def halves() -> tuple[Bench, Bench]:
    """The fused ops with the same weights stored as float16, and as float32."""
    half = {name: tensor.astype(np.float16) for name, tensor in WEIGHTS.items()}
    as_half, as_float = (Bench(FusedOps(FusedOps.prepare(weights), DEVICE)) for weights in (half, WEIGHTS))
    as_half.load(half)
    as_float.load({name: tensor.astype(np.float32) for name, tensor in half.items()})
    return as_half, as_float


@EXAMPLES
@given(seed=SEEDS, size=SIZES, rows=st.integers(1, 3), n=ROWS)
@pytest.mark.parametrize("op", ["layer_norm", "plain", "norm_gelu", "residual", "vocabulary"])
def test_linear(bench: Bench, op: str, seed: int, size: float, rows: int, n: int) -> None:
    inputs = linear_inputs(op, seed, size, rows, n)
    got = bench(op, *(x for x, _ in inputs))
    compare.assert_tensor(op, got, REFERENCE.linear(op, *(x64 for _, x64 in inputs)).numpy(), "kernels")


@EXAMPLES
@given(seed=SEEDS, size=SIZES, rows=st.integers(1, 3))
def test_convolutions(bench: Bench, seed: int, size: float, rows: int) -> None:
    mel, mel64 = draw(seed, size, rows, CHANNELS, FRAMES)
    want = REFERENCE.second(REFERENCE.first(mel64)).numpy()
    compare.assert_tensor("convolutions", bench("conv", mel), want, "kernels")


@EXAMPLES
@given(seed=SEEDS, n=st.sampled_from([1, 5, 6, 7, 97, KEYS]), windows=st.lists(st.integers(0, 2), min_size=1))
def test_attention_over_a_window(bench: Bench, seed: int, n: int, windows: list[int]) -> None:
    inputs, exact = window_inputs(seed, n, windows)
    want = REFERENCE.attention(*exact).numpy()
    compare.assert_tensor("attention", bench("attend", *inputs), want, "kernels.attention")


@EXAMPLES
@given(seed=SEEDS, windows=st.integers(1, 3))
def test_keys_and_values_are_a_product_in_panels(bench: Bench, seed: int, windows: int) -> None:
    """To the bit, whether what lies between is stored or not."""
    x, _ = draw(seed, 1.0, windows, KEYS, STATE)
    np.testing.assert_array_equal(bench("keys_values", x), bench("key_and_value", x))


@EXAMPLES
@given(seed=SEEDS, splits=st.lists(st.integers(1, 7), min_size=1, max_size=4), data=st.data())
def test_decoder_layer(bench: Bench, seed: int, splits: list[int], data: st.DataObject) -> None:
    check_layer(bench, REFERENCE, "", seed, splits, data)


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


@settings(EXAMPLES, max_examples=200)
@given(seed=SEEDS, size=st.sampled_from([0.1, 3.0, 30.0]), rows=st.integers(1, 4), picked=st.integers(1, 2),
       prefers=st.booleans(), data=st.data())  # fmt: skip
def test_picked_tokens(bench: Bench, seed: int, size: float, rows: int, picked: int, prefers: bool,
                       data: st.DataObject) -> None:  # fmt: skip
    """As NumPy picks them; some logits are equal, and sometimes nothing is allowed of text, of times, or at all."""
    rng = np.random.default_rng(seed)
    logits = np.round(rng.standard_normal((rows, picked, VOCAB)) * size, 1).astype(np.float32)
    begin = data.draw(st.integers(1, VOCAB - 1))
    plan = Plan.allow_all(rows, VOCAB, begin)
    plan.text_from = rng.integers(0, begin + 1, rows)
    plan.time_from, plan.time_to = np.sort(rng.integers(begin, VOCAB + 1, (2, rows)), axis=0)
    plan.suppressed = [rng.integers(0, VOCAB, data.draw(st.integers(0, 400))), rng.integers(0, VOCAB, 3)]
    plan.prefer_timestamps = prefers
    flags = np.zeros(VOCAB, np.uint8)
    flags[np.concatenate(plan.suppressed)] = 1
    with np.errstate(invalid="ignore"):  # where nothing is allowed, there is no likelihood
        tokens, logprobs = pick_likeliest(apply_plan(plan, logits[:, -1].copy()))
    got, likely = bench.all("pick", logits, plan.ranges, flags)
    assert got.tolist() == tokens.tolist()
    np.testing.assert_allclose(likely, logprobs, rtol=0, atol=2e-6 * max(1.0, size))


@pytest.mark.parametrize("prefers", [False, True])
def test_picked_where_nothing_is_allowed(bench: Bench, prefers: bool) -> None:
    """NumPy's first token of equals, and no likelihood."""
    logits = np.random.default_rng(0).standard_normal((3, 2, VOCAB)).astype(np.float32)
    ranges = np.array([[5, 5, 7, 7, prefers]] * 3, np.int32)
    tokens, logprobs = bench.all("pick", logits, ranges, np.zeros(VOCAB, np.uint8))
    assert tokens.tolist() == [0, 0, 0]
    assert np.isnan(logprobs).all()


def test_nothing_is_picked_where_nothing_is_asked(bench: Bench) -> None:
    logits, flags = np.zeros((2, 1, VOCAB), np.float32), np.zeros(VOCAB, np.uint8)
    assert [result.shape for result in bench.all("pick", logits, np.zeros((0, 5), np.int32), flags)] == [(0,), (0,)]


@EXAMPLES
@given(seed=SEEDS, rows=st.integers(1, 2), n=st.sampled_from([1, 5, 6, 7, 65]), token=st.integers(0, VOCAB - 1))
@pytest.mark.parametrize("op", ["plain", "norm_gelu", "residual", "vocabulary", "embed"])
def test_half_weights_give_the_same_bits(
    halves: tuple[Bench, Bench], op: str, seed: int, rows: int, n: int, token: int
) -> None:
    inputs = [x for x, _ in linear_inputs(op, seed, 1.0, rows, n)]
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
