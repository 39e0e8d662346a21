"""y = residual + gelu(x @ weight.T + bias): a tile of the result for a block of threads, or a few of its rows."""

from std.math import ceildiv, erf
from std.memory import stack_allocation

from .block import F32, SLOTS, SPACE, THREADS, Four, every, four, slot

comptime SIDE = 8
"""A thread sums up the products of so many rows and columns, in runs of four that lie `TILE // 2` apart."""
comptime TILE = 64
"""Rows and columns of a block."""
comptime HALF = 64
"""Threads of a tile, 8 by 8. Two such halves share its depth between them, and add up what they have at the end: with
twice the threads there is more to do while memory answers, and two short sums round less than a long one."""
comptime TILE_THREADS = 2 * HALF
comptime DEPTH = 16
"""Of what a half shares at once of both sides, twice: one part is fetched while the other is multiplied."""
comptime PART = DEPTH * TILE
comptime FETCHES = PART // 4 // HALF
"""Fours that a thread fetches of each side."""
comptime FEW_ROWS = 16
"""Up to here weights are most of what is read, and each block takes few columns of them."""
comptime FEW = 4
"""Rows that are multiplied with a column at once."""
comptime SPLIT = 16
"""Threads that share a column's products."""
comptime COLUMNS = THREADS // SPLIT


