"""The noise model of the gate: what it says of runs whose noise is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.perf.noise import FLOOR, Level, Trend, baseline, levels, machine_variance, own_variance, pair
from tests.perf.verdicts import ALPHA, NOT_SLOWER, SLOWER, decide

KEY: Any = ("case", "checkpoint", "peer", "float32", "cpu")
WITHIN = 0.005

centres = st.floats(-3, 3, allow_nan=False)
spreads = st.floats(0, 0.05)


@given(st.lists(st.tuples(centres, spreads), min_size=3, max_size=8), centres, spreads, st.floats(0.031, 2))
@settings(deadline=None, max_examples=200)
def test_properties_of_a_verdict(runs: list[tuple[float, float]], now: float, within: float, more: float) -> None:
    """What is not slower than its interval is not called so; what is slower stays so if it gets slower still."""
    earlier = [Level(centre, spread, 15) for centre, spread in runs]
    old = baseline(earlier, machine_variance([earlier]))
    assert old.between >= FLOOR
    time = decide(KEY, "time", Level(now, within, 15), old, "", ALPHA)
    ratio = decide(KEY, "ratio", Level(2 * old.centre - now, within, 15), old, "", ALPHA)
    assert (time.verdict, time.slower) == (ratio.verdict, pytest.approx(ratio.slower, rel=1e-6, abs=1e-9))
    assert (time.verdict == SLOWER) <= (time.low > 0)
    assert time.verdict == NOT_SLOWER or now > old.centre
    worse = decide(KEY, "time", Level(now + more, within, 15), old, "", ALPHA)
    assert time.verdict == NOT_SLOWER or worse.verdict == SLOWER
    sure = decide(KEY, "time", Level(old.centre + np.log1p(time.sees) + 1e-6, within, 15), old, "", ALPHA)
    assert sure.verdict == SLOWER


def test_a_figure_is_that_of_the_quick_rounds() -> None:
    """However the slow two thirds of them scatter: a busy neighbour is no slower code."""
    random = np.random.default_rng(0)
    quiet = np.exp(random.normal(0, 0.01, (2, 60)))
    busy = quiet * np.where(np.arange(60) % 3 == 0, 1, random.uniform(1.1, 2, (2, 60)))
    alone, beside = levels(0.2 * quiet[0], 0.3 * quiet[1]), levels(0.2 * busy[0], 0.3 * busy[1])
    for figure, want in {"ratio": np.log(1.5), "time": np.log(0.2)}.items():
        assert alone[figure].centre == pytest.approx(want, abs=0.02)
        assert beside[figure].centre == pytest.approx(alone[figure].centre, abs=0.02)
        assert beside[figure].within < 0.02
        assert alone[figure].blocks == 30
    assert (alone["time"].state, alone["ratio"].state) == (0, pytest.approx(np.log(0.3), abs=0.02))
    slower = levels(1.1 * 0.2 * busy[0], 0.3 * busy[1])
    assert slower["time"].centre - beside["time"].centre == pytest.approx(np.log(1.1))
    assert slower["ratio"].centre - beside["ratio"].centre == pytest.approx(-np.log(1.1))


def test_a_pair_is_that_of_the_quick_rounds() -> None:
    """One stalled block moves nothing, and neither do second rounds that stall in most blocks; what all of them take
    longer is found."""
    rounds = np.exp(np.random.default_rng(0).normal(0, 0.02, (20, 2)))
    steady = pair(rounds.reshape(-1).tolist())
    assert steady.blocks == 20
    for stalled in ([3], list(range(12))):
        beside = rounds.copy()
        beside[stalled, 1] *= 1.5
        assert pair(beside.reshape(-1).tolist()).centre == pytest.approx(steady.centre, abs=0.02)
    late = pair((rounds * [1, 1.1]).reshape(-1).tolist())
    assert late.centre == pytest.approx(steady.centre + np.log(1.1))
    assert late.within == pytest.approx(steady.within)


def test_the_standard_error_of_a_figure_is_one() -> None:
    random = np.random.default_rng(0)
    found = [levels(*np.exp(random.normal(0, 0.02, (2, 60)))) for _ in range(400)]
    for figure in ("ratio", "time"):
        scatter = np.std([each[figure].centre for each in found])
        assert np.sqrt(np.mean([each[figure].within ** 2 for each in found])) == pytest.approx(scatter, rel=0.15)


def test_the_standard_error_of_a_pair_is_one() -> None:
    random = np.random.default_rng(0)
    found = [pair(np.exp(random.normal(0, 0.02, 30)).tolist()) for _ in range(400)]
    scatter = np.std([each.centre for each in found])
    assert np.sqrt(np.mean([each.within**2 for each in found])) == pytest.approx(scatter, rel=0.15)


def recorded(
    random: np.random.Generator, runs: int, between: float, slope: float = 0, states: float = 0
) -> list[Level]:
    """A row's runs around 0, `states` and `between` in standard deviations."""
    found = []
    for state in random.normal(0, states, runs):
        centre = slope * state + random.normal(0, between) + random.normal(0, WITHIN)
        found.append(Level(centre, WITHIN, 15, state))
    return found


