"""What each stage of a Whisper must do, whoever does it: floating-point operations, and bytes read once from memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2

from maxwhisper_impl.audio import N_FFT, N_FRAMES, N_SAMPLES
from maxwhisper_impl.dims import ModelDimensions
from tests.perf.ceilings import Ceilings

FLOAT, HALF = 4, 2
"""bytes; in float32 the decoder's weights are read as the float16 that checkpoints hold, see `kernels/fused.py`"""
STORED = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Bytes of a weight."""
TABLE = {"float32": HALF, "bfloat16": HALF, "int8": 5 / 8}
"""Of one that logits are made with: in int8 it has 4 bits, and a bfloat16 for each 16 of them."""


def fine(dtype: str) -> str:
    """What the layers are made in that int8 leaves in bfloat16, see `kernels/fused.py`."""
    return "float32" if dtype == "float32" else "bfloat16"


@dataclass(frozen=True)
class Work:
    flops: float
    read: float
    """bytes"""
    bf16: float = 0
    """of the operations, those on bfloat16"""
    int8: float = 0

    def __mul__(self, times: int) -> Work:
        return Work(self.flops * times, self.read * times, self.bf16 * times, self.int8 * times)

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.read + other.read, self.bf16 + other.bf16, self.int8 + other.int8)

    def seconds(self, ceilings: Ceilings) -> tuple[float, str]:
        """The least time on such a machine, and what it is bound by."""
        fp32 = ceilings.fp32_gflops
        compute = (self.flops - self.bf16 - self.int8) / fp32
        compute += self.bf16 / (ceilings.bf16_gflops or fp32) + self.int8 / (ceilings.int8_gops or fp32)
        return max((compute / 1e9, "arithmetic"), (self.read / ceilings.read_gbs / 1e9, "memory"))


def operations(flops: float, read: float, dtype: str) -> Work:
    return Work(flops, read, flops * (dtype == "bfloat16"), flops * (dtype == "int8"))


def linear(rows: int, k: int, n: int, dtype: str = "float32", stored: float | None = None) -> Work:
    """`stored`: bytes of a weight, where they are not the dtype's."""
    return operations(2 * rows * k * n, (stored or STORED[dtype]) * k * n, dtype)


def attention(queries: int, keys: int, state: int, dtype: str = "float32", stored: float | None = None) -> Work:
    """Scores over the keys of all heads, and sums of their values; `stored`: bytes of one, where not the dtype's."""
    return linear(queries, keys, state, dtype, stored) * 2


def mel(dims: ModelDimensions) -> Work:
    """Of one window: a real FFT of each frame (2.5 n log2 n), its power, and the filters."""
    bins = N_FFT // 2 + 1
    frame = 2.5 * N_FFT * log2(N_FFT) + 3 * bins + 2 * bins * dims.n_mels
    return Work(N_FRAMES * frame, FLOAT * N_SAMPLES)


def stem(dims: ModelDimensions, dtype: str = "float32") -> Work:
    """Both convolutions."""
    state, frames, small = dims.n_audio_state, 2 * dims.n_audio_ctx, fine(dtype)
    return linear(frames, 3 * dims.n_mels, state, small) + linear(dims.n_audio_ctx, 3 * state, state, small)


def encoder_layer(dims: ModelDimensions, dtype: str = "float32") -> Work:
    n, state = dims.n_audio_ctx, dims.n_audio_state
    out, others = linear(n, state, state, fine(dtype)), linear(n, state, 11 * state, dtype)
    return out + others + attention(n, n, state, dtype)


def cross(dims: ModelDimensions, dtype: str = "float32") -> Work:
    """Keys and values of a window for all decoder layers."""
    return linear(dims.n_audio_ctx, dims.n_text_state, 2 * dims.n_text_state, dtype) * dims.n_text_layer


def decoder_layer(dims: ModelDimensions, tokens: int, past: int, rows: int = 1, windows: int = 1,
                  dtype: str = "float32") -> Work:  # fmt: skip
    """`tokens` of each row behind `past` others; rows of the same window read its keys and values once."""
    state = dims.n_text_state
    behind = attention(tokens, past + tokens, state, stored=FLOAT if dtype == "float32" else HALF) * rows
    heard = attention(tokens, dims.n_audio_ctx, state, dtype)
    products = linear(rows * tokens, state, 14 * state, dtype, min(HALF, STORED[dtype]))
    return products + behind + replace(heard * rows, read=heard.read * windows)


def logits(dims: ModelDimensions, rows: int = 1, dtype: str = "float32") -> Work:
    return linear(rows, dims.n_text_state, dims.n_vocab, dtype, TABLE[dtype])
