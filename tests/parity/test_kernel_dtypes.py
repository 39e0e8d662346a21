"""The fused ops in bfloat16 and int8, with the processor's own instructions and in the portable way.

Against float64 of the weights as they are stored, and of the left sides as they are rounded: what is left is the order
of sums.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from maxwhisper_impl.kernels.fused import FusedOps
from maxwhisper_impl.kernels.packing import (
    bfloat16_bits,
    pack_nibbles,
    pack_pairs,
    pack_quads,
    quantize,
    quantize_nibbles,
    words,
)
from maxwhisper_impl.weights.files import widen_bfloat16
from tests import compare
from tests.parity.decoder_layer import check_layer
from tests.parity.kernel_bench import (
    CHANNELS,
    CONTEXT,
    DEVICE,
    EXAMPLES,
    FARTHER,
    FRAMES,
    KEYS,
    LINEAR,
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
from tests.rounded import MARGIN, RIGHT, nibble_columns, quantized_rows

DTYPES = ("bfloat16", "int8")
REFERENCES = {dtype: Reference(dtype) for dtype in DTYPES}
WAYS = ("", "portable ")


@pytest.fixture(scope="module", params=DTYPES)
def bench(request: pytest.FixtureRequest) -> Bench:
    weights = FusedOps.prepare(WEIGHTS, request.param)
    ops, portable = (FusedOps(weights, DEVICE, request.param, portable=way) for way in (False, True))
    return Bench(ops, request.param, **{"portable ": portable}).load(WEIGHTS)


def own(between: np.ndarray) -> torch.Tensor:
    """What a kernel made itself on the way: a value between two numbers could fall otherwise in float64."""
    return torch.from_numpy(np.ascontiguousarray(between)).double()


@EXAMPLES
@given(seed=SEEDS, size=SIZES, rows=st.integers(1, 3), n=ROWS)
@pytest.mark.parametrize("op", [op for op in LINEAR if op != "vocabulary"])
def test_linear(bench: Bench, op: str, seed: int, size: float, rows: int, n: int) -> None:
    inputs = linear_inputs(op, seed, size, rows, n)
    left = [x64 for _, x64 in inputs]
    if op == "norm_gelu":
        left = [own(bench("layer_norm", inputs[0][0]))]
    want = REFERENCES[bench.dtype].linear(op, *left, normed=True).numpy()
    for way in WAYS:
        got = bench(way + op, *(x for x, _ in inputs))
        compare.assert_tensor(f"{way}{op}", got, want, "kernels", dtype=bench.dtype)


def likeliest_again(normed: torch.Tensor, got: torch.Tensor) -> torch.Tensor:
    """Logits of int8; near the top they are of bfloat16, and at the limit itself nobody can say of which: as `got`."""
    table = WEIGHTS["decoder.token_embedding.weight"]
    coarse = F.linear(quantized_rows(normed), nibble_columns(torch.from_numpy(table).double()))
    finer = F.linear(normed, torch.from_numpy(widen_bfloat16(bfloat16_bits(table))).double())
    above = coarse - (coarse.amax(-1, keepdim=True) - MARGIN)
    assert (above > 1e-4).any(-1).all(), "the top itself at least"
    assert (above < -1e-4).any(-1).all(), "and not all"
    return torch.where(above.abs() < 1e-4, got, torch.where(above > 0, finer, coarse))


@EXAMPLES
@given(seed=SEEDS, size=SIZES, rows=st.integers(1, 3), n=ROWS)
def test_logits(bench: Bench, seed: int, size: float, rows: int, n: int) -> None:
    x, _ = draw(seed, size, rows, n, STATE)
    normed = own(bench("layer_norm", x))
    for way in WAYS:
        got = bench(f"{way}vocabulary", x)
        if bench.dtype == "int8":
            want = likeliest_again(FARTHER * normed, torch.from_numpy(got).double())
        else:
            want = REFERENCES[bench.dtype].linear("vocabulary", normed, normed=True)
        compare.assert_tensor(f"{way}logits", got, want.numpy(), "kernels", dtype=bench.dtype)


@EXAMPLES
@given(seed=SEEDS, size=SIZES, rows=st.integers(1, 3))
def test_convolutions(bench: Bench, seed: int, size: float, rows: int) -> None:
    mel, mel64 = draw(seed, size, rows, CHANNELS, FRAMES)
    reference = REFERENCES[bench.dtype]
    for way in WAYS:
        first = bench(f"{way}first", mel)[:, 1:-1]
        compare.assert_tensor(f"{way}first", first, reference.first(mel64).numpy(), "kernels", dtype=bench.dtype)
        want = reference.second(own(first)).numpy()
        compare.assert_tensor(f"{way}second", bench(f"{way}conv", mel), want, "kernels", dtype=bench.dtype)


@EXAMPLES
@given(seed=SEEDS, n=st.sampled_from([1, 5, 6, 7, 97, KEYS]), windows=st.lists(st.integers(0, 2), min_size=1))
def test_attention_over_a_window(bench: Bench, seed: int, n: int, windows: list[int]) -> None:
    inputs, exact = window_inputs(seed, n, windows, bench.dtype)
    ops = {"attend": 1, "attend_finely": 2} if bench.dtype == "int8" else {"attend": 1}
    for op, weight_bytes in ops.items():
        want = REFERENCES[bench.dtype].attention(*exact, weight_bytes).numpy()
        for way in WAYS:
            got = bench(way + op, *inputs)
            compare.assert_tensor(f"{way}{op}", got, want, "kernels.attention", dtype=bench.dtype)


def test_what_many_small_weights_say_is_heard(bench: Bench) -> None:
    """One key is heard loudly, 213 at a 403rd of it, the others not at all."""
    kv = np.zeros((1, KEYS, 3 * STATE), np.float32)
    keys, values = kv[0, :, STATE : 2 * STATE], kv[0, :, 2 * STATE :]
    keys[1:214], keys[214:] = -6 / 8, -40 / 8  # a query of ones takes eight of it
    values[1:214], values[0], values[214:] = 1, -1, -1
    op = "attend_finely" if bench.dtype == "int8" else "attend"
    want = (213 * np.exp(-6) - 1) / (213 * np.exp(-6) + 1)
    for way in WAYS:
        got = bench(way + op, np.ones((1, 1, STATE), np.float32), kv, np.zeros(1, np.int32))
        np.testing.assert_allclose(got, want, atol=0.01)


@EXAMPLES
@given(seed=SEEDS, splits=st.lists(st.integers(1, 7), min_size=1, max_size=4), data=st.data())
@pytest.mark.parametrize("way", WAYS)
def test_decoder_layer(bench: Bench, way: str, seed: int, splits: list[int], data: st.DataObject) -> None:
    check_layer(bench, REFERENCES[bench.dtype], way, seed, splits, data)


@EXAMPLES
@given(seed=SEEDS, n=ROWS)
@pytest.mark.parametrize("op", ["plain", "norm_gelu"])
def test_both_ways_are_one(bench: Bench, op: str, seed: int, n: int) -> None:
    """Whole numbers to the bit; the sums of bfloat16 pairs are rounded otherwise."""
    x, _ = draw(seed, 1.0, 1, n, STATE)
    quick, portable = (bench(way + op, x) for way in WAYS)
    if bench.dtype == "int8":
        np.testing.assert_array_equal(quick, portable)
    else:
        compare.assert_tensor(op, quick, portable, "kernels", dtype=bench.dtype)


@EXAMPLES
@given(seed=SEEDS, n=ROWS)
@pytest.mark.parametrize("op", LINEAR)
def test_a_row_hangs_on_no_other(bench: Bench, op: str, seed: int, n: int) -> None:
    """To the bit: a window says the same alone and in a batch."""
    inputs = [x for x, _ in linear_inputs(op, seed, 1.0, 1, n)]
    for way in WAYS:
        alone = bench(way + op, *(x[:, :1] for x in inputs))
        np.testing.assert_array_equal(bench(way + op, *inputs)[:, :1], alone)


@EXAMPLES
@given(seed=SEEDS, data=st.data(), rows=st.integers(1, 3), n=st.integers(1, 6), past=st.integers(0, CONTEXT - 6))
def test_embedding(bench: Bench, seed: int, data: st.DataObject, rows: int, n: int, past: int) -> None:
    tokens = np.array(data.draw(st.lists(st.integers(0, VOCAB - 1), min_size=rows * n, max_size=rows * n)), np.int32)
    tokens = tokens.reshape(rows, n)
    table = REFERENCES[bench.dtype].weights["decoder.token_embedding.weight"].astype(np.float32)
    want = table[tokens] + WEIGHTS["decoder.positional_embedding"][past : past + n]
    np.testing.assert_array_equal(bench("embed", tokens, np.zeros((rows, past + n), np.int32)), want)


@EXAMPLES
@given(seed=SEEDS, windows=st.integers(1, 3))
def test_keys_are_found_in_what_is_packed(bench: Bench, seed: int, windows: int) -> None:
    kv, _ = draw(seed, 1.0, windows, KEYS, 3 * STATE)
    keys = FusedOps.keys(bench("pack_kv", kv), KEYS)
    want = torch.from_numpy(kv[:, :, STATE : 2 * STATE]).unflatten(2, (-1, 64)).transpose(1, 2)
    np.testing.assert_array_equal(keys, RIGHT[bench.dtype](want).numpy())


@EXAMPLES
@given(seed=SEEDS, windows=st.integers(1, 3))
def test_keys_and_values_are_a_product_in_panels(bench: Bench, seed: int, windows: int) -> None:
    """To the bit, whether what lies between is stored or not."""
    x, _ = draw(seed, 1.0, windows, KEYS, STATE)
    for way in WAYS:
        np.testing.assert_array_equal(bench(f"{way}keys_values", x), bench(f"{way}key_and_value", x))


@given(n=st.integers(1, 200), k=st.integers(1, 13))
def test_packing_keeps_every_pair(n: int, k: int) -> None:
    weight = np.random.default_rng(n).standard_normal((n, k)).astype(np.float32)
    lines = pack_pairs(weight).view(np.uint32).transpose(0, 2, 1).reshape(-1, -(-k // 2))
    unpacked = np.ascontiguousarray(lines).view(np.uint16)
    np.testing.assert_array_equal(unpacked[:n, :k], bfloat16_bits(weight))
    assert not unpacked[n:].any()
    assert not unpacked[:, k:].any()


@given(n=st.integers(1, 200), k=st.integers(1, 13))
def test_packing_keeps_every_quad(n: int, k: int) -> None:
    weight = np.random.default_rng(n).standard_normal((n, k)).astype(np.float32)
    values, step = quantize(weight)
    *lines, steps, sums = pack_quads(weight).view(np.uint32).transpose(1, 0, 2).reshape(-(-k // 4) + 2, -1)
    unpacked = np.ascontiguousarray(np.stack(lines, axis=1)).view(np.int8)
    np.testing.assert_array_equal(unpacked[:n, :k], values)
    np.testing.assert_array_equal(steps.view(np.float32)[:n], step)
    np.testing.assert_array_equal(sums.view(np.int32)[:n], values.sum(axis=1))
    assert not unpacked[n:].any()
    assert not unpacked[:, k:].any()


@given(n=st.integers(1, 200), blocks=st.integers(1, 3))
def test_packing_keeps_every_nibble(n: int, blocks: int) -> None:
    """In words of four inputs' lower halves of bytes and the next four's upper ones; steps and sums behind them."""
    weight = np.random.default_rng(n).standard_normal((n, 64 * blocks)).astype(np.float32)
    values, step = quantize_nibbles(weight)
    packed = pack_nibbles(weight).view(np.uint32).transpose(0, 2, 1).reshape(-1, 10 * blocks + 1)
    assert not packed[n:].any()
    lines = packed[:n, :-1].reshape(n, blocks, 10)
    octets = np.ascontiguousarray(lines[:, :, :8]).view(np.int8).reshape(n, -1, 1, 4)
    unpacked = np.concatenate([octets << 4 >> 4, octets >> 4], axis=2)
    np.testing.assert_array_equal(unpacked.reshape(n, -1), values)
    steps = np.ascontiguousarray(lines[:, :, 8:]).view(np.uint16).reshape(n, -1)
    np.testing.assert_array_equal(widen_bfloat16(steps) * 16, step)
    exact = (values * np.repeat(step, 16, axis=1).astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(packed[:n, -1].view(np.float32), exact, rtol=0, atol=1e-4)


@given(seed=SEEDS, size=SIZES)
def test_a_weight_in_four_bits_is_off_by_half_a_step(seed: int, size: float) -> None:
    """Or, at the end that has one number less, by a whole one."""
    weight = np.random.default_rng(seed).standard_normal((3, 64)).astype(np.float32) * np.float32(size)
    weight[1, :16] = 0
    weight[2, :2] = -10 * size, 9.9 * size  # which are -8 steps and, as there is no 8, 7
    values, step = quantize_nibbles(weight)
    steps = np.repeat(np.abs(step), 16, axis=1)
    off = np.abs(values * np.repeat(step, 16, axis=1).astype(np.float64) - weight)
    assert (off <= np.where(values == 7, 1.04, 0.54) * steps).all()
    assert values.reshape(3, 4, 16).min(axis=2).tolist() == [[-8] * 4, [0, -8, -8, -8], [-8] * 4]
    assert values[2, :2].tolist() == [-8, 7]


@given(seed=SEEDS, size=SIZES)
def test_a_quantised_weight_is_off_by_half_a_step(seed: int, size: float) -> None:
    weight = np.random.default_rng(seed).standard_normal((3, 50)).astype(np.float32) * np.float32(size)
    weight[1] = 0
    values, step = quantize(weight)
    off = np.abs(values * step[:, None].astype(np.float64) - weight)
    assert (off.max(axis=1) <= step / 2 * 1.00001).all()
    assert np.abs(values).max(axis=1).tolist() == [127, 0, 127]


def test_the_nearest_bfloat16() -> None:
    """To the nearest, and from halfway to the even one."""
    values = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1.5, 0], np.float32)
    np.testing.assert_array_equal(widen_bfloat16(bfloat16_bits(values)), [1, 1, 1 + 2**-6, 1 + 2**-7, -1.5, 0])


def test_words_hold_neighbours() -> None:
    assert words(np.array([[1, 2, 3]], np.uint16)).tolist() == [[0x20001, 3]]
    assert words(np.array([[1, 2, -1, 4, 5]], np.int8)).tolist() == [[0x04FF0201, 5]]
