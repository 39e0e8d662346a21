"""The register tile of `tile.mojo` for words: pairs of bfloat16 or quads of int8, summed in float32 or int32.

A right-hand side comes as panels of 16 columns, `[lines, 16]` words.
"""

from std.memory import bitcast, stack_allocation

from .tile import COLUMNS, F32, GROUP, PANEL, ROWS, RUN, UNROLLED, VECTORS, Vector, W
from .words import QUADS, U32, Words, add_pairs, add_quads



@always_inline
def multiply_add[T: DType, portable: Bool](x: Words, y: Words, sums: Vector) -> Vector:
    """Sums of quads are int32, in the bits of a float32."""
    comptime if T == QUADS:
        var exact = add_quads[portable](x, y, bitcast[DType.int32, W](sums))
        return bitcast[DType.float32, W](exact)
    else:
        return add_pairs[portable](x, y, sums)


@always_inline
def multiply_line[
    T: DType, portable: Bool, rows: Int, vectors: Int
](a: U32, stride: Int, line: U32, depth: Int, acc: F32):
    """A word of each row of `a`, and a line of panels that are `depth` lines long."""
    comptime for i in range(rows):
        var x = Words(a.unsafe_load(i * stride))
        comptime for j in range(vectors):
            comptime at = (i * vectors + j) * W
            var y = line.unsafe_load[width=W](j * W // PANEL * depth * PANEL + j * W % PANEL)
            acc.unsafe_store(at, multiply_add[T, portable](x, y, acc.unsafe_load[width=W](at)))


@always_inline
def plus[T: DType](a: Vector, b: Vector) -> Vector:
    comptime if T == QUADS:
        return bitcast[DType.float32, W](bitcast[DType.int32, W](a) + bitcast[DType.int32, W](b))
    else:
        return a + b


@always_inline
def multiply_tile[
    T: DType, portable: Bool, rows: Int, vectors: Int
](a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool):
    """`product[rows, vectors * W] (+)= a[rows, k] @ b[k, vectors * W]`, `k` in words."""
    var acc = stack_allocation[rows * vectors * W, DType.float32, alignment=64]()
    comptime for i in range(rows * vectors):
        acc.unsafe_store(i * W, Vector(0))
    var sums = acc.unsafe_origin_cast[MutUntrackedOrigin]()
    comptime unrolled = UNROLLED if rows == 1 or rows == ROWS else 1  # in between, LLVM's code for more of them is slower
    for p in range(0, k - k % unrolled, unrolled):
        comptime for u in range(unrolled):
            multiply_line[T, portable, rows, vectors](
                a.unsafe_offset(p + u), stride, b.unsafe_offset((p + u) * PANEL), depth, sums
            )
    for p in range(k - k % unrolled, k):
        multiply_line[T, portable, rows, vectors](a.unsafe_offset(p), stride, b.unsafe_offset(p * PANEL), depth, sums)
    comptime for i in range(rows):
        comptime for j in range(vectors):
            var total = acc.unsafe_load[width=W]((i * vectors + j) * W)
            var at = i * product_stride + j * W
            product.unsafe_store(at, plus[T](total, product.unsafe_load[width=W](at)) if adds else total)


@no_inline
def multiply_row[T: DType, portable: Bool](a: U32, b: U32, depth: Int, k: Int, product: F32, adds: Bool = False):
    """`product[64] (+)= a[k] @ b[k, 64]`, of a group of panels."""
    multiply_tile[T, portable, 1, GROUP // W](a, 0, b, depth, k, product, 0, adds)


@no_inline
def multiply_rows[
    T: DType, portable: Bool
](rows: Int, a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool = False):
    """`product[rows, COLUMNS] (+)= a[rows, k] @ b[k, COLUMNS]`."""
    for start in range(0, k, RUN):
        for row in range(0, rows, ROWS):
            comptime for r in range(1, ROWS + 1):
                if min(ROWS, rows - row) == r:
                    multiply_tile[T, portable, r, VECTORS](
                        a.unsafe_offset(row * stride + start),
                        stride,
                        b.unsafe_offset(start * PANEL),
                        depth,
                        min(RUN, k - start),
                        product.unsafe_offset(row * product_stride),
                        product_stride,
                        adds or start > 0,
                    )


@always_inline
def multiply_group[
    T: DType, portable: Bool
](rows: Int, a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool):
    """`product[rows, 64] (+)= a[rows, k] @ b[k, 64]`."""
    if rows == 1:
        multiply_row[T, portable](a, b, depth, k, product, adds)
        return
    for at in range(0, GROUP, COLUMNS):
        multiply_rows[T, portable](
            rows, a, stride, b.unsafe_offset(at * depth), depth, k, product.unsafe_offset(at), product_stride, adds
        )
