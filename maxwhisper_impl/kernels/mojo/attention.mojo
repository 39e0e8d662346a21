"""Attention over a window, without a matrix of all scores: heads and queries are shared out among workers."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext

from .heads import HEAD, QUERIES, SCALE, attend_pairs, attend_rows, pack_floats, pack_pairs, padded_to_groups
from .team import Team, together
from .tile import F32, I32, Stored
from .words import PAIRS


@extensibility.register("whisper.pack_kv")
struct PackKV:
    @staticmethod
    def execute[
        target: StaticString
    ](
        kv: OutputTensor[rank=4, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """Keys and values at the end of each row of x `[batch, n, (…,) 2 * heads * 64]`, in panels, float32 or bfloat16:
        kv `[batch, heads, 2, padded * 64]`."""
        var heads = kv.dim_size(1)
        var n = x.dim_size(1)
        var width = x.dim_size(2)
        var padded = kv.dim_size(3) // HEAD
        var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = kv.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        def pack(task: Int) {imm}:
            var head = task % heads
            var k = source.unsafe_offset(task // heads * n * width + width - (2 * heads - head) * HEAD)
            var v = k.unsafe_offset(heads * HEAD)
            var keys = result.unsafe_offset(task * 2 * padded * HEAD)
            var values = keys.unsafe_offset(padded * HEAD)
            comptime if kv.dtype == PAIRS:
                pack_pairs(k, v, width, n, padded, keys.unsafe_bitcast[UInt32](), values.unsafe_bitcast[UInt32]())
            else:
                pack_floats(k, v, width, n, padded, keys.unsafe_bitcast[Float32](), values.unsafe_bitcast[Float32]())

        sync_parallelize(pack, kv.dim_size(0) * heads)


@fieldwise_init
struct Attention[T: DType, portable: Bool](ImplicitlyCopyable):
    """Queries over all keys of the window that their row listens to, the same for every query."""

    var kv: Stored[Self.T]
    """`[windows, heads, 2, size]`, as `pack_kv` makes it."""
    var windows: I32
    var heads: Int
    var size: Int
    var keys: Int

    def share(self, mut team: Team, x: F32, x_stride: Int, y: F32, y_stride: Int, rows: Int, n: Int):
        """A worker's part of a phase: queries at the start of each row of x `[rows, n, x_stride]`."""
        var chunks = (n + QUERIES - 1) // QUERIES
        var pieces = rows * self.heads * chunks
        var scratch = List[Float32](unsafe_uninit_length=min(QUERIES, n) * (HEAD + padded_to_groups(self.keys)))
        var room = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var piece = team.claim(pieces)
        while piece >= 0:
            var head = piece // chunks % self.heads
            var row = piece // chunks // self.heads
            var t = piece % chunks * QUERIES
            var k = self.kv.unsafe_offset((Int(self.windows.unsafe_load(row)) * self.heads + head) * 2 * self.size)
            var v = k.unsafe_offset(self.size)
            var q = x.unsafe_offset((row * n + t) * x_stride + head * HEAD)
            var into = y.unsafe_offset((row * n + t) * y_stride + head * HEAD)
            var count = min(QUERIES, n - t)
            comptime if Self.T == PAIRS:
                var k32 = k.unsafe_bitcast[UInt32]()
                var v32 = v.unsafe_bitcast[UInt32]()
                attend_pairs[Self.portable](count, q, x_stride, k32, v32, self.keys, into, y_stride, room, SCALE)
            else:
                var k32 = k.unsafe_bitcast[Float32]()
                var v32 = v.unsafe_bitcast[Float32]()
                attend_rows(count, q, x_stride, k32, v32, self.keys, into, y_stride, room, SCALE)
            piece = team.claim(pieces)
        team.wait(pieces)
        _ = scratch^  # not before the last read through its pointer


@extensibility.register("whisper.attend")
struct Attend:
    @staticmethod
    def execute[
        keys: Int, portable: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        kv: InputTensor[rank=4, ...],
        windows: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Queries at the start of each row of x `[rows, n, heads * 64 (…)]` over all `keys` of window `windows[row]`."""
        var rows = x.dim_size(0)
        var n = x.dim_size(1)
        var x_stride = x.dim_size(2)
        var y_stride = y.dim_size(2)
        var attention = Attention[kv.dtype, portable](
            kv.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            windows.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            kv.dim_size(1),
            kv.dim_size(3),
            keys,
        )
        var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        def work(mut team: Team) {imm}:
            attention.share(team, source, x_stride, result, y_stride, rows, n)

        together(1, work)
