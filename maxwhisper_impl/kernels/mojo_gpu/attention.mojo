"""Attention without a matrix of all scores: many queries over a window's keys, a tile of both for each block."""

from std.math import ceildiv, exp
from std.memory import stack_allocation

from .block import F32, I32, SLOTS, SPACE, Four, every, four, slot

comptime HEAD = 64
comptime SCALE = Float32(0.125)
"""Of scores: one over the square root of a head's width."""
comptime TILE = 64
"""Queries, and keys, of a block: 16 by 16 threads of 4 by 4 each."""
comptime SCORES = 0
comptime SUMS = 16
"""Of values, weighed."""
comptime TOP = 32
"""The largest score of each of a thread's queries so far."""
comptime TOTAL = 36
"""What its own keys weigh."""
comptime OWN = 40
"""Of a thread's variables."""


@fieldwise_init
struct Window[most: Int](ImplicitlyCopyable):
    var q: F32
    """`[rows, n, stride]`, queries at the start of each row"""
    var kv: F32
    """`[windows, 2, heads, most, 64]`: all keys there are"""
    var windows: I32
    """`[rows]`"""
    var y: F32
    """`[rows, n, heads * 64]`"""
    var n: Int
    var stride: Int
    var heads: Int

    def tiles(self) -> Int:
        """Of a row."""
        return ceildiv(self.n, TILE) * self.heads

    @always_inline
    def tile(self, block: Int):
        """A head's next queries, then the next head's."""
        var across = ceildiv(self.n, TILE)
        var first = block % across * TILE
        var head = block // across % self.heads
        var row = block // self.tiles()
        var queries = stack_allocation[HEAD * TILE, DType.float32, alignment=16, address_space=SPACE]()
        # Keys, then the largest scores, then weights: [64, 64], [queries, 16], and [keys, queries], whose columns of
        # four change places so that threads side by side write to banks side by side.
        var keys = stack_allocation[HEAD * TILE, DType.float32, alignment=16, address_space=SPACE]()
        var values = stack_allocation[TILE * HEAD, DType.float32, alignment=16, address_space=SPACE]()
        var own = stack_allocation[SLOTS * OWN, DType.float32, alignment=16]()
        var size = Self.most * HEAD
        var k = self.kv.unsafe_offset((Int(self.windows.unsafe_load(row)) * 2 * self.heads + head) * size)
        var v = k.unsafe_offset(self.heads * size)

        def begin(thread: Int) {imm}:
            var mine = own.unsafe_offset(slot(thread) * OWN)
            comptime for i in range(0, OWN, 4):
                mine.unsafe_store(i, Four(Float32.MIN if i == TOP else 0))
            var line = thread % TILE
            var query = row * self.n + min(first + line, self.n - 1)
            var source = self.q.unsafe_offset(query * self.stride + head * HEAD)
            comptime for i in range(HEAD // 16):
                var d = thread // TILE * 4 + i * 16
                var x = source.unsafe_load[width=4, alignment=16](d) * SCALE
                comptime for j in range(4):
                    queries.unsafe_store((d + j) * TILE + line, x[j])

        every(begin)
        for key in range(0, Self.most, TILE):

            def fetch(thread: Int) {imm}:
                var line = thread % TILE
                var source = k.unsafe_offset(min(key + line, Self.most - 1) * HEAD)
                comptime for i in range(HEAD // 16):
                    var d = thread // TILE * 4 + i * 16
                    var x = source.unsafe_load[width=4, alignment=16](d)
                    comptime for j in range(4):
                        keys.unsafe_store((d + j) * TILE + line, x[j])
                comptime for i in range(TILE // 16):
                    var at = thread // 16 + i * 16
                    var x = v.unsafe_load[width=4, alignment=16](min(key + at, Self.most - 1) * HEAD + thread % 16 * 4)
                    values.unsafe_store(at * HEAD + thread % 16 * 4, x)

            every(fetch)

            def score(thread: Int) {imm}:
                var scores = own.unsafe_offset(slot(thread) * OWN + SCORES)
                comptime for i in range(0, 16, 4):
                    scores.unsafe_store(i, Four(0))
                comptime for d in range(HEAD):
                    var a = queries.unsafe_load[width=4, alignment=16](d * TILE + thread // 16 * 4)
                    var b = keys.unsafe_load[width=4, alignment=16](d * TILE + thread % 16 * 4)
                    comptime for i in range(4):
                        scores.unsafe_store(i * 4, Four(a[i]).fma(b, scores.unsafe_load[width=4](i * 4)))
                comptime for j in range(4):
                    if key + thread % 16 * 4 + j >= Self.most:
                        comptime for i in range(4):
                            scores.unsafe_store(i * 4 + j, Float32.MIN)

            every(score)

            def tell_largest(thread: Int) {imm}:
                var scores = own.unsafe_offset(slot(thread) * OWN + SCORES)
                comptime for i in range(4):
                    var largest = scores.unsafe_load[width=4](i * 4).reduce_max()
                    keys.unsafe_store((thread // 16 * 4 + i) * 16 + thread % 16, largest)

            every(tell_largest)

            def weigh(thread: Int) {imm}:
                var mine = own.unsafe_offset(slot(thread) * OWN)
                comptime for i in range(4):
                    var told = Four(Float32.MIN)
                    comptime for j in range(0, 16, 4):
                        told = max(told, keys.unsafe_load[width=4, alignment=16]((thread // 16 * 4 + i) * 16 + j))
                    var before = mine.unsafe_load(TOP + i)
                    var top = max(before, told.reduce_max())
                    var less = exp(before - top)
                    var weights = exp(mine.unsafe_load[width=4](SCORES + i * 4) - top)
                    mine.unsafe_store(SCORES + i * 4, weights)
                    mine.unsafe_store(SUMS + i * 4, mine.unsafe_load[width=4](SUMS + i * 4) * less)
                    mine.unsafe_store(TOTAL + i, mine.unsafe_load(TOTAL + i) * less + weights.reduce_add())
                    mine.unsafe_store(TOP + i, top)

            every(weigh)

            def tell_weights(thread: Int) {imm}:
                var scores = own.unsafe_offset(slot(thread) * OWN + SCORES)
                comptime for j in range(4):
                    var column = Four(0)
                    comptime for i in range(4):
                        column[i] = scores.unsafe_load(i * 4 + j)
                    keys.unsafe_store((thread % 16 * 4 + j) * TILE + (thread // 16 ^ thread % 16) * 4, column)

            every(tell_weights)

            def sum(thread: Int) {imm}:
                var mine = own.unsafe_offset(slot(thread) * OWN)
                var sums = stack_allocation[16, DType.float32, alignment=16]()
                comptime for i in range(0, 16, 4):
                    sums.unsafe_store(i, Four(0))
                comptime for at in range(TILE):
                    var a = keys.unsafe_load[width=4, alignment=16](at * TILE + (thread // 16 ^ at // 4) * 4)
                    var b = values.unsafe_load[width=4, alignment=16](at * HEAD + thread % 16 * 4)
                    comptime for i in range(4):
                        sums.unsafe_store(i * 4, Four(a[i]).fma(b, sums.unsafe_load[width=4](i * 4)))
                comptime for i in range(0, 16, 4):
                    var whole = mine.unsafe_load[width=4](SUMS + i) + sums.unsafe_load[width=4](i)
                    mine.unsafe_store(SUMS + i, whole)

            every(sum)

        def tell_totals(thread: Int) {imm}:
            var mine = own.unsafe_offset(slot(thread) * OWN)
            comptime for i in range(4):
                keys.unsafe_store((thread // 16 * 4 + i) * 16 + thread % 16, mine.unsafe_load(TOTAL + i))

        every(tell_totals)

        def end(thread: Int) {imm}:
            var mine = own.unsafe_offset(slot(thread) * OWN)
            comptime for i in range(4):
                var total = Four(0)
                comptime for j in range(0, 16, 4):
                    total += keys.unsafe_load[width=4, alignment=16]((thread // 16 * 4 + i) * 16 + j)
                var query = first + thread // 16 * 4 + i
                if query < self.n:
                    var at = (row * self.n + query) * self.heads * HEAD + head * HEAD + thread % 16 * 4
                    self.y.unsafe_store(at, mine.unsafe_load[width=4](SUMS + i * 4) / total.reduce_add())

        every(end)
