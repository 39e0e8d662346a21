"""Attention without a matrix of all scores: the ops, which share heads and queries out among tasks."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.memory import stack_allocation

from .heads import HEAD, QUERIES, SCALE, attend_pairs, attend_rows, pack_floats, pack_pairs, padded_to_groups, softmax
from .tile import F32, Vector, W
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
        var n = x.dim_size(1)
        var q_stride = x.dim_size(2)
        var y_stride = y.dim_size(2)
        var heads = kv.dim_size(1)
        var size = kv.dim_size(3)
        var chunks = (n + QUERIES - 1) // QUERIES
        var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var cross = kv.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var window = windows.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        def work(task: Int) {imm}:
            var chunk = task % chunks
            var head = task // chunks % heads
            var row = task // chunks // heads
            var k = cross.unsafe_offset((Int(window.unsafe_load(row)) * heads + head) * 2 * size)
            var t = chunk * QUERIES
            var rows = min(QUERIES, n - t)
            var scratch = List[Float32](unsafe_uninit_length=rows * (HEAD + padded_to_groups(keys)))
            var room = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
            var q = source.unsafe_offset((row * n + t) * q_stride + head * HEAD)
            var into = result.unsafe_offset((row * n + t) * y_stride + head * HEAD)
            var v = k.unsafe_offset(size)
            comptime if kv.dtype == PAIRS:
                attend_pairs[portable](
                    rows, q, q_stride, k.unsafe_bitcast[UInt32](), v.unsafe_bitcast[UInt32](), keys, into, y_stride, room, SCALE
                )
            else:
                attend_rows(rows, q, q_stride, k.unsafe_bitcast[Float32](), v.unsafe_bitcast[Float32](), keys, into, y_stride, room, SCALE)
            _ = scratch^  # not before the last read through its pointer

        sync_parallelize(work, x.dim_size(0) * heads * chunks)


@always_inline
def dot(a: F32, b: F32) -> Float32:
    var total = Vector(0)
    comptime for d in range(0, HEAD, W):
        total = a.unsafe_load[width=W](d).fma(b.unsafe_load[width=W](d), total)
    return total.reduce_add()


@extensibility.register("whisper.self_attend")
struct SelfAttend:
    @staticmethod
    def execute[
        target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        cache: MutableInputTensor[dtype=DType.float32, rank=5, ...],
        source: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Causal attention of x `[rows, n, 3 * heads * 64]` (query, key, value) behind what the cache holds.

        cache `[2, slots, heads, positions, 64]`; source `[rows, length]` names the slot in which each of a row's
        positions is stored. The last n of them are new, and are written to the row's own slot before they are read.
        """
        var n = x.dim_size(1)
        var width = x.dim_size(2)
        var heads = cache.dim_size(2)
        var positions = cache.dim_size(3)
        var slots = cache.dim_size(1)
        var length = source.dim_size(1)
        var qkv = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var keys = cache.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var values = keys.unsafe_offset(slots * heads * positions * HEAD)
        var slot_of = source.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        def work(task: Int) {imm}:
            var head = task % heads
            var row = task // heads
            var past = length - n
            var slots_here = slot_of.unsafe_offset(row * length)
            var scratch = List[Float32](unsafe_uninit_length=(length + W) // W * W)
            var scores = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
            for t in range(n):
                var k = qkv.unsafe_offset((row * n + t) * width + (heads + head) * HEAD)
                var at = ((Int(slots_here.unsafe_load(past + t)) * heads + head) * positions + past + t) * HEAD
                for d in range(0, HEAD, W):
                    keys.unsafe_store(at + d, k.unsafe_load[width=W](d))
                    values.unsafe_store(at + d, k.unsafe_load[width=W](heads * HEAD + d))
            for t in range(n):
                var q = qkv.unsafe_offset((row * n + t) * width + head * HEAD)
                var count = past + t + 1
                for p in range(count):
                    var at = ((Int(slots_here.unsafe_load(p)) * heads + head) * positions + p) * HEAD
                    scores.unsafe_store(p, dot(q, keys.unsafe_offset(at)) * Float32(0.125))
                var total = softmax(scores, count, (count + W - 1) // W * W)
                var acc = stack_allocation[HEAD, DType.float32, alignment=64]()
                comptime for d in range(0, HEAD, W):
                    acc.unsafe_store(d, Vector(0))
                for p in range(count):
                    var at = ((Int(slots_here.unsafe_load(p)) * heads + head) * positions + p) * HEAD
                    var weight = Vector(scores.unsafe_load(p))
                    comptime for d in range(0, HEAD, W):
                        acc.unsafe_store(
                            d, weight.fma(values.unsafe_load[width=W](at + d), acc.unsafe_load[width=W](d))
                        )
                var row_out = result.unsafe_offset((row * n + t) * heads * HEAD + head * HEAD)
                comptime for d in range(0, HEAD, W):
                    row_out.unsafe_store(d, acc.unsafe_load[width=W](d) / total)
            _ = scratch^

        sync_parallelize(work, x.dim_size(0) * heads)
