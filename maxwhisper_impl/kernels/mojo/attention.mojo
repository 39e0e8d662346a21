"""Attention without a matrix of all scores: rows of the softmax live in a task's own scratch, and never leave it."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import exp
from std.memory import stack_allocation

from .tile import COLUMNS, F32, GROUP, I32, PANEL, Vector, W, multiply_row, multiply_rows

comptime HEAD = 64
"""The width of a head in every Whisper; a head's values are then one group of panels."""
comptime QUERIES = 48
"""Queries of a task: as many as have room for their scores in the second cache, so that keys and values are read once
for all of them."""


@always_inline
def softmax(scores: F32, n: Int, padded: Int) -> Float32:
    """Turns scores into weights, not yet divided by the sum that is returned; entries from `n` to `padded` become 0."""
    for i in range(n, padded):
        scores.unsafe_store(i, Float32.MIN)
    var top = Vector(Float32.MIN)
    for i in range(0, padded, W):
        top = max(top, scores.unsafe_load[width=W](i))
    var limit = top.reduce_max()
    var total = Vector(0)
    for i in range(0, padded, W):
        var weight = exp(scores.unsafe_load[width=W](i) - limit)
        total += weight
        scores.unsafe_store(i, weight)
    for i in range(n, padded):
        scores.unsafe_store(i, 0)
    return total.reduce_add()


@always_inline
def padded_to_groups(n: Int) -> Int:
    return (n + GROUP - 1) // GROUP * GROUP


@no_inline
def attend_rows(
    rows: Int, q: F32, q_stride: Int, keys: F32, values: F32, n: Int, y: F32, y_stride: Int, room: F32, scale: Float32
):
    """`rows` queries of one head over `n` keys. In panels of columns, keys are `[64, n]` and values `[n, 64]`.

    `room` holds `rows * (64 + padded n)` floats: the scaled queries, later the result, and the scores.
    """
    var padded = padded_to_groups(n)
    var query = room
    var scores = query.unsafe_offset(rows * HEAD)
    for i in range(rows):
        for j in range(0, HEAD, W):
            query.unsafe_store(i * HEAD + j, q.unsafe_load[width=W](i * q_stride + j) * scale)
    for at in range(0, padded, GROUP):
        multiply_group(rows, query, HEAD, keys.unsafe_offset(at * HEAD), HEAD, HEAD, scores.unsafe_offset(at), padded)
    var total = stack_allocation[QUERIES, DType.float32]()
    for i in range(rows):
        total.unsafe_store(i, softmax(scores.unsafe_offset(i * padded), n, padded))
    multiply_group(rows, scores, padded, values, padded, n, query, HEAD)
    for i in range(rows):
        for j in range(0, HEAD, W):
            y.unsafe_store(i * y_stride + j, query.unsafe_load[width=W](i * HEAD + j) / total.unsafe_load(i))


@always_inline
def multiply_group(rows: Int, a: F32, stride: Int, b: F32, depth: Int, k: Int, product: F32, product_stride: Int):
    """`product[rows, 64] = a[rows, k] @ b[k, 64]`."""
    if rows == 1:
        multiply_row[DType.float32](a, b, depth, k, product)
        return
    for at in range(0, GROUP, COLUMNS):
        multiply_rows[DType.float32](
            rows, a, stride, b.unsafe_offset(at * depth), depth, k, product.unsafe_offset(at), product_stride
        )


@extensibility.register("whisper.pack_kv")
struct PackKV:
    @staticmethod
    def execute[
        target: StaticString
    ](
        kv: OutputTensor[dtype=DType.float32, rank=4, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """Keys and values at the end of each row of x `[batch, n, (…,) 2 * heads * 64]`, laid out for `attend_rows`:
        kv `[batch, heads, 2, padded * 64]`, both in panels."""
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
            for t in range(padded):
                var column = keys.unsafe_offset(t // PANEL * HEAD * PANEL + t % PANEL)
                for d in range(HEAD):
                    column.unsafe_store(d * PANEL, k.unsafe_load(t * width + d) if t < n else 0)
                for d in range(0, HEAD, W):
                    var row = d // PANEL * padded * PANEL + t * PANEL + d % PANEL
                    values.unsafe_store(row, v.unsafe_load[width=W](t * width + d) if t < n else Vector(0))

        sync_parallelize(pack, kv.dim_size(0) * heads)


@extensibility.register("whisper.attend")
struct Attend:
    @staticmethod
    def execute[
        keys: Int, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        kv: InputTensor[dtype=DType.float32, rank=4, ...],
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
            attend_rows(
                rows,
                source.unsafe_offset((row * n + t) * q_stride + head * HEAD),
                q_stride,
                k,
                k.unsafe_offset(size),
                keys,
                result.unsafe_offset((row * n + t) * y_stride + head * HEAD),
                y_stride,
                scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
                0.125,
            )
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
