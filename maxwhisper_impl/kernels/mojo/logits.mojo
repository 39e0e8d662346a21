"""Logits of int8: all of them out of quads, which are read in half the time of pairs, and the likeliest ones again.

Quads are off by some tenths. What lies within MARGIN of a row's top is computed once more out of pairs, so that what
is chosen does not hang on it.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext

from .embedding import column
from .layer import normalize
from .linear import floats, layer_of, room_of
from .team import Team, together
from .tile import F32, Stored, Vector, W
from .words import PAIRS

comptime MARGIN = Float32(2)
comptime PARTS = 8
"""In which a row is searched."""


@fieldwise_init
struct Finer(ImplicitlyCopyable):
    """The second look at logits `[rows, n]`."""

    var logits: F32
    var n: Int
    var x: F32
    """`[rows, k]`"""
    var k: Int
    var gamma: F32
    var beta: F32
    var table: Stored[PAIRS]
    var lines: Int
    """of a panel of the table"""
    var tops: F32
    """`[rows, PARTS]`"""

    def share_tops(self, mut team: Team, rows: Int):
        """A worker's part of a phase: the largest logit of each part of each row."""
        var piece = team.claim(rows * PARTS)
        while piece >= 0:
            var row = self.logits.unsafe_offset(piece // PARTS * self.n)
            var top = Vector(Float32.MIN)
            var stop = self.stop(piece)
            var i = self.start(piece)
            while i + W <= stop:
                top = max(top, row.unsafe_load[width=W](i))
                i += W
            var largest = top.reduce_max()
            while i < stop:
                largest = max(largest, row.unsafe_load(i))
                i += 1
            self.tops.unsafe_store(piece, largest)
            piece = team.claim(rows * PARTS)
        team.wait(rows * PARTS)

    def share_finer(self, mut team: Team, rows: Int):
        """A worker's part of the next phase: what lies near a row's largest logit."""
        var scratch = List[Float32](unsafe_uninit_length=2 * self.k)
        var normed = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var piece = team.claim(rows * PARTS)
        while piece >= 0:
            var row = piece // PARTS
            var least = self.tops.unsafe_load(row * PARTS)
            for part in range(1, PARTS):
                least = max(least, self.tops.unsafe_load(row * PARTS + part))
            least -= MARGIN
            if self.tops.unsafe_load(piece) >= least:
                normalize(self.x.unsafe_offset(row * self.k), normed, self.k, self.gamma, self.beta)
                self.refine(self.logits.unsafe_offset(row * self.n), self.start(piece), self.stop(piece), least, normed)
            piece = team.claim(rows * PARTS)
        team.wait(rows * PARTS)
        _ = scratch^  # not before the last read through its pointer

    def refine(self, row: F32, start: Int, stop: Int, least: Float32, normed: F32):
        var values = normed.unsafe_offset(self.k)
        for token in range(start, stop):
            if row.unsafe_load(token) >= least:
                column(self.table, self.lines, token, self.k, values)
                var sum = Vector(0)
                for d in range(0, self.k, W):
                    sum = normed.unsafe_load[width=W](d).fma(values.unsafe_load[width=W](d), sum)
                row.unsafe_store(token, sum.reduce_add())

    def start(self, piece: Int) -> Int:
        return piece % PARTS * self.n // PARTS

    def stop(self, piece: Int) -> Int:
        return (piece % PARTS + 1) * self.n // PARTS


@extensibility.register("whisper.logits")
struct Logits:
    @staticmethod
    def execute[
        portable: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        quads: InputTensor[dtype=DType.int8, rank=3, ...],
        table: InputTensor[dtype=PAIRS, rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        beta: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[rows, picked, k]`, normed here; quads and table the same weights in panels; the bias is zero."""
        var rows = x.dim_size(0) * x.dim_size(1)
        var k = x.dim_size(2)
        var n = y.dim_size(2)
        var source = floats(x)
        var result = room_of(y)
        var all = layer_of[portable](quads, bias, k, True, floats(gamma), floats(beta))
        var scratch = List[Float32](unsafe_uninit_length=rows * PARTS)
        var tops = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var pairs = table.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var finer = Finer(result, n, source, k, floats(gamma), floats(beta), pairs, table.dim_size(1), tops)

        def work(mut team: Team) {imm}:
            all.share(team, source, k, result, rows)
            finer.share_tops(team, rows)
            finer.share_finer(team, rows)

        together(3, work)
        _ = scratch^  # not before the last read through its pointer
