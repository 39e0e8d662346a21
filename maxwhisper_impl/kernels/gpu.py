"""Whisper's layers for GPUs: products and attention as kernels of our own (`mojo_gpu/`), the rest out of MAX's ops.

MAX 26.7 rounds the factors of every float32 product on a GPU to 11 bits (TF32), and has no switch for it; these stay
float32. They run on a CPU as well, slowly: that is where they are tested.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from max.dtype import DType
from max.graph import BufferValue, TensorType, TensorValue, ops

from .fused import staged
from .packing import joined
from .stock import HEAD, StockOps


class GpuOps(StockOps):
    """`stock.StockOps` with its products and its attention replaced; `fused.FusedOps` says what each method does."""

    extensions = (Path(__file__).parent / "mojo_gpu",)

    @staticmethod
    def prepare(tensors: Mapping[str, np.ndarray], dtype: str = "float32") -> dict[str, np.ndarray]:
        """As `StockOps.prepare`, with query, key and value as one layer, and every product with a bias."""
        ready = StockOps.prepare(tensors, dtype)
        for name, weight, bias in joined(tensors):
            attn, _, parts = name.rpartition(".")
            for part in parts.split("+"):
                del ready[f"{attn}.{part}.weight"]
                ready.pop(f"{attn}.{part}.bias", None)
            ready |= {f"{name}.weight": np.ascontiguousarray(weight, np.float32), f"{name}.bias": bias}
        table = "decoder.token_embedding"
        ready[f"{table}.bias"] = np.zeros(len(ready[f"{table}.weight"]), np.float32)
        return ready

    def conv(self, x: TensorValue, name: str, stride: int, position: str | None = None) -> TensorValue:
        padded = ops.pad(x, [0, 0, 1, 1, 0, 0])
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        added = self.weight(position or "encoder.positional_embedding")  # read only where it is asked for
        shape = [x.shape[0], int(x.shape[1]) // stride, bias.shape[0]]
        return self._stage("conv", [padded, weight, bias, added], shape, stride=stride, adds=position is not None)

    def linear(self, x: TensorValue, name: str, *, norm: str | None = None, gelu: bool = False,
               residual: TensorValue | None = None) -> TensorValue:
        if norm:
            x = self.layer_norm(x, norm)
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        values = [x, weight, bias, x if residual is None else residual]
        return self._stage("linear", values, [*x.shape[:2], bias.shape[0]], gelu=gelu, adds=residual is not None)

    def attend(self, x: TensorValue, kv: TensorValue, windows: TensorValue, keys: int) -> TensorValue:
        return self._stage("attend", [x, kv, windows], [*x.shape[:2], int(kv.shape[2]) * HEAD], keys=keys)

    def self_attend(self, x: TensorValue, cache: BufferValue, source: TensorValue) -> TensorValue:
        self._remember(x, cache, source)
        shape = [*x.shape[:2], int(x.shape[2]) // 3]
        return self._stage("self_attend", [x, cache, source], shape, positions=int(cache.shape[1]))

    def _stage(self, op: str, values: list[Any], shape: list[Any], **parameters: int | bool) -> TensorValue:
        return staged(f"gpu.{op}", values, TensorType(DType.float32, shape, self.device), parameters)
