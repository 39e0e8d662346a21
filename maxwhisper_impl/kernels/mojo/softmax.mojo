"""A softmax's weights, of scores: powers of two of them, as the product with the values takes them."""

from std.math import log2
from std.memory import bitcast, pack_bits

from .tile import F32, GROUP, Stored, W
from .words import U32, halves_of, in_words

comptime LOG2E = Float32(1.4426950408889634)


@always_inline
def power_of_two[n: Int, terms: Int](x: SIMD[DType.float32, n], step: Float32, limit: Float32) -> SIMD[DType.float32, n]:
    """2 ** (x * step - limit), exactly where the power is whole: with 6 terms right to a unit in float32's last place, of
    a whole `limit`; with 4 to three in a million, enough for what becomes bfloat16; with 3 to one in ten thousand, enough
    for a byte.

    Its whole part is read out of the bits of a sum so large that its last place is 1."""
    comptime LARGE = Float32(12582912.0)
    comptime Many = SIMD[DType.float32, n]
    var sum: Many
    var rest: Many
    var power: Many
    comptime if terms == 6:
        var bounded = max(x, Many((limit - 126) / step))
        sum = bounded.fma(Many(step), Many(LARGE - limit))
        rest = bounded.fma(Many(step), LARGE - limit - sum)
        power = Many(0.00015353362).fma(rest, Many(0.00133988739))
        power = power.fma(rest, Many(0.00961843692))
        power = power.fma(rest, Many(0.0555033237))
        power = power.fma(rest, Many(0.240226477))
        power = power.fma(rest, Many(0.693147182))
    else:
        var bounded = max(x.fma(Many(step), Many(-limit)), Many(-126))
        sum = bounded + LARGE
        rest = bounded - (sum - LARGE)
        comptime if terms == 4:
            power = Many(0.009582853).fma(rest, Many(0.055906426))
            power = power.fma(rest, Many(0.24024099)).fma(rest, Many(0.69312418))
        else:
            power = Many(0.05500858).fma(rest, Many(0.24221037)).fma(rest, Many(0.6932829))
    power = power.fma(rest, Many(1))
    return bitcast[DType.float32, n](bitcast[DType.uint32, n](power) + (bitcast[DType.uint32, n](sum) << 23))


@always_inline
def weigh[T: DType, portable: Bool](scores: F32, size: Int, step: Float32, limit: Float32) -> Float32:
    """Turns scores into weights, whose sum is returned: as floats, or as pairs at the start of the row, where they
    overtake no score that is still to be read."""
    var total = SIMD[DType.float32, GROUP](0)
    for i in range(0, size, GROUP):  # several vectors at a time: each waits long for its next number
        var weights = power_of_two[GROUP, 4 if in_words[T]() else 6](scores.unsafe_load[width=GROUP](i), step, limit)
        total += weights
        comptime if in_words[T]():
            comptime for j in range(0, GROUP, W):
                var halves = halves_of[portable](weights.slice[W, offset=j]())
                scores.unsafe_bitcast[UInt16]().unsafe_store(i + j, halves)
        else:
            scores.unsafe_store(i, weights)
    return total.reduce_add()


@always_inline
def weigh_in_bytes[
    BYTES: Int, apart: Int
](scores: F32, size: Int, step: Float32, limit: Float32, bytes: U32, heard: Stored[DType.uint16]) -> Float32:
    """Weights as whole numbers, `apart` bytes of each after the other, the upper ones first, and in `heard` a bit for
    each four of which one is not nothing; the sum is of what they are before they are rounded: the values' means count
    for what is lost."""
    comptime bits = log2(Float32(256**BYTES - 16 ** (BYTES - 1)))  # of the largest: what `limit` was rounded by fits above
    comptime LARGE = Float32(8388608.0)  # in the bits of so large a float, what is added lies as a whole number
    var total = SIMD[DType.float32, GROUP](0)
    for i in range(0, size, GROUP):
        var weights = power_of_two[GROUP, 3 if BYTES == 1 else 4](scores.unsafe_load[width=GROUP](i), step, limit - bits)
        total += weights
        var numbers = bitcast[DType.int32, GROUP](weights + LARGE)
        var any = SIMD[DType.uint32, GROUP // 4](0)
        comptime for byte in range(BYTES):
            comptime shift = Int32(8 * (BYTES - 1 - byte))
            var each = (numbers >> shift & 255).cast[DType.uint8]()
            any |= bitcast[DType.uint32, GROUP // 4](each)
            bytes.unsafe_bitcast[UInt8]().unsafe_store(byte * apart + i, each)
        var at = i // GROUP
        heard.unsafe_store(at, heard.unsafe_load(at) | pack_bits[DType.uint16](any.ne(0)))
    return total.reduce_add()
