"""Seeded random models of any dims, for parity and speed where no real weights are to be had."""

from math import log, sqrt
from pathlib import Path

import numpy as np

from ..dims import ModelDimensions
from .checkpoint import Checkpoint, expected_shapes, pieces

# Standard deviation of the logits. The best of n normal values leads the second by about this over sqrt(2 ln n):
# 0.6 for Whisper's vocabulary, far above float32's errors, and close to real models.
LOGIT_SPREAD = 3.0


def sinusoids(length: int, channels: int, max_timescale: float = 10000.0) -> np.ndarray:
    """Float32 [length, channels]: sines, then cosines, as in openai-whisper's encoder (`whisper/model.py`)."""
    half = channels // 2
    inverse = np.exp(-log(max_timescale) / max(half - 1, 1) * np.arange(half))
    angles = np.arange(length)[:, None] * inverse[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles), np.zeros((length, channels % 2))], axis=1).astype(np.float32)


def _spread(name: str, shape: tuple[int, ...], dims: ModelDimensions) -> float:
    """Standard deviation of a tensor that keeps every layer's output, and the sum of all layers, near 1."""
    layers = dims.n_audio_layer if name.startswith("encoder") else dims.n_text_layer
    fan_in = int(np.prod(shape[1:]))
    if name == "decoder.token_embedding.weight":
        return LOGIT_SPREAD / sqrt(dims.n_text_state)
    if len(shape) == 1 or name.endswith("positional_embedding"):
        return 0.1
    if ".out." in name or ".mlp.2." in name:
        return 1 / sqrt(fan_in * layers)
    # What is heard must stand out from the positions added to it, and cross-attention must pick few of its 1500
    # positions: their average is the same for all tokens, and the logits would follow neither audio nor text.
    gain = 2 if ".conv" in name or ".cross_attn.query." in name or ".cross_attn.key." in name else 1
    return gain * sqrt(2 / fan_in)  # 2: a GELU halves the variance, and attention should choose rather than average


def _fill(tensor: np.ndarray, random: np.random.Generator, spread: float, mean: float) -> None:
    """Uniform values: several times as fast as normal ones, exact on every machine, and their sums are normal too."""
    for piece in pieces(tensor):  # each stays in the processor's cache
        values = random.random(piece.size, np.float32)
        values -= np.float32(0.5)
        values *= np.float32(sqrt(12) * spread)
        values += np.float32(mean)
        piece[:] = values


def random_checkpoint(dims: ModelDimensions, seed: int) -> Checkpoint:
    """A float16 model, the same for the same dims and seed on every machine; no alignment heads."""
    random = np.random.Generator(np.random.SFC64(seed))
    tensors: dict[str, np.ndarray] = {}
    for name, shape in expected_shapes(dims).items():
        tensors[name] = np.empty(shape, np.float16)
        if name == "encoder.positional_embedding":
            tensors[name][:] = sinusoids(*shape)
        else:
            gain = len(shape) == 1 and name.endswith("weight")  # of a layer norm
            _fill(tensors[name], random, _spread(name, shape, dims), mean=float(gain))
    return Checkpoint(dims, tensors, None, Path(f"random-{seed}"))
