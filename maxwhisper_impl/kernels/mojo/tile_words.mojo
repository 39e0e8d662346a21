"""The register tile of `tile.mojo` for words: pairs of bfloat16 or quads of int8, summed in float32 or int32.

A right-hand side comes as panels of 16 columns, `[lines, 16]` words. Few rows wait for it: what lies `ahead` words behind
a line, to be read soon, is fetched while they are multiplied with the line.
"""

from std.memory import bitcast, stack_allocation
from std.sys import PrefetchOptions, inlined_assembly, prefetch

from .tile import COLUMNS, F32, GROUP, I32, PANEL, ROWS, RUN, UNROLLED, VECTORS, Vector, W
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
def at_vector[j: Int](depth: Int) -> Int:
    """Where the vector `j` of a line lies that crosses panels of `depth` lines."""
    return j * W // PANEL * depth * PANEL + j * W % PANEL


@always_inline
def fetch(words: U32):
    """Into the second cache, without waiting for it; whatever the address is, nothing is read from it."""
    prefetch[PrefetchOptions().for_read().medium_locality().to_data_cache()](words)


@always_inline
def stay():
    """Nothing, which no read may cross: LLVM would read many words before their turn, and have no registers for them."""
    inlined_assembly["", NoneType, constraints="~{memory}", has_side_effect=True]()


@always_inline
def multiply_line[
    T: DType, portable: Bool, rows: Int, vectors: Int, stays: Bool
](a: U32, stride: Int, line: U32, depth: Int, acc: F32, ahead: Int):
    """A word of each row of `a`, and a line of panels that are `depth` lines long."""
    comptime if stays:
        stay()
    comptime if rows < ROWS:
        comptime for j in range(vectors):
            fetch(line.unsafe_offset(at_vector[j](depth) + ahead))
    comptime for i in range(rows):
        var x = Words(a.unsafe_load(i * stride))
        comptime for j in range(vectors):
            comptime at = (i * vectors + j) * W
            var y = line.unsafe_load[width=W](at_vector[j](depth))
            acc.unsafe_store(at, multiply_add[T, portable](x, y, acc.unsafe_load[width=W](at)))


@always_inline
def plus[T: DType](a: Vector, b: Vector) -> Vector:
    comptime if T == QUADS:
        return bitcast[DType.float32, W](bitcast[DType.int32, W](a) + bitcast[DType.int32, W](b))
    else:
        return a + b


@always_inline
def sum_tile[
    T: DType, portable: Bool, rows: Int, vectors: Int
](a: U32, stride: Int, b: U32, depth: Int, k: Int, sums: F32, ahead: Int):
    """`sums[rows, vectors * W] = a[rows, k] @ b[k, vectors * W]`, `k` in words; sums of a function's own stack are registers.
    """
    comptime for i in range(rows * vectors):
        sums.unsafe_store(i * W, Vector(0))
    for p in range(0, k - k % UNROLLED, UNROLLED):
        comptime for u in range(UNROLLED):
            multiply_line[T, portable, rows, vectors, rows < ROWS](
                a.unsafe_offset(p + u), stride, b.unsafe_offset((p + u) * PANEL), depth, sums, ahead
            )
    for p in range(k - k % UNROLLED, k):
        multiply_line[T, portable, rows, vectors, rows < ROWS](
            a.unsafe_offset(p), stride, b.unsafe_offset(p * PANEL), depth, sums, ahead
        )


@always_inline
def sum_runs[
    T: DType, portable: Bool, rows: Int, vectors: Int
](a: U32, stride: Int, b: U32, depth: Int, runs: I32, count: Int, sums: F32, ahead: Int):
    """The same of the UNROLLED lines from each of `count` places on."""
    comptime for i in range(rows * vectors):
        sums.unsafe_store(i * W, Vector(0))
    for i in range(count):
        var p = Int(runs.unsafe_load(i))
        comptime for u in range(UNROLLED):
            multiply_line[T, portable, rows, vectors, True](
                a.unsafe_offset(p + u), stride, b.unsafe_offset((p + u) * PANEL), depth, sums, ahead
            )


@always_inline
def multiply_tile[
    T: DType, portable: Bool, rows: Int, vectors: Int
](a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool, ahead: Int):
    """`product[rows, vectors * W] (+)= a[rows, k] @ b[k, vectors * W]`, `k` in words."""
    var acc = stack_allocation[rows * vectors * W, DType.float32, alignment=64]()
    sum_tile[T, portable, rows, vectors](
        a, stride, b, depth, k, acc.unsafe_origin_cast[MutUntrackedOrigin](), ahead
    )
    comptime for i in range(rows):
        comptime for j in range(vectors):
            var total = acc.unsafe_load[width=W]((i * vectors + j) * W)
            var at = i * product_stride + j * W
            product.unsafe_store(at, plus[T](total, product.unsafe_load[width=W](at)) if adds else total)


@always_inline
def multiply_few[
    T: DType, portable: Bool, rows: Int
](a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool, ahead: Int):
    """`product[rows, 64] (+)= a[rows, k] @ b[k, 64]`, summed in the order of `multiply_rows`: a row's sums hang on no
    other row."""
    for start in range(0, k, RUN):
        var panel = b.unsafe_offset(start * PANEL)
        var count = min(RUN, k - start)
        multiply_tile[T, portable, rows, GROUP // W](
            a.unsafe_offset(start), stride, panel, depth, count, product, product_stride, adds or start > 0, ahead
        )


@no_inline
def multiply_row[T: DType, portable: Bool](a: U32, b: U32, depth: Int, k: Int, product: F32, ahead: Int):
    """`product[64] = a[k] @ b[k, 64]`, of a group of panels."""
    multiply_few[T, portable, 1](a, 0, b, depth, k, product, 0, False, ahead)


@no_inline
def multiply_rows[
    T: DType, portable: Bool
](
    rows: Int, a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool, ahead: Int
):
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
                        ahead,
                    )


@no_inline
def multiply_group[
    T: DType, portable: Bool
](
    rows: Int, a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, product_stride: Int, adds: Bool, ahead: Int
):
    """`product[rows, 64] (+)= a[rows, k] @ b[k, 64]`."""
    comptime for few in range(1, 3):
        if rows == few:
            multiply_few[T, portable, few](a, stride, b, depth, k, product, product_stride, adds, ahead)
            return
    for at in range(0, GROUP, COLUMNS):
        multiply_rows[T, portable](
            rows, a, stride, b.unsafe_offset(at * depth), depth, k, product.unsafe_offset(at), product_stride, adds, ahead
        )
