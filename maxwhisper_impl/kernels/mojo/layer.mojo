"""One product of a layer, with what stands before and after it fused in, shared out among tasks.

`y = residual + gelu(norm(x) @ weight + bias)`, where `norm`, `gelu` and `residual` are optional.
"""

from std.math import erf, sqrt
from std.memory import bitcast
from std.sys import PrefetchOptions, prefetch, size_of

from .nibbles import multiply_nibbles
from .team import Team, together
from .tile import COLUMNS, F32, GROUP, I32, PANEL, ROWS, Stored, Vector, W, multiply_row, multiply_rows
from .tile_words import multiply_row as multiply_word_row
from .tile_words import multiply_rows as multiply_word_rows
from .words import NIBBLES, PAIRS, QUADS, U32, in_words, quantize_row, round_row

comptime EPSILON = Float32(1e-5)
comptime FEW_ROWS = 64
"""Up to here the weights are the larger side, and threads share their columns instead of the rows."""
comptime MANY_ROWS = 96
"""Of a task, where rows are the larger side."""
comptime PIECES = 8
"""Of a product's columns for each worker: so many that none waits long for the last one."""
comptime BLOCK = 65536
"""Floats, or words, of the left side that a task keeps in its cache while the panels pass by."""


@always_inline
def gelu_of[n: Int, exact: Bool](x: SIMD[DType.float32, n]) -> SIMD[DType.float32, n]:
    """`x / 2 * (1 + erf(x / sqrt(2)))`. Where it becomes a small number, erf is a quotient of polynomials, fitted to 2e-8
    of it up to where it is 1: what rounding adds, thrice what it adds to the library's, does no harm there."""
    comptime Many = SIMD[DType.float32, n]
    var half = 0.5 * x
    comptime if exact:
        return half.fma(erf(x * Float32(0.7071067811865476)), half)
    var z = min(max(x, Many(-5.6)), Many(5.6))
    var t = z * z
    var p = Many(4.4593900e-08).fma(t, Many(1.2579530e-05))
    p = p.fma(t, Many(3.3786459e-04)).fma(t, Many(9.3547367e-03)).fma(t, Many(6.7858733e-02)).fma(t, Many(7.9788452e-01))
    var q = Many(1.1796425e-06).fma(t, Many(7.3344995e-05))
    q = q.fma(t, Many(1.8855092e-03)).fma(t, Many(2.8677741e-02)).fma(t, Many(2.5171465e-01)).fma(t, Many(1))
    return half.fma(z * p / q, half)


@no_inline
def normalize(x: F32, y: F32, n: Int, gamma: F32, beta: F32):
    """Layer norm of one row of `n` (a multiple of `W`) values, biased variance, like torch's."""
    var total = Vector(0)
    for i in range(0, n, W):
        total += x.unsafe_load[width=W](i)
    var mean = total.reduce_add() / Float32(n)
    var square = Vector(0)
    for i in range(0, n, W):
        var d = x.unsafe_load[width=W](i) - mean
        square = d.fma(d, square)
    var scale = 1.0 / sqrt(square.reduce_add() / Float32(n) + EPSILON)
    for i in range(0, n, W):
        var d = (x.unsafe_load[width=W](i) - mean) * scale
        y.unsafe_store(i, d.fma(gamma.unsafe_load[width=W](i), beta.unsafe_load[width=W](i)))


