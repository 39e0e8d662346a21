"""The register tile that every matrix product here is made of.

A right-hand side comes as panels of 64 columns, `[k, 64]`, so that it is read once and front to back,
whether one row of the left side meets it (a decoding step) or thousands do.
"""

from std.memory import stack_allocation
from std.sys import simd_width_of

comptime F32 = Pointer[Float32, MutUntrackedOrigin]
comptime I32 = Pointer[Int32, MutUntrackedOrigin]
comptime PANEL = 64
"""Columns of a packed panel; `kernels/fused.py` packs weights to the same width."""
comptime W = simd_width_of[DType.float32]()
comptime Vector = SIMD[DType.float32, W]
comptime VECTORS = 4 if W >= 16 else 2
"""Vectors across a tile: times 6 rows they fill AVX-512's 32 registers, or AVX2's 16."""
comptime COLUMNS = VECTORS * W
comptime ROWS = 6
comptime RUN = 128
"""Products summed up before they join the rest: sums of sums round less than one long sum."""


@always_inline
def multiply_tile[rows: Int](a: F32, stride: Int, b: F32, k: Int, product: F32):
    """`product[rows, COLUMNS] = a[rows, k] @ b[k, COLUMNS]`; rows of `a` are `stride` apart, `product` is dense."""
    var acc = stack_allocation[rows * COLUMNS, DType.float32, alignment=64]()
    var line = b
    for start in range(0, k, RUN):
        comptime for i in range(rows * VECTORS):
            acc.unsafe_store(i * W, Vector(0))
        for p in range(start, min(start + RUN, k)):
            comptime for i in range(rows):
                var x = Vector(a.unsafe_load(i * stride + p))
                comptime for j in range(VECTORS):
                    comptime at = (i * VECTORS + j) * W
                    acc.unsafe_store(at, x.fma(line.unsafe_load[width=W](j * W), acc.unsafe_load[width=W](at)))
            line = line.unsafe_offset(PANEL)
        comptime for i in range(rows * VECTORS):
            var total = acc.unsafe_load[width=W](i * W)
            if start > 0:
                total += product.unsafe_load[width=W](i * W)
            product.unsafe_store(i * W, total)


@no_inline
def multiply_rows(rows: Int, a: F32, stride: Int, b: F32, k: Int, product: F32):
    """`multiply_tile` for 1 to `ROWS` rows, known only when it runs."""
    comptime for r in range(1, ROWS + 1):
        if rows == r:
            multiply_tile[r](a, stride, b, k, product)