@fieldwise_init
struct Product[gelu: Bool, adds: Bool](ImplicitlyCopyable):
    """x `[items, rows, k]`, whose rows may overlap, weight `[n, k]`, y and residual `[items, rows, n]`."""

    var x: F32
    var weight: F32
    var bias: F32
    var residual: F32
    var y: F32
    var rows: Int
    var n: Int
    var k: Int
    var stride: Int
    """Of a row of x."""
    var item: Int
    """Of an item of x."""
    var residual_item: Int
    """0 where all items add the same."""

    @always_inline
    def aligned(self) -> Bool:
        return self.k % 4 == 0 and self.stride % 4 == 0

    @always_inline
    def put[width: Int](self, sum: SIMD[DType.float32, width], item: Int, row: Int, column: Int):
        """`width` numbers of a row, from a column on that is a multiple of it, as n is."""
        if row >= self.rows or column >= self.n:
            return
        comptime aligned = 4 * width
        var value = sum + self.bias.unsafe_load[width=width, alignment=aligned](column)
        var at = row * self.n + column
        comptime if Self.gelu:
            value = 0.5 * value * (1 + erf(value * Float32(0.7071067811865476)))
        comptime if Self.adds:
            value += self.residual.unsafe_load[width=width, alignment=aligned](item * self.residual_item + at)
        self.y.unsafe_store[alignment=aligned](item * self.rows * self.n + at, value)

    def tiles(self) -> Int:
        """Of an item."""
        return ceildiv(self.n, TILE) * ceildiv(self.rows, TILE)

    @always_inline
    def tile(self, block: Int):
        """A tile of y: one of an item's, column by column and row by row, then the next item's."""
        var across = ceildiv(self.n, TILE)
        var item = block // self.tiles()
        var row = block % self.tiles() // across * TILE
        var column = block % across * TILE
        var left = stack_allocation[4 * PART, DType.float32, alignment=16, address_space=SPACE]()
        var right = stack_allocation[4 * PART, DType.float32, alignment=16, address_space=SPACE]()
        comptime SUMS = SIDE * SIDE
        var own = stack_allocation[SLOTS * SUMS, DType.float32, alignment=16]()
        var source = self.x.unsafe_offset(item * self.item)

        def step(thread: Int, depth: Int) {imm}:
            """Multiplies what was fetched for this depth, and fetches for the next."""
            var next = depth + 2 * DEPTH
            var half = thread // HALF
            var mine = thread % HALF
            var fetched = stack_allocation[2 * FETCHES * 4, DType.float32, alignment=16]()
            if next < self.k:
                var whole = self.aligned() and next + 2 * DEPTH <= self.k
                # Threads side by side read a row side by side.
                var deep = next + half * DEPTH + mine % 4 * 4
                comptime for i in range(FETCHES):
                    var line = mine // 4 + i * (HALF // 4)
                    var at = min(row + line, self.rows - 1) * self.stride + deep
                    fetched.unsafe_store(i * 4, four(source, at, self.k - deep, whole))
                    at = min(column + line, self.n - 1) * self.k + deep
                    fetched.unsafe_store((FETCHES + i) * 4, four(self.weight, at, self.k - deep, whole))
            var sums = own.unsafe_offset(slot(thread) * SUMS)
            if depth < 0:
                comptime for i in range(0, SUMS, 4):
                    sums.unsafe_store(i, Four(0))
            else:
                var part = (half * 2 + depth // (2 * DEPTH) % 2) * PART
                var both = stack_allocation[2 * SIDE, DType.float32, alignment=16]()
                comptime for d in range(DEPTH):
                    comptime for i in range(2):
                        var at = part + d * TILE + place(i * (TILE // 2) + mine // 8 * 4, d)
                        both.unsafe_store(i * 4, left.unsafe_load[width=4, alignment=16](at))
                        at = part + d * TILE + place(i * (TILE // 2) + mine % 8 * 4, d)
                        both.unsafe_store(SIDE + i * 4, right.unsafe_load[width=4, alignment=16](at))
                    comptime for i in range(SIDE):
                        comptime for j in range(0, SIDE, 4):
                            var sum = sums.unsafe_load[width=4](i * SIDE + j)
                            var columns = both.unsafe_load[width=4](SIDE + j)
                            sums.unsafe_store(i * SIDE + j, Four(both.unsafe_load(i)).fma(columns, sum))
            if next < self.k:
                var part = (half * 2 + next // (2 * DEPTH) % 2) * PART
                comptime for i in range(FETCHES):
                    var line = place(mine // 4 + i * (HALF // 4), mine % 4 * 4)
                    comptime for j in range(4):
                        var at = part + (mine % 4 * 4 + j) * TILE + line
                        left.unsafe_store(at, fetched.unsafe_load(i * 4 + j))
                        right.unsafe_store(at, fetched.unsafe_load((FETCHES + i) * 4 + j))

        for depth in range(-2 * DEPTH, self.k, 2 * DEPTH):

            def phase(thread: Int) {imm}:
                step(thread, depth)

            every[TILE_THREADS](phase)

        def tell_sums(thread: Int) {imm}:
            var sums = own.unsafe_offset(slot(thread) * SUMS)
            comptime for i in range(SIDE):
                comptime for j in range(2):
                    var line = i // 4 * (TILE // 2) + thread % HALF // 8 * 4 + i % 4
                    var at = line * TILE + j * (TILE // 2) + thread % 8 * 4
                    if thread < HALF:
                        left.unsafe_store(at, sums.unsafe_load[width=4](i * SIDE + j * 4))
                    else:
                        right.unsafe_store(at, sums.unsafe_load[width=4](i * SIDE + j * 4))

        every[TILE_THREADS](tell_sums)

        def end(thread: Int) {imm}:
            var across = column + thread % 16 * 4
            for line in range(thread // 16, TILE, TILE_THREADS // 16):
                var at = line * TILE + thread % 16 * 4
                var sum = left.unsafe_load[width=4, alignment=16](at) + right.unsafe_load[width=4, alignment=16](at)
                if self.n % 4 == 0:
                    self.put[4](sum, item, row + line, across)
                else:
                    comptime for i in range(4):
                        self.put[1](sum[i], item, row + line, across + i)

        every[TILE_THREADS](end)

    def fews(self) -> Int:
        return ceildiv(self.n, COLUMNS) * ceildiv(self.rows, FEW)

    @always_inline
    def few(self, block: Int):
        """`COLUMNS` columns of `FEW` rows, which lie behind one another, in one item."""
        var across = ceildiv(self.n, COLUMNS)
        var row = block // across * FEW
        var column = block % across * COLUMNS
        var parts = stack_allocation[THREADS * FEW, DType.float32, alignment=16, address_space=SPACE]()

        def multiply(thread: Int) {imm}:
            var weights = self.weight.unsafe_offset(min(column + thread // SPLIT, self.n - 1) * self.k)
            var sums = stack_allocation[FEW * 4, DType.float32, alignment=16]()
            comptime for i in range(0, FEW * 4, 4):
                sums.unsafe_store(i, Four(0))
            for at in range(thread % SPLIT * 4, self.k, SPLIT * 4):
                var w = four(weights, at, self.k - at, self.aligned())
                comptime for i in range(FEW):
                    var x = self.x.unsafe_offset(min(row + i, self.rows - 1) * self.stride)
                    var sum = four(x, at, self.k - at, self.aligned()).fma(w, sums.unsafe_load[width=4](i * 4))
                    sums.unsafe_store(i * 4, sum)
            comptime for i in range(FEW):
                parts.unsafe_store(thread * FEW + i, sums.unsafe_load[width=4](i * 4).reduce_add())

        every[THREADS](multiply)

        def end(thread: Int) {imm}:
            if thread < COLUMNS * FEW:
                var first = thread // FEW * SPLIT * FEW + thread % FEW
                var sum = Float32(0)
                comptime for i in range(SPLIT):
                    sum += parts.unsafe_load(first + i * FEW)
                self.put[1](sum, 0, row + thread % FEW, column + thread // FEW)

        every[THREADS](end)


@always_inline
def place(line: Int, depth: Int) -> Int:
    """Where a row or column stands among those of its depth: so that threads that write to four depths side by side,
    of eight lines each, write to all banks, and fours stay together."""
    return line ^ depth // 4 * 8
