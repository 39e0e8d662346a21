"""What this machine can do at best: products in each dtype, and reading memory. Measured, by code that is not ours."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

SIZES = ((1500, 384, 1536), (1500, 1536, 384), (1500, 512, 2048), (1500, 768, 3072), (2048, 2048, 2048))
"""(rows, k, n) of the products tried: those of an encoder, and a large square one."""
READ_BYTES = 1 << 29
"""Far beyond any cache."""
SLOW = 4
"""A product that takes so many times as long as in float32 is done without the machine's help."""


@dataclass(frozen=True)
class Ceilings:
    """The best rates seen: products in GFLOP/s (int8: GOP/s, two for each multiply and add), reading in GB/s."""

    fp32_gflops: float
    bf16_gflops: float | None
    """None, as for int8, where torch has no fast product on this machine"""
    int8_gops: float | None
    read_gbs: float


def best(call: Callable[[], object], seconds: float = 0.3) -> float:
    """The shortest of the calls that fit into `seconds`, at least five, after one that does not count."""
    call()
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def product(dtype: torch.dtype, rows: int, k: int, n: int) -> Callable[[], object]:
    """A product to be timed; int8 with its right side packed for the machine, as quantised layers have it."""
    a, b = torch.randn(rows, k), torch.randn(k, n)
    if dtype != torch.int8:
        return partial(torch.mm, a.to(dtype), b.to(dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but torch has no other int8 product that is fast everywhere
        left = torch.quantize_per_tensor(a, 0.05, 64, torch.quint8)
        right = torch.quantize_per_tensor(b.t().contiguous(), 0.05, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(right, None)
    return partial(torch.ops.quantized.linear, left, packed, 1.0, 0)


def product_rate(dtype: torch.dtype) -> float | None:
    """G operations a second of the fastest size; None where the smallest takes longer than in float32 by far."""
    _, k, n = SIZES[0]
    if dtype != torch.float32 and best(product(dtype, 64, k, n), 0) > SLOW * best(product(torch.float32, 64, k, n), 0):
        return None
    return max(2e-9 * rows * k * n / best(product(dtype, rows, k, n)) for rows, k, n in SIZES)


def read_rate() -> float:
    return READ_BYTES / best(read_memory(READ_BYTES), 1.0) / 1e9


def read_memory(count: int) -> Callable[[], object]:
    """Reads so many bytes, with all of torch's threads."""
    data = torch.ones(count // 8, dtype=torch.int64)
    return data.sum


def measure(threads: int) -> Ceilings:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fp32 = product_rate(torch.float32)
        assert fp32 is not None
        return Ceilings(fp32, product_rate(torch.bfloat16), product_rate(torch.int8), read_rate())
    finally:
        torch.set_num_threads(before)
