"""Weights as the kernels in `mojo/` read them: panels of 16 columns, in floats or in words of 32 bits.

A word holds a pair of bfloat16 (as uint16: NumPy has no bfloat16), a quad of int8 or eight nibbles, neighbours along a
layer's inputs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..weights.files import widen_bfloat16

PANEL, GROUP = 16, 64
"""Columns of a packed weight panel, and of the four that a task takes at once; as in `mojo/tile.mojo`."""
BLOCK = 512
"""Rows that are rounded at once, whole groups of columns: a vocabulary's in float32 would be the largest thing in
memory."""
LARGEST = 127
"""Of a quantised weight: -128 is left out, so that the range is the same on both sides."""
LEAST = -8
"""Of a weight in 4 bits."""
SHARED = 16
"""Inputs whose weights in 4 bits have a step in common."""


def joined(tensors: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Query, key and value of each of a checkpoint's attentions as one layer, of a cross-attention key and value: its
    name, weight and float32 bias, zero for keys, which have none."""
    for name in tensors:
        if name.endswith("attn.key.weight"):
            attn = name.removesuffix(".key.weight")
            parts = ("key", "value") if attn.endswith(".cross_attn") else ("query", "key", "value")
            weight = np.concatenate([tensors[f"{attn}.{part}.weight"] for part in parts])
            none = np.zeros(tensors[name].shape[0], np.float32)
            bias = np.concatenate([tensors.get(f"{attn}.{part}.bias", none) for part in parts]).astype(np.float32)
            yield f"{attn}.{'+'.join(parts)}", weight, bias


def padded_to_groups(n: int) -> int:
    return -(-n // GROUP) * GROUP


def pack(weight: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
    """A linear layer's `[n, k]` as panels `[4 * ceil(n / 64), k, 16]`, zero beyond n."""
    n, k = weight.shape
    packed = np.zeros((padded_to_groups(n) // PANEL, k, PANEL), dtype)
    full = n // PANEL
    packed[:full] = weight[: full * PANEL].reshape(full, PANEL, k).transpose(0, 2, 1)
    if n % PANEL:
        packed[full, :, : n % PANEL] = weight[full * PANEL :].T
    return packed


def bfloat16_bits(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 of finite values, of two equally near ones the even: uint16."""
    rounded = np.empty(x.shape, np.uint16)
    for start in range(0, len(x), BLOCK):
        bits = np.ascontiguousarray(x[start : start + BLOCK], np.float32).view(np.uint32)
        rounded[start : start + BLOCK] = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return rounded


def quantize(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 `[n, k]` and float32 `[n]`: steps of each output's weights, and how large a step is."""
    weight = np.asarray(weight, np.float32)
    largest = np.abs(weight).max(axis=1)
    step = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    return np.rint(weight / step[:, None]).astype(np.int8), step


def words(values: np.ndarray) -> np.ndarray:
    """`[n, k]` of 16 or 8 bits each as uint32 `[n, ceil(k / 2 or 4)]`, zero beyond k."""
    each = 4 // values.itemsize
    if beyond := -values.shape[1] % each:
        values = np.pad(values, ((0, 0), (0, beyond)))
    return np.ascontiguousarray(values).view(np.uint32)


def pack_pairs(weight: np.ndarray) -> np.ndarray:
    """`[n, k]` in bfloat16: uint16 `[panels, ceil(k / 2), 16 * 2]`."""
    return pack(words(bfloat16_bits(weight)), np.uint32).view(np.uint16)


def in_rows(weight: np.ndarray) -> np.ndarray:
    """`[n, k]` in bfloat16, k even, as panels of one column: uint16 `[n, k / 2, 2]`."""
    return bfloat16_bits(weight).reshape(len(weight), -1, 2)


def pack_quads(weight: np.ndarray) -> np.ndarray:
    """`[n, k]` in int8: `[panels, ceil(k / 4) + 2, 16 * 4]`.

    The last two lines of a panel are its columns' steps in float32, and the sums of their weights in int32."""
    return np.concatenate([_pack_quads(weight[start : start + BLOCK]) for start in range(0, len(weight), BLOCK)])


def _pack_quads(weight: np.ndarray) -> np.ndarray:
    values, step = quantize(weight)
    sums = values.sum(axis=1, dtype=np.int32)
    lines = np.stack([step.view(np.uint32), sums.view(np.uint32)], axis=1)
    return pack(np.concatenate([words(values), lines], axis=1), np.uint32).view(np.int8)


def quantize_nibbles(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 `[n, k]` from -8 to 7, and float32 `[n, k / 16]` that bfloat16 has: steps of SHARED inputs' weights, and how
    large a step is; the largest of the weights is -8 steps, which may be below 0."""
    groups = np.asarray(weight, np.float32).reshape(len(weight), -1, SHARED)
    largest = np.take_along_axis(groups, np.abs(groups).argmax(axis=2, keepdims=True), axis=2)
    step = widen_bfloat16(bfloat16_bits(np.where(largest == 0, 1, largest / LEAST)))
    return np.clip(np.rint(groups / step), LEAST, -LEAST - 1).astype(np.int8).reshape(weight.shape), step[:, :, 0]


def pack_nibbles(weight: np.ndarray) -> np.ndarray:
    """`[n, k]`, k a multiple of 64, in 4 bits: uint8 `[panels, k / 64 * 10 + 1, 16 * 4]`; see `mojo/nibbles.mojo`."""
    return np.concatenate([_pack_nibbles(weight[start : start + BLOCK]) for start in range(0, len(weight), BLOCK)])


def _pack_nibbles(weight: np.ndarray) -> np.ndarray:
    values, step = quantize_nibbles(weight)
    n = len(values)
    halves = (values.view(np.uint8) & 15).reshape(n, -1, 8, 2, 4)  # [n, 64 inputs, line, half, byte]
    lines = words((halves[:, :, :, 0] | halves[:, :, :, 1] << 4).reshape(n, -1)).reshape(n, -1, 8)
    steps = words(bfloat16_bits(step / 16)).reshape(n, -1, 2)  # in a byte's upper half, a nibble is 16 times as large
    sums = (values.reshape(n, -1, SHARED).sum(axis=2, dtype=np.float32) * step).sum(axis=1, dtype=np.float32)
    blocks = np.concatenate([lines, steps], axis=2).reshape(n, -1)
    return pack(np.concatenate([blocks, sums.view(np.uint32)[:, None]], axis=1), np.uint32).view(np.uint8)
