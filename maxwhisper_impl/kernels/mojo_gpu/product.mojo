"""y = residual + gelu(x @ weight.T + bias): a tile of the result for a block of threads, or a few of its rows."""

from std.math import ceildiv, erf
from std.memory import stack_allocation

from .block import F32, SLOTS, SPACE, THREADS, Four, every, four, slot

comptime SIDE = 4
"""A thread sums up the products of so many rows and columns."""
comptime TILE = 64
"""Rows and columns of a block: 16 by 16 threads."""
comptime DEPTH = 16
"""Of what is shared at once of both sides, twice: one part is fetched while the other is multiplied."""
comptime RUN = 8
"""Parts summed up before they join the rest: sums of sums round less than one long sum."""
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
    def put(self, sum: Float32, item: Int, row: Int, column: Int):
        if row >= self.rows or column >= self.n:
            return
        var value = sum + self.bias.unsafe_load(column)
        var at = row * self.n + column
        comptime if Self.gelu:
            value = 0.5 * value * (1 + erf(value * Float32(0.7071067811865476)))
        comptime if Self.adds:
            value += self.residual.unsafe_load(item * self.residual_item + at)
        self.y.unsafe_store(item * self.rows * self.n + at, value)

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
        comptime PART = DEPTH * TILE
        var left = stack_allocation[2 * PART, DType.float32, alignment=16, address_space=SPACE]()
        var right = stack_allocation[2 * PART, DType.float32, alignment=16, address_space=SPACE]()
        comptime SUMS = 2 * SIDE * SIDE
        var own = stack_allocation[SLOTS * SUMS, DType.float32, alignment=16]()
        var source = self.x.unsafe_offset(item * self.item)

        def step(thread: Int, depth: Int) {imm}:
            """Multiplies what was fetched for this depth, and fetches for the next."""
            var next = depth + DEPTH
            var line = thread % TILE
            var deep = next + thread // TILE * SIDE
            var a = Four(0)
            var b = Four(0)
            if next < self.k:
                var mine = min(row + line, self.rows - 1) * self.stride + deep
                a = four(source, mine, self.k - deep, self.aligned())
                mine = min(column + line, self.n - 1) * self.k + deep
                b = four(self.weight, mine, self.k - deep, self.aligned())
            var sums = own.unsafe_offset(slot(thread) * SUMS)
            if depth < 0:
                comptime for i in range(0, SUMS, 4):
                    sums.unsafe_store(i, Four(0))
            else:
                var part = depth // DEPTH % 2 * PART
                comptime for d in range(DEPTH):
                    var p = left.unsafe_load[width=4, alignment=16](part + d * TILE + thread // 16 * SIDE)
                    var q = right.unsafe_load[width=4, alignment=16](part + d * TILE + thread % 16 * SIDE)
                    comptime for i in range(SIDE):
                        sums.unsafe_store(i * 4, Four(p[i]).fma(q, sums.unsafe_load[width=4](i * 4)))
                if depth // DEPTH % RUN == RUN - 1:
                    comptime for i in range(0, SUMS // 2, 4):
                        var sum = sums.unsafe_load[width=4](SUMS // 2 + i) + sums.unsafe_load[width=4](i)
                        sums.unsafe_store(SUMS // 2 + i, sum)
                        sums.unsafe_store(i, Four(0))
            if next < self.k:
                var part = next // DEPTH % 2 * PART + thread // TILE * SIDE * TILE + line
                comptime for i in range(SIDE):
                    left.unsafe_store(part + i * TILE, a[i])
                    right.unsafe_store(part + i * TILE, b[i])

        for depth in range(-DEPTH, self.k, DEPTH):

            def phase(thread: Int) {imm}:
                step(thread, depth)

            every(phase)

        def end(thread: Int) {imm}:
            var sums = own.unsafe_offset(slot(thread) * SUMS)
            comptime for i in range(SIDE):
                var sum = sums.unsafe_load[width=4](SUMS // 2 + i * 4) + sums.unsafe_load[width=4](i * 4)
                comptime for j in range(SIDE):
                    self.put(sum[j], item, row + thread // 16 * SIDE + i, column + thread % 16 * SIDE + j)

        every(end)

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

        every(multiply)

        def end(thread: Int) {imm}:
            if thread < COLUMNS * FEW:
                var first = thread // FEW * SPLIT * FEW + thread % FEW
                var sum = Float32(0)
                comptime for i in range(SPLIT):
                    sum += parts.unsafe_load(first + i * FEW)
                self.put(sum, 0, row + thread % FEW, column + thread // FEW)

        every(end)
