"""Attention over a window, without a matrix of all scores: heads and queries are shared out among workers."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.sys import size_of

from .heads import HEAD, Queries, key_lines, padded_to_groups
from .layer import Left
from .linear import floats, layer_of
from .pack_heads import pack_keys, pack_values
from .team import Team, together
from .tile import F32, I32, ROWS, Stored

comptime QUERIES = 4 * ROWS
"""Of a task: keys and values are read again for each few of them, out of the second cache."""


@always_inline
def values_at[T: DType](keys: Int) -> Int:
    """Where the values of a head begin, behind its keys, padded to groups."""
    comptime each = 4 // size_of[Scalar[T]]()
    return padded_to_groups(keys) * key_lines[T]() * each


@extensibility.register("whisper.pack_kv")
struct PackKV:
    @staticmethod
    def execute[
        target: StaticString
    ](
        kv: OutputTensor[rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """Keys and values at the end of each row of x `[batch, n, (…,) 2 * heads * 64]`, in panels, as their type says:
        kv `[batch, heads, size]`."""
        var heads = kv.dim_size(1)
        var size = kv.dim_size(2)
        var n = x.dim_size(1)
        var width = x.dim_size(2)
        var padded = padded_to_groups(n)
        var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = kv.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        def pack(task: Int) {imm}:
            var head = task % heads
            var k = source.unsafe_offset(task // heads * n * width + width - (2 * heads - head) * HEAD)
            var v = k.unsafe_offset(heads * HEAD)
            var keys = result.unsafe_offset(task * size)
            var values = keys.unsafe_offset(values_at[kv.dtype](n))
            pack_keys[kv.dtype](k, width, n, padded, keys)
            pack_values[kv.dtype](v, width, n, padded, values)

        sync_parallelize(pack, kv.dim_size(0) * heads)


@extensibility.register("whisper.keys_values")
struct KeysValues:
    """Keys and values of a window, product and panels in one: what lies between stays in the cache."""

    @staticmethod
    def execute[
        portable: Bool, target: StaticString
    ](
        kv: OutputTensor[rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        weight: InputTensor[rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[batch, n, k]`, weight and bias of keys, then of values; kv as `pack_kv` makes it."""
        var heads = kv.dim_size(1)
        var size = kv.dim_size(2)
        var n = x.dim_size(1)
        var padded = padded_to_groups(n)
        var layer = layer_of[portable](weight, bias, x.dim_size(2))
        var source = floats(x)
        var result = kv.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        for window in range(kv.dim_size(0)):
            var left = Left[weight.dtype](layer, source.unsafe_offset(window * n * layer.k), layer.k, n)
            var first = result.unsafe_offset(window * heads * size)

            def pack(column: Int) {imm}:
                var scratch = List[Float32](unsafe_uninit_length=n * HEAD)
                var made = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
                layer.of_head(column).alone(left, made)
                var keys = first.unsafe_offset(column % heads * size)
                if column < heads:
                    pack_keys[kv.dtype](made, HEAD, n, padded, keys)
                else:
                    pack_values[kv.dtype](made, HEAD, n, padded, keys.unsafe_offset(values_at[kv.dtype](n)))
                _ = scratch^  # not before the last read through its pointer

            sync_parallelize(pack, 2 * heads)


@fieldwise_init
struct Attention[T: DType, BYTES: Int, portable: Bool](ImplicitlyCopyable):
    """Queries over all keys of the window that their row listens to, the same for every query."""

    var kv: Stored[Self.T]
    """`[windows, heads, size]`, as `pack_kv` makes it."""
    var windows: I32
    var heads: Int
    var size: Int
    var keys: Int
    var itself: Bool
    """Whether a window listens to itself: a query's largest scores are likely near its own place."""

    def share(self, mut team: Team, x: F32, x_stride: Int, y: F32, y_stride: Int, rows: Int, n: Int):
        """A worker's part of a phase: queries at the start of each row of x `[rows, n, x_stride]`."""
        var chunks = (n + QUERIES - 1) // QUERIES
        var pieces = rows * self.heads * chunks
        var piece = team.claim(pieces)
        while piece >= 0:
            var head = piece // chunks % self.heads
            var row = piece // chunks // self.heads
            var t = piece % chunks * QUERIES
            var k = self.kv.unsafe_offset((Int(self.windows.unsafe_load(row)) * self.heads + head) * self.size)
            var v = k.unsafe_offset(values_at[Self.T](self.keys))
            var q = x.unsafe_offset((row * n + t) * x_stride + head * HEAD)
            var into = y.unsafe_offset((row * n + t) * y_stride + head * HEAD)
            var count = min(QUERIES, n - t)
            for first in range(0, count, ROWS):
                var near = t + first if self.itself else 0
                var few = Queries[Self.T, Self.BYTES, Self.portable](min(ROWS, count - first), k, v, self.keys, near)
                few.attend(q.unsafe_offset(first * x_stride), x_stride, into.unsafe_offset(first * y_stride), y_stride)
            piece = team.claim(pieces)
        team.wait(pieces)


@extensibility.register("whisper.attend")
struct Attend:
    @staticmethod
    def execute[
        keys: Int, weight_bytes: Int, portable: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        kv: InputTensor[rank=3, ...],
        windows: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Queries at the start of each row of x `[rows, n, heads * 64 (…)]` over all `keys` of window `windows[row]`."""
        var rows = x.dim_size(0)
        var n = x.dim_size(1)
        var x_stride = x.dim_size(2)
        var y_stride = y.dim_size(2)
        var attention = Attention[kv.dtype, weight_bytes, portable](
            kv.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            windows.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            kv.dim_size(1),
            kv.dim_size(2),
            keys,
            n == keys,
        )
        var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        def work(mut team: Team) {imm}:
            attention.share(team, source, x_stride, result, y_stride, rows, n)

        together(1, work)
