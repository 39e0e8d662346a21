"""Attention without a matrix of all scores: many queries over a window's keys, a tile of both for each block."""

from std.math import ceildiv, exp
from std.memory import stack_allocation

from .block import F32, I32, SLOTS, SPACE, WARP, Four, each_warp, every, slot

comptime HEAD = 64
comptime SCALE = Float32(0.125)
"""Of scores: one over the square root of a head's width."""
comptime QUERIES = 32
"""Of a block: 8 by 16 threads, each of which is about 4 queries and 4 keys at a time."""
comptime TILE = 64
"""Keys that are weighed together."""
comptime TILE_THREADS = QUERIES // 4 * 16
comptime FETCHES = TILE * HEAD // 4 // TILE_THREADS
"""Fours that a thread fetches of keys, and of values."""
comptime OF_WARP = WARP // 16 * 4
"""Queries: no other warp is about them."""
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
        return ceildiv(self.n, QUERIES) * self.heads

    @always_inline
    def tile(self, block: Int):
        """A head's next queries, then the next head's."""
        var across = ceildiv(self.n, QUERIES)
        var first = block % across * QUERIES
        var head = block // across % self.heads
        var row = block // self.tiles()
        var queries = stack_allocation[HEAD * QUERIES, DType.float32, alignment=16, address_space=SPACE]()
        var keys = stack_allocation[HEAD * TILE, DType.float32, alignment=16, address_space=SPACE]()
        var values = stack_allocation[TILE * HEAD, DType.float32, alignment=16, address_space=SPACE]()
        # What a warp's threads tell each other: largest scores, [its queries, 16], then weights, [keys, its queries].
        var told = stack_allocation[QUERIES * TILE, DType.float32, alignment=16, address_space=SPACE]()
        var own = stack_allocation[SLOTS * OWN, DType.float32, alignment=16]()
        var size = Self.most * HEAD
        var k = self.kv.unsafe_offset((Int(self.windows.unsafe_load(row)) * 2 * self.heads + head) * size)
        var v = k.unsafe_offset(self.heads * size)

        def begin(thread: Int) {imm}:
            var mine = own.unsafe_offset(slot(thread) * OWN)
            comptime for i in range(0, OWN, 4):
                mine.unsafe_store(i, Four(Float32.MIN if i == TOP else 0))
            var line = thread % QUERIES
            var query = row * self.n + min(first + line, self.n - 1)
            var source = self.q.unsafe_offset(query * self.stride + head * HEAD)
            comptime for i in range(HEAD * QUERIES // 4 // TILE_THREADS):
                var d = (thread // QUERIES + i * (TILE_THREADS // QUERIES)) * 4
                var x = source.unsafe_load[width=4, alignment=16](d) * SCALE
                comptime for j in range(4):
                    queries.unsafe_store((d + j) * QUERIES + line, x[j])

        every[TILE_THREADS](begin)
        for key in range(0, Self.most, TILE):

            def fetch(thread: Int) {imm}:
                """All is asked for before any of it is written. Eight threads side by side read a part of a key."""
                var fetched = stack_allocation[2 * FETCHES * 4, DType.float32, alignment=16]()
                comptime for i in range(FETCHES):
                    var at = min(key + thread // 8 + i % 4 * 16, Self.most - 1) * HEAD
                    var d = (thread % 8 + i // 4 * 8) * 4
                    fetched.unsafe_store(i * 4, k.unsafe_load[width=4, alignment=16](at + d))
                    at = min(key + thread // 16 + i * 8, Self.most - 1) * HEAD
                    var x = v.unsafe_load[width=4, alignment=16](at + thread % 16 * 4)
                    fetched.unsafe_store((FETCHES + i) * 4, x)
                comptime for i in range(FETCHES):
                    var d = (thread % 8 + i // 4 * 8) * 4
                    var line = place(thread // 8 + i % 4 * 16, d)
                    comptime for j in range(4):
                        keys.unsafe_store((d + j) * TILE + line, fetched.unsafe_load(i * 4 + j))
                    var at = (thread // 16 + i * 8) * HEAD + thread % 16 * 4
                    values.unsafe_store(at, fetched.unsafe_load[width=4]((FETCHES + i) * 4))

            every[TILE_THREADS](fetch)

            def score(thread: Int) {imm}:
                var scores = own.unsafe_offset(slot(thread) * OWN + SCORES)
                comptime for i in range(0, 16, 4):
                    scores.unsafe_store(i, Four(0))
                comptime for d in range(HEAD):
                    var a = queries.unsafe_load[width=4, alignment=16](d * QUERIES + thread // 16 * 4)
                    var b = keys.unsafe_load[width=4, alignment=16](d * TILE + place(thread % 16 * 4, d))
                    comptime for i in range(4):
                        scores.unsafe_store(i * 4, Four(a[i]).fma(b, scores.unsafe_load[width=4](i * 4)))
                comptime for j in range(4):
                    if key + thread % 16 * 4 + j >= Self.most:
                        comptime for i in range(4):
                            scores.unsafe_store(i * 4 + j, Float32.MIN)

            each_warp[TILE_THREADS](score)

            def tell_largest(thread: Int) {imm}:
                var scores = own.unsafe_offset(slot(thread) * OWN + SCORES)
                comptime for i in range(4):
                    var largest = scores.unsafe_load[width=4](i * 4).reduce_max()
                    told.unsafe_store(told_by(thread, i) + thread % 16, largest)

            each_warp[TILE_THREADS](tell_largest)

            def weigh(thread: Int) {imm}:
                var mine = own.unsafe_offset(slot(thread) * OWN)
                comptime for i in range(4):
                    var largest = Four(Float32.MIN)
                    comptime for j in range(0, 16, 4):
                        largest = max(largest, told.unsafe_load[width=4, alignment=16](told_by(thread, i) + j))
                    var before = mine.unsafe_load(TOP + i)
                    var top = max(before, largest.reduce_max())
                    var less = exp(before - top)
                    var weights = exp(mine.unsafe_load[width=4](SCORES + i * 4) - top)
                    mine.unsafe_store(SCORES + i * 4, weights)
                    mine.unsafe_store(SUMS + i * 4, mine.unsafe_load[width=4](SUMS + i * 4) * less)
                    mine.unsafe_store(TOTAL + i, mine.unsafe_load(TOTAL + i) * less + weights.reduce_add())
                    mine.unsafe_store(TOP + i, top)

            each_warp[TILE_THREADS](weigh)

            def tell_weights(thread: Int) {imm}:
                var scores = own.unsafe_offset(slot(thread) * OWN + SCORES)
                comptime for j in range(4):
                    var column = Four(0)
                    comptime for i in range(4):
                        column[i] = scores.unsafe_load(i * 4 + j)
                    told.unsafe_store(weight_of(thread, thread % 16 * 4 + j), column)

            each_warp[TILE_THREADS](tell_weights)

            def sum(thread: Int) {imm}:
                var mine = own.unsafe_offset(slot(thread) * OWN)
                var sums = stack_allocation[16, DType.float32, alignment=16]()
                comptime for i in range(0, 16, 4):
                    sums.unsafe_store(i, Four(0))
                comptime for at in range(TILE):
                    var a = told.unsafe_load[width=4, alignment=16](weight_of(thread, at))
                    var b = values.unsafe_load[width=4, alignment=16](at * HEAD + thread % 16 * 4)
                    comptime for i in range(4):
                        sums.unsafe_store(i * 4, Four(a[i]).fma(b, sums.unsafe_load[width=4](i * 4)))
                comptime for i in range(0, 16, 4):
                    var whole = mine.unsafe_load[width=4](SUMS + i) + sums.unsafe_load[width=4](i)
                    mine.unsafe_store(SUMS + i, whole)

            every[TILE_THREADS](sum)

        def tell_totals(thread: Int) {imm}:
            var mine = own.unsafe_offset(slot(thread) * OWN)
            comptime for i in range(4):
                told.unsafe_store(told_by(thread, i) + thread % 16, mine.unsafe_load(TOTAL + i))

        each_warp[TILE_THREADS](tell_totals)

        def end(thread: Int) {imm}:
            var mine = own.unsafe_offset(slot(thread) * OWN)
            comptime for i in range(4):
                var total = Four(0)
                comptime for j in range(0, 16, 4):
                    total += told.unsafe_load[width=4, alignment=16](told_by(thread, i) + j)
                var query = first + thread // 16 * 4 + i
                if query < self.n:
                    var at = (row * self.n + query) * self.heads * HEAD + head * HEAD + thread % 16 * 4
                    self.y.unsafe_store(at, mine.unsafe_load[width=4](SUMS + i * 4) / total.reduce_add())

        every[TILE_THREADS](end)


@always_inline
def place(key: Int, depth: Int) -> Int:
    """Where a key stands among those of its depth: eight threads that write to as many depths, four keys of each, write
    to all banks, and fours stay together."""
    return key ^ depth // 4 % 8 * 4


@always_inline
def told_by(thread: Int, query: Int) -> Int:
    """Where 16 threads tell each other of one of their four queries."""
    return thread // WARP * (OF_WARP * TILE) + (thread // 16 % (WARP // 16) * 4 + query) * 16


@always_inline
def weight_of(thread: Int, key: Int) -> Int:
    """Where a key's weights for a thread's queries stand: threads side by side write side by side."""
    return thread // WARP * (OF_WARP * TILE) + (key % 4 * 16 + key // 4) * OF_WARP + thread // 16 % (WARP // 16) * 4
