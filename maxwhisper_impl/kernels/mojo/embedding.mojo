"""What turns a model's input into rows: tokens with their positions, and mel frames."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext

from .tile import F32, Stored
from .words import PAIRS, number_of_pair

comptime AT_ONCE = 32
"""Frames of a task: their rows stay in its cache while the channels pass by."""


@always_inline
def column[T: DType](table: Stored[T], lines: Int, across: Int, token: Int, width: Int, y: F32):
    """A token's values out of its column of a panel of `lines` lines, `across` columns wide."""
    var at = token // across * lines * across + token % across
    comptime if T == PAIRS:
        var pairs = table.unsafe_bitcast[UInt32]().unsafe_offset(at)
        for d in range(width):
            y.unsafe_store(d, number_of_pair(pairs.unsafe_load(d // 2 * across), d % 2))
    else:
        for d in range(width):
            y.unsafe_store(d, table.unsafe_load(at + d * across).cast[DType.float32]())


@extensibility.register("whisper.embed")
struct Embed:
    @staticmethod
    def execute[
        target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        tokens: InputTensor[dtype=DType.int32, rank=2, ...],
        source: InputTensor[dtype=DType.int32, rank=2, ...],
        weight: InputTensor[rank=3, ...],
        position: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """y[row, t] = weight[tokens[row, t]] + position[past + t]; weight in panels, as wide as its last dimension says,
        past = source's length - n."""
        var n = tokens.dim_size(1)
        var width = y.dim_size(2)
        var past = source.dim_size(1) - n
        comptime each = 2 if weight.dtype == PAIRS else 1
        var across = weight.dim_size(2) // each
        var table = weight.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        for row in range(tokens.dim_size(0)):
            for t in range(n):
                var token = Int(tokens.unsafe_ptr().unsafe_load(row * n + t))
                var into = result.unsafe_offset((row * n + t) * width)
                column(table, weight.dim_size(1), across, token, width, into)
                for d in range(width):
                    into.unsafe_store(
                        d, into.unsafe_load(d) + position.unsafe_ptr().unsafe_load((past + t) * width + d)
                    )


@extensibility.register("whisper.frames")
struct Frames:
    @staticmethod
    def execute[
        target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        mel: InputTensor[dtype=DType.float32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """mel `[batch, channels, frames]` as rows, y `[batch, frames + 2, channels]`, zero at both ends."""
        var channels = mel.dim_size(1)
        var frames = mel.dim_size(2)
        var pieces = (frames + AT_ONCE - 1) // AT_ONCE
        var source = mel.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()

        def turn(task: Int) {imm}:
            var item = task // pieces
            var first = task % pieces * AT_ONCE
            var rows = result.unsafe_offset(item * (frames + 2) * channels)
            for c in range(channels):
                if first == 0:
                    rows.unsafe_store(c, 0)
                    rows.unsafe_store((frames + 1) * channels + c, 0)
                var line = source.unsafe_offset((item * channels + c) * frames)
                for t in range(first, min(frames, first + AT_ONCE)):
                    rows.unsafe_store((t + 1) * channels + c, line.unsafe_load(t))

        sync_parallelize(turn, mel.dim_size(0) * pieces)


@extensibility.register("whisper.pick_rows")
struct PickRows:
    @staticmethod
    def execute[
        target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        at: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """y[row, i] = x[row, at[i]]: the positions whose logits are wanted."""
        var n = x.dim_size(1)
        var width = x.dim_size(2)
        var picked = at.dim_size(0)
        for row in range(x.dim_size(0)):
            for i in range(picked):
                var t = Int(at.unsafe_ptr().unsafe_load(i))
                for d in range(width):
                    y.unsafe_ptr().unsafe_store(
                        (row * picked + i) * width + d, x.unsafe_ptr().unsafe_load((row * n + t) * width + d)
                    )
