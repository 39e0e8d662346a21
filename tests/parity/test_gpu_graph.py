"""GPU code without a GPU: parts of the model compile for Hopper through MAX's virtual device, and can be read."""

from __future__ import annotations

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
from maxwhisper_impl.kernels.split import SplitOps
state = 128
shapes = {"layer.norm.weight": [state], "layer.norm.bias": [state]}
shapes |= {"layer.wide.weight": [4 * state, state], "layer.wide.bias": [4 * state]}
gpu = driver.Accelerator()
ops = SplitOps({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, DeviceRef.from_device(gpu))
with Graph("part", input_types=[TensorType(DType.float32, ["batch", 1500, state], ops.device)]) as graph:
    x = graph.inputs[0].tensor
    graph.output(*(%s))
InferenceSession(devices=[gpu]).compile(graph).export_mef(sys.argv[1])
os._exit(0)  # MAX's threads may abort a process that leaves in the ordinary way right after a compilation
"""
LAYER = 'ops.linear(x, "layer.wide", norm="layer.norm", gelu=True),'
CUBIN, MACHINE, CUDA = b"\x7fELF", slice(18, 20), 190


def artifact(stage: str, folder: Path) -> bytes:
    path = folder / "part.mef"
    done = subprocess.run([sys.executable, "-c", SCRIPT % stage, path], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    return path.read_bytes()


def kernels(compiled: bytes, folder: Path) -> list[str]:
    """The assembly of each kernel in an artifact."""
    (program,) = [file.locate() for file in files("nvidia-cuda-nvdisasm") or () if file.name == "nvdisasm"]
    parts = [CUBIN + part for part in compiled.split(CUBIN)[1:]]
    found = []
    for part in parts:
        if int.from_bytes(part[MACHINE], "little") == CUDA:
            (folder / "kernel.cubin").write_bytes(part)
            done = subprocess.run([program, folder / "kernel.cubin"], capture_output=True, text=True, check=True)
            found.append(done.stdout)
    return found


def test_a_layer_compiles_for_sm_90a(tmp_path: Path) -> None:
    assert b"sm_90a" in artifact(LAYER, tmp_path), "the artifact holds no code for the GPU that was asked for"


def test_the_compiler_leaves_the_halves_apart(tmp_path: Path) -> None:
    """They go by way of float16, and the rest is a difference: arithmetic that only rounds was fused away once."""
    found = kernels(artifact("ops.halves(x)", tmp_path), tmp_path)
    assert found, "no kernel in the artifact"
    for code in found:
        assert "F2FP.F16.F32" in code, "nothing is rounded to float16"
        assert "FADD" in code, "nothing is subtracted"
