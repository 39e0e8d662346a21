"""Whisper's encoder and decoder as graphs, in terms of the ops of `kernels/`: which layer follows which, and no more.

Layers carry openai-whisper's names. `taps` collects what each layer puts out, under its name.
"""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

from max.dtype import DType
from max.graph import BufferValue, TensorValue, Weight

from .dims import ModelDimensions


class Ops(Protocol):
    """What a set of kernels offers; `kernels/fused.py` says what each op does."""

    extensions: tuple[Path, ...]
    weights: dict[str, Weight]
    cache_dtype: DType
    cross_dtype: DType

    def cross_shape(self, dims: ModelDimensions) -> list[int]: ...
    def cache_shape(self, dims: ModelDimensions, slots: Any) -> list[Any]: ...
    def frames(self, mel: TensorValue) -> TensorValue: ...
    def conv(self, x: TensorValue, name: str, stride: int, position: str | None = None) -> TensorValue: ...
    def layer_norm(self, x: TensorValue, name: str) -> TensorValue: ...
    def linear(self, x: TensorValue, name: str, *, norm: str | None = None, gelu: bool = False,
               residual: TensorValue | None = None) -> TensorValue: ...
    def pack_kv(self, x: TensorValue, state: int) -> TensorValue: ...
    def keys_values(self, x: TensorValue, name: str) -> TensorValue: ...
    def attend(self, x: TensorValue, kv: TensorValue, windows: TensorValue, keys: int) -> TensorValue: ...
    def decoder_layer(self, x: TensorValue, block: str, cache: BufferValue, source: TensorValue, cross: TensorValue,
                      windows: TensorValue, keys: int) -> dict[str, TensorValue]: ...
    def embed(self, tokens: TensorValue, source: TensorValue) -> TensorValue: ...
    def pick_rows(self, x: TensorValue, at: TensorValue) -> TensorValue: ...
    def logits(self, x: TensorValue) -> TensorValue: ...
    def pick(self, logits: TensorValue, ranges: TensorValue, suppressed: TensorValue) -> list[TensorValue]: ...


Taps = dict[str, TensorValue]


def audio_encoder(ops: Ops, dims: ModelDimensions, mel: TensorValue, windows: TensorValue, taps: Taps) -> TensorValue:
    """mel `[batch, n_mels, 2 * n_audio_ctx]` -> features `[batch, n_audio_ctx, n_audio_state]`; windows is 0, 1, …"""
    x = ops.conv(ops.frames(mel), "encoder.conv1", stride=1)
    taps["encoder.conv1"] = x
    x = ops.conv(x, "encoder.conv2", stride=2, position="encoder.positional_embedding")
    taps["encoder.conv2"] = x
    for i in range(dims.n_audio_layer):
        block = f"encoder.blocks.{i}"
        qkv = ops.linear(x, f"{block}.attn.query+key+value", norm=f"{block}.attn_ln")
        taps[f"{block}.attn.query+key+value"] = qkv
        kv = ops.pack_kv(qkv, dims.n_audio_state)
        attended = ops.attend(qkv, kv, windows, dims.n_audio_ctx)
        taps[f"{block}.attn.out.input"] = attended
        x = ops.linear(attended, f"{block}.attn.out", residual=x)
        taps[f"{block}.mlp_ln.input"] = x
        hidden = ops.linear(x, f"{block}.mlp.0", norm=f"{block}.mlp_ln", gelu=True)
        taps[f"{block}.mlp.1"] = hidden
        x = ops.linear(hidden, f"{block}.mlp.2", residual=x)
        taps[block] = x
    x = ops.layer_norm(x, "encoder.ln_post")
    taps["encoder.ln_post"] = x
    return x


def cross_keys_values(ops: Ops, dims: ModelDimensions, features: TensorValue) -> list[TensorValue]:
    """Keys and values of every decoder layer for features `[batch, n_audio_ctx, n_audio_state]`: once per window."""
    return [
        ops.keys_values(features, f"decoder.blocks.{i}.cross_attn.key+value") for i in range(dims.n_text_layer)
    ]


class Rows(NamedTuple):
    """Rows of tokens being decoded. Prefill and step are the same graph: n is 1 in a step."""

    tokens: TensorValue
    """`[rows, n]`, behind what the caches hold"""
    source: TensorValue
    """`[rows, length]`: the cache slot of each position, new ones included"""
    windows: TensorValue
    """`[rows]`: the window that each row listens to"""
    at: TensorValue
    """those of the n positions whose logits are wanted"""
    ranges: TensorValue
    """of rows for which a token is chosen, see `filters.Plan.ranges`"""
    suppressed: TensorValue
    """`[n_vocab]`: not 0 for a token that no row may choose"""
    cross: list[TensorValue]
    caches: list[BufferValue]


def text_decoder(ops: Ops, dims: ModelDimensions, rows: Rows, taps: Taps) -> list[TensorValue]:
    """Logits `[rows, len(at), n_vocab]`; the likeliest allowed token by the last of them, and its log-probability, for
    each row of `ranges`; then each layer's cross-attention queries `[rows, n, n_text_state]`, which word times are made
    of."""
    x = ops.embed(rows.tokens, rows.source)
    queries: list[TensorValue] = []
    taps["decoder.embedding"] = x
    for i in range(dims.n_text_layer):
        block = f"decoder.blocks.{i}"
        parts = ops.decoder_layer(x, block, rows.caches[i], rows.source, rows.cross[i], rows.windows, dims.n_audio_ctx)
        taps.update({block + part: value for part, value in parts.items()})
        queries.append(parts[".cross_attn.query"])
        x = parts[""]
    logits = ops.logits(ops.pick_rows(x, rows.at))
    taps["logits"] = logits
    return [logits, *ops.pick(logits, rows.ranges, rows.suppressed), *queries]
