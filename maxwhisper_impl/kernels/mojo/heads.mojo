"""One head's queries over keys and values in panels, a few queries and a block of keys at a time: their scores, and
what is made of them, never leave the first cache.

Keys, values and the softmax's weights are floats, pairs of bfloat16 or quads of int8. Weights of quads may have a second
byte: many a small one is nothing in the first. Where all of a few queries' weights of sixteen keys are nothing,
their values are not read.
"""

from std.math import ceil, iota
from std.memory import bitcast, stack_allocation

from .softmax import LOG2E, power_of_two, weigh, weigh_in_bytes
from .tile import F32, GROUP, I32, PANEL, ROWS, Stored, UNROLLED, VECTORS, Vector, W
from .tile import multiply_group as multiply_floats
from .tile import sum_tile as sum_floats
from .tile_words import at_vector, multiply_group, sum_runs, sum_tile
from .words import PAIRS, QUADS, U32, in_words, quantize_row, round_row

comptime HEAD = 64
"""The width of a head in every Whisper; a head's values are then one group of panels."""
comptime SCALE = Float32(0.125)
"""Of scores: one over the square root of a head's width."""
comptime BLOCK = 384
"""Keys whose scores are made, weighed and forgotten together."""
comptime SOON = 32 * PANEL
"""How far ahead values are fetched, in words."""


@always_inline
def padded_to_groups(n: Int) -> Int:
    return (n + GROUP - 1) // GROUP * GROUP


@always_inline
def key_lines[T: DType]() -> Int:
    """Of a panel of keys: what lies along the head; of quads then each key's step, and the sum of its numbers times it.
    """
    comptime if T == QUADS:
        return HEAD // 4 + 2
    else:
        return HEAD // 2 if T == PAIRS else HEAD


