"""The register tile of `tile.mojo` for weights of 4 bits: with their steps, five eighths of what quads read. The left side
is quads.

A panel of 16 columns holds, for each 64 of its inputs, eight lines of nibbles, -8 to 7, and two lines of their steps: in
bfloat16, one for each 16 inputs. Its last line is what a left side of ones would give. Byte i of a nibble line's word n
has input 8n + i in its lower half, and input 8n + 4 + i in its upper one.
"""

from std.memory import bitcast, stack_allocation

from .tile import COLUMNS, F32, GROUP, PANEL, ROWS, VECTORS, Vector, W
from .tile_words import at_vector, fetch
from .words import U32, UPPER, Words, add_quads

comptime LINES = 2
"""Of nibbles that have a step in common."""
comptime INPUTS = 2 * LINES
"""Words of the left side that meet them."""
comptime SHARES = 4
"""Of 64 inputs, each with a step of its own."""
comptime BLOCK = SHARES * LINES + SHARES // 2
"""Lines for each 64 inputs."""
comptime NIBBLE = UInt32(0xF0F0F0F0)


@always_inline
def multiply_lines[
    portable: Bool, rows: Int, vectors: Int
](a: U32, stride: Int, lines: U32, depth: Int, sums: F32, ahead: Int):
    """What has a step in common, times the left side: int32, in the bits of floats, 16 times what it is, as a nibble in
    the upper half of a byte is 16 times what it is."""
    comptime for n in range(LINES):
        comptime for j in range(vectors):
            var line = lines.unsafe_offset(n * PANEL + at_vector[j](depth))
            fetch(line.unsafe_offset(ahead))
            var both = line.unsafe_load[width=W](0)
            comptime for half in range(2):
                var y = (both << 4 if half == 0 else both) & NIBBLE
                comptime for i in range(rows):
                    comptime at = (i * vectors + j) * W
                    var x = Words(a.unsafe_load(i * stride + 2 * n + half))
                    var sum = bitcast[DType.int32, W](sums.unsafe_load[width=W](at))
                    sums.unsafe_store(at, bitcast[DType.float32, W](add_quads[portable](x, y, sum)))


@always_inline
def multiply_tile[
    portable: Bool, rows: Int, vectors: Int
](a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, product_stride: Int, ahead: Int):
    """`product[rows, vectors * W] = a[rows, k] @ b[k, vectors * W]`, `k` in words of the left side."""
    comptime size = rows * vectors * W
    var room = stack_allocation[2 * size, DType.float32, alignment=64]()
    var totals = room.unsafe_origin_cast[MutUntrackedOrigin]()
    var sums = totals.unsafe_offset(size)
    comptime for i in range(rows * vectors):
        totals.unsafe_store(i * W, Vector(0))
    for block in range(k // (SHARES * INPUTS)):
        var lines = b.unsafe_offset(block * BLOCK * PANEL)
        comptime for share in range(SHARES):
            comptime for i in range(rows * vectors):
                sums.unsafe_store(i * W, Vector(0))
            var left = a.unsafe_offset((SHARES * block + share) * INPUTS)
            multiply_lines[portable, rows, vectors](
                left, stride, lines.unsafe_offset(share * LINES * PANEL), depth, sums, ahead
            )
            comptime for j in range(vectors):
                comptime line = SHARES * LINES + share // 2
                var steps = lines.unsafe_load[width=W](line * PANEL + at_vector[j](depth))
                var step = bitcast[DType.float32, W](steps << 16 if share % 2 == 0 else steps & UPPER)
                comptime for i in range(rows):
                    comptime at = (i * vectors + j) * W
                    var sum = bitcast[DType.int32, W](sums.unsafe_load[width=W](at)).cast[DType.float32]()
                    totals.unsafe_store(at, sum.fma(step, totals.unsafe_load[width=W](at)))
    comptime for i in range(rows):
        comptime for j in range(vectors):
            product.unsafe_store(i * product_stride + j * W, totals.unsafe_load[width=W]((i * vectors + j) * W))


@no_inline
def multiply_nibbles[
    portable: Bool
](rows: Int, a: U32, stride: Int, b: U32, depth: Int, k: Int, product: F32, ahead: Int):
    """`product[rows, COLUMNS] = a[rows, k] @ b[k, COLUMNS]`; of one row, a whole group's columns."""
    if rows == 1:
        multiply_tile[portable, 1, GROUP // W](a, 0, b, depth, k, product, 0, ahead)
        return
    comptime for j in range(VECTORS):
        var panel = b.unsafe_offset(at_vector[j](depth))
        for row in range(0, rows, ROWS):
            comptime for r in range(1, ROWS + 1):
                if min(ROWS, rows - row) == r:
                    var into = product.unsafe_offset(row * COLUMNS + j * W)
                    multiply_tile[portable, r, 1](
                        a.unsafe_offset(row * stride), stride, panel, depth, k, into, COLUMNS, ahead
                    )
