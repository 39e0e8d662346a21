"""Products in parts that a unit which drops 13 bits of each factor reads whole: as good as float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from max.driver import Buffer, Device
from max.dtype import DType
from max.engine import InferenceSession, Model
from max.graph import DeviceRef, Graph, TensorType

from maxwhisper_impl.kernels.split import SplitOps, tf32
from maxwhisper_impl.runtime import open_device
from tests import compare
from tests.parity.kernel_bench import SEEDS

READS = np.uint32(0xFFFFE000)
"""the bits of a float32 that such a unit reads"""


def unit(array: np.ndarray) -> np.ndarray:
    """What the unit makes of its factors, in float64: it adds in float32, which is another error."""
    return (array.view(np.uint32) & READS).view(np.float32).astype(np.float64)


def numbers(seed: int, size: float, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * size).astype(np.float32)


class Staged:
    """Some of the ops as a graph over `[n, 64]`, on the device under test, as its compiler leaves them."""

    def __init__(self, device: Device, weights: dict[str, np.ndarray], stage: Callable[[SplitOps, Any], list[Any]]):
        self.device = device
        on = DeviceRef.from_device(device)
        ready = SplitOps.prepare(weights)
        with Graph("split", input_types=[TensorType(DType.float32, ["n", 64], on)]) as graph:
            graph.output(*stage(SplitOps(ready, on), graph.inputs[0].tensor))
        self.model: Model = InferenceSession(devices=[device]).load(graph, weights_registry=ready)

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        return [result.to_numpy() for result in self.model.execute(Buffer.from_numpy(x).to(self.device))]


@pytest.fixture(scope="module")
def halve(device: str) -> Staged:
    return Staged(open_device(device), {}, lambda ops, x: list(ops.halves(x)))


@given(seed=SEEDS, size=st.sampled_from([1e-3, 1.0, 1e3]), n=st.integers(1, 9))
def test_halves_are_read_whole(halve: Staged, seed: int, size: float, n: int) -> None:
    """And their sum is the number, to the last bit."""
    x = numbers(seed, size, n, 64)
    high, rest = halve(x)
    np.testing.assert_array_equal(high + rest, x)
    np.testing.assert_array_equal(unit(high), high)
    assert (np.abs(rest) <= np.maximum(np.abs(x) * 2.0**-11, 2.0**-25)).all()


def test_halves_of_zero_and_of_what_is_read_whole(halve: Staged) -> None:
    x = np.array([[0.0, 1.0, -2.5, 1 + 2.0**-10] * 16], np.float32)
    high, rest = halve(x)
    np.testing.assert_array_equal(high, x)
    assert not rest.any()


def test_halves_beyond_float16(halve: Staged) -> None:
    """Are as good as TF32, and finite."""
    x = np.array([[65504.0, 7e4, -1e6, 1e30] * 16], np.float32)
    high, rest = halve(x)
    np.testing.assert_array_equal(high + rest, x)


@given(seed=SEEDS, size=st.sampled_from([1e-4, 1.0, 1e3]))
def test_weights_are_two_numbers_where_one_is_not_enough(seed: int, size: float) -> None:
    weight = numbers(seed, size, 5, 7)
    ready = SplitOps.prepare({"layer.weight": weight, "layer.bias": weight[0]})
    assert set(ready) == {"layer.weight", "layer.bias", "layer.high", "layer.rest"}
    np.testing.assert_array_equal(ready["layer.weight"], weight)
    np.testing.assert_array_equal(ready["layer.high"] + ready["layer.rest"], weight)
    np.testing.assert_array_equal(unit(ready["layer.high"]), ready["layer.high"])
    half = SplitOps.prepare({"layer.weight": weight.astype(np.float16), "layer.bias": weight[0]})
    assert set(half) == {"layer.weight", "layer.bias"}
    np.testing.assert_array_equal(unit(half["layer.weight"]), half["layer.weight"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_the_unit_loses(halve: Staged, dtype: type) -> None:
    """Of products in parts a float32's last bits, of whole ones a thousand times as much."""
    x, weight = numbers(1, 1.0, 50, 64), numbers(2, 0.1, 30, 64).astype(dtype)
    ready = SplitOps.prepare({"layer.weight": weight})
    high, rest = halve(x)
    main = ready.get("layer.high", ready["layer.weight"])
    parts = (unit(high) + unit(rest)) @ unit(main).T
    if "layer.rest" in ready:
        parts = parts + unit(high) @ unit(ready["layer.rest"]).T
    want = x.astype(np.float64) @ weight.astype(np.float64).T
    whole = unit(x) @ unit(ready["layer.weight"]).T
    error = [np.linalg.norm(got - want) / np.linalg.norm(want) for got in (parts, whole)]
    assert error[0] < 2.0**-21 < 2.0**-14 < error[1]


@pytest.mark.parametrize(("value", "nearest"), [(1 + 2.0**-11 + 2.0**-23, 1 + 2.0**-10), (1 + 2.0**-12, 1.0),
                                                (-1.9999999, -2.0), (0.0, 0.0)])  # fmt: skip
def test_nearest(value: float, nearest: float) -> None:
    assert tf32(np.array([value], np.float32)).tolist() == [nearest]


@pytest.fixture(scope="module")
def products(device: str) -> tuple[dict[str, np.ndarray], Staged]:
    """A layer of float16 weights and one of float32, compiled together."""
    weights = {f"decoder.{np.dtype(dtype)}.weight": numbers(3, 0.1, 128, 64).astype(dtype)
               for dtype in (np.float16, np.float32)}  # fmt: skip
    return weights, Staged(open_device(device), weights, lambda ops, x: [
        ops.linear(x.reshape([1, *x.shape]), name.removesuffix(".weight")) for name in weights])  # fmt: skip


@pytest.mark.parametrize("number", [0, 1], ids=["float16", "float32"])
def test_products(products: tuple[dict[str, np.ndarray], Staged], number: int) -> None:
    """As exact as those of any other of our ops, of one row and of many."""
    weights, staged = products
    weight = list(weights.values())[number].astype(np.float64)
    for n in (1, 2, 150):
        x = numbers(n, 1.0, n, 64)
        compare.assert_tensor(f"{n} rows", staged(x)[number][0], x @ weight.T, "kernels")
