"""GPU code without a GPU: our kernels compile for Hopper through MAX's virtual device, and the outcome can be read."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys
from max import driver
driver.set_virtual_device_api("cuda")
driver.set_virtual_device_target_arch("sm_90a")
driver.set_virtual_device_count(1)
import numpy as np
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, TensorType
from maxwhisper_impl.kernels.gpu import GpuOps
state = 128
shapes = {"layer.norm.weight": [state], "layer.norm.bias": [state]}
shapes |= {"layer.wide.weight": [4 * state, state], "layer.wide.bias": [4 * state]}
gpu = driver.Accelerator()
ops = GpuOps({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, DeviceRef.from_device(gpu))
wide = [TensorType(DType.float32, ["batch", n, 3 * state], ops.device) for n in ("n", 1500)]
inputs = [*wide, TensorType(DType.int32, ["batch"], ops.device)]
with Graph("part", input_types=inputs, custom_extensions=list(ops.extensions)) as graph:
    x, kv, windows = (value.tensor for value in graph.inputs)
    attended = ops.attend(x, ops.pack_kv(kv, state), windows, 1500)
    graph.output(ops.linear(attended, "layer.wide", norm="layer.norm", gelu=True))
InferenceSession(devices=[gpu]).compile(graph, custom_extensions=list(ops.extensions)).export_mef(sys.argv[1])
os._exit(0)  # MAX's threads may abort a process that leaves in the ordinary way right after a compilation
"""
CUBIN, MACHINE, CUDA = b"\x7fELF", slice(18, 20), 190
KERNELS = ("tile of a product", "few rows of one", "tile of attention", "query's attention")
OURS = re.compile(r"\.text\.mojo_pkg_")


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The assembly of each of our kernels."""
    folder = tmp_path_factory.mktemp("gpu")
    path = folder / "part.mef"
    done = subprocess.run([sys.executable, "-c", SCRIPT, path], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [each for each in disassembled(path.read_bytes(), folder) if OURS.search(each)]
    assert len(found) >= len(KERNELS)
    return found


def disassembled(compiled: bytes, folder: Path) -> list[str]:
    """Every kernel in an artifact."""
    (program,) = [file.locate() for file in files("nvidia-cuda-nvdisasm") or () if file.name == "nvdisasm"]
    found = []
    for part in (CUBIN + part for part in compiled.split(CUBIN)[1:]):
        if int.from_bytes(part[MACHINE], "little") == CUDA:
            (folder / "kernel.cubin").write_bytes(part)
            done = subprocess.run([program, folder / "kernel.cubin"], capture_output=True, text=True, check=True)
            found.append(done.stdout)
    return found


def test_products_are_of_float32(code: list[str]) -> None:
    """Not of what a matrix unit makes of them."""
    for kernel in code:
        assert "FFMA" in kernel
        assert not re.search(r"\bHG?MMA\.", kernel)


def test_a_threads_variables_stay_in_its_registers(code: list[str]) -> None:
    for kernel in code:
        assert not re.search(r"\b(STL|LDL)\b", kernel)


def test_it_is_for_the_gpu_that_was_asked_for(code: list[str]) -> None:
    assert all("sm_90a" in kernel for kernel in code)
