"""Keys and values of a head in panels, as `heads.mojo` reads them; what lies beyond the last key is zero."""

from std.math import round
from std.memory import bitcast, stack_allocation

from .heads import HEAD, key_lines
from .tile import F32, PANEL, Stored, Vector, W
from .words import QUADS, U32, Words, in_words, joined, round_row

comptime LARGEST = Float32(127)
"""Of a key's and a value's numbers; -128 is left out."""


@always_inline
def pack_keys[T: DType](k: F32, width: Int, n: Int, padded: Int, keys: Stored[T]):
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


@always_inline
def pack_values[T: DType](v: F32, width: Int, n: Int, padded: Int, values: Stored[T]):
    """Floats, or words of neighbours along the keys."""
    comptime if T == QUADS:
        pack_value_quads(v, width, n, padded, values.unsafe_bitcast[UInt32]())
        return
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
def pack_value_quads(v: F32, width: Int, n: Int, padded: Int, values: U32):
    """Off the mean of their dimension; behind them the steps of the head's dimensions, and their means."""
    for d in range(0, HEAD, W):
        var column = v.unsafe_offset(d)
        var total = Vector(0)
        for t in range(n):
            total += column.unsafe_load[width=W](t * width)
        var mean = total / Float32(n)
        var most = Vector(0)
        for t in range(n):
            most = max(most, abs(column.unsafe_load[width=W](t * width) - mean))
        var step = max(most / LARGEST, Vector(1e-30))
        var facts = values.unsafe_bitcast[Float32]().unsafe_offset(padded * HEAD // 4 + d)
        facts.unsafe_store(0, step)
        facts.unsafe_store(HEAD, mean)
        var per_step = 1 / step
        var panel = values.unsafe_offset(d // PANEL * padded // 4 * PANEL + d % PANEL)
        for t in range(0, padded, 4):
            var quads = Words(0)
            comptime for i in range(4):
                if t + i < n:
                    var off = column.unsafe_load[width=W]((t + i) * width) - mean
                    var number = round(off * per_step).cast[DType.int32]()
                    quads |= bitcast[DType.uint32, W](number & 255) << UInt32(8 * i)
            panel.unsafe_store(t // 4 * PANEL, quads)


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
