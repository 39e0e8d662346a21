"""Our kernels in bfloat16 and int8. Most are compiled alone: what both dtypes share shows in both dtypes' tests."""

from tests.teeth.catalogue.kernels import (
    ATTENTION,
    CAUSAL,
    HEADS,
    LAYER,
    LOGITS,
    NIBBLES,
    PACK_HEADS,
    PACKING,
    SOFTMAX,
    TILE_WORDS,
    WORDS,
)
from tests.teeth.fault import Fault

FILE = "test_kernel_dtypes.py"
CONV, CROSS, ROWS, NEAR, DECODER, WINDOW, ALONE, SMALL = (
    f"{FILE}::test_{name}"
    for name in (
        "convolutions",
        "attention_over_a_window",
        "linear",
        "logits",
        "decoder_layer",
        "keys_and_values_are_a_product_in_panels",
        "a_row_hangs_on_no_other",
        "what_many_small_weights_say_is_heard",
    )
)
KERNELS = tuple(f"tests/parity/{test}" for test in (ROWS, CONV, CROSS, NEAR))
HALF_A_STEP = "test_a_weight_in_four_bits_is_off_by_half_a_step"
PACKED = f"tests/parity/{FILE}::test_packing_keeps_every_quad"


def small(name: str, speaks: str, file: str, before: str, after: str, quick: bool = False, group: str = "") -> Fault:
    test = speaks.partition("[")[0]
    tests = (f"tests/parity/{test}",) if test in (DECODER, WINDOW, ALONE, SMALL) else KERNELS
    return Fault(name, "kernels", file, before, after, tests, (speaks,), quick=quick, group=group)


