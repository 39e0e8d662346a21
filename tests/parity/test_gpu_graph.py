"""GPU code without a GPU: one part of the model compiles for Hopper through MAX's virtual device."""

import subprocess
import sys
from pathlib import Path

import pytest

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
weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
gpu = driver.Accelerator()
ref = DeviceRef.from_device(gpu)
with Graph("layer", input_types=[TensorType(DType.float32, ["batch", 1500, state], ref)]) as graph:
    graph.output(SplitOps(weights, ref).linear(graph.inputs[0].tensor, "layer.wide", norm="layer.norm", gelu=True))
InferenceSession(devices=[gpu]).compile(graph).export_mef(sys.argv[1])
os._exit(0)  # MAX's threads may abort a process that leaves in the ordinary way right after a compilation
"""


@pytest.mark.slow
def test_a_layer_compiles_for_sm_90a(tmp_path: Path) -> None:
    artifact = tmp_path / "layer.mef"
    done = subprocess.run([sys.executable, "-c", SCRIPT, artifact], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    assert b"sm_90a" in artifact.read_bytes(), "the artifact holds no code for the GPU that was asked for"
