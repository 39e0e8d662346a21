"""One head's queries over keys and values in panels, a few queries and a block of keys at a time: their scores, and
what is made of them, never leave the first cache.

Keys, values and the softmax's weights are floats, pairs of bfloat16 or quads of int8. Weights of quads may have a second
byte: many a small one is nothing in the first.
"""

from std.math import ceil, iota
from std.memory import bitcast, stack_allocation

from .tile import F32, GROUP, PANEL, ROWS, Stored, Vector, W
from .tile import multiply_group as multiply_floats
from .tile_words import multiply_group as multiply_words
from .words import PAIRS, QUADS, U32, halves_of, in_words, quantize_row, round_row

comptime HEAD = 64
"""The width of a head in every Whisper; a head's values are then one group of panels."""
comptime SCALE = Float32(0.125)
"""Of scores: one over the square root of a head's width."""
comptime LOG2E = Float32(1.4426950408889634)
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


@always_inline
def power_of_two[n: Int, exact: Bool](x: SIMD[DType.float32, n], step: Float32, limit: Float32) -> SIMD[DType.float32, n]:
    """2 ** (x * step - limit), of powers not above 0: right to a unit in float32's last place, of a whole `limit`, or to
    three in a million, which is enough for what becomes bfloat16; exactly where the power is whole.

    Its whole part is read out of the bits of a sum so large that its last place is 1."""
    comptime LARGE = Float32(12582912.0)
    comptime Many = SIMD[DType.float32, n]
    var sum: Many
    var rest: Many
    var power: Many
    comptime if exact:
        var bounded = max(x, Many((limit - 126) / step))
        sum = bounded.fma(Many(step), Many(LARGE - limit))
        rest = bounded.fma(Many(step), LARGE - limit - sum)
        power = Many(0.00015353362).fma(rest, Many(0.00133988739))
        power = power.fma(rest, Many(0.00961843692))
        power = power.fma(rest, Many(0.0555033237))
        power = power.fma(rest, Many(0.240226477))
        power = power.fma(rest, Many(0.693147182))
    else:
        var bounded = max(x.fma(Many(step), Many(-limit)), Many(-126))
        sum = bounded + LARGE
        rest = bounded - (sum - LARGE)
        power = Many(0.009582853).fma(rest, Many(0.055906426))
        power = power.fma(rest, Many(0.24024099))
        power = power.fma(rest, Many(0.69312418))
    power = power.fma(rest, Many(1))
    return bitcast[DType.float32, n](bitcast[DType.uint32, n](power) + (bitcast[DType.uint32, n](sum) << 23))


