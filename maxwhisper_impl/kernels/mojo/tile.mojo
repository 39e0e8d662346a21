"""The register tile that every matrix product here is made of.

A right-hand side comes as panels of 16 columns, `[k, 16]`, four of which make a group. A tile reads its panels front to
back, whether one row of the left side meets them (a decoding step) or thousands do.
"""

from std.memory import stack_allocation
from std.sys import simd_width_of

comptime F32 = Pointer[Float32, MutUntrackedOrigin]
comptime I32 = Pointer[Int32, MutUntrackedOrigin]
comptime Stored[T: DType] = Pointer[Scalar[T], MutUntrackedOrigin]
"""A right-hand side as it lies in memory, float32 or float16; it is multiplied in float32, and halves are exact there."""
comptime PANEL = 16
"""Columns of a packed panel; `kernels/fused.py` packs weights to the same width."""
comptime GROUP = 64
"""Columns of four panels: what a task takes at once, and what one row is multiplied with."""
comptime W = simd_width_of[DType.float32]()
comptime Vector = SIMD[DType.float32, W]
comptime VECTORS = 2
comptime COLUMNS = VECTORS * W
comptime ROWS = 12 if W >= 16 else 6
"""Rows of a tile: with its two vectors across they fill AVX-512's 32 registers, or AVX2's 16. Wider tiles, of fewer rows,
would read more of the right-hand side for each product, and a run of it would fill the first cache."""
comptime UNROLLED = 4
comptime RUN = 128
"""Products summed up before they join the rest: sums of sums round less than one long sum. A run of a tile's columns
stays in the first cache while the rows pass by."""


@always_inline
def multiply_line[
    T: DType, rows: Int, vectors: Int
](a: F32, stride: Int, line: Stored[T], depth: Int, acc: F32):
    """One product for each value of a tile: of a column of `a` and a line of panels that are `depth` lines long."""
    comptime for i in range(rows):
        var x = Vector(a.unsafe_load(i * stride))
        comptime for j in range(vectors):
            comptime at = (i * vectors + j) * W
            var y = line.unsafe_load[width=W](j * W // PANEL * depth * PANEL + j * W % PANEL).cast[DType.float32]()
            acc.unsafe_store(at, x.fma(y, acc.unsafe_load[width=W](at)))


@always_inline
def sum_tile[
    T: DType, rows: Int, vectors: Int
](a: F32, stride: Int, b: Stored[T], depth: Int, k: Int, sums: F32):
    """`sums[rows, vectors * W] = a[rows, k] @ b[k, vectors * W]`; the strides are those of rows, and `depth` is the number
    of lines of a whole panel of `b`. Sums on a function's own stack are registers."""
    comptime for i in range(rows * vectors):
        sums.unsafe_store(i * W, Vector(0))
    for p in range(0, k - k % UNROLLED, UNROLLED):
        comptime for u in range(UNROLLED):
            multiply_line[T, rows, vectors](a.unsafe_offset(p + u), stride, b.unsafe_offset((p + u) * PANEL), depth, sums)
    for p in range(k - k % UNROLLED, k):
        multiply_line[T, rows, vectors](a.unsafe_offset(p), stride, b.unsafe_offset(p * PANEL), depth, sums)


@always_inline
def multiply_tile[
    T: DType, rows: Int, vectors: Int
](a: F32, stride: Int, b: Stored[T], depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool):
    """`product[rows, vectors * W] (+)= a[rows, k] @ b[k, vectors * W]`."""
    var acc = stack_allocation[rows * vectors * W, DType.float32, alignment=64]()
    sum_tile[T, rows, vectors](a, stride, b, depth, k, acc.unsafe_origin_cast[MutUntrackedOrigin]())
    comptime for i in range(rows):
        comptime for j in range(vectors):
            var total = acc.unsafe_load[width=W]((i * vectors + j) * W)
            var at = i * product_stride + j * W
            product.unsafe_store(at, total + product.unsafe_load[width=W](at) if adds else total)


@no_inline
def multiply_row[T: DType](a: F32, b: Stored[T], depth: Int, k: Int, product: F32, adds: Bool = False):
    """`product[64] (+)= a[k] @ b[k, 64]`, of a group of panels."""
    for start in range(0, k, RUN):
        multiply_tile[T, 1, GROUP // W](
            a.unsafe_offset(start), 0, b.unsafe_offset(start * PANEL), depth, min(RUN, k - start), product, 0, adds or start > 0
        )


@no_inline
def multiply_rows[
    T: DType
](rows: Int, a: F32, stride: Int, b: Stored[T], depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool = False):
    """`product[rows, COLUMNS] (+)= a[rows, k] @ b[k, COLUMNS]`."""
    for start in range(0, k, RUN):
        for row in range(0, rows, ROWS):
            comptime for r in range(1, ROWS + 1):
                if min(ROWS, rows - row) == r:
                    multiply_tile[T, r, VECTORS](
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
    T: DType
](rows: Int, a: F32, stride: Int, b: Stored[T], depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool):
    """`product[rows, 64] (+)= a[rows, k] @ b[k, 64]`."""
    if rows == 1:
        multiply_row[T](a, b, depth, k, product, adds)
        return
    for at in range(0, GROUP, COLUMNS):
        multiply_rows[T](
            rows, a, stride, b.unsafe_offset(at * depth), depth, k, product.unsafe_offset(at), product_stride, adds
        )
