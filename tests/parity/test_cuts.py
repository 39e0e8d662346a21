"""Where a recording is cut for a batch: in the quietest place that the last ten seconds of a window have."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maxwhisper_impl.audio import FRAMES_PER_SECOND, HOP_LENGTH, N_FRAMES, SAMPLE_RATE, LogMel
from maxwhisper_impl.batched import PAUSE, SHORTEST, cut_at_silences


def noise_with_gaps(gaps: list[tuple[float, float]], seconds: float) -> np.ndarray:
    audio = np.random.default_rng(1).normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)
    for start, end in gaps:
        audio[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)] *= 0.001
    return audio


def test_cuts_lie_in_pauses() -> None:
    """The deepest point in the last ten seconds of each window, not a short dip and not the pause before them."""
    audio = noise_with_gaps([(5, 8), (22, 22.05), (24, 24.6), (49.1, 49.6), (50, 50.06), (71, 72)], 85)
    audio[int(26 * SAMPLE_RATE) : int(27 * SAMPLE_RATE)] *= 0.1
    cuts = [start / FRAMES_PER_SECOND for start, _ in cut_at_silences(LogMel(audio, 80), 0, 8500)]
    assert len(cuts) == 4
    assert 24.1 < cuts[1] < 24.5
    assert 49.2 < cuts[2] < 49.5
    assert 71.1 < cuts[3] < 71.9


def test_the_quietest_third_of_a_second_of_the_last_ten_is_cut() -> None:
    """Neither a deeper pause before them, nor one that is longer and not as deep."""
    audio = noise_with_gaps([(22, 22.35)], 40)
    for start, end, left in ((16, 18, 1e-4), (26, 26.7, 0.02)):
        audio[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)] *= left
    (_, cut), (start, end) = cut_at_silences(LogMel(audio, 80), 0, 4000)
    assert 2210 < cut == start < 2225
    assert end == 4000


def test_where_all_is_as_quiet_pieces_are_long() -> None:
    """They make fewer windows."""
    silence = LogMel(np.zeros(70 * SAMPLE_RATE, np.float32), 80)
    pieces = cut_at_silences(silence, 0, 7000)
    assert [stop - start for start, stop in pieces[:-1]] == [N_FRAMES - PAUSE // 2] * 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 9000), st.integers(0, 9000), st.sampled_from([0.0, 0.05]))
def test_pieces_are_all_there_is(seed: int, a: int, b: int, loud: float) -> None:
    start, end = min(a, b), max(a, b)
    audio = np.random.default_rng(seed).normal(0, loud, 9000 * HOP_LENGTH).astype(np.float32)
    pieces = cut_at_silences(LogMel(audio, 80), start, end)
    assert all(left[1] == right[0] for left, right in pairwise(pieces))
    assert [pieces[0][0], pieces[-1][1]] == [start, end] if end > start else pieces == []
    assert all(SHORTEST <= stop - begin <= N_FRAMES for begin, stop in pieces[:-1])
    assert all(0 < stop - begin <= N_FRAMES for begin, stop in pieces)
