"""One product of a layer, with what stands before and after it fused in, shared out among tasks.

`y = residual + gelu(norm(x) @ weight + bias)`, where `norm`, `gelu` and `residual` are optional.
"""

from max.algorithm import sync_parallelize
from max.runtime.asyncrt import parallelism_level
from std.math import erf, sqrt

from .tile import COLUMNS, F32, GROUP, ROWS, Stored, Vector, W, multiply_row, multiply_rows
from .tile_words import multiply_row as multiply_word_row
from .tile_words import multiply_rows as multiply_word_rows
from .words import QUADS, U32, dequantize, in_words, quantize_row, round_row

comptime EPSILON = Float32(1e-5)
comptime FEW_ROWS = 64
"""Up to here the weights are the larger side, and threads share their columns instead of the rows."""
comptime BLOCK = 65536
"""Floats, or words, of the left side that a task keeps in its cache while the panels pass by."""


@always_inline
def gelu_of(x: Vector) -> Vector:
    return 0.5 * x * (1.0 + erf(x * Float32(0.7071067811865476)))


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

    def finish(self, product: F32, columns: Int, rows: Int, y: F32, residual: F32, first: Int):
        """Bias, GELU and residual of `product[rows, columns]`, the result's columns from `first` on."""
        for i in range(rows):
            for j in range(0, columns, W):
                var at = first + j
                var value = product.unsafe_load[width=W](i * columns + j)
                if at + W <= self.n:
                    value += self.bias.unsafe_load[width=W](at)
                    if self.gelu:
                        value = gelu_of(value)
                    if self.adds:
                        value += residual.unsafe_load[width=W](i * self.n + at)
                    y.unsafe_store(i * self.n + at, value)
                else:  # the ragged end of the vocabulary: no activation or residual ever ends here
                    for lane in range(self.n - at):
                        y.unsafe_store(i * self.n + at + lane, value[lane] + self.bias.unsafe_load(at + lane))

    @no_inline
    def block(self, x: F32, stride: Int, y: F32, residual: F32, rows: Int, first: Int, last: Int):
        """All `rows` of `x` against the groups of panels `first` to `last`."""
        var room = List[Float32](unsafe_uninit_length=max(GROUP, rows * COLUMNS))
        var product = room.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        for group in range(first, last):
            var column = group * GROUP
            if rows == 1:
                multiply_row(x, self.weight.unsafe_offset(column * self.k), self.k, self.k, product)
                self.finish(product, GROUP, 1, y, residual, column)
                continue
            for at in range(column, column + GROUP, COLUMNS):
                multiply_rows(rows, x, stride, self.weight.unsafe_offset(at * self.k), self.k, self.k, product, COLUMNS)
                self.finish(product, COLUMNS, rows, y, residual, at)
        _ = room^  # not before the last read through its pointer

    @staticmethod
    def width(k: Int) -> Int:
        """Floats or words of a row on the left side."""
        comptime if in_words[Self.T]():
            comptime each = 4 if Self.T == QUADS else 2
            return (k + each - 1) // each
        else:
            return k

    @no_inline
    def word_block(self, x: F32, stride: Int, y: F32, residual: F32, rows: Int, first: Int, last: Int):
        """As `block`, of rows that are normed where asked for, and then made words of."""
        var width = Self.width(self.k)
        var room = List[Float32](unsafe_uninit_length=rows * width + self.k + rows + max(GROUP, rows * COLUMNS))
        var left = room.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var normed = left.unsafe_offset(rows * width)
        var steps = normed.unsafe_offset(self.k)
        var product = steps.unsafe_offset(rows)
        var offsets = List[Int32](unsafe_uninit_length=rows)
        var zeros = offsets.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var words = left.unsafe_bitcast[UInt32]()
        for row in range(rows):
            var source = x.unsafe_offset(row * stride)
            if self.norm:
                normalize(source, normed, self.k, self.gamma, self.beta)
                source = normed
            comptime if Self.T == QUADS:
                quantize_row(
                    source, self.k, words.unsafe_offset(row * width), steps.unsafe_offset(row), zeros.unsafe_offset(row)
                )
            else:
                round_row(source, self.k, words.unsafe_offset(row * width))
        var across = GROUP if rows == 1 else COLUMNS
        for at in range(first * GROUP, last * GROUP, across):
            var panel = self.weight.unsafe_bitcast[UInt32]().unsafe_offset(at * self.lines)
            if rows == 1:
                multiply_word_row[Self.T, Self.portable](words, panel, self.lines, width, product)
            else:
                multiply_word_rows[Self.T, Self.portable](
                    rows, words, width, panel, self.lines, width, product, COLUMNS
                )
            comptime if Self.T == QUADS:
                dequantize(product, rows, across, panel, self.lines, steps, zeros)
            self.finish(product, across, rows, y, residual, at)
        _ = room^  # not before the last read through its pointer
        _ = offsets^

    def normed_block(self, x: F32, stride: Int, y: F32, residual: F32, rows: Int, first: Int, last: Int):
        comptime if in_words[Self.T]():
            self.word_block(x, stride, y, residual, rows, first, last)
        else:
            self.normed_floats(x, stride, y, residual, rows, first, last)

    def normed_floats(self, x: F32, stride: Int, y: F32, residual: F32, rows: Int, first: Int, last: Int):
        if not self.norm:
            self.block(x, stride, y, residual, rows, first, last)
            return
        var scratch = List[Float32](unsafe_uninit_length=rows * self.k)
        var normed = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        for row in range(rows):
            normalize(x.unsafe_offset(row * stride), normed.unsafe_offset(row * self.k), self.k, self.gamma, self.beta)
        self.block(normed, self.k, y, residual, rows, first, last)
        _ = scratch^

    def run(self, x: F32, stride: Int, y: F32, rows: Int) raises:
        var layer = self
        var groups = (self.n + GROUP - 1) // GROUP
        if rows <= FEW_ROWS:
            var tasks = min(groups, parallelism_level(None))

            def columns(task: Int) {imm}:
                layer.normed_block(
                    x, stride, y, layer.residual, rows, task * groups // tasks, (task + 1) * groups // tasks
                )

            sync_parallelize(columns, tasks)
        else:
            var size = max(ROWS, min(96, BLOCK // Self.width(self.k) // ROWS * ROWS))

            def lines(task: Int) {imm}:
                var row = task * size
                layer.normed_block(
                    x.unsafe_offset(row * stride),
                    stride,
                    y.unsafe_offset(row * layer.n),
                    layer.residual.unsafe_offset(row * layer.n),
                    min(size, rows - row),
                    0,
                    groups,
                )

            sync_parallelize(lines, (rows + size - 1) // size)
