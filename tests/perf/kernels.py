"""Times each kernel by itself, at the sizes of an encoder window and of a decoding step.

    python -m tests.perf.kernels [--model tiny.en] [--dtype int8] [--portable] [--rounds 15] [--only linear]

prints the best and the median of the rounds, and the rate in GFLOP/s or, of a step, in GB/s of weights read. Rates are
to be compared with torch's, which are in the last rows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, Module, TensorType
from max.graph.graph import KernelLibrary

from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.kernels.fused import FusedOps
from tests.perf.work import STORED, TABLE

KEYS = 1500
CROSS, KINDS = "decoder.blocks.0.cross_attn", ("weight", "bias")


class Kernels:
    def __init__(self, state: int, only: str, dtype: str, portable: bool):
        self.rng = np.random.default_rng(0)
        self.only = only
        self.state = state
        self.tensors: dict[str, np.ndarray] = {}
        for name, (n, k) in {"wide": (4 * state, state), "narrow": (state, 4 * state)}.items():
            self.tensors |= {f"{name}.weight": self.floats(n, k) / k**0.5, f"{name}.bias": self.floats(n)}
        self.tensors |= {f"{CROSS}.{part}.weight": self.floats(state, state) / state**0.5 for part in ("key", "value")}
        self.tensors |= {f"{norm}.{kind}": self.floats(state) for norm in ("norm", "decoder.ln") for kind in KINDS}
        self.tensors["decoder.token_embedding.weight"] = self.floats(51864, state)
        self.dtype = dtype
        self.weights = FusedOps.prepare(self.tensors, dtype)
        self.ops = FusedOps(self.weights, DeviceRef.CPU(), dtype, portable=portable)
        self.module, self.library = Module(), KernelLibrary()
        self.library.load_paths(self.ops.extensions)
        self.cases: list[tuple[str, list[np.ndarray], float, str]] = []

    def floats(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def add(self, name: str, inputs: list[np.ndarray], op: Callable[..., Any], work: float, unit: str) -> None:
        """`work`: floating-point operations, or bytes that must be read, of one call."""
        if self.only not in name:
            return
        types = [TensorType(DType.from_numpy(x.dtype), x.shape, DeviceRef.CPU()) for x in inputs]
        with Graph(name, input_types=types, module=self.module, kernel_library=self.library) as graph:
            graph.output(op(*(value.tensor for value in graph.inputs)))
        self.cases.append((name, inputs, work, unit))

    def add_all(self) -> None:
        state, ops = self.state, self.ops
        heads = state // 64
        stored = STORED[self.dtype]
        for rows, unit in ((1500, "GF/s"), (1, "GB/s"), (5, "GB/s"), (8, "GB/s")):
            work = 4 * state * state * (2 * rows if rows > 64 else stored)
            x, wide = self.floats(1, rows, state), self.floats(1, rows, 4 * state)
            self.add(f"linear.wide.{rows}", [x], lambda x: ops.linear(x, "wide", norm="norm", gelu=True), work, unit)
            self.add(f"linear.narrow.{rows}", [wide, x], lambda x, y: ops.linear(x, "narrow", residual=y), work, unit)
        table = 51864 * state * (TABLE["int8"] if self.dtype == "int8" else stored)
        for rows in (1, 8):
            self.add(f"logits.{rows}", [self.floats(1, rows, state)], ops.logits, table, "GB/s")
        one = np.zeros(1, np.int32)
        qkv = self.floats(1, KEYS, 3 * state)
        self.add("keys_values", [self.floats(1, KEYS, state)], lambda x: ops.keys_values(x, f"{CROSS}.key+value"),
                 4 * KEYS * state * state, "GF/s")
        self.add("pack_kv", [qkv], lambda x: ops.pack_kv(x, state), qkv.nbytes * 2, "GB/s")
        packed = np.zeros((1, *self.ops.cross_shape(_dims(state))), self.ops.cross_dtype.to_numpy())
        self.add("attend.1500", [qkv, packed, one], lambda x, kv, w: ops.attend(x, kv, w, KEYS),
                 4 * KEYS * KEYS * 64 * heads, "GF/s")
        self.add("attend.1", [self.floats(1, 1, state), packed, one], lambda x, kv, w: ops.attend(x, kv, w, KEYS),
                 packed.nbytes, "GB/s")

    def time(self, rounds: int) -> None:
        session = InferenceSession(devices=[CPU()])
        compiled = session.compile(self.module, custom_extensions=self.library.library_paths())
        models = session.init_all(compiled, weights_registry=self.weights)
        for name, inputs, work, unit in self.cases:
            buffers = [Buffer.from_numpy(x) for x in inputs]
            show(name, lambda: models[name].execute(*buffers), work, unit, rounds)  # noqa: B023


def _dims(state: int) -> Any:
    return next(dims for dims in SIZES.values() if dims.n_audio_state == state)


def show(name: str, call: Callable[[], object], work: float, unit: str, rounds: int) -> None:
    call()
    taken: list[float] = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    best, median = min(taken), statistics.median(taken)
    print(f"{name:20} best {best * 1e3:8.3f} ms  median {median * 1e3:8.3f} ms  {work / best / 1e9:6.1f} {unit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--dtype", default="float32", choices=STORED)
    parser.add_argument("--portable", action="store_true", help="without instructions for small numbers")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", metavar="PART", help="only kernels whose names have this in them")
    options = parser.parse_args()
    state = SIZES[options.model].n_audio_state
    kernels = Kernels(state, options.only, options.dtype, options.portable)
    kernels.add_all()
    kernels.time(options.rounds)
    for k, n in ((state, 4 * state), (4 * state, state)):
        a, b = torch.randn(KEYS, k), torch.randn(k, n)
        show(f"torch {k}x{n}", lambda: a @ b, 2 * KEYS * k * n, "GF/s", options.rounds)  # noqa: B023


if __name__ == "__main__":
    main()