@fieldwise_init
struct Queries[T: DType, BYTES: Int, portable: Bool](ImplicitlyCopyable):
    """At most ROWS queries of a head, over all its keys; of quads, `BYTES` is what a weight has, 1 or 2."""

    var count: Int
    var keys: Stored[Self.T]
    var values: Stored[Self.T]
    """In quads they are off each dimension's mean; the steps and the means follow them."""
    var n: Int
    """keys"""

    @no_inline
    def attend(self, q: F32, q_stride: Int, y: F32, y_stride: Int):
        var room = stack_allocation[ROWS * (2 * HEAD + BLOCK), DType.float32, alignment=64]()
        var bytes = stack_allocation[ROWS * BLOCK // 2 if Self.T == QUADS else 1, DType.uint32, alignment=64]()
        var weights = bytes.unsafe_origin_cast[MutUntrackedOrigin]()
        var facts = stack_allocation[ROWS * 4, DType.float32]()
        var query = room.unsafe_origin_cast[MutUntrackedOrigin]()
        var sums = query.unsafe_offset(ROWS * HEAD)
        var scores = sums.unsafe_offset(ROWS * HEAD)
        var steps = facts.unsafe_origin_cast[MutUntrackedOrigin]()
        var zeros = steps.unsafe_offset(ROWS)
        var limits = zeros.unsafe_offset(ROWS)
        var totals = limits.unsafe_offset(ROWS)
        self.prepare(q, q_stride, query, steps, zeros)
        for i in range(self.count):
            limits.unsafe_store(i, Float32.MIN)
            totals.unsafe_store(i, 0)
        var padded = padded_to_groups(self.n)
        for start in range(0, padded, BLOCK):
            var size = min(BLOCK, padded - start)
            self.score(query, start, size, scores)
            for i in range(self.count):
                var row = scores.unsafe_offset(i * BLOCK)
                var top = self.largest(row, start, size, zeros.unsafe_load(i))
                var limit = top * steps.unsafe_load(i)
                comptime if not in_words[Self.T]():
                    limit = ceil(limit)  # in words, the largest weight is 1: the one that rounding must not change
                rise(limit, limits.unsafe_offset(i), totals.unsafe_offset(i), sums.unsafe_offset(i * HEAD))
                var total: Float32
                comptime if Self.T == QUADS:
                    var into = weights.unsafe_offset(i * Self.BYTES * BLOCK // 4)
                    total = weigh_in_bytes[Self.BYTES](row, size, steps.unsafe_load(i), limits.unsafe_load(i), into)
                else:
                    total = weigh[Self.T, Self.portable](row, size, steps.unsafe_load(i), limits.unsafe_load(i))
                totals.unsafe_store(i, totals.unsafe_load(i) + total)
            comptime if Self.T == QUADS:
                self.gather_quads(weights, start, size, sums)
            else:
                self.gather(scores, start, size, sums)
        for i in range(self.count):
            for j in range(0, HEAD, W):
                var value = sums.unsafe_load[width=W](i * HEAD + j) / totals.unsafe_load(i)
                comptime if Self.T == QUADS:
                    var dimension = self.values.unsafe_bitcast[Float32]().unsafe_offset(padded * HEAD // 4 + j)
                    value = value.fma(dimension.unsafe_load[width=W](0), dimension.unsafe_load[width=W](HEAD))
                y.unsafe_store(i * y_stride + j, value)

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
    def score(self, query: F32, start: Int, size: Int, scores: F32):
        """Queries times `size` keys from `start` on; of quads, sums of their numbers."""
        comptime lines = key_lines[Self.T]()
        for at in range(0, size, GROUP):
            var into = scores.unsafe_offset(at)
            comptime if in_words[Self.T]():
                comptime words = HEAD // 4 if Self.T == QUADS else HEAD // 2
                var panel = self.keys.unsafe_bitcast[UInt32]().unsafe_offset((start + at) * lines)
                var left = query.unsafe_bitcast[UInt32]()
                multiply_words[Self.T, Self.portable](
                    self.count, left, HEAD, panel, lines, words, into, BLOCK, False, GROUP * lines
                )
            else:
                var panel = self.keys.unsafe_offset((start + at) * lines)
                multiply_floats(self.count, query, HEAD, panel, lines, HEAD, into, BLOCK, False)

    @always_inline
    def largest(self, row: F32, start: Int, size: Int, zero: Float32) -> Float32:
        """Of a row's scores, which are floats from here on; those of no key are made to weigh nothing."""
        var top = Vector(Float32.MIN)
        var whole = min(size, self.n - start) // W * W
        for i in range(0, whole, W):
            var here = self.value(row, start, i, zero)
            comptime if Self.T == QUADS:
                row.unsafe_store(i, here)
            top = max(top, here)
        for i in range(whole, size, W):
            var is_key = iota[DType.int32, W](Int32(start + i)).lt(Int32(self.n))
            var here = is_key.select(self.value(row, start, i, zero), Vector(Float32.MIN))
            row.unsafe_store(i, here)
            top = max(top, here)
        return top.reduce_max()

    @always_inline
    def value(self, row: F32, start: Int, i: Int, zero: Float32) -> Vector:
        """Scores of a row from `i` on, in steps of its query, whose 0 is `zero`."""
        var raw = row.unsafe_load[width=W](i)
        comptime if Self.T == QUADS:
            var panel = self.keys.unsafe_bitcast[Float32]().unsafe_offset((start + i) // PANEL * key_lines[QUADS]() * PANEL)
            var end = panel.unsafe_offset(HEAD // 4 * PANEL + i % PANEL)
            var exact = bitcast[DType.int32, W](raw).cast[DType.float32]()
            return exact * end.unsafe_load[width=W](0) - zero * end.unsafe_load[width=W](PANEL)
        else:
            return raw

    @always_inline
    def gather(self, weights: F32, start: Int, size: Int, sums: F32):
        """Adds the values from `start` on by their weights."""
        var padded = padded_to_groups(self.n)
        comptime if in_words[Self.T]():
            var panel = self.values.unsafe_bitcast[UInt32]().unsafe_offset(start // 2 * PANEL)
            var left = weights.unsafe_bitcast[UInt32]()
            multiply_words[PAIRS, Self.portable](
                self.count, left, BLOCK, panel, padded // 2, size // 2, sums, HEAD, start > 0, SOON
            )
        else:
            var panel = self.values.unsafe_offset(start * PANEL)
            multiply_floats(self.count, weights, BLOCK, panel, padded, size, sums, HEAD, start > 0)

    @always_inline
    def gather_quads(self, weights: U32, start: Int, size: Int, sums: F32):
        """The same of quads: of the weights' upper bytes and, worth a 256th of them, their lower ones."""
        var room = stack_allocation[Self.BYTES * ROWS * HEAD, DType.float32, alignment=64]()
        var products = room.unsafe_origin_cast[MutUntrackedOrigin]()
        var panel = self.values.unsafe_bitcast[UInt32]().unsafe_offset(start // 4 * PANEL)
        var rows = Self.BYTES * self.count
        multiply_words[QUADS, Self.portable](
            rows, weights, BLOCK // 4, panel, padded_to_groups(self.n) // 4, size // 4, products, HEAD, False, SOON
        )
        for i in range(self.count):
            for j in range(0, HEAD, W):
                var sum = Vector(0)
                comptime for byte in range(Self.BYTES):
                    var product = products.unsafe_load[width=W]((Self.BYTES * i + byte) * HEAD + j)
                    sum = sum * 256 + bitcast[DType.int32, W](product).cast[DType.float32]()
                var at = i * HEAD + j
                sums.unsafe_store(at, sum + sums.unsafe_load[width=W](at) if start > 0 else sum)


@always_inline
def rise(top: Float32, limit: F32, total: F32, sums: F32):
    """What was weighed below a lower limit weighs less: of whole limits by a power of two, so that nothing is rounded."""
    var before = limit.unsafe_load(0)
    if top > before:
        limit.unsafe_store(0, top)
        var factor = power_of_two[W, False](Vector(before), 1, top)
        total.unsafe_store(0, total.unsafe_load(0) * factor[0])
        for j in range(0, HEAD, W):
            sums.unsafe_store(j, sums.unsafe_load[width=W](j) * factor)


@always_inline
def weigh[T: DType, portable: Bool](scores: F32, size: Int, step: Float32, limit: Float32) -> Float32:
    """Turns scores into weights, whose sum is returned: as floats, or as pairs at the start of the row, where they
    overtake no score that is still to be read."""
    var total = SIMD[DType.float32, GROUP](0)
    for i in range(0, size, GROUP):  # several vectors at a time: each waits long for its next number
        var weights = power_of_two[GROUP, not in_words[T]()](scores.unsafe_load[width=GROUP](i), step, limit)
        total += weights
        comptime if in_words[T]():
            comptime for j in range(0, GROUP, W):
                var halves = halves_of[portable](weights.slice[W, offset=j]())
                scores.unsafe_bitcast[UInt16]().unsafe_store(i + j, halves)
        else:
            scores.unsafe_store(i, weights)
    return total.reduce_add()


@always_inline
def weigh_in_bytes[BYTES: Int](scores: F32, size: Int, step: Float32, limit: Float32, bytes: U32) -> Float32:
    """Weights as whole numbers, BLOCK bytes of each after the other, the upper ones first; the sum is of what they are
    before they are rounded: the values' means count for what is lost."""
    comptime most = Float32(2 ** (8 * BYTES) - 1)
    comptime LARGE = Float32(8388608.0)  # in the bits of so large a float, what is added lies as a whole number
    var total = SIMD[DType.float32, GROUP](0)
    for i in range(0, size, GROUP):
        var weights = power_of_two[GROUP, False](scores.unsafe_load[width=GROUP](i), step, limit) * most
        total += weights
        var numbers = bitcast[DType.int32, GROUP](weights + LARGE)
        comptime for byte in range(BYTES):
            comptime shift = Int32(8 * (BYTES - 1 - byte))
            bytes.unsafe_bitcast[UInt8]().unsafe_store(byte * BLOCK + i, (numbers >> shift & 255).cast[DType.uint8]())
    return total.reduce_add()
