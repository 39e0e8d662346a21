"""A decoder layer's op, part by part: what each part should give for what the kernel itself made before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st

from maxwhisper_impl.kernels.fused import DECODER_LAYER
from maxwhisper_impl.kernels.packing import bfloat16_bits
from tests import compare
from tests.parity.kernel_bench import (
    BLOCK,
    CONTEXT,
    DIMS,
    HEADS,
    ROWS_OF_LAYER,
    STATE,
    Bench,
    Reference,
    draw,
    draw_windows,
)  # fmt: skip

WINDOWS = 3
QKV, ATTENDED, SAID, QUERY, HEARD, BOTH, HIDDEN, OUT = DECODER_LAYER
ATTENTION = (ATTENDED, HEARD)


def masked_attention(qkv: torch.Tensor, n: int, held: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Causal, of the last n positions of qkv `[rows, length, 3 * STATE]`; `held`: what a cache makes of them."""
    length = qkv.shape[1]
    mask = torch.arange(length)[None] <= torch.arange(length - n, length)[:, None]
    q, k, v = (part.unflatten(2, (HEADS, 64)).transpose(1, 2) for part in qkv.split(STATE, dim=2))
    attended = F.scaled_dot_product_attention(q[:, :, -n:], held(k), held(v), attn_mask=mask)
    return attended.transpose(1, 2).flatten(2)


class LayerCheck:
    """Prefill and steps of rows that swap their pasts, as beams do, and each listen to some window."""

    def __init__(self, bench: Bench, reference: Reference, way: str, seed: int, windows: list[int]):
        self.bench, self.reference, self.way = bench, reference, way
        self.windows = np.array(windows, np.int32)
        self.kv, self.kv64 = draw_windows(seed, WINDOWS, bench.dtype)
        shape = bench.ops.cache_shape(DIMS, ROWS_OF_LAYER)
        large = np.full(shape, 1e30, np.float32)  # never read unwritten
        self.cache = bench.put(large if bench.dtype == "float32" else bfloat16_bits(large))
        self.source = np.zeros((ROWS_OF_LAYER, 0), np.int32)
        self.past = torch.zeros(ROWS_OF_LAYER, 0, 3 * STATE, dtype=torch.float64)

    def feed(self, seed: int, n: int, order: list[int]) -> None:
        """n positions for each row, behind the past of row `order[row]`."""
        x, x64 = draw(seed, 1.0, ROWS_OF_LAYER, n, STATE)
        own = np.repeat(np.arange(ROWS_OF_LAYER, dtype=np.int32)[:, None], n, axis=1)
        self.source = np.ascontiguousarray(np.concatenate([self.source[order], own], axis=1))
        self.windows = self.windows[order]
        results = self.bench.all(f"{self.way}decoder_layer", x, self.cache, self.source, self.kv, self.windows)
        got = dict(zip(DECODER_LAYER, results, strict=True))
        made = {part: torch.from_numpy(value).double() for part, value in got.items()}
        self.past = torch.cat([self.past[order], made[QKV]], dim=1)
        for part, want in self._wanted(x64, made, n).items():
            family = "kernels.attention" if part in ATTENTION else "kernels"
            name = f"{self.way}layer{part}, {n} behind {self.past.shape[1] - n}"
            compare.assert_tensor(name, got[part], want.numpy(), family, dtype=self.bench.dtype)

    def _wanted(self, x: torch.Tensor, made: dict[str, torch.Tensor], n: int) -> dict[str, torch.Tensor]:
        product = self.reference.product
        normed = self._normed(x, "attn_ln")
        keys, values = self.kv64[self.windows, :, STATE : 2 * STATE], self.kv64[self.windows, :, 2 * STATE :]
        parts = [product(normed, f"{BLOCK}.attn.{part}") for part in ("query", "key", "value")]
        return {
            QKV: torch.cat(parts, dim=2),
            ATTENDED: masked_attention(self.past, n, self.reference.half),
            SAID: x + product(made[ATTENDED], f"{BLOCK}.attn.out"),
            QUERY: product(self._normed(made[SAID], "cross_attn_ln"), f"{BLOCK}.cross_attn.query"),
            HEARD: self.reference.attention(made[QUERY], keys, values, weight_bytes=2),
            BOTH: made[SAID] + product(made[HEARD], f"{BLOCK}.cross_attn.out"),
            HIDDEN: F.gelu(product(self._normed(made[BOTH], "mlp_ln"), f"{BLOCK}.mlp.0")),
            OUT: made[BOTH] + product(made[HIDDEN], f"{BLOCK}.mlp.2"),
        }

    def _normed(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """In small dtypes the kernel's own: a value between two numbers could fall otherwise in float64."""
        if self.bench.dtype == "float32":
            return self.reference.norm(x, f"{BLOCK}.{name}")
        return torch.from_numpy(self.bench(name, x.numpy().astype(np.float32))).double()


def check_layer(
    bench: Bench, reference: Reference, way: str, seed: int, splits: list[int], data: st.DataObject
) -> None:
    rows = st.integers(0, ROWS_OF_LAYER - 1)
    windows = data.draw(st.lists(st.integers(0, WINDOWS - 1), min_size=ROWS_OF_LAYER, max_size=ROWS_OF_LAYER))
    check = LayerCheck(bench, reference, way, seed, windows)
    for number, n in enumerate(splits[: CONTEXT // 7]):
        check.feed(seed + 1 + number, n, data.draw(st.lists(rows, min_size=ROWS_OF_LAYER, max_size=ROWS_OF_LAYER)))
