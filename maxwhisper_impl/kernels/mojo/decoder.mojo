"""A decoder layer as one op: in a step its products are so small that threads should meet only once for all of them."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext

from .attention import Attention
from .causal import Causal
from .heads import HEAD
from .linear import floats, layer_of, room_of
from .team import Team, together

comptime PHASES = 8


@extensibility.register("whisper.decoder_layer")
struct DecoderLayer:
    @staticmethod
    def execute[
        keys: Int, portable: Bool, target: StaticString
    ](
        qkv: OutputTensor[dtype=DType.float32, rank=3, ...],
        attended: OutputTensor[dtype=DType.float32, rank=3, ...],
        said: OutputTensor[dtype=DType.float32, rank=3, ...],
        query: OutputTensor[dtype=DType.float32, rank=3, ...],
        heard: OutputTensor[dtype=DType.float32, rank=3, ...],
        both: OutputTensor[dtype=DType.float32, rank=3, ...],
        hidden: OutputTensor[dtype=DType.float32, rank=3, ...],
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        cache: MutableInputTensor[rank=5, ...],
        source: InputTensor[dtype=DType.int32, rank=2, ...],
        cross: InputTensor[rank=3, ...],
        windows: InputTensor[dtype=DType.int32, rank=1, ...],
        attn_gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        attn_beta: InputTensor[dtype=DType.float32, rank=1, ...],
        qkv_weight: InputTensor[rank=3, ...],
        qkv_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        out_weight: InputTensor[rank=3, ...],
        out_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_beta: InputTensor[dtype=DType.float32, rank=1, ...],
        query_weight: InputTensor[rank=3, ...],
        query_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_out_weight: InputTensor[rank=3, ...],
        cross_out_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_beta: InputTensor[dtype=DType.float32, rank=1, ...],
        wide_weight: InputTensor[rank=3, ...],
        wide_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        narrow_weight: InputTensor[rank=3, ...],
        narrow_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[rows, n, state]` -> y of the same shape, and what lies between; `fused.py` says which is which.

        cache `[2, slots, heads, positions, 64]` holds each row's past, in the slots that source `[rows, length]` names;
        cross `[windows, heads, size]` is what `pack_kv` made of each window, and row r listens to `windows[r]`.
        """
        var rows = x.dim_size(0)
        var n = x.dim_size(1)
        var state = x.dim_size(2)
        var old = cache.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var causal = Causal[cache.dtype, portable](
            old,
            old.unsafe_offset(cache.dim_size(1) * cache.dim_size(2) * cache.dim_size(3) * HEAD),
            source.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            cache.dim_size(2),
            cache.dim_size(3),
            source.dim_size(1),
        )
        var listening = Attention[cross.dtype, 2, portable](
            cross.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            windows.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            cross.dim_size(1),
            cross.dim_size(2),
            keys,
            False,
        )
        var to_qkv = layer_of[portable](qkv_weight, qkv_bias, state, True, floats(attn_gamma), floats(attn_beta))
        var out = layer_of[portable](out_weight, out_bias, state, adds=True, residual=floats(x))
        var to_query = layer_of[portable](
            query_weight, query_bias, state, True, floats(cross_gamma), floats(cross_beta)
        )
        var cross_out = layer_of[portable](cross_out_weight, cross_out_bias, state, adds=True, residual=room_of(said))
        var wide = layer_of[portable](
            wide_weight, wide_bias, state, True, floats(mlp_gamma), floats(mlp_beta), gelu=True
        )
        var narrow = layer_of[portable](
            narrow_weight, narrow_bias, wide_bias.dim_size(0), adds=True, residual=room_of(both)
        )
        var inner = wide_bias.dim_size(0)
        var source_rows = floats(x)
        var qkv_rows = room_of(qkv)
        var attended_rows = room_of(attended)
        var said_rows = room_of(said)
        var query_rows = room_of(query)
        var heard_rows = room_of(heard)
        var both_rows = room_of(both)
        var hidden_rows = room_of(hidden)
        var result = room_of(y)

        def work(mut team: Team) {imm}:
            to_qkv.share(team, source_rows, state, qkv_rows, rows * n)
            causal.share(team, qkv_rows, attended_rows, rows, n)
            out.share(team, attended_rows, state, said_rows, rows * n)
            to_query.share(team, said_rows, state, query_rows, rows * n)
            listening.share(team, query_rows, state, heard_rows, state, rows, n)
            cross_out.share(team, heard_rows, state, both_rows, rows * n)
            wide.share(team, both_rows, state, hidden_rows, rows * n)
            narrow.share(team, hidden_rows, inner, result, rows * n)

        together(PHASES, work)
