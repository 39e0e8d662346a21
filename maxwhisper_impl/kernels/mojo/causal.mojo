"""Causal attention behind a cache of keys and values, floats or bfloat16: a decoder's over what it has said."""

from std.math import exp
from std.memory import bitcast, stack_allocation

from .heads import HEAD, SCALE
from .team import Team
from .tile import F32, I32, Stored, Vector, W
from .words import PAIRS, halves_of


@always_inline
def largest(scores: F32, n: Int, padded: Int) -> Float32:
    """Of `n` scores; those from there to `padded` are made to weigh nothing."""
    for i in range(n, padded):
        scores.unsafe_store(i, Float32.MIN)
    var top = Vector(Float32.MIN)
    for i in range(0, padded, W):
        top = max(top, scores.unsafe_load[width=W](i))
    return top.reduce_max()


@always_inline
def softmax(scores: F32, n: Int, padded: Int) -> Float32:
    """Turns scores into weights, not yet divided by the sum that is returned; entries from `n` to `padded` become 0."""
    var limit = largest(scores, n, padded)
    var total = Vector(0)
    for i in range(0, padded, W):
        var weight = exp(scores.unsafe_load[width=W](i) - limit)
        total += weight
        scores.unsafe_store(i, weight)
    for i in range(n, padded):
        scores.unsafe_store(i, 0)
    return total.reduce_add()


@always_inline
def held[T: DType](cache: Stored[T], at: Int) -> Vector:
    comptime if T == PAIRS:
        return bitcast[DType.float32, W](cache.unsafe_load[width=W](at).cast[DType.uint32]() << 16)
    else:
        return cache.unsafe_load[width=W](at).cast[DType.float32]()


@always_inline
def hold[T: DType, portable: Bool](cache: Stored[T], at: Int, x: Vector):
    comptime if T == PAIRS:
        cache.unsafe_store(at, halves_of[portable](x).cast[T]())
    else:
        cache.unsafe_store(at, x.cast[T]())


@always_inline
def dot[T: DType](a: F32, cache: Stored[T], at: Int) -> Float32:
    var total = Vector(0)
    comptime for d in range(0, HEAD, W):
        total = a.unsafe_load[width=W](d).fma(held[T](cache, at + d), total)
    return total.reduce_add()


@fieldwise_init
struct Causal[T: DType, portable: Bool](ImplicitlyCopyable):
    """Rows of queries, keys and values behind what the cache holds of each row's past."""

    var keys: Stored[Self.T]
    """`[slots, heads, positions, 64]`"""
    var values: Stored[Self.T]
    var source: I32
    """`[rows, length]`: the slot in which each of a row's positions is stored; the last ones are new, in its own."""
    var heads: Int
    var positions: Int
    var length: Int

    def share(self, mut team: Team, x: F32, y: F32, rows: Int, n: Int):
        """A worker's part of a phase: x `[rows, n, 3 * heads * 64]`, y `[rows, n, heads * 64]`."""
        var pieces = rows * self.heads
        var scratch = List[Float32](unsafe_uninit_length=(self.length + W) // W * W)
        var scores = scratch.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var width = self.heads * HEAD
        var piece = team.claim(pieces)
        while piece >= 0:
            var head = piece % self.heads
            var row = piece // self.heads
            var qkv = x.unsafe_offset(row * n * 3 * width + head * HEAD)
            var slots = self.source.unsafe_offset(row * self.length)
            self.store(qkv, slots, head, n)
            for t in range(n):
                var into = y.unsafe_offset((row * n + t) * width + head * HEAD)
                self.attend(qkv.unsafe_offset(t * 3 * width), slots, head, self.length - n + t + 1, scores, into)
            piece = team.claim(pieces)
        team.wait(pieces)
        _ = scratch^  # not before the last read through its pointer

    @always_inline
    def at(self, slots: I32, head: Int, p: Int) -> Int:
        """Where the cache holds position `p` of a head."""
        return ((Int(slots.unsafe_load(p)) * self.heads + head) * self.positions + p) * HEAD

    def store(self, qkv: F32, slots: I32, head: Int, n: Int):
        """What is new is written before it is read."""
        var width = self.heads * HEAD
        for t in range(n):
            var k = qkv.unsafe_offset(t * 3 * width + width)
            var at = self.at(slots, head, self.length - n + t)
            for d in range(0, HEAD, W):
                hold[Self.T, Self.portable](self.keys, at + d, k.unsafe_load[width=W](d))
                hold[Self.T, Self.portable](self.values, at + d, k.unsafe_load[width=W](width + d))

    @no_inline
    def attend(self, q: F32, slots: I32, head: Int, count: Int, scores: F32, y: F32):
        """One query over the first `count` positions."""
        for p in range(count):
            scores.unsafe_store(p, dot[Self.T](q, self.keys, self.at(slots, head, p)) * SCALE)
        var total = softmax(scores, count, (count + W - 1) // W * W)
        var acc = stack_allocation[HEAD, DType.float32, alignment=64]()
        comptime for d in range(0, HEAD, W):
            acc.unsafe_store(d, Vector(0))
        for p in range(count):
            var at = self.at(slots, head, p)
            var weight = Vector(scores.unsafe_load(p))
            comptime for d in range(0, HEAD, W):
                var sum = weight.fma(held[Self.T](self.values, at + d), acc.unsafe_load[width=W](d))
                acc.unsafe_store(d, sum)
        comptime for d in range(0, HEAD, W):
            y.unsafe_store(d, acc.unsafe_load[width=W](d) / total)