def test_the_variance_between_runs_is_found() -> None:
    random = np.random.default_rng(0)

    def rows(count: int, runs: int, between: float) -> list[list[Level]]:
        return [recorded(random, runs, between) for _ in range(count)]

    for runs in (3, 6):
        variance, freedom = machine_variance(rows(200, runs, 0.03))
        assert freedom == 200 * (runs - 1)
        assert variance**0.5 == pytest.approx(0.03, rel=0.1)
    assert machine_variance(rows(12, 6, 0.02) + rows(2, 6, 3.0))[0] ** 0.5 == pytest.approx(0.02, rel=0.5)
    assert machine_variance([[Level(0, 0.01, 15)]]) == (FLOOR**2, 0)


def test_the_state_of_the_machine_is_no_noise() -> None:
    """What a row loses in every run where the machine is slow is known after ten, and is not expected of it twice."""
    random = np.random.default_rng(0)
    rows = [recorded(random, 10, 0.01, slope=-0.5, states=0.1) for _ in range(200)]
    slopes = np.array([Trend.of(row).slope for row in rows])
    assert slopes.mean() == pytest.approx(-0.5, abs=0.03)
    assert slopes.std() == pytest.approx(0.02 / 0.3 * 0.5, rel=0.35)
    variance, freedom = machine_variance(rows)
    assert variance**0.5 == pytest.approx(0.01, rel=0.1)
    assert 200 * 8 < freedom < 200 * 8.2
    old = baseline(rows[0], machine_variance(rows))
    slow = Level(-0.5 * 0.2, WITHIN, 15, 0.2)
    assert old.expected(slow) == pytest.approx(slow.centre, abs=0.025)
    assert decide(KEY, "ratio", slow, old, "", ALPHA).verdict == NOT_SLOWER
    worse = Level(slow.centre - np.log(1.15), WITHIN, 15, 0.2)
    finding = decide(KEY, "ratio", worse, old, "", ALPHA)
    assert (finding.verdict, finding.before) == (SLOWER, pytest.approx(np.exp(slow.centre), rel=0.025))


def test_two_runs_and_one_state_have_no_slope() -> None:
    """What is seen in one state of the machine alone says little about another."""
    steep = [Level(0.0, WITHIN, 15, 0.0), Level(0.5, WITHIN, 15, 1.0)]
    assert (Trend.of(steep).slope, own_variance(steep)[1]) == (0, 1)
    near = [Level(0.01 * (-1) ** n, WITHIN, 15, 0.002 * (-1) ** n) for n in range(6)]  # 5 for 1, or chance
    assert abs(Trend.of(near).slope) < 0.05
    assert own_variance(near)[1] > 4.98


def test_far_from_what_was_seen_less_is_sure() -> None:
    row = recorded(np.random.default_rng(0), 10, 0.01, slope=-0.5, states=0.05)
    old = baseline(row, machine_variance([row]))
    spreads = [old.spread(Level(0, WITHIN, 15, old.trend.middle + far)) for far in (0.0, 0.1, 0.4)]
    assert spreads[0] < spreads[1] < spreads[2]
    assert spreads[2] > 1.5 * spreads[0]
    uncertain = np.sqrt(spreads[2] ** 2 - spreads[0] ** 2)
    assert uncertain == pytest.approx(0.4 * old.between / np.sqrt(old.trend.information))


@pytest.mark.parametrize(("slope", "states"), [(0, 0), (0, 0.06), (-0.5, 0.06), (0.7, 0.02)])
@pytest.mark.parametrize("runs", [4, 10])
def test_clean_runs_are_called_slower_as_often_as_said(runs: int, slope: float, states: float) -> None:
    random = np.random.default_rng(0)
    alarms = worlds = 0
    for _ in range(60):
        row = [recorded(random, runs + 20, 0.02, slope, states) for _ in range(6)]
        machine = machine_variance([each[:runs] for each in row])
        for each in row:
            old = baseline(each[:runs], machine)
            worlds += 20
            far = [(old.expected(new) - new.centre) / old.spread(new) for new in each[runs:]]
            alarms += sum(by > old.critical(0.05) for by in far)
    assert 0.01 < alarms / worlds < 0.065
