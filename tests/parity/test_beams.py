"""Beams by hand: what is handed over when time is up."""

from __future__ import annotations

import numpy as np

from maxwhisper_impl.decoding.beam import Beams

EOT = 9


def test_finished_beams_are_filled_up_with_the_likeliest_unfinished_ones() -> None:
    beams = Beams(size=3, max_candidates=3, eot=EOT)
    first = np.tile(np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32)), (3, 1))
    assert beams.update(first, np.tile([1, EOT, 2, 3], (3, 1))) == [2, 2, 2], "one sequence counts once, from any beam"
    assert list(beams.sequences) == [(1,), (2,), (3,)]
    beams.sums = beams.sums[::-1].copy()  # the last is the likeliest now: its place must not decide
    got = {tuple(tokens): total for tokens, total in beams.candidates()}
    assert set(got) == {(), (3,), (2,)}
    assert got[3,] > got[2,]
