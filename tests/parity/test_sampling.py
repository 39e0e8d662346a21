"""The sampler draws from softmax(logits / temperature): chi-square tests with fixed seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maxwhisper_impl.decoding.greedy import RowSearch, Sampler

N_VOCAB, EOT = 2000, 1999
LIKELY = np.array([0, 7, 255, 256, 257, 1000, 1535, 1536, 1998])
"""ids that share most of the probability: the ends of the vocabulary, and both sides of the ends of blocks"""
CHANCE = 1e-4
"""of refusing a sampler that is right"""


def logits() -> np.ndarray:
    """float32 [N_VOCAB]: a few likely ids, a filtered half of the vocabulary, and a thin rest."""
    rng = np.random.default_rng(3)
    row = rng.normal(2, 1, N_VOCAB).astype(np.float32)
    row[rng.permutation(N_VOCAB)[: N_VOCAB // 2]] = -np.inf
    row[EOT] = -np.inf
    row[LIKELY] = rng.normal(8, 1, len(LIKELY)).astype(np.float32)
    return row


def probabilities(row: np.ndarray, temperature: float) -> np.ndarray:
    weights = np.exp((row.astype(np.float64) - row.max()) / temperature)
    return weights / weights.sum()


def grouped(row: np.ndarray, temperature: float, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """(bin of each id, expected draws of each bin): the likely ids alone, the rest in ranges of equal expectation."""
    p = probabilities(row, temperature)
    rest = np.ones(N_VOCAB, bool)
    rest[LIKELY] = False
    bins = np.minimum((np.cumsum(p * rest) / max((p * rest).sum(), 1e-300) * 12).astype(int), 11) + len(LIKELY)
    bins[LIKELY] = np.arange(len(LIKELY))
    expected = np.bincount(bins, p * draws, len(LIKELY) + 12)
    small = expected < 5  # too few for the statistic: one bin
    number = np.where(small, -1, np.arange(len(expected)))
    bins = number[bins]
    bins[bins < 0] = len(expected)
    return bins, np.append(np.where(small, 0, expected), expected[small].sum())


def chi_square(drawn: np.ndarray, row: np.ndarray, temperature: float) -> tuple[float, float]:
    """The statistic of the drawn ids, and the value that it exceeds by chance once in 1 / CHANCE."""
    bins, expected = grouped(row, temperature, len(drawn))
    seen = np.bincount(bins[drawn], minlength=len(expected))
    used = expected >= 5
    assert seen[~used].sum() <= 5 + 5 * expected[~used].sum(), "ids were drawn that should hardly ever be"
    free = int(used.sum()) - 1
    # Wilson and Hilferty's approximation of the quantile; 3.72 standard deviations are 1e-4
    limit = free * (1 - 2 / (9 * free) + 3.72 * math.sqrt(2 / (9 * free))) ** 3
    return float(((seen - expected)[used] ** 2 / expected[used]).sum()), limit


def drawn(row: np.ndarray, temperature: float, seed: int, rows: int = 250, steps: int = 16) -> np.ndarray:
    """ids [rows, steps] from as many streams, step after step."""
    sampler = Sampler(temperature, seed, rows, rows)
    batch = np.tile(row, (rows, 1))
    return np.stack([sampler.pick(batch, range(rows))[0] for _ in range(steps)], axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
def test_ids_come_as_often_as_their_probability_says(temperature: float) -> None:
    row = logits()
    ids = drawn(row, temperature, seed=11).ravel()
    assert np.isfinite(row[ids]).all(), "a filtered id was drawn"
    statistic, limit = chi_square(ids, row, temperature)
    assert statistic < limit, f"chi-square {statistic:.1f}, limit {limit:.1f}"


@pytest.mark.parametrize("wrong", [0.9, 1.1])
def test_the_test_tells_a_tenth_of_the_temperature(wrong: float) -> None:
    row = logits()
    statistic, limit = chi_square(drawn(row, wrong, seed=11).ravel(), row, 1.0)
    assert statistic > limit, "it would pass any sampler"


def test_rows_and_steps_are_independent() -> None:
    """Whether a row draws the likeliest id says nothing about its next draw, nor about the next row's."""
    row = logits()
    hits = drawn(row, 1.0, seed=5) == row.argmax()
    share = hits.mean()
    for name, first, second in (("steps", hits[:, :-1], hits[:, 1:]), ("rows", hits[:-1], hits[1:])):
        both, pairs = int((first & second).sum()), first.size
        expected = pairs * share**2
        deviation = (both - expected) / math.sqrt(expected * (1 - share**2))
        assert abs(deviation) < 4, f"{name}: {both} of {pairs} pairs, {expected:.0f} expected"


def test_a_search_draws_from_it_step_by_step() -> None:
    """The first and the second token of many rows, through the search that decoding uses."""
    row, rows = logits(), 1500
    search = RowSearch(rows, rows, 2, EOT, Sampler(0.8, 21, rows, rows))
    search.update(np.tile(row, (rows, 1)))
    search.update(np.tile(row, (len(search.rows), 1)))
    for step in range(2):
        statistic, limit = chi_square(search.tokens[:, step], row, 0.8)
        assert statistic < limit, f"step {step}: chi-square {statistic:.1f}, limit {limit:.1f}"


def test_an_ended_row_leaves_at_once() -> None:
    search, nothing = RowSearch(3, 1, 4, EOT), np.zeros(3, np.float32)
    assert search.take(np.array([5, EOT, 7]), nothing) == [0, 2]
    assert search.take(np.array([5, 6]), nothing[:2]) is None
    assert search.take(np.array([EOT, EOT]), nothing[:2]) == []
    assert [tokens for ((tokens, _),) in search.candidates()] == [[5, 5], [], [7, 6]]


def test_windows_draw_apart() -> None:
    """Each from a stream of its own, which is the same in whatever batch; every number of a seed counts."""

    def draws(seed: int | list[int], *windows: tuple[int, int]) -> list[int]:
        rows = 4 * len(windows)
        equal = np.zeros((rows, N_VOCAB), np.float32)
        return Sampler(1.0, seed, rows, 4, windows).pick(equal, range(rows))[0].tolist()

    one, other, hotter = (draws(7, window) for window in ((0, 200), (3000, 200), (3000, 400)))
    assert len({*one, *other, *hotter}) > 9
    assert draws(7, (0, 200), (3000, 200), (3000, 400)) == [*one, *other, *hotter]
    assert draws([7, 1], (0, 200)) == draws([7, 1], (0, 200)) != draws([7, 2], (0, 200))
