"""Small numbers, several to a word of 32 bits: two bfloat16 (a pair), four int8 (a quad) or eight of 4 bits.

A product takes a word of the left side and a vector of words of the right side, and adds to each lane of its sums what
the numbers of both words give together. Where the processor has an instruction for that, it is used; the portable way
next to it gives the same sums, of quads to the bit.
"""

from std.memory import bitcast
from std.sys import CompilationTarget, llvm_intrinsic

from .tile import F32, I32, Vector, W

comptime U32 = Pointer[UInt32, MutUntrackedOrigin]
comptime PAIRS = DType.uint16
"""bfloat16, as it lies in NumPy's arrays."""
comptime QUADS = DType.int8
comptime NIBBLES = DType.uint8
"""See `nibbles.mojo`; what they are multiplied with is quads."""
comptime Words = SIMD[DType.uint32, W]
comptime PAIRS_AT_ONCE = W == 16 and CompilationTarget._has_feature["avx512bf16"]()
comptime QUADS_AT_ONCE = W == 16 and CompilationTarget._has_feature["avx512vnni"]()
comptime UPPER = UInt32(0xFFFF0000)
comptime BYTES = UInt32(0x00FF00FF)


@always_inline
def in_words[T: DType]() -> Bool:
    return T == PAIRS or T == QUADS or T == NIBBLES


@always_inline
def add_pairs[portable: Bool](x: Words, y: Words, sums: Vector) -> Vector:
    comptime if PAIRS_AT_ONCE and not portable:
        return llvm_intrinsic["llvm.x86.avx512bf16.dpbf16ps.512", Vector](
            sums, bitcast[DType.bfloat16, 2 * W](x), bitcast[DType.bfloat16, 2 * W](y)
        )
    else:
        var low = bitcast[DType.float32, W](x << 16).fma(bitcast[DType.float32, W](y << 16), sums)
        return bitcast[DType.float32, W](x & UPPER).fma(bitcast[DType.float32, W](y & UPPER), low)


@always_inline
def add_quads[portable: Bool](x: Words, y: Words, sums: SIMD[DType.int32, W]) -> SIMD[DType.int32, W]:
    """Numbers of x are 0 to 255, of y -127 to 127."""
    comptime if QUADS_AT_ONCE and not portable:
        return llvm_intrinsic["llvm.x86.avx512.vpdpbusd.512", SIMD[DType.int32, W]](
            sums, bitcast[DType.uint8, 4 * W](x), bitcast[DType.int8, 4 * W](y)
        )
    else:  # as numbers of 16 bits: those of even places, and those of odd ones
        var left = bitcast[DType.int16, 2 * W](y)
        var even = multiply_neighbours(bitcast[DType.int16, 2 * W](x & BYTES), left << 8 >> 8)
        var odd = multiply_neighbours(bitcast[DType.int16, 2 * W](x >> 8 & BYTES), left >> 8)
        return sums + even + odd


@always_inline
def multiply_neighbours(x: SIMD[DType.int16, 2 * W], y: SIMD[DType.int16, 2 * W]) -> SIMD[DType.int32, W]:
    """x[2i] * y[2i] + x[2i + 1] * y[2i + 1], exactly."""
    comptime if W == 16 and CompilationTarget._has_feature["avx512bw"]():
        return llvm_intrinsic["llvm.x86.avx512.pmaddw.d.512", SIMD[DType.int32, W]](x, y)
    elif W == 8 and CompilationTarget.has_avx2():
        return llvm_intrinsic["llvm.x86.avx2.pmadd.wd", SIMD[DType.int32, W]](x, y)
    else:
        var left = bitcast[DType.int32, W](x)
        var right = bitcast[DType.int32, W](y)
        return (left << 16 >> 16) * (right << 16 >> 16) + (left >> 16) * (right >> 16)


@always_inline
def number_of_pair(word: UInt32, which: Int) -> Float32:
    return bitcast[DType.float32, 1](word >> UInt32(16 * which) << 16)


@always_inline
def rounded(x: Vector) -> Words:
    """The nearest bfloat16 in the upper half of each lane, of two equally near ones the even; the lower half is left."""
    var bits = bitcast[DType.uint32, W](x)
    return bits + 0x7FFF + (bits >> 16 & 1)


@always_inline
def joined(first: Vector, second: Vector) -> Words:
    """Pairs of one value of each."""
    return rounded(first) >> 16 | rounded(second) & UPPER


@always_inline
def halves_of[portable: Bool](x: Vector) -> SIMD[PAIRS, W]:
    """The nearest bfloat16 of each lane."""
    comptime if PAIRS_AT_ONCE and not portable:
        return bitcast[PAIRS, W](llvm_intrinsic["llvm.x86.avx512bf16.cvtneps2bf16.512", SIMD[DType.bfloat16, W]](x))
    else:
        return (rounded(x) >> 16).cast[PAIRS]()


@always_inline
def round_row[portable: Bool](x: F32, n: Int, y: U32):
    """`n` values as pairs; `y` may be `x` itself."""
    var halves = y.unsafe_bitcast[UInt16]()
    for i in range(0, n - n % W, W):
        halves.unsafe_store(i, halves_of[portable](x.unsafe_load[width=W](i)))
    for i in range(n - n % W, n):
        halves.unsafe_store(i, (rounded(Vector(x.unsafe_load(i)))[0] >> 16).cast[DType.uint16]())
    if n % 2:
        halves.unsafe_store(n, 0)


@always_inline
def quantize_row(x: F32, n: Int, y: U32, step: F32, zero: I32):
    """`n` (a multiple of `W`) values as quads of 0 to 255: value = (number - zero) * step, and 0 is `zero` exactly; `y`
    may be `x` itself."""
    var low = Vector(0)
    var high = Vector(0)
    for i in range(0, n, W):
        low = min(low, x.unsafe_load[width=W](i))
        high = max(high, x.unsafe_load[width=W](i))
    var least = low.reduce_min()
    var size = max((high.reduce_max() - least) / 255, Float32(1e-30))
    var offset = (0.5 - least / size).cast[DType.int32]()
    var shift = Vector(offset.cast[DType.float32]() + 0.5)
    var per_step = Vector(1 / size)
    var bytes = y.unsafe_bitcast[UInt8]()
    for i in range(0, n, W):
        var number = min(max(x.unsafe_load[width=W](i).fma(per_step, shift), Vector(0)), Vector(255))
        bytes.unsafe_store(i, number.cast[DType.int32]().cast[DType.uint8]())
    step.unsafe_store(0, size)
    zero.unsafe_store(0, offset)
