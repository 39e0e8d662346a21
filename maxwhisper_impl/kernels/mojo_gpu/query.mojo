"""Attention of one query for a block of threads: of few over a window, or over what a decoder has said."""

from std.math import exp
from std.memory import stack_allocation

from .attention import HEAD, SCALE
from .block import F32, I32, SPACE, THREADS, Four, every

comptime GROUPS = 16
"""Threads that sum up one part of a query's result; 16 parts of 4 numbers are a head."""


@fieldwise_init
struct Query[causal: Bool, most: Int](ImplicitlyCopyable):
    """`most`: keys that there may be, of a window all of them."""

    var q: F32
    """`[rows, n, stride]`, queries at the start of each row"""
    var kv: F32
    """Of windows `[windows, 2, heads, most, 64]`; a cache is `[slots, most, 2 * heads * 64]`."""
    var places: I32
    """Of windows `[rows]`: which one; of a cache `[rows, length]`: the slot of each position."""
    var y: F32
    """`[rows, n, heads * 64]`"""
    var n: Int
    var stride: Int
    var heads: Int
    var length: Int
    """Of what is said, the n queries' own positions last."""

    @always_inline
    def at(self, row: Int, head: Int, key: Int) -> Int:
        """Where a key lies."""
        comptime if Self.causal:
            var place = Int(self.places.unsafe_load(row * self.length + key)) * Self.most + key
            return (place * 2 * self.heads + head) * HEAD
        else:
            return ((Int(self.places.unsafe_load(row)) * 2 * self.heads + head) * Self.most + key) * HEAD

    def queries(self) -> Int:
        """Of a row."""
        return self.n * self.heads

    @always_inline
    def query(self, block: Int):
        """A head's next query, then the next head's."""
        var t = block % self.n
        var head = block // self.n % self.heads
        var row = block // self.queries()
        var count = self.length - self.n + t + 1 if Self.causal else Self.most
        var apart = self.heads * HEAD * (1 if Self.causal else Self.most)  # a value lies behind its key
        var numbers = stack_allocation[HEAD, DType.float32, alignment=16, address_space=SPACE]()
        var scores = stack_allocation[Self.most, DType.float32, alignment=16, address_space=SPACE]()
        var told = stack_allocation[THREADS, DType.float32, alignment=16, address_space=SPACE]()
        var few = stack_allocation[GROUPS, DType.float32, alignment=16, address_space=SPACE]()
        var totals = stack_allocation[THREADS, DType.float32, alignment=16, address_space=SPACE]()
        var parts = stack_allocation[GROUPS * HEAD, DType.float32, alignment=16, address_space=SPACE]()

        def begin(thread: Int) {imm}:
            if thread < HEAD:
                var x = self.q.unsafe_load((row * self.n + t) * self.stride + head * HEAD + thread)
                numbers.unsafe_store(thread, x * SCALE)

        every[THREADS](begin)

        def score(thread: Int) {imm}:
            var largest = Float32.MIN
            for key in range(thread, count, THREADS):
                var source = self.kv.unsafe_offset(self.at(row, head, key))
                var sum = Four(0)
                comptime for d in range(0, HEAD, 4):
                    var x = source.unsafe_load[width=4, alignment=16](d)
                    sum = x.fma(numbers.unsafe_load[width=4, alignment=16](d), sum)
                var score = sum.reduce_add()
                scores.unsafe_store(key, score)
                largest = max(largest, score)
            told.unsafe_store(thread, largest)

        every[THREADS](score)

        def tell_largest(thread: Int) {imm}:
            if thread < GROUPS:
                var largest = Four(Float32.MIN)
                comptime for i in range(0, THREADS // GROUPS, 4):
                    largest = max(largest, told.unsafe_load[width=4, alignment=16](thread * (THREADS // GROUPS) + i))
                few.unsafe_store(thread, largest.reduce_max())

        every[THREADS](tell_largest)

        def weigh(thread: Int) {imm}:
            var largest = Four(Float32.MIN)
            comptime for i in range(0, GROUPS, 4):
                largest = max(largest, few.unsafe_load[width=4, alignment=16](i))
            var top = largest.reduce_max()
            var total = Float32(0)
            for key in range(thread, count, THREADS):
                var weight = exp(scores.unsafe_load(key) - top)
                scores.unsafe_store(key, weight)
                total += weight
            totals.unsafe_store(thread, total)

        every[THREADS](weigh)

        def sum(thread: Int) {imm}:
            var part = thread % GROUPS * 4
            var sums = Four(0)
            for key in range(thread // GROUPS, count, THREADS // GROUPS):
                var source = self.kv.unsafe_offset(self.at(row, head, key) + apart)
                sums = Four(scores.unsafe_load(key)).fma(source.unsafe_load[width=4, alignment=16](part), sums)
            parts.unsafe_store(thread // GROUPS * HEAD + part, sums)

        every[THREADS](sum)

        def end(thread: Int) {imm}:
            if thread < HEAD:
                var total = Four(0)
                comptime for i in range(0, THREADS, 4):
                    total += totals.unsafe_load[width=4, alignment=16](i)
                var sum = Float32(0)
                comptime for i in range(THREADS // GROUPS):
                    sum += parts.unsafe_load(i * HEAD + thread)
                var at = (row * self.n + t) * self.heads * HEAD + head * HEAD + thread
                self.y.unsafe_store(at, sum / total.reduce_add())

        every[THREADS](end)