@fieldwise_init
struct Queries[T: DType, BYTES: Int, portable: Bool](ImplicitlyCopyable):
    """At most ROWS queries of a head, over all its keys; of quads, `BYTES` is what a weight has, 1 or 2."""

    var count: Int
    var keys: Stored[Self.T]
    var values: Stored[Self.T]
    """In quads they are off each dimension's mean; the steps and the means follow them."""
    var n: Int
    """keys"""
    var near: Int
    """A key whose block is read first, as the largest scores are likely there: what is small is then known to be."""

    @no_inline
    def attend(self, q: F32, q_stride: Int, y: F32, y_stride: Int):
        var room = stack_allocation[ROWS * (2 * HEAD + BLOCK + W), DType.float32, alignment=64]()
        var facts = stack_allocation[ROWS * 4, DType.float32]()
        var query = room.unsafe_origin_cast[MutUntrackedOrigin]()
        var sums = query.unsafe_offset(ROWS * HEAD)
        var scores = sums.unsafe_offset(ROWS * HEAD)
        var tops = scores.unsafe_offset(ROWS * BLOCK)
        var steps = facts.unsafe_origin_cast[MutUntrackedOrigin]()
        var zeros = steps.unsafe_offset(ROWS)
        var limits = zeros.unsafe_offset(ROWS)
        var totals = limits.unsafe_offset(ROWS)
        self.prepare(q, q_stride, query, steps, zeros)
        for i in range(self.count):
            limits.unsafe_store(i, Float32.MIN)
            totals.unsafe_store(i, 0)
        var padded = padded_to_groups(self.n)
        for place in range(0, padded, BLOCK):
            var start = self.start_at(place)
            var size = min(BLOCK, padded - start)
            self.score(query, zeros, start, size, scores, tops)
            for i in range(self.count):
                var limit = tops.unsafe_load[width=W](i * W).reduce_max() * steps.unsafe_load(i)
                comptime if not in_words[Self.T]():
                    limit = ceil(limit)  # in words, the largest weight is 1: the one that rounding must not change
                rise(limit, limits.unsafe_offset(i), totals.unsafe_offset(i), sums.unsafe_offset(i * HEAD))
            comptime if Self.T == QUADS:
                self.gather_quads(scores, start, size, steps, limits, totals, sums, place > 0)
            else:
                self.gather(scores, start, size, steps, limits, totals, sums, place > 0)
        for i in range(self.count):
            for j in range(0, HEAD, W):
                var value = sums.unsafe_load[width=W](i * HEAD + j) / totals.unsafe_load(i)
                comptime if Self.T == QUADS:
                    var dimension = self.values.unsafe_bitcast[Float32]().unsafe_offset(padded * HEAD // 4 + j)
                    value = value.fma(dimension.unsafe_load[width=W](0), dimension.unsafe_load[width=W](HEAD))
                y.unsafe_store(i * y_stride + j, value)

    @always_inline
    def start_at(self, place: Int) -> Int:
        """Of the block that is read when others would be at `place`: the nearest one comes first."""
        var nearest = self.near // BLOCK * BLOCK
        if place > nearest:
            return place
        return place - BLOCK if place > 0 else nearest

    @always_inline
    def prepare(self, q: F32, q_stride: Int, query: F32, steps: F32, zeros: F32):
        """Scaled queries as the keys are; `steps`: what a score is to be multiplied by for a power of two."""
        var zero = stack_allocation[1, DType.int32]()
        for i in range(self.count):
            var row = query.unsafe_offset(i * HEAD)
            for j in range(0, HEAD, W):
                row.unsafe_store(j, q.unsafe_load[width=W](i * q_stride + j) * SCALE)
            steps.unsafe_store(i, LOG2E)
            zeros.unsafe_store(i, 0)
            comptime if Self.T == QUADS:
                var offset = zero.unsafe_origin_cast[MutUntrackedOrigin]()
                quantize_row(row, HEAD, row.unsafe_bitcast[UInt32](), steps.unsafe_offset(i), offset)
                steps.unsafe_store(i, steps.unsafe_load(i) * LOG2E)
                zeros.unsafe_store(i, zero.unsafe_load(0).cast[DType.float32]())
            elif Self.T == PAIRS:
                round_row[Self.portable](row, HEAD, row.unsafe_bitcast[UInt32]())

    @always_inline
    def score(self, query: F32, zeros: F32, start: Int, size: Int, scores: F32, tops: F32):
        """Queries times `size` keys from `start` on, and the largest of each lane."""
        for i in range(self.count):
            tops.unsafe_store(i * W, Vector(Float32.MIN))
        comptime for rows in range(1, ROWS + 1):
            if self.count == rows:
                self.score_tiles[rows, GROUP // W if rows <= 2 else VECTORS](query, zeros, start, size, scores, tops)

    @no_inline
    def score_tiles[
        rows: Int, vectors: Int
    ](self, query: F32, zeros: F32, start: Int, size: Int, scores: F32, tops: F32):
        comptime wide = vectors * W
        comptime lines = key_lines[Self.T]()
        for first in range(0, size, wide):
            var acc = stack_allocation[rows * wide, DType.float32, alignment=64]()
            var sums = acc.unsafe_origin_cast[MutUntrackedOrigin]()
            comptime if in_words[Self.T]():
                comptime words = HEAD // 4 if Self.T == QUADS else HEAD // 2
                var panel = self.keys.unsafe_bitcast[UInt32]().unsafe_offset((start + first) * lines)
                var left = query.unsafe_bitcast[UInt32]()
                sum_tile[Self.T, Self.portable, rows, vectors](left, HEAD, panel, lines, words, sums, wide * lines)
            else:
                var panel = self.keys.unsafe_offset((start + first) * lines)
                sum_floats[Self.T, rows, vectors](query, HEAD, panel, lines, HEAD, sums)
            comptime if Self.T == QUADS:
                self.scale[rows, vectors](acc.unsafe_origin_cast[MutUntrackedOrigin](), zeros, start + first)
            comptime for i in range(rows):
                comptime for j in range(vectors):
                    scores.unsafe_store(i * BLOCK + first + j * W, acc.unsafe_load[width=W](i * wide + j * W))
            if start + first + wide > self.n:
                blank(rows, wide, self.n - start - first, scores.unsafe_offset(first), tops)
            else:
                comptime for i in range(rows):
                    var top = tops.unsafe_load[width=W](i * W)
                    comptime for j in range(vectors):
                        top = max(top, acc.unsafe_load[width=W](i * wide + j * W))
                    tops.unsafe_store(i * W, top)

    @always_inline
    def scale[rows: Int, vectors: Int](self, sums: F32, zeros: F32, first: Int):
        """From sums of quads, of the keys from `first` on, to scores in steps of their queries."""
        var panel = self.keys.unsafe_bitcast[Float32]().unsafe_offset(first * key_lines[QUADS]() + HEAD // 4 * PANEL)
        comptime for j in range(vectors):
            var end = panel.unsafe_offset(at_vector[j](key_lines[QUADS]()))
            var step = end.unsafe_load[width=W](0)
            var shift = end.unsafe_load[width=W](PANEL)
            comptime for i in range(rows):
                comptime at = (i * vectors + j) * W
                var exact = bitcast[DType.int32, W](sums.unsafe_load[width=W](at)).cast[DType.float32]()
                sums.unsafe_store(at, exact * step - zeros.unsafe_load(i) * shift)

    @always_inline
    def gather(
        self, scores: F32, start: Int, size: Int, steps: F32, limits: F32, totals: F32, sums: F32, adds: Bool
    ):
        """Weighs scores, which are weights from here on, and adds the values from `start` on by them."""
        for i in range(self.count):
            var row = scores.unsafe_offset(i * BLOCK)
            var total = weigh[Self.T, Self.portable](row, size, steps.unsafe_load(i), limits.unsafe_load(i))
            totals.unsafe_store(i, totals.unsafe_load(i) + total)
        var padded = padded_to_groups(self.n)
        comptime if in_words[Self.T]():
            var panel = self.values.unsafe_bitcast[UInt32]().unsafe_offset(start // 2 * PANEL)
            var left = scores.unsafe_bitcast[UInt32]()
            multiply_group[PAIRS, Self.portable](
                self.count, left, BLOCK, panel, padded // 2, size // 2, sums, HEAD, adds, SOON
            )
        else:
            var panel = self.values.unsafe_offset(start * PANEL)
            multiply_floats(self.count, scores, BLOCK, panel, padded, size, sums, HEAD, adds)

    @always_inline
    def gather_quads(
        self, scores: F32, start: Int, size: Int, steps: F32, limits: F32, totals: F32, sums: F32, adds: Bool
    ):
        """The same of quads: of the weights' upper bytes and, worth a 256th of them, their lower ones."""
        var bytes = stack_allocation[Self.BYTES * ROWS * BLOCK // 4, DType.uint32, alignment=64]()
        var heard = stack_allocation[BLOCK // GROUP, DType.uint16]()
        var chosen = stack_allocation[BLOCK // 4 // UNROLLED, DType.int32]()
        var weights = bytes.unsafe_origin_cast[MutUntrackedOrigin]()
        var masks = heard.unsafe_origin_cast[MutUntrackedOrigin]()
        var runs = chosen.unsafe_origin_cast[MutUntrackedOrigin]()
        for group in range(size // GROUP):
            masks.unsafe_store(group, 0)
        for i in range(self.count):
            var row = scores.unsafe_offset(i * BLOCK)
            var into = weights.unsafe_offset(i * Self.BYTES * BLOCK // 4)
            var total = weigh_in_bytes[Self.BYTES, BLOCK](
                row, size, steps.unsafe_load(i), limits.unsafe_load(i), into, masks
            )
            totals.unsafe_store(i, totals.unsafe_load(i) + total)
        var count = 0
        for place in range(0, size // 4, UNROLLED):
            var mask = masks.unsafe_load(place * 4 // GROUP) >> UInt16(place % (GROUP // 4))
            runs.unsafe_store(count, Int32(place))
            count += Int((mask & (2**UNROLLED - 1)).ne(0))
        var panel = self.values.unsafe_bitcast[UInt32]().unsafe_offset(start // 4 * PANEL)
        comptime for rows in range(1, ROWS // Self.BYTES + 1):
            for first in range(0, self.count, ROWS // Self.BYTES):
                if min(ROWS // Self.BYTES, self.count - first) == rows:
                    self.gather_runs[rows, GROUP // W if rows * Self.BYTES <= 2 else VECTORS](
                        weights.unsafe_offset(first * Self.BYTES * BLOCK // 4), panel, runs, count,
                        sums.unsafe_offset(first * HEAD), adds,
                    )

    @no_inline
    def gather_runs[
        rows: Int, vectors: Int
    ](self, weights: U32, panel: U32, runs: I32, count: Int, sums: F32, adds: Bool):
        """Adds the values of `count` runs of UNROLLED words by their weights."""
        comptime wide = vectors * W
        var depth = padded_to_groups(self.n) // 4
        for first in range(0, HEAD, wide):
            var acc = stack_allocation[rows * Self.BYTES * wide, DType.float32, alignment=64]()
            sum_runs[QUADS, Self.portable, rows * Self.BYTES, vectors](
                weights, BLOCK // 4, panel.unsafe_offset(first * depth), depth, runs, count,
                acc.unsafe_origin_cast[MutUntrackedOrigin](), SOON,
            )
            comptime for i in range(rows):
                comptime for j in range(vectors):
                    var sum = Vector(0)
                    comptime for byte in range(Self.BYTES):
                        var product = acc.unsafe_load[width=W]((Self.BYTES * i + byte) * wide + j * W)
                        sum = sum * 256 + bitcast[DType.int32, W](product).cast[DType.float32]()
                    var at = i * HEAD + first + j * W
                    sums.unsafe_store(at, sum + sums.unsafe_load[width=W](at) if adds else sum)


@no_inline
def blank(rows: Int, size: Int, keys: Int, scores: F32, tops: F32):
    """The same tops of `size` scores of which only the first `keys` are any; the others are made to weigh nothing."""
    for i in range(rows):
        var top = tops.unsafe_load[width=W](i * W)
        for at in range(0, size, W):
            var is_key = iota[DType.int32, W](Int32(at)).lt(Int32(keys))
            var row = scores.unsafe_offset(i * BLOCK + at)
            var here = is_key.select(row.unsafe_load[width=W](0), Vector(Float32.MIN))
            row.unsafe_store(0, here)
            top = max(top, here)
        tops.unsafe_store(i * W, top)


@always_inline
def rise(top: Float32, limit: F32, total: F32, sums: F32):
    """What was weighed below a lower limit weighs less: of whole limits by a power of two, so that nothing is rounded."""
    var before = limit.unsafe_load(0)
    if top > before:
        limit.unsafe_store(0, top)
        var factor = power_of_two[W, 4](Vector(before), 1, top)
        total.unsafe_store(0, total.unsafe_load(0) * factor[0])
        for j in range(0, HEAD, W):
            sums.unsafe_store(j, sums.unsafe_load[width=W](j) * factor)
