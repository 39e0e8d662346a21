"""Keys and values of a head in panels, as `heads.mojo` reads them; what lies beyond the last key is zero."""

from std.math import round
from std.memory import bitcast, stack_allocation

from .heads import HEAD, key_lines
from .tile import F32, PANEL, Stored, Vector, W
from .words import PAIRS, QUADS, U32, in_words, joined, round_row

comptime LARGEST = Float32(127)
"""Of a key's numbers; -128 is left out."""


@always_inline
def pack_heads[T: DType](k: F32, v: F32, width: Int, n: Int, padded: Int, keys: Stored[T], values: Stored[T]):
    """Rows of one head, `width` apart."""
    for t in range(padded):
        var first = t // PANEL * key_lines[T]() * PANEL + t % PANEL
        comptime if in_words[T]():
            var column = keys.unsafe_bitcast[UInt32]().unsafe_offset(first)
            if t < n:
                pack_key[T](k.unsafe_offset(t * width), column)
            else:
                for d in range(key_lines[T]()):
                    column.unsafe_store(d * PANEL, 0)
        else:
            var column = keys.unsafe_bitcast[Float32]().unsafe_offset(first)
            for d in range(HEAD):
                column.unsafe_store(d * PANEL, k.unsafe_load(t * width + d) if t < n else 0)
    comptime each = 2 if in_words[T]() else 1
    for t in range(0, padded, each):
        for d in range(0, HEAD, W):
            var row = d // PANEL * padded // each * PANEL + t // each * PANEL + d % PANEL
            var at = t * width + d
            var value = v.unsafe_load[width=W](at) if t < n else Vector(0)
            comptime if in_words[T]():
                var next = v.unsafe_load[width=W](at + width) if t + 1 < n else Vector(0)
                values.unsafe_bitcast[UInt32]().unsafe_store(row, joined(value, next))
            else:
                values.unsafe_bitcast[Float32]().unsafe_store(row, value)


@always_inline
def pack_key[T: DType](k: F32, column: U32):
    """One key as words, in its column of a panel."""
    comptime count = HEAD // 4 if T == QUADS else HEAD // 2
    var line = stack_allocation[count, DType.uint32, alignment=64]()
    var words = line.unsafe_origin_cast[MutUntrackedOrigin]()
    comptime if T == QUADS:
        var most = Vector(0)
        for j in range(0, HEAD, W):
            most = max(most, abs(k.unsafe_load[width=W](j)))
        var step = max(most.reduce_max() / LARGEST, Float32(1e-30))
        var sum = SIMD[DType.int32, W](0)
        for j in range(0, HEAD, W):
            var numbers = round(k.unsafe_load[width=W](j) / step).cast[DType.int32]()
            sum += numbers
            words.unsafe_bitcast[Int8]().unsafe_store(j, numbers.cast[DType.int8]())
        var shift = sum.reduce_add().cast[DType.float32]() * step
        column.unsafe_store(count * PANEL, bitcast[DType.uint32, 1](step))
        column.unsafe_store((count + 1) * PANEL, bitcast[DType.uint32, 1](shift))
    else:
        round_row[True](k, HEAD, words)
    for d in range(count):
        column.unsafe_store(d * PANEL, line.unsafe_load(d))
