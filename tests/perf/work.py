"""What each stage of a Whisper must do, whoever does it: floating-point operations, and bytes read once from memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from maxwhisper_impl.audio import N_FFT, N_FRAMES, N_SAMPLES
from maxwhisper_impl.dims import ModelDimensions
from tests.perf.ceilings import Ceilings

FLOAT, HALF = 4, 2
"""bytes; the decoder's weights are read as the float16 that checkpoints hold, see `kernels/fused.py`"""


@dataclass(frozen=True)
class Work:
    flops: float
    read: float
    """bytes"""

    def __mul__(self, times: int) -> Work:
        return Work(self.flops * times, self.read * times)

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.read + other.read)

    def seconds(self, ceilings: Ceilings) -> tuple[float, str]:
        """The least time on such a machine, and what it is bound by."""
        compute, memory = self.flops / ceilings.fp32_gflops / 1e9, self.read / ceilings.read_gbs / 1e9
        return max((compute, "arithmetic"), (memory, "memory"))


def linear(rows: int, k: int, n: int, stored: int = FLOAT) -> Work:
    """`stored`: bytes of a weight."""
    return Work(2 * rows * k * n, stored * k * n)


def attention(queries: int, keys: int, state: int) -> Work:
    """Scores and sums over the keys and values of all heads."""
    return Work(4 * queries * keys * state, 2 * FLOAT * keys * state)


def mel(dims: ModelDimensions) -> Work:
    """Of one window: a real FFT of each frame (2.5 n log2 n), its power, and the filters."""
    bins = N_FFT // 2 + 1
    frame = 2.5 * N_FFT * log2(N_FFT) + 3 * bins + 2 * bins * dims.n_mels
    return Work(N_FRAMES * frame, FLOAT * N_SAMPLES)


def stem(dims: ModelDimensions) -> Work:
    """Both convolutions."""
    state, frames = dims.n_audio_state, 2 * dims.n_audio_ctx
    return linear(frames, 3 * dims.n_mels, state) + linear(dims.n_audio_ctx, 3 * state, state)


def encoder_layer(dims: ModelDimensions) -> Work:
    n, state = dims.n_audio_ctx, dims.n_audio_state
    return linear(n, state, 12 * state) + attention(n, n, state)  # query, key, value, out: 4; the MLP: 8


def cross(dims: ModelDimensions) -> Work:
    """Keys and values of a window for all decoder layers."""
    return linear(dims.n_audio_ctx, dims.n_text_state, 2 * dims.n_text_state) * dims.n_text_layer


def decoder_layer(dims: ModelDimensions, tokens: int, past: int, rows: int = 1, windows: int = 1) -> Work:
    """`tokens` of each row behind `past` others; rows of the same window read its keys and values once."""
    state = dims.n_text_state
    behind = attention(tokens, past + tokens, state) * rows
    heard = attention(tokens, dims.n_audio_ctx, state)
    return linear(rows * tokens, state, 14 * state, HALF) + behind + Work(heard.flops * rows, heard.read * windows)


def logits(dims: ModelDimensions, rows: int = 1) -> Work:
    return linear(rows, dims.n_text_state, dims.n_vocab, HALF)