FAULTS = (
    small(
        "int8-offset-is-not-taken-out",
        f"{ROWS}[int8-*]",
        LAYER,
        " - self.sums * left.zeros.unsafe_load(row)",
        "",
        quick=True,
        group="dtypes",
    ),
    small(
        "bfloat16-cut-off-instead-of-rounded",
        f"{ROWS}[bfloat16-*]",
        WORDS,
        "return bits + 0x7FFF + (bits >> 16 & 1)",
        "return bits",
        quick=True,
    ),
    small(
        "int8-step-of-the-panels-first-column",
        f"{ROWS}[int8-*]",
        LAYER,
        "(bitcast[DType.float32, W](end.unsafe_load[width=W](0)))",
        "(Vector(bitcast[DType.float32, 1](end.unsafe_load(0))))",
    ),
    small(
        "values-of-a-pair-swapped",
        f"{CROSS}[*]",
        PACK_HEADS,
        "joined(value, next)",
        "joined(next, value)",
        group="dtypes",
    ),
    small(
        "gelu-of-small-numbers-a-little-off",
        f"{ROWS}[bfloat16-norm_gelu]",
        LAYER,
        "Many(7.9788452e-01)",
        "Many(7.980e-01)",
    ),
    small(
        "scores-of-quads-with-the-querys-offset",
        f"{CROSS}[int8]",
        HEADS,
        " - zeros.unsafe_load(i) * shift",
        "",
        quick=True,
    ),
    small(
        "a-keys-step-of-half-its-head",
        f"{CROSS}[int8]",
        PACK_HEADS,
        "for j in range(0, HEAD, W):\n            most =",
        "for j in range(0, HEAD // 2, W):\n            most =",
    ),
    small(
        "portable-quads-without-their-odd-numbers",
        f"{ROWS}[int8-*]",
        WORDS,
        "return sums + even + odd",
        "return sums + even",
    ),
    small(
        "portable-pairs-count-the-lower-number-twice",
        f"{ROWS}[bfloat16-*]",
        WORDS,
        "(x & UPPER).fma(bitcast[DType.float32, W](y & UPPER), low)",
        "(x << 16).fma(bitcast[DType.float32, W](y << 16), low)",
    ),
    small(
        "int8-step-of-the-first-row",
        f"{ROWS}[int8-*]",
        LAYER,
        "(self.steps * left.steps.unsafe_load(row))",
        "(self.steps * left.steps.unsafe_load(0))",
    ),
    small(
        "a-pair-without-its-norm",
        f"{ROWS}[bfloat16-norm_gelu]",
        LAYER,
        "round_row[portable](source, layer.k, words)",
        "round_row[portable](x.unsafe_offset(row * stride), layer.k, words)",
    ),
    small(
        "logits-near-the-top-left-to-int8",
        f"{NEAR}[int8]",
        LOGITS,
        "if logits.unsafe_load(token) >= least:",
        "if logits.unsafe_load(token) > least + MARGIN:",
    ),
    small(
        "a-part-of-the-row-without-its-own-top",
        f"{NEAR}[int8]",
        LOGITS,
        "least = max(least, self.tops.unsafe_load(piece * self.rows + row))",
        "least = max(least, self.tops.unsafe_load(row))",
    ),
    small(
        "lower-bytes-of-weights-before-the-upper-ones",
        f"{DECODER}[int8-*]",
        SOFTMAX,
        "Int32(8 * (BYTES - 1 - byte))",
        "Int32(8 * byte)",
    ),
    small(
        "values-heard-by-a-weights-lower-byte-alone-left-out",
        f"{SMALL}[int8]",
        SOFTMAX,
        "any |= bitcast[DType.uint32, GROUP // 4](each)",
        "any |= bitcast[DType.uint32, GROUP // 4](each) if byte == 0 else 0",
    ),
    small(
        "values-left-out-that-the-first-keys-of-a-run-alone-hear",
        f"{CROSS}[int8]",
        HEADS,
        "(mask & (2**UNROLLED - 1))",
        "(mask & (2**UNROLLED - 2))",
    ),
    small(
        "values-of-int8-not-off-their-mean",
        f"{CROSS}[int8]",
        PACK_HEADS,
        "((t + i) * width) - mean",
        "((t + i) * width)",
        quick=True,
    ),
    small(
        "keys-heard-in-int8-in-another-order-than-weighed",
        f"{CROSS}[int8]",
        PACK_HEADS,
        "<< UInt32(8 * i)",
        "<< UInt32(24 - 8 * i)",
    ),
    small(
        "cached-bfloat16-read-as-half-its-size",
        f"{DECODER}[bfloat16-*]",
        CAUSAL,
        ".cast[DType.uint32]() << 16)",
        ".cast[DType.uint32]() << 16 & 0xFF7FFFFF)",
    ),
    small(
        "a-heads-keys-and-values-in-the-place-of-another",
        f"{WINDOW}[*]",
        ATTENTION,
        "first.unsafe_offset(column % heads * size)",
        "first.unsafe_offset(column // 2 * size)",
    ),
    small(
        "keys-and-values-with-the-first-heads-bias",
        f"{WINDOW}[*]",
        LAYER,
        "mine.bias = self.bias.unsafe_offset(column * GROUP)",
        "mine.bias = self.bias",
    ),
    small(
        "rows-of-a-window-with-the-first-rows-steps",
        f"{WINDOW}[int8]",
        LAYER,
        "self.steps = whole.steps.unsafe_offset(first)",
        "self.steps = whole.steps",
    ),
    small(
        "a-single-row-summed-in-another-order",
        f"{ALONE}[bfloat16-residual]",
        TILE_WORDS,
        "multiply_few[T, portable, 1](",
        "multiply_tile[T, portable, 1, GROUP // W](",
    ),
    small(
        "nibbles-with-their-neighbours-step",
        f"{NEAR}[int8]",
        NIBBLES,
        "steps << 16 if share % 2 == 0 else steps & UPPER",
        "steps << 16",
    ),
    small(
        "upper-nibbles-where-the-lower-ones-belong",
        f"{NEAR}[int8]",
        NIBBLES,
        "(both << 4 if half == 0 else both)",
        "(both << 4 if half == 1 else both)",
    ),
    small(
        "offset-of-what-meets-nibbles-is-not-taken-out",
        f"{NEAR}[int8]",
        LAYER,
        "(sums - bitcast[DType.float32, COLUMNS](self.sums) * zero)",
        "sums",
        quick=True,
    ),
    Fault(
        "a-nibble-of-eight-turns-into-minus-eight",
        "kernels",
        PACKING,
        "LEAST, -LEAST - 1)",
        "LEAST, -LEAST)",
        (f"tests/parity/{FILE}::{HALF_A_STEP}",),
        (f"{FILE}::{HALF_A_STEP}",),
        quick=True,
    ),
    Fault(
        "quads-and-their-sums-of-other-columns",
        "kernels",
        PACKING,
        "sums = values.sum(axis=1, dtype=np.int32)",
        "sums = values[::-1].sum(axis=1, dtype=np.int32)",
        (PACKED,),
        (f"{FILE}::test_packing_keeps_every_quad",),
        quick=True,
    ),
)
