"""One head's queries over keys and values in panels: rows of the softmax live in a task's own scratch."""

from std.math import exp
from std.memory import bitcast, stack_allocation

from .tile import COLUMNS, F32, GROUP, PANEL, Vector, W, multiply_row, multiply_rows
from .tile_words import multiply_group as multiply_words
from .words import PAIRS, U32, halves_of, joined, round_row

comptime HEAD = 64
"""The width of a head in every Whisper; a head's values are then one group of panels."""
comptime SCALE = Float32(0.125)
"""Of scores: one over the square root of a head's width."""
comptime QUERIES = 48
"""Queries of a task: as many as have room for their scores in the second cache, so that keys and values are read once
for all of them."""


@always_inline
def largest(scores: F32, n: Int, padded: Int) -> Float32:
    """Of `n` scores; those from there to `padded` are made to weigh nothing."""
    for i in range(n, padded):
        scores.unsafe_store(i, Float32.MIN)
    var top = Vector(Float32.MIN)
    for i in range(0, padded, W):
        top = max(top, scores.unsafe_load[width=W](i))
    return top.reduce_max()


@always_inline
def softmax(scores: F32, n: Int, padded: Int) -> Float32:
    """Turns scores into weights, not yet divided by the sum that is returned; entries from `n` to `padded` become 0."""
    var limit = largest(scores, n, padded)
    var total = Vector(0)
    for i in range(0, padded, W):
        var weight = exp(scores.unsafe_load[width=W](i) - limit)
        total += weight
        scores.unsafe_store(i, weight)
    for i in range(n, padded):
        scores.unsafe_store(i, 0)
    return total.reduce_add()


@always_inline
def exp_of(x: Vector) -> Vector:
    """Of values not above 0, right to a few units in float32's last place: 2 ** whole * 2 ** rest, |rest| <= 1/2.

    The whole number is read out of the bits of a sum so large that its last place is 1."""
    comptime LARGE = Float32(12582912.0)
    comptime LOG2E = Float32(1.4426950408889634)
    var bounded = max(x, Vector(-87))
    var sum = bounded.fma(Vector(LOG2E), Vector(LARGE))
    var rest = bounded.fma(Vector(LOG2E), LARGE - sum)
    var power = Vector(0.001326697)
    power = power.fma(rest, Vector(0.0096754597))
    power = power.fma(rest, Vector(0.055507426))
    power = power.fma(rest, Vector(0.24022122))
    power = power.fma(rest, Vector(0.69314695))
    power = power.fma(rest, Vector(1))
    return bitcast[DType.float32, W](bitcast[DType.uint32, W](power) + (bitcast[DType.uint32, W](sum) << 23))


@always_inline
def softmax_pairs[portable: Bool](scores: F32, n: Int, padded: Int) -> Float32:
    """`softmax`, with the weights as pairs at the start of the row: they overtake no score that is still to be read."""
    var limit = largest(scores, n, padded)
    var total = Vector(0)
    var halves = scores.unsafe_bitcast[UInt16]()
    for i in range(0, padded, W):
        var weight = exp_of(scores.unsafe_load[width=W](i) - limit)
        total += weight
        halves.unsafe_store(i, halves_of[portable](weight))
    for i in range(n, padded):
        halves.unsafe_store(i, 0)
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


@no_inline
def attend_pairs[
    portable: Bool
](rows: Int, q: F32, q_stride: Int, keys: U32, values: U32, n: Int, y: F32, y_stride: Int, room: F32, scale: Float32):
    """`attend_rows` in bfloat16: of keys, pairs lie along the head, `[32, n]` words; of values along n, `[n / 2, 64]`.

    Queries and the softmax's weights are rounded, each in its own place in `room`; sums are float32."""
    var padded = padded_to_groups(n)
    var query = room
    var scores = query.unsafe_offset(rows * HEAD)
    for i in range(rows):
        for j in range(0, HEAD, W):
            query.unsafe_store(i * HEAD + j, q.unsafe_load[width=W](i * q_stride + j) * scale)
        var row = query.unsafe_offset(i * HEAD)
        round_row[portable](row, HEAD, row.unsafe_bitcast[UInt32]())
    for at in range(0, padded, GROUP):
        multiply_words[PAIRS, portable](
            rows,
            query.unsafe_bitcast[UInt32](),
            HEAD,
            keys.unsafe_offset(at * HEAD // 2),
            HEAD // 2,
            HEAD // 2,
            scores.unsafe_offset(at),
            padded,
        )
    var total = stack_allocation[QUERIES, DType.float32]()
    for i in range(rows):
        var row = scores.unsafe_offset(i * padded)
        total.unsafe_store(i, softmax_pairs[portable](row, n, padded))
    multiply_words[PAIRS, portable](
        rows, scores.unsafe_bitcast[UInt32](), padded, values, padded // 2, (n + 1) // 2, query, HEAD
    )
    for i in range(rows):
        for j in range(0, HEAD, W):
            y.unsafe_store(i * y_stride + j, query.unsafe_load[width=W](i * HEAD + j) / total.unsafe_load(i))


@always_inline
def pack_floats(k: F32, v: F32, width: Int, n: Int, padded: Int, keys: F32, values: F32):
    """Rows of one head, `width` apart, as `attend_rows` reads them."""
    for t in range(padded):
        var column = keys.unsafe_offset(t // PANEL * HEAD * PANEL + t % PANEL)
        for d in range(HEAD):
            column.unsafe_store(d * PANEL, k.unsafe_load(t * width + d) if t < n else 0)
        for d in range(0, HEAD, W):
            var row = d // PANEL * padded * PANEL + t * PANEL + d % PANEL
            values.unsafe_store(row, v.unsafe_load[width=W](t * width + d) if t < n else Vector(0))


@always_inline
def pack_pairs(k: F32, v: F32, width: Int, n: Int, padded: Int, keys: U32, values: U32):
    """The same as `attend_pairs` reads them."""
    var row = stack_allocation[HEAD // 2, DType.uint32, alignment=64]()
    var pairs = row.unsafe_origin_cast[MutUntrackedOrigin]()
    for t in range(padded):
        var column = keys.unsafe_offset(t // PANEL * HEAD // 2 * PANEL + t % PANEL)
        if t < n:
            round_row[True](k.unsafe_offset(t * width), HEAD, pairs)
        for d in range(HEAD // 2):
            column.unsafe_store(d * PANEL, row.unsafe_load(d) if t < n else 0)
    for t in range(0, padded, 2):
        for d in range(0, HEAD, W):
            var at = t * width + d
            var first = v.unsafe_load[width=W](at) if t < n else Vector(0)
            var second = v.unsafe_load[width=W](at + width) if t + 1 < n else Vector(0)
            values.unsafe_store(d // PANEL * padded // 2 * PANEL + t // 2 * PANEL + d % PANEL, joined(first, second))
