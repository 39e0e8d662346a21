"""Speculative decoding: tokens that somebody guesses, of which the model confirms many in one call of the engine.

What is written is what greedy decoding writes: a guess that the model does not make itself is not taken.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 16
"""tokens guessed at a time, at most: what is read in vain behind a wrong one costs time"""
SHORTEST = 4
NEAR = 8
"""tokens that the text may have run ahead of the draft, or stayed behind it, by since they last agreed"""


class Draft:
    """A guess of all that a window holds, and the place in it where decoding is.

    It need not be right, nor complete: behind a wrong token decoding goes on alone until it meets the draft again.
    Timestamps count as equal, and may be missing in the draft.
    """

    def __init__(self, tokens: Sequence[int], eot: int, timestamp_begin: int):
        self.tokens = [*tokens, eot]
        self.timestamp_begin = timestamp_begin
        self.place = 0
        self.seen = 0
        """tokens sampled when `place` was found: it moves with those that are sampled since"""

    def after(self, sampled: Sequence[int], room: int) -> list[int]:
        """At most `room` tokens that may follow those sampled so far, one at least; none where the draft is lost."""
        since, self.seen = len(sampled) - self.seen, len(sampled)
        length = min(LONGEST, max(SHORTEST, 2 * since), room)
        self.place += since
        newest = sampled[-1]
        near = range(max(1, self.place - NEAR), min(len(self.tokens), self.place + NEAR) + 1)
        met = [place for place in near if self._same(self.tokens[place - 1], newest)]
        if met:
            self.place = min(met, key=lambda place: abs(place - self.place))
        elif newest >= self.timestamp_begin:
            self.place = max(0, self.place - 1)
        else:
            return []
        return self.tokens[self.place : self.place + length]

    def _same(self, drafted: int, said: int) -> bool:
        return drafted == said or min(drafted, said) >= self.timestamp_begin
