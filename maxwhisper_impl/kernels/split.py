"""MAX's own ops in float32 on a GPU whose matrix units read no more than the upper 19 bits of a number (TF32).

MAX 26.7 gives them every product of more than one row, and has no switch for it. So each factor is the sum of two
numbers that they read whole: (a + b) w = a w + b w. What is lost is 2^-22 of a product, where TF32 loses 2^-11.
"""

from collections.abc import Mapping

import numpy as np
from max.dtype import DType
from max.graph import TensorValue, ops

from .stock import StockOps

DROPPED = 13
"""of a float32's bits"""
LARGEST = 65504.0
"""of float16"""


def tf32(array: np.ndarray) -> np.ndarray:
    """The nearest numbers with 11 significant bits, as float32. All float16 are such numbers."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    kept = bits + (1 << DROPPED - 1) >> DROPPED << DROPPED
    return kept.astype(np.uint32).view(np.float32)


class SplitOps(StockOps):
    """`stock.StockOps`, its products in two or three parts."""

    @staticmethod
    def prepare(tensors: Mapping[str, np.ndarray], dtype: str = "float32") -> dict[str, np.ndarray]:
        """As `StockOps.prepare`; matrices that are no float16 also as the sum of `high` and `rest`."""
        ready = StockOps.prepare(tensors, dtype)
        for name, tensor in list(ready.items()):
            layer, _, kind = name.rpartition(".")
            if kind == "weight" and tensor.ndim == 2 and (tensor != (high := tf32(tensor))).any():
                ready |= {f"{layer}.high": high, f"{layer}.rest": tensor - high}
        return ready

    def halves(self, x: TensorValue) -> tuple[TensorValue, TensorValue]:
        """Two numbers whose sum is x: its upper 11 bits, and what is left."""
        # By way of float16, which has as many: a GPU's compiler undoes arithmetic that only rounds, by fusing it.
        near = ops.cast(ops.min(ops.max(x, self._scalar(-LARGEST)), self._scalar(LARGEST)), DType.float16)
        high = ops.cast(near, DType.float32)
        return high, x - high

    def _product(self, x: TensorValue, name: str) -> TensorValue:
        high, rest = self.halves(x)
        if f"{name}.rest" in self.weights:
            y = self._times(high, f"{name}.high") + self._times(rest, f"{name}.high")
            y = y + self._times(high, f"{name}.rest")
        else:
            y = self._times(high, f"{name}.weight") + self._times(rest, f"{name}.weight")
        return y + self.weight(f"{name}.bias") if f"{name}.bias" in self.weights else y

    def _times(self, x: TensorValue, weight: str) -> TensorValue:
        return x @ self.weight(weight).transpose(0, 1)
