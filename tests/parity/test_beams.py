"""Beams by hand: how they go on, and what is handed over when time is up."""

from __future__ import annotations

import numpy as np

from maxwhisper_impl.decoding.beam import Beams, BeamSearch

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


def test_an_end_takes_no_beams_place() -> None:
    """Each beam has one continuation more than there are beams, as one of them may be its end."""
    search = BeamSearch(windows=1, size=2, patience=2.0, eot=EOT)
    likely = np.log(np.array([0.01, 0.3, 0.15, *[0.01] * 6, 0.48], np.float32))  # EOT, then 1, then 2
    assert search.update(np.tile(likely, (2, 1))) == [1, 1]
    assert search.sampled.tolist() == [[1], [2]]
    (beams,) = search.windows
    assert list(beams.finished) == [(EOT,)]
