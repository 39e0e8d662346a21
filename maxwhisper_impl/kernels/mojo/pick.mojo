"""The likeliest allowed token of each row: `decoding/filters.py` says what a plan is, and does the same in NumPy."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import exp, iota, log

from .tile import F32, I32, Vector, W

comptime Flags = Pointer[UInt8, MutUntrackedOrigin]
comptime Lanes = SIMD[DType.int32, W]
comptime NONE = Float32.MIN
"""The logit of what is forbidden: minus infinity."""


@always_inline
def allowed(logits: F32, suppressed: Flags, i: Int, stop: Int) -> Vector:
    """Logits from `i` on, NONE where a token is suppressed or lies behind `stop`."""
    if i + W <= stop:
        return suppressed.unsafe_load[width=W](i).eq(0).select(logits.unsafe_load[width=W](i), Vector(NONE))
    var ragged = Vector(NONE)
    for lane in range(stop - i):
        if suppressed.unsafe_load(i + lane) == 0:
            ragged[lane] = logits.unsafe_load(i + lane)
    return ragged


def likeliest(logits: F32, suppressed: Flags, start: Int, stop: Int) -> Tuple[Float32, Int]:
    """The largest allowed logit of `[start, stop)` and its token, the first of equals; NONE and 0 if there is none."""
    var top = Vector(NONE)
    var at = Lanes(0)
    for i in range(start, stop, W):
        var here = allowed(logits, suppressed, i, stop)
        var better = here.gt(top)
        at = better.select(iota[DType.int32, W](Int32(i)), at)
        top = better.select(here, top)
    var largest = top.reduce_max()
    if largest == NONE:
        return (NONE, 0)
    return (largest, Int(top.eq(largest).select(at, Lanes(Int32.MAX)).reduce_min()))


def weight(logits: F32, suppressed: Flags, start: Int, stop: Int, top: Float32) -> Float32:
    """The sum of exp(logit - top) of what is allowed."""
    var total = Vector(0)
    for i in range(start, stop, W):
        total += exp(allowed(logits, suppressed, i, stop) - top)
    return total.reduce_add()


@extensibility.register("whisper.pick")
struct Pick:
    @staticmethod
    def execute[
        target: StaticString
    ](
        tokens: OutputTensor[dtype=DType.int32, rank=1, ...],
        logprobs: OutputTensor[dtype=DType.float32, rank=1, ...],
        logits: InputTensor[dtype=DType.float32, rank=3, ...],
        ranges: InputTensor[dtype=DType.int32, rank=2, ...],
        suppressed: InputTensor[dtype=DType.uint8, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Of each row's last logits `[rows, picked, n_vocab]`; for `ranges` see `filters.Plan.ranges`."""
        var n = logits.dim_size(2)
        var picked = logits.dim_size(1)
        var values = logits.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var limits = ranges.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var flags = suppressed.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var chosen = tokens.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var likely = logprobs.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        def pick(row: Int) {imm}:
            var x = values.unsafe_offset(((row + 1) * picked - 1) * n)
            var limit = limits.unsafe_offset(row * 5)
            var begin = Int(limit.unsafe_load(0))
            var text_from = Int(limit.unsafe_load(1))
            var time_from = max(begin, Int(limit.unsafe_load(2)))
            var time_to = Int(limit.unsafe_load(3))
            var time = likeliest(x, flags, time_from, time_to)
            var text = likeliest(x, flags, text_from, begin)
            var times = weight(x, flags, time_from, time_to, time[0]) if time[0] > NONE else Float32(0)
            if limit.unsafe_load(4) != 0 and time[0] + log(times) > text[0]:
                text = (NONE, 0)  # timestamps together are likelier than any text
            var top = max(text[0], time[0])
            var total = times * exp(time[0] - top)
            if text[0] > NONE:
                total += weight(x, flags, text_from, begin, top)
            chosen.unsafe_store(row, Int32(text[1] if text[0] >= time[0] else time[1]))
            likely.unsafe_store(row, top - (top + log(total)))

        sync_parallelize(pick, ranges.dim_size(0))
