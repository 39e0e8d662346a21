"""The simulation of the gate: on noise of a known size it gives the known answer, and says what promise is not kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.perf import power
from tests.perf.power import CHANGE, Outcome, World, recorded_noise, simulate, slowed
from tests.perf.verdicts import unfit
from tests.recorded import SECONDS, Recorder, row


def test_noise_is_what_was_recorded(tmp_path: Path) -> None:
    runs = Recorder(tmp_path, within=0.01, between=0.02, clock=0.05).history(10)
    noise = recorded_noise(runs)
    assert {key.case for key in noise} == set(SECONDS)
    ratios = np.concatenate([each.between[:, 1] - each.between[:, 0] for each in noise.values()])
    ratios = ratios[np.isfinite(ratios)]
    assert ratios.std() == pytest.approx(0.02, rel=0.35)
    within = np.concatenate([blocks.reshape(-1) for each in noise.values() for blocks in each.blocks])
    assert within.std() == pytest.approx(0.01, rel=0.15)


def test_what_rounds_explain_is_no_noise_between_runs(tmp_path: Path) -> None:
    """Blocks drawn again bring it along: it would count twice."""
    runs = Recorder(tmp_path, within=0.06, between=0.01, clock=0.03).history(40)
    apart = np.concatenate([each.between for each in recorded_noise(runs).values()])
    apart = apart[np.isfinite(apart).all(axis=1)]
    assert (apart[:, 1] - apart[:, 0]).std() == pytest.approx(0.0125, abs=0.004)  # as recorded, it is 0.02
    assert apart.mean(axis=1).std() == pytest.approx(0.03, rel=0.15)
    still = Recorder(tmp_path, within=0.06, between=0, clock=0).history(40)[-40:]
    left = np.concatenate([each.between for each in recorded_noise(still).values()])
    assert np.nanstd(left) < 0.009  # as recorded, it is 0.014


def test_made_up_runs_scatter_like_recorded_ones(tmp_path: Path) -> None:
    runs = Recorder(tmp_path, within=0.01, between=0.02, clock=0.05).history(10)
    world = World(runs)
    made = [world.run(day) for day in range(300)]
    for key, noise in world.noise.items():
        levels = np.array([np.median(np.log(run.rows[key].ours)) for run in made])
        recorded = np.array([np.median(np.log(run.rows[key].ours)) for run in runs if not unfit(run.rows[key])])
        assert levels.std() == pytest.approx(recorded.std(), rel=0.5)
        assert np.median(levels) == pytest.approx(noise.centre[0], abs=0.03)
        assert all(len(run.rows[key].ours) == 30 for run in made)


def test_only_what_is_still_timed_is_promised(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, within=0.01)
    runs = recorder.history(4)
    steady = recorder.rounds_around(0.2)
    runs += [recorder.write([row("mel", "faster-whisper", steady, steady)]) for _ in range(3)]
    assert {key.case for key in recorded_noise(runs)} == {"mel"}
    assert {key.case for key in recorded_noise([*runs, runs[0]])} == set(SECONDS)


def test_made_up_runs_are_so_many_times_as_long(tmp_path: Path) -> None:
    runs = Recorder(tmp_path, within=0.01, rounds=20).history(4)
    for times in (1, 3):
        assert {len(row.ours) for row in World(runs, times).run(0).rows.values()} == {20 * times}


def test_a_quiet_machine_keeps_the_promise_and_a_loud_one_does_not(tmp_path: Path) -> None:
    answers = {}
    for name, noise in {"quiet": 0.004, "loud": 0.06}.items():
        (tmp_path / name).mkdir()
        runs = Recorder(tmp_path / name, within=0.005, between=noise, clock=noise).history(8)
        answers[name] = simulate(World(runs), 8, 60)
    assert answers["quiet"].least == 60
    assert answers["loud"].least < 30
    assert all(answer.false_alarms <= 3 for answer in answers.values())


def test_a_gate_that_sees_nothing_has_no_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Recorder(tmp_path, within=0.005).history(5)
    monkeypatch.setattr(power, "slowed", lambda run, factor: run)
    assert simulate(World(runs), 5, 20).least == 0


def test_the_hardest_case_counts() -> None:
    """And of what was counted in few draws less is sure."""
    found = Outcome(40, false_alarms=1, caught=Counter({"encode": 40, "decode": 30}))
    assert found.least == 30
    assert found.power_at_least < 30 / 40 < 40 / 40
    assert found.alarm_at_most > 1 / 40


def test_a_slowed_run_is_slower(tmp_path: Path) -> None:
    run = Recorder(tmp_path).run()
    slow = slowed(run, 1 + CHANGE)
    for key, before in run.rows.items():
        assert slow.rows[key].seconds == pytest.approx((1 + CHANGE) * before.seconds)
        assert slow.rows[key].peer == before.peer


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path, within=0.004, between=0.003, clock=0.003)
    recorder.history(2)
    options = ["--history", str(tmp_path), "--runs", "4", "--times", "1", "--draws", "400"]
    assert power.main(options) == 2
    assert "2 runs, and no row that 3 of them timed in quiet" in capsys.readouterr().err
    recorder.history(2)
    assert power.main(options) == 0
    printed = capsys.readouterr().out
    assert "in force: 4 runs: enough" in printed
    assert "needed: 4 earlier runs, 1 × as long" in printed
    recorder.between = recorder.clock = 0.2
    recorder.history(4)
    assert power.main([*options[:-1], "20"]) == 1
    assert "NOT ENOUGH" in capsys.readouterr().out
