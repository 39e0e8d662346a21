"""Where a recording is cut for a batch: in pauses, and in few pieces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maxwhisper_impl.audio import FRAMES_PER_SECOND, HOP_LENGTH, N_FRAMES, SAMPLE_RATE, LogMel
from maxwhisper_impl.batched import SHORTEST, cut_at_silences


def noise_with_gaps(gaps: list[tuple[float, float]], seconds: float) -> np.ndarray:
    audio = np.random.default_rng(1).normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)
    for start, end in gaps:
        audio[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)] *= 0.001
    return audio


def cuts_of(audio: np.ndarray) -> list[float]:
    """Seconds at which pieces begin, but for the first one."""
    pieces = cut_at_silences(LogMel(audio, 80), 0, len(audio) // HOP_LENGTH)
    return [start / FRAMES_PER_SECOND for start, _ in pieces[1:]]


def test_cuts_lie_in_pauses() -> None:
    """Where a third of a second is quiet, not in a short dip; a quieter place that makes one piece more is left."""
    gaps = [(5, 5.6), (22, 22.05), (24, 24.6), (49.1, 49.6), (50, 50.06), (71, 72)]
    first, second, third = cuts_of(noise_with_gaps(gaps, 85))
    assert 24.1 < first < 24.5
    assert 49.2 < second < 49.5
    assert 71.1 < third < 71.9


def test_the_quietest_third_of_a_second_is_cut() -> None:
    """Neither a deeper pause too near to the start, nor one that is longer and not as deep."""
    audio = noise_with_gaps([(22, 22.35)], 40)
    for start, end, left in ((6, 8, 1e-4), (26, 26.7, 0.02)):
        audio[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)] *= left
    (cut,) = cuts_of(audio)
    assert 22.1 <= cut <= 22.25


def test_a_cut_in_speech_is_worth_one_more_piece_but_a_slightly_louder_pause_is_not() -> None:
    """Of 58 s two pieces would do."""
    assert len(cuts_of(noise_with_gaps([(20, 20.6), (40, 40.6)], 58))) == 2
    audio = noise_with_gaps([(20, 20.6), (29, 29.6), (40, 40.6)], 58)
    audio[int(29 * SAMPLE_RATE) : int(29.6 * SAMPLE_RATE)] *= 2
    (cut,) = cuts_of(audio)
    assert 29.1 < cut < 29.5


def test_pauses_are_chosen_with_those_that_follow_in_view() -> None:
    """The deepest of the first window would leave no pause in reach of the second one."""
    audio = noise_with_gaps([(12, 13), (26, 26.6), (50, 50.6)], 75)
    audio[int(26 * SAMPLE_RATE) : int(26.6 * SAMPLE_RATE)] *= 3
    first, second = cuts_of(audio)
    assert 26.1 < first < 26.5
    assert 50.1 < second < 50.5


def test_where_all_is_as_quiet_there_are_as_few_pieces_as_can_be() -> None:
    for minutes in (1, 2, 5):
        silence = LogMel(np.zeros(minutes * 60 * SAMPLE_RATE, np.float32), 80)
        assert len(cut_at_silences(silence, 0, minutes * 6000)) == 2 * minutes


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 9000), st.integers(0, 9000), st.sampled_from([0.0, 0.05]))
def test_pieces_are_all_there_is(seed: int, a: int, b: int, loud: float) -> None:
    start, end = min(a, b), max(a, b)
    audio = np.random.default_rng(seed).normal(0, loud, 9000 * HOP_LENGTH).astype(np.float32)
    pieces = cut_at_silences(LogMel(audio, 80), start, end)
    assert all(left[1] == right[0] for left, right in pairwise(pieces))
    assert [pieces[0][0], pieces[-1][1]] == [start, end] if end > start else pieces == []
    assert all(SHORTEST <= stop - begin for begin, stop in pieces[:-1])
    assert all(0 < stop - begin <= N_FRAMES for begin, stop in pieces)
