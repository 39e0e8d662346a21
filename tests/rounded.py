"""openai-whisper with the numbers of a smaller dtype: stored weights, and left sides rounded before each product.

A second implementation of what `kernels/fused.py` says of bfloat16 and int8. What it is off from float64 is what such
numbers cost, whoever computes with them; the ledger's rows for these dtypes stand on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
import whisper
from whisper.model import MultiHeadAttention

LEVELS = 255
BLOCK = 384
"""As in `kernels/mojo/heads.mojo`."""
MARGIN = 8
"""As in `kernels/mojo/logits.mojo`."""
Rounding = Callable[[torch.Tensor], torch.Tensor]


def nearest_bfloat16(x: torch.Tensor) -> torch.Tensor:
    return x.float().bfloat16().to(x.dtype)


def quantized_rows(x: torch.Tensor) -> torch.Tensor:
    """Each row in 256 numbers from its least to its largest value, 0 among them: what these numbers stand for."""
    rows = x.float()
    low, high = rows.amin(-1, keepdim=True).clamp(max=0), rows.amax(-1, keepdim=True).clamp(min=0)
    step = (high - low).clamp(min=1e-30) / LEVELS
    zero = (0.5 - low / step).floor()
    numbers = (rows.double() * (1 / step) + (zero + 0.5)).float().floor().clamp(0, LEVELS)
    return ((numbers - zero).to(x.dtype) * step).to(x.dtype)


def quantized_columns(weight: torch.Tensor) -> torch.Tensor:
    """Each output's weights, or each key `[…, 64]`, in 255 numbers, as many below 0 as above."""
    step = weight.abs().amax(-1, keepdim=True).float().to(weight.dtype) / 127
    step = torch.where(step > 0, step, 1).float().to(weight.dtype)
    return (weight / step).round() * step


def nibble_columns(weight: torch.Tensor) -> torch.Tensor:
    """Each output's weights `[n, k]` in 16 numbers, in steps of 16 inputs' own; the largest of them is -8 steps."""
    groups = weight.unflatten(-1, (-1, 16))
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    step = nearest_bfloat16(torch.where(largest == 0, 1, largest / -8))
    return ((groups / step).round().clamp(-8, 7) * step).flatten(-2)


def is_fine(name: str) -> bool:
    """Whether a layer is of bfloat16 in int8 too; of the logits, those near the top."""
    return re.fullmatch(r"encoder\.conv\d|encoder\.blocks\.\d+\.attn\.out|decoder\.token_embedding", name) is not None


def weight_bytes(attention: str) -> int:
    """Of a softmax's weight in int8: a decoder reads its window with two, as it costs it nothing."""
    return 1 if attention.startswith("encoder.") else 2


LEFT: dict[str, Rounding] = {"bfloat16": nearest_bfloat16, "int8": quantized_rows}
RIGHT: dict[str, Rounding] = {"bfloat16": nearest_bfloat16, "int8": quantized_columns}


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, dtype: str, weight_bytes: int) -> torch.Tensor:
    """Scaled queries `[…, n, 64]` over all keys; the softmax's weights, of int8 `weight_bytes` each, are rounded before
    they are divided by their sum."""
    scores = LEFT[dtype](q) @ RIGHT[dtype](k).transpose(-1, -2)
    if dtype == "int8":
        return _average_numbers(scores, v, 256**weight_bytes - 16 ** (weight_bytes - 1))
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return nearest_bfloat16(weights) @ nearest_bfloat16(v) / weights.sum(-1, keepdim=True)


def _average_numbers(scores: torch.Tensor, v: torch.Tensor, most: int) -> torch.Tensor:
    """Values in 255 numbers of each dimension, off its mean; weights in whole numbers up to `most` for the largest yet,
    as keys are read BLOCK by BLOCK: where a window listens to itself, first those around the query."""
    mean = v.mean(-2, keepdim=True)
    step = ((v - mean).abs().amax(-2, keepdim=True) / 127).clamp(min=1e-30)
    numbers = ((v - mean) / step).round()
    itself = scores.shape[-2] == scores.shape[-1]
    queries = scores.split(BLOCK if itself else scores.shape[-2], -2)
    read = [_average_blocks(few, numbers, most, near) for near, few in enumerate(queries)]
    return torch.cat(read, -2) * step + mean


def _average_blocks(scores: torch.Tensor, numbers: torch.Tensor, most: int, near: int) -> torch.Tensor:
    blocks = list(zip(scores.split(BLOCK, -1), numbers.split(BLOCK, -2), strict=True))
    top = torch.full_like(scores[..., :1], -torch.inf)
    total, sums = torch.zeros_like(top), torch.zeros_like(scores @ numbers)
    for block, values in [blocks.pop(near), *blocks]:
        before, top = top, torch.maximum(top, block.amax(-1, keepdim=True))
        weights = (block - top).exp() * most
        total = total * (before - top).exp() + weights.sum(-1, keepdim=True)
        sums = sums * (before - top).exp() + weights.round() @ values
    return sums / total


def _attend_heads(
    heads: int, dtype: str, weight_bytes: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    q = q * q.shape[-1] ** -0.5
    attended = attend(q, k, v, dtype, weight_bytes)
    return attended.transpose(1, 2).flatten(2), q @ RIGHT[dtype](k).transpose(-1, -2)


def _attend_cached(
    attention: Callable[..., Any], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any = None
) -> Any:
    return attention(q, nearest_bfloat16(k), nearest_bfloat16(v), mask)


def _linear(layer: torch.nn.Linear, left: Rounding, x: torch.Tensor) -> torch.Tensor:
    return F.linear(left(x), layer.weight, layer.bias)


def _conv(layer: torch.nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    return F.conv1d(nearest_bfloat16(x), layer.weight, layer.bias, layer.stride, layer.padding)


def _then(forward: Callable[..., torch.Tensor], rounding: Rounding, x: torch.Tensor) -> torch.Tensor:
    return rounding(forward(x))


def round_model(model: whisper.Whisper, dtype: str) -> None:
    """Changes openai-whisper's own module into one of `dtype`, in place."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv1d):
            module.weight.data = nearest_bfloat16(module.weight)
            module.forward = partial(_conv, module)
        elif isinstance(module, torch.nn.Linear):
            kind = "bfloat16" if is_fine(name) else dtype
            module.weight.data = RIGHT[kind](module.weight)
            module.forward = partial(_linear, module, LEFT[kind])
        elif isinstance(module, MultiHeadAttention) and name.startswith("decoder.") and name.endswith(".attn"):
            module.qkv_attention = partial(_attend_cached, module.qkv_attention)
        elif isinstance(module, MultiHeadAttention):
            module.qkv_attention = partial(_attend_heads, module.n_head, dtype, weight_bytes(name))
    table, norm = model.decoder.token_embedding.weight, model.decoder.ln
    coarse = nibble_columns(table.data)
    table.data = nearest_bfloat16(table)
    if dtype == "bfloat16":
        norm.forward = partial(_then, norm.forward, nearest_bfloat16)  # the logits' left side
    else:
        normed: list[torch.Tensor] = []
        norm.register_forward_hook(lambda _module, _inputs, x: normed.append(x))
        model.decoder.register_forward_hook(lambda _module, _inputs, logits: near(logits, normed.pop(), coarse))


def near(fine: torch.Tensor, x: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """Logits of int8: those of x on `coarse` columns, but within MARGIN of the top what `fine` has."""
    quick = quantized_rows(x) @ coarse.T
    return torch.where(quick >= quick.amax(-1, keepdim=True) - MARGIN, fine, quick)
