"""What a stage must do is counted right: against counts made by hand, and against the weights themselves."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.kernels.fused import packed, stored_as
from maxwhisper_impl.kernels.packing import pack_nibbles
from maxwhisper_impl.weights.checkpoint import expected_shapes
from tests.perf import ceilings as machine
from tests.perf import roofline, work
from tests.perf.ceilings import Ceilings
from tests.perf.work import Work

TINY = SIZES["tiny.en"]


def weight_bytes(*parts: str) -> int:
    """Of the layers named so, as the kernels store a float16 checkpoint."""
    total = 0
    for name, shape in expected_shapes(TINY).items():
        if name.endswith(".weight") and len(shape) > 1 and any(part in name for part in parts):
            joined = re.sub(r"cross_attn\.(key|value)", "cross_attn.key+value", name)
            total += np.dtype(stored_as(joined, np.zeros(0, np.float16))).itemsize * int(np.prod(shape))
    return total


def test_reads_every_weight_once() -> None:
    state, keys = TINY.n_text_state, TINY.n_audio_ctx
    heard = 2 * 4 * keys * state
    assert work.logits(TINY).read == weight_bytes("token_embedding")
    assert work.stem(TINY).read == weight_bytes("conv")
    assert work.cross(TINY).read == weight_bytes("cross_attn.key", "cross_attn.value")
    layer = work.decoder_layer(TINY, tokens=1, past=0).read - heard - 2 * 4 * state
    assert layer * TINY.n_text_layer == weight_bytes("decoder.blocks") - work.cross(TINY).read
    assert work.encoder_layer(TINY).read * 4 - 4 * heard == weight_bytes("encoder.blocks")


def test_counts_every_product() -> None:
    n, state = 1500, 384
    layer = 2 * n * state * state * 4 + 2 * n * state * 4 * state * 2 + 2 * 2 * n * n * state
    assert work.encoder_layer(TINY).flops == layer
    assert work.stem(TINY).flops == 2 * 3000 * 240 * 384 + 2 * 1500 * 1152 * 384
    step = work.decoder_layer(TINY, 1, 99, rows=3, windows=3)
    one = work.decoder_layer(TINY, 1, 99)
    assert step.flops == 3 * one.flops, "three rows compute three times as much"
    assert step.read < 3 * one.read, "and read their weights once"
    shared = work.decoder_layer(TINY, 1, 99, rows=3, windows=1)
    assert step.read - shared.read == 2 * 2 * 4 * n * state, "rows of one window read its keys and values once"


def test_the_least_time_is_that_of_the_narrower_ceiling() -> None:
    ceilings = Ceilings(fp32_gflops=100, bf16_gflops=None, int8_gops=None, read_gbs=10)
    assert Work(1e9, 1e3).seconds(ceilings) == (pytest.approx(0.01), "arithmetic")
    assert Work(1e3, 1e9).seconds(ceilings) == (pytest.approx(0.1), "memory")


def test_small_numbers_have_a_ceiling_of_their_own() -> None:
    ceilings = Ceilings(fp32_gflops=100, bf16_gflops=200, int8_gops=400, read_gbs=1000)
    layers = {dtype: work.encoder_layer(TINY, dtype) for dtype in work.STORED}
    assert len({layer.flops for layer in layers.values()}) == 1
    attention = 2 * 2 * 1500 * 1500 * 384
    products = layers["float32"].flops - attention
    assert layers["bfloat16"].seconds(ceilings)[0] == pytest.approx((products + attention) / 200e9)
    assert layers["int8"].seconds(ceilings)[0] == pytest.approx(
        (products * 11 / 12 + attention) / 400e9 + products / 12 / 200e9
    ), "all in int8 but what attention puts out"
    assert work.decoder_layer(TINY, 1, 0, dtype="int8").read < work.decoder_layer(TINY, 1, 0).read


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_reads_what_is_stored(dtype: str) -> None:
    """Beside what an int8 layer's last two lines say of its columns."""
    stored = packed("decoder.blocks.0.mlp.0.weight", np.zeros((640, 384), np.float32), dtype)
    lines = 2 * 4 * 640 if dtype == "int8" else 0
    assert stored.nbytes - lines == work.linear(1, 384, 640, dtype).read


def test_reads_a_vocabulary_of_nibbles() -> None:
    """Beside what the last line says of each token."""
    tokens = replace(TINY, n_vocab=640)
    stored = pack_nibbles(np.zeros((640, 384), np.float32))
    assert stored.nbytes - 4 * 640 == work.logits(tokens, dtype="int8").read


def test_a_share_is_the_least_time_over_the_time_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings = Ceilings(fp32_gflops=100, bf16_gflops=None, int8_gops=None, read_gbs=10)
    told = [("encoder", 0.04, Work(1e9, 1e3)), ("step", 0.2, Work(1e3, 1e9))]
    monkeypatch.setattr(roofline, "stages", lambda *given: iter(told))
    encoder, step = roofline.measured("tiny.en", "float32", ceilings, print)
    assert (encoder.stage, encoder.seconds, encoder.bound) == ("encoder", 0.04, "arithmetic")
    assert (encoder.share, step.share) == (pytest.approx(0.25), pytest.approx(0.5))
    assert (step.flops, step.bytes, step.bound) == (1e3, 1e9, "memory")


def test_a_ceiling_is_the_best_that_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a first call, which does not count; and of the fastest product."""
    clock, seconds = [0.0], iter([0.001, 0.3, 0.2, 0.1, 0.4, 0.5])
    monkeypatch.setattr(machine.time, "perf_counter", lambda: clock[0])
    assert machine.best(lambda: clock.__setitem__(0, clock[0] + next(seconds)), 1.0) == pytest.approx(0.1)
    monkeypatch.setattr(machine, "best", lambda call, seconds=0.3: 0.5)
    rates = [2e-9 * rows * k * n / 0.5 for rows, k, n in machine.SIZES]
    assert machine.product_rate(machine.torch.float32) == max(rates) > min(rates)
