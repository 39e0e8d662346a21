"""Which dtypes there are, and where: what is not there is refused before anything is compiled."""

from __future__ import annotations

import numpy as np
import pytest
from max.graph import DeviceRef

from maxwhisper_impl import graphs
from maxwhisper_impl.errors import DeviceError, OptionError
from maxwhisper_impl.kernels.fused import FusedOps, packed
from maxwhisper_impl.runtime import MaxRuntime, open_device
from maxwhisper_impl.systems import SYSTEMS
from tests.parity.small_checkpoints import DIMS, small

SMALL = ("bfloat16", "int8")


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"dtype 'float64' is not supported: choose float32, bfloat16 or int8"):
        MaxRuntime(small(), dtype="float64")


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(OptionError, match=r"kernels 'mine' are not for .*: choose fused, stock, gpu"):
        MaxRuntime(small(), kernels="mine")


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:first", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"unknown device '{name}': choose cpu, cuda or cuda:N"):
        open_device(name)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda:99' was asked for, but MAX sees [0-9]+ GPUs on this machine"):
        open_device("cuda:99")


@pytest.mark.parametrize("dtype", SMALL)
def test_the_stock_kernels_are_float32(dtype: str) -> None:
    wanted = f"'{dtype}' is not for the stock kernels on cpu: choose dtype float32, or the fused kernels on the CPU"
    with pytest.raises(DeviceError, match=wanted):
        MaxRuntime(small(), dtype=dtype, kernels="stock")


def test_a_comparison_offers_what_there_is() -> None:
    assert SYSTEMS["maxwhisper"].dtypes == FusedOps.dtypes


def test_each_dtype_has_graphs_of_its_own() -> None:
    cpu, names = DeviceRef.CPU(), ("decoder.token_embedding.weight", "decoder.blocks.0.mlp.0.weight")
    tensors = {name: np.ones((4, 64), np.float32) for name in names}
    made = {dtype: FusedOps(FusedOps.prepare(tensors, dtype), cpu, dtype) for dtype in FusedOps.dtypes}
    names = {graphs.fingerprint(DIMS, ops, cpu, False) for ops in made.values()}
    assert len(names) == len(made)
    halves = FusedOps(FusedOps.prepare(tensors), cpu, "bfloat16")
    assert graphs.fingerprint(DIMS, halves, cpu, False) not in names, "keys and values are of another dtype"


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1), ("bfloat16", 2), ("int8", 4)])
def test_a_dtype_takes_the_memory_of_its_numbers(dtype: str, share: int) -> None:
    """Beside the two lines that say of an int8 layer's columns what its numbers stand for."""
    weight = np.ones((640, 384), np.float32)
    lines = 2 * 4 * 640 if dtype == "int8" else 0
    assert packed("encoder.blocks.0.mlp.0.weight", weight, dtype).nbytes == weight.nbytes // share + lines


def test_what_int8_would_cost_most_stays_bfloat16() -> None:
    fine = "encoder.conv1", "encoder.blocks.10.attn.out", "decoder.token_embedding"
    coarse = ("encoder.blocks.0.mlp.2", "encoder.blocks.0.attn.query+key+value", "decoder.blocks.10.attn.out",
              "decoder.blocks.0.cross_attn.query", "decoder.blocks.3.cross_attn.key+value",
              "decoder.blocks.3.mlp.2")  # fmt: skip
    weight = np.ones((64, 64), np.float32)
    assert [packed(f"{name}.weight", weight, "int8").dtype for name in fine] == [np.uint16] * 3
    assert [packed(f"{name}.weight", weight, "int8").dtype for name in coarse] == [np.int8] * 6
