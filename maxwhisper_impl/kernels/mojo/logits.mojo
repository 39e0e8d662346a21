"""Logits of int8: all of them out of nibbles, which are read in a third of the time of pairs, and the likeliest ones again.

Nibbles are off by about a half. What lies within MARGIN of a row's top is computed once more out of pairs, so that what is
chosen does not hang on it.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.memory import bitcast

from .layer import PIECES, Layer, Left, normalize
from .linear import floats, layer_of, room_of
from .team import Team, together
from .tile import F32, GROUP, Stored, Vector, W
from .words import NIBBLES, PAIRS, UPPER

comptime MARGIN = Float32(8)


@fieldwise_init
struct Logits[portable: Bool](ImplicitlyCopyable):
    """Logits `[rows, n]` of x `[rows, k]`, out of nibbles and, near the top, again out of pairs."""

    var all: Layer[NIBBLES, Self.portable]
    var x: F32
    var rows: Int
    var y: F32
    var table: Stored[PAIRS]
    """`[n, k]`"""
    var tops: F32
    """`[pieces, rows]`"""
    var size: Int
    """of a piece: logits of a row that a worker makes, and then searches, at a time; whole groups"""

    def pieces(self) -> Int:
        return (self.all.n + self.size - 1) // self.size

    def share_all(self, mut team: Team):
        """A worker's part of a phase: pieces of all rows, and the largest logit of each."""
        var piece = team.claim(self.pieces())
        if piece >= 0:
            var left = Left[NIBBLES](self.all, self.x, self.all.k, self.rows)
            while piece >= 0:
                var start = piece * self.size
                var stop = min(self.all.n, start + self.size)
                self.all.block(left, self.y, self.all.residual, start // GROUP, (stop + GROUP - 1) // GROUP)
                for row in range(self.rows):
                    var top = largest(self.y.unsafe_offset(row * self.all.n), start, stop)
                    self.tops.unsafe_store(piece * self.rows + row, top)
                piece = team.claim(self.pieces())
        team.wait(self.pieces())

    def share_finer(self, mut team: Team):
        """A worker's part of the next phase: rows, and what lies near the largest logit of each."""
        var k = self.all.k
        var scratch = List[Float32](unsafe_uninit_length=2 * k)
        var normed = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var left = normed.unsafe_offset(k)
        var row = team.claim(self.rows)
        while row >= 0:
            var least = Float32.MIN
            for piece in range(self.pieces()):
                least = max(least, self.tops.unsafe_load(piece * self.rows + row))
            least -= MARGIN
            normalize(self.x.unsafe_offset(row * k), normed, k, self.all.gamma, self.all.beta)
            for d in range(0, k, 2 * W):
                var halves = normed.unsafe_load[width=2 * W](d).deinterleave()
                left.unsafe_store(d // 2, halves[0])
                left.unsafe_store((k + d) // 2, halves[1])
            for piece in range(self.pieces()):
                if self.tops.unsafe_load(piece * self.rows + row) >= least:
                    self.refine(row, piece * self.size, least, left)
            row = team.claim(self.rows)
        team.wait(self.rows)
        _ = scratch^  # not before the last read through its pointer

    def refine(self, row: Int, start: Int, least: Float32, left: F32):
        """`left`: the normed row, its even places before its odd ones."""
        var logits = self.y.unsafe_offset(row * self.all.n)
        var stop = min(self.all.n, start + self.size)
        for at in range(start, stop, W):
            var end = min(stop, at + W)
            if end == at + W and logits.unsafe_load[width=W](at).reduce_max() < least:
                continue
            for token in range(at, end):
                if logits.unsafe_load(token) >= least:
                    logits.unsafe_store(token, self.exact(token, left))

    def exact(self, token: Int, left: F32) -> Float32:
        var count = self.all.k // 2
        var words = self.table.unsafe_bitcast[UInt32]().unsafe_offset(token * count)
        var sum = Vector(0)
        for d in range(0, count, W):
            var pairs = words.unsafe_load[width=W](d)
            sum = bitcast[DType.float32, W](pairs << 16).fma(left.unsafe_load[width=W](d), sum)
            sum = bitcast[DType.float32, W](pairs & UPPER).fma(left.unsafe_load[width=W](count + d), sum)
        return sum.reduce_add()


def largest(row: F32, start: Int, stop: Int) -> Float32:
    var top = Vector(Float32.MIN)
    var whole = start + (stop - start) // W * W
    for i in range(start, whole, W):
        top = max(top, row.unsafe_load[width=W](i))
    var here = top.reduce_max()
    for i in range(whole, stop):
        here = max(here, row.unsafe_load(i))
    return here


@extensibility.register("whisper.logits")
struct LogitsOp:
    @staticmethod
    def execute[
        portable: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        nibbles: InputTensor[dtype=NIBBLES, rank=3, ...],
        table: InputTensor[dtype=PAIRS, rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        beta: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[rows, picked, k]`, normed here; the table's weights in panels of nibbles, and in rows; the bias is zero."""
        var rows = x.dim_size(0) * x.dim_size(1)
        var k = x.dim_size(2)
        var all = layer_of[portable](nibbles, bias, k, True, floats(gamma), floats(beta))
        var size = max(1, y.dim_size(2) // GROUP // (PIECES * parallelism_level(None))) * GROUP
        var scratch = List[Float32](unsafe_uninit_length=rows * (y.dim_size(2) // size + 1))
        var tops = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var pairs = table.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var logits = Logits[portable](all, floats(x), rows, room_of(y), pairs, tops, size)

        def work(mut team: Team) {imm}:
            logits.share_all(team)
            logits.share_finer(team)

        together(2, work)
        _ = scratch^  # not before the last read through its pointer