@fieldwise_init
struct Layer[T: DType, portable: Bool](ImplicitlyCopyable):
    """One product: its right side, and what is done to each value of the result."""

    var weight: Stored[Self.T]
    """`[panels, lines, 16]` of floats, a line for each of `k`, or of words; panels a multiple of 4."""
    var bias: F32
    var residual: F32
    """Read where `adds` is set, at the same row and column as the result."""
    var gamma: F32
    var beta: F32
    var lines: Int
    var k: Int
    var n: Int
    var norm: Bool
    var gelu: Bool
    var adds: Bool

    @always_inline
    def finish(self, left: Left[Self.T], columns: Int, y: F32, residual: F32, first: Int):
        """Bias, GELU and residual of the sums of all rows in `columns` columns, the result's from `first` on."""
        for j in range(0, columns, COLUMNS):
            var at = first + j
            var scale = Scale[Self.T](self.weight, self.lines, at)
            if at + COLUMNS > self.n:
                self.finish_end(left, columns, y, at, scale)
                return
            var bias = self.bias.unsafe_load[width=COLUMNS](at)
            for i in range(left.rows):
                var value = scale.value(left, i, left.product.unsafe_load[width=COLUMNS](i * columns + j)) + bias
                if self.gelu:
                    value = gelu_of[COLUMNS, not in_words[Self.T]()](value)
                if self.adds:
                    value += residual.unsafe_load[width=COLUMNS](i * self.n + at)
                y.unsafe_store(i * self.n + at, value)

    def finish_end(self, left: Left[Self.T], columns: Int, y: F32, at: Int, scale: Scale[Self.T]):
        """The ragged end of the vocabulary: no activation or residual ever ends here."""
        for i in range(left.rows):
            var sums = left.product.unsafe_load[width=COLUMNS](i * columns + at % columns)
            var value = scale.value(left, i, sums)
            for lane in range(self.n - at):
                y.unsafe_store(i * self.n + at + lane, value[lane] + self.bias.unsafe_load(at + lane))

    def share(self, mut team: Team, x: F32, stride: Int, y: F32, rows: Int):
        """A worker's part of a phase: the product of all `rows` of x."""
        var groups = (self.n + GROUP - 1) // GROUP
        if rows <= FEW_ROWS:
            self.share_columns(team, x, stride, y, rows, groups)
            return
        var size = max(ROWS, min(MANY_ROWS, BLOCK // Left[Self.T].width(self.k) // ROWS * ROWS))
        var pieces = (rows + size - 1) // size
        var piece = team.claim(pieces)
        while piece >= 0:
            var row = piece * size
            var left = Left[Self.T](self, x.unsafe_offset(row * stride), stride, min(size, rows - row))
            var at = row * self.n
            self.block(left, y.unsafe_offset(at), self.residual.unsafe_offset(at), 0, groups)
            piece = team.claim(pieces)
        team.wait(pieces)

    def share_columns(self, mut team: Team, x: F32, stride: Int, y: F32, rows: Int, groups: Int):
        """Weights are the larger side: they are claimed, and each worker prepares all rows for itself."""
        var size = max(1, groups // (PIECES * team.workers))
        var pieces = (groups + size - 1) // size
        var piece = team.claim(pieces)
        if piece >= 0:
            var left = Left[Self.T](self, x, stride, rows)
            while piece >= 0:
                self.block(left, y, self.residual, piece * size, min(groups, (piece + 1) * size))
                piece = team.claim(pieces)
        team.wait(pieces)

    def of_head(self, column: Int) -> Self:
        """The product's columns of a head alone."""
        comptime each = 4 // size_of[Scalar[Self.T]]() if in_words[Self.T]() else 1
        var mine = self
        mine.weight = self.weight.unsafe_offset(column * GROUP * self.lines * each)
        mine.bias = self.bias.unsafe_offset(column * GROUP)
        mine.n = GROUP
        return mine

    def alone(self, whole: Left[Self.T], y: F32):
        """All rows, by one worker."""
        for row in range(0, whole.rows, MANY_ROWS):
            var left = Left[Self.T](whole, row, min(MANY_ROWS, whole.rows - row))
            self.block(left, y.unsafe_offset(row * self.n), self.residual, 0, (self.n + GROUP - 1) // GROUP)

    @always_inline
    def expect(self, rows: Int, columns: Int, y: F32, residual: F32, first: Int):
        """Fetches what `finish` will write and add to, while the product is made."""
        for i in range(rows):
            for j in range(0, columns, W):
                var at = i * self.n + first + j
                prefetch[PrefetchOptions().for_write().medium_locality().to_data_cache()](y.unsafe_offset(at))
                if self.adds:
                    prefetch[PrefetchOptions().for_read().medium_locality().to_data_cache()](residual.unsafe_offset(at))

    @no_inline
    def block(self, left: Left[Self.T], y: F32, residual: F32, first: Int, last: Int):
        """All rows of `left` against the groups of panels `first` to `last`."""
        var across = GROUP if left.rows == 1 else COLUMNS
        for at in range(first * GROUP, last * GROUP, across):
            self.expect(left.rows, across, y, residual, at)
            comptime if in_words[Self.T]():
                var panel = self.weight.unsafe_bitcast[UInt32]().unsafe_offset(at * self.lines)
                self.multiply_words(left, panel, across * self.lines)
            else:
                var panel = self.weight.unsafe_offset(at * self.k)
                if left.rows == 1:
                    multiply_row(left.values, panel, self.k, self.k, left.product)
                else:
                    multiply_rows(left.rows, left.values, left.stride, panel, self.k, self.k, left.product, COLUMNS)
            self.finish(left, across, y, residual, at)

    @always_inline
    def multiply_words(self, left: Left[Self.T], panel: U32, ahead: Int):
        var words = left.values.unsafe_bitcast[UInt32]()
        var width = Left[Self.T].width(self.k)
        comptime if Self.T == NIBBLES:
            multiply_nibbles[Self.portable](
                left.rows, words, left.stride, panel, self.lines, width, left.product, ahead
            )
        else:
            if left.rows == 1:
                multiply_word_row[Self.T, Self.portable](words, panel, self.lines, width, left.product, ahead)
            else:
                multiply_word_rows[Self.T, Self.portable](
                    left.rows, words, left.stride, panel, self.lines, width, left.product, COLUMNS, False, ahead
                )

    def run(self, x: F32, stride: Int, y: F32, rows: Int) raises:
        """The whole product, as an op of its own."""
        var layer = self

        def work(mut team: Team) {imm}:
            layer.share(team, x, stride, y, rows)

        together(1, work)


struct Scale[T: DType](ImplicitlyCopyable):
    """Of COLUMNS columns of quads or nibbles: what one of their sums stands for. Any other is what it is."""

    var steps: SIMD[DType.float32, COLUMNS]
    var sums: SIMD[DType.int32, COLUMNS]
    """Of the weights; of nibbles, in the bits of floats."""

    @always_inline
    def __init__(out self, weight: Stored[Self.T], lines: Int, first: Int):
        """`first`: of the columns, in panels of `lines` lines, the last of which are their steps and sums, of nibbles their sums."""
        self.steps = 0
        self.sums = 0
        comptime if Self.T == QUADS:
            comptime for j in range(0, COLUMNS, W):
                var at = first + j
                var end = weight.unsafe_bitcast[UInt32]().unsafe_offset((at // PANEL * lines + lines - 2) * PANEL + at % PANEL)
                self.steps = self.steps.insert[offset=j](bitcast[DType.float32, W](end.unsafe_load[width=W](0)))
                self.sums = self.sums.insert[offset=j](bitcast[DType.int32, W](end.unsafe_load[width=W](PANEL)))
        elif Self.T == NIBBLES:
            comptime for j in range(0, COLUMNS, W):
                var at = first + j
                var end = weight.unsafe_bitcast[Int32]().unsafe_offset((at // PANEL * lines + lines - 1) * PANEL + at % PANEL)
                self.sums = self.sums.insert[offset=j](end.unsafe_load[width=W](0))

    @always_inline
    def value(
        self, left: Left[Self.T], row: Int, sums: SIMD[DType.float32, COLUMNS]
    ) -> SIMD[DType.float32, COLUMNS]:
        """Sums of quads are int32, in the bits of floats."""
        comptime if Self.T == QUADS:
            var exact = bitcast[DType.int32, COLUMNS](sums) - self.sums * left.zeros.unsafe_load(row)
            return exact.cast[DType.float32]() * (self.steps * left.steps.unsafe_load(row))
        elif Self.T == NIBBLES:
            var zero = left.zeros.unsafe_load(row).cast[DType.float32]()
            return (sums - bitcast[DType.float32, COLUMNS](self.sums) * zero) * left.steps.unsafe_load(row)
        else:
            return sums


struct Left[T: DType](Movable):
    """The left side of a product: rows as they are, or normed, or made words of; and a worker's room for sums."""

    var rows: Int
    var values: F32
    """Floats, or the bits of words."""
    var stride: Int
    var steps: F32
    """Of quads, a number's size in each row; nibbles, too, are multiplied with quads."""
    var zeros: I32
    """Of quads, the number that is 0 in each row."""
    var product: F32
    var room: List[Float32]
    var offsets: List[Int32]

    def __init__[portable: Bool](out self, layer: Layer[Self.T, portable], x: F32, stride: Int, rows: Int):
        var prepares = in_words[Self.T]() or layer.norm
        var width = Self.width(layer.k) if prepares else 0
        var sums = max(GROUP, rows * COLUMNS)
        self.room = List[Float32](unsafe_uninit_length=sums + rows * width + layer.k + rows)
        self.offsets = List[Int32](unsafe_uninit_length=rows)
        self.rows = rows
        self.product = self.room.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        self.values = self.product.unsafe_offset(sums) if prepares else x
        self.stride = width if prepares else stride
        self.steps = self.product.unsafe_offset(sums + rows * width + layer.k)
        self.zeros = self.offsets.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var normed = self.product.unsafe_offset(sums + rows * width)
        for row in range(rows if prepares else 0):
            var source = x.unsafe_offset(row * stride)
            var into = self.values.unsafe_offset(row * width)
            comptime if in_words[Self.T]():
                if layer.norm:
                    normalize(source, normed, layer.k, layer.gamma, layer.beta)
                    source = normed
                var words = into.unsafe_bitcast[UInt32]()
                comptime if Self.T != PAIRS:
                    quantize_row(source, layer.k, words, self.steps.unsafe_offset(row), self.zeros.unsafe_offset(row))
                else:
                    round_row[portable](source, layer.k, words)
            else:
                normalize(source, into, layer.k, layer.gamma, layer.beta)

    def __init__(out self, whole: Left[Self.T], first: Int, rows: Int):
        """Some rows of one that is not to be dropped before this one; the room for sums is its own."""
        self.room = List[Float32](unsafe_uninit_length=max(GROUP, rows * COLUMNS))
        self.offsets = List[Int32]()
        self.rows = rows
        self.product = self.room.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        self.values = whole.values.unsafe_offset(first * whole.stride)
        self.stride = whole.stride
        self.steps = whole.steps.unsafe_offset(first)
        self.zeros = whole.zeros.unsafe_offset(first)

    @staticmethod
    def width(k: Int) -> Int:
        """Floats or words of a prepared row."""
        comptime if in_words[Self.T]():
            comptime each = 2 if Self.T == PAIRS else 4
            return (k + each - 1) // each
        else:
            return k
