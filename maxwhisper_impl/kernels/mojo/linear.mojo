"""Linear layers and convolutions, with what stands before and after them fused in.

`y = residual + gelu(norm(x) @ weight + bias)`, where `norm`, `gelu` and `residual` are optional.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import erf, sqrt

from .tile import COLUMNS, F32, GROUP, ROWS, Stored, Vector, W, multiply_row, multiply_rows

comptime EPSILON = Float32(1e-5)
comptime FEW_ROWS = 64
"""Up to here the weights are the larger side, and threads share their columns instead of the rows."""
comptime BLOCK = 65536
"""Floats of the left side that a task keeps in its cache while the panels pass by."""


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
struct Layer[T: DType](ImplicitlyCopyable):
    """One product: its right side, and what is done to each value of the result."""

    var weight: Stored[Self.T]
    """`[panels, k, 16]`, panels a multiple of 4."""
    var bias: F32
    var residual: F32
    """Read where `adds` is set, at the same row and column as the result."""
    var gamma: F32
    var beta: F32
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

    def normed_block(self, x: F32, stride: Int, y: F32, residual: F32, rows: Int, first: Int, last: Int):
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
            var size = max(ROWS, min(96, BLOCK // self.k // ROWS * ROWS))

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


@extensibility.register("whisper.linear")
struct Linear:
    @staticmethod
    def execute[
        norm: Bool, gelu: Bool, adds: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        weight: InputTensor[rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        beta: InputTensor[dtype=DType.float32, rank=1, ...],
        residual: InputTensor[dtype=DType.float32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[batch, rows, k]`, weight `[panels, k, 16]`, y and residual `[batch, rows, n]`."""
        Layer[weight.dtype](
            weight.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            bias.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            residual.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            gamma.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            beta.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            weight.dim_size(1),
            y.dim_size(2),
            norm,
            gelu,
            adds,
        ).run(
            x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            x.dim_size(2),
            y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            y.dim_size(0) * y.dim_size(1),
        )


@extensibility.register("whisper.conv")
struct Conv:
    """A convolution of three taps is a product whose left rows overlap: row t is x[t * stride : t * stride + 3]."""

    @staticmethod
    def execute[
        stride: Int, padded: Bool, adds: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        weight: InputTensor[rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        position: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[batch, frames + 2, channels]`, zero at both ends; y `[batch, frames / stride (+ 2 if padded), n]`."""
        var channels = x.dim_size(2)
        var n = y.dim_size(2)
        comptime edge = 1 if padded else 0
        var layer = Layer[weight.dtype](
            weight.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            bias.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            position.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            bias.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            bias.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            weight.dim_size(1),
            n,
            False,
            True,
            adds,
        )
        for item in range(y.dim_size(0)):
            var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]().unsafe_offset(item * x.dim_size(1) * channels)
            var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]().unsafe_offset(item * y.dim_size(1) * n)
            comptime if padded:
                for i in range(n):
                    result.unsafe_store(i, 0)
                    result.unsafe_store((y.dim_size(1) - 1) * n + i, 0)
            layer.run(source, stride * channels, result.unsafe_offset(edge * n), y.dim_size(1) - 2 * edge)


@extensibility.register("whisper.layer_norm")
struct LayerNorm:
    @staticmethod
    def execute[
        target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        beta: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        var n = x.dim_size(2)
        var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var g = gamma.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var b = beta.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        for row in range(x.dim_size(0) * x.dim_size(1)):
            normalize(source.unsafe_offset(row * n), result.unsafe_offset(row * n), n, g, b)
