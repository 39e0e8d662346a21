"""The gate of the benchmarks' history: what is slower is refused, what is equal is not, and doubt is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.history import Key, Row, Run
from tests.perf import gate
from tests.perf.power import recorded_noise
from tests.perf.verdicts import (
    MIN_RUNS,
    NO_VERDICT,
    NOT_SLOWER,
    SLOWER,
    WINDOW,
    Finding,
    confirmed,
    judge,
    unfit,
)
from tests.recorded import SECONDS, Recorder, row

ROWS = 2 * len(SECONDS)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def by_case(findings: Sequence[Finding]) -> dict[str, set[str]]:
    return {case: {f.verdict for f in findings if f.key.case == case} for case in SECONDS}


def test_what_is_slower_once_is_not(recorder: Recorder) -> None:
    """By chance; what stays is slower in both, whichever of its figures."""
    history = recorder.history()
    clean, slow, slower = (judge(recorder.run({"encode": by}), history) for by in (1.0, 1.2, 1.3))
    assert by_case(confirmed(slow, slower)) == by_case(slow)
    assert by_case(confirmed(slow, slower))["encode"] == {SLOWER}
    refuted = confirmed(slow, clean)
    assert by_case(refuted)["encode"] == {NOT_SLOWER}
    assert all("not slower when measured again: " in str(f) for f in refuted if f.key.case == "encode")
    assert confirmed(clean, slower) == clean
    ratios = [finding for finding in slower if finding.figure == "ratio" and finding.key.peer == "openai-whisper"]
    assert confirmed(slow, ratios) == slow
    assert confirmed(slow, judge(recorder.run({"decode 30 steps": 1.3}), history)) == refuted
    unclear = [replace(finding, verdict=NO_VERDICT) for finding in clean]
    assert confirmed(slow, unclear) == confirmed(slow, []) == slow, "what says nothing clears nothing"


def test_ten_percent_is_seen_and_nothing_else(tmp_path: Path) -> None:
    found, alarms, runs = 0, 0, 40
    for seed in range(runs):
        recorder = Recorder(tmp_path, seed=seed)
        history = recorder.history()
        slow = by_case(twice(recorder, history, {"encode": 1.1}))
        found += SLOWER in slow["encode"]
        alarms += SLOWER in slow["decode 30 steps"]
        alarms += any(finding.verdict == SLOWER for finding in twice(recorder, history))
    assert found >= 0.95 * runs
    assert alarms <= 2  # of 80 clean runs and cases


def twice(recorder: Recorder, history: Sequence[Run], slower: dict[str, float] | None = None) -> list[Finding]:
    """Of a run that was measured again."""
    return confirmed(*(judge(recorder.run(slower), history) for _ in range(2)))


def test_short_calls_are_not_judged(recorder: Recorder) -> None:
    """On CPUs: threads that wake up are most of them."""
    history = recorder.history()
    for device, seconds, short in (("cpu", 0.04, True), ("cuda", 0.04, False), ("cpu", 0.06, False)):
        new = recorder.write([row("encode", "faster-whisper", [seconds] * 30, [0.1] * 30, device=device)])
        reasons = {finding.reason for finding in judge(new, history) if finding.key in new.rows}
        assert (reasons == {"a call takes 40 ms, at least 50 are needed"}) == short


def test_a_faster_run_is_no_regression(recorder: Recorder) -> None:
    history = recorder.history()
    faster = judge(recorder.run(dict.fromkeys(SECONDS, 0.7)), history)
    assert {finding.verdict for finding in faster} == {NOT_SLOWER}
    assert all(finding.slower < -0.2 for finding in faster)


def test_what_is_reported(recorder: Recorder) -> None:
    history = recorder.history()
    findings = judge(recorder.run({"decode 30 steps": 1.25}), history)
    slow = [finding for finding in findings if finding.verdict == SLOWER]
    assert [(f.key.case, f.figure) for f in slow] == [("decode 30 steps", figure) for figure in ("ratio", "time")] * 2
    for finding in slow:
        assert finding.low < finding.slower < finding.high
        assert finding.low > 0
        assert finding.slower == pytest.approx(0.25, abs=0.04)
        assert finding.commit == history[-1].commit
        text = str(finding)
        assert str(finding.key) in text
        assert history[-1].commit[:12] in text
        assert f"{finding.slower:+.1%} time [{finding.low:+.1%}, {finding.high:+.1%}]" in text
    before, now = slow[0].before, slow[0].now
    assert before == pytest.approx(1.5, rel=0.03)
    assert now == pytest.approx(1.2, rel=0.03)
    assert f"{now:.3f}× after {before:.3f}×" in str(slow[0])


@pytest.mark.parametrize(("machine", "time"), [(1.02, SLOWER), (1.05, NO_VERDICT)])
def test_a_slower_machine(recorder: Recorder, machine: float, time: str) -> None:
    """Ratios say nothing of it; times are judged only while the peer takes its usual time."""
    recorder.clock = 0.002
    history = recorder.history()
    around = recorder.rounds_around
    sides = {case: (around(machine * 1.2 * x), around(machine * 1.5 * x)) for case, x in SECONDS.items()}
    rows = [row(case, "faster-whisper", *each) for case, each in sides.items()]
    told = {f.figure: f for f in judge(recorder.write(rows), history) if f.key.peer == "faster-whisper"}
    assert {figure: finding.verdict for figure, finding in told.items()} == {"ratio": SLOWER, "time": time}
    if time == NO_VERDICT:
        assert "faster-whisper takes 1.0" in told["time"].reason


def test_nothing_is_judged_while_others_read_memory(recorder: Recorder) -> None:
    """Neither then, nor by such a run later; where nobody has looked, nobody knows."""
    history = recorder.history(2)
    recorder.memory = 0.002
    history += recorder.history(3)
    assert by_case(judge(recorder.run({"encode": 1.15}), history))["encode"] == {SLOWER}
    recorder.memory = 0.003
    busy = [recorder.run({"encode": 1.3}) for _ in range(9)]
    told = judge(busy[-1], [*history, *busy[:-1]])
    assert {finding.verdict for finding in told} == {NO_VERDICT}
    assert all("others read memory: it takes 1.50 times as long" in finding.reason for finding in told)
    recorder.memory = 0.0021
    later = judge(recorder.run({"encode": 1.15}), [*history, *busy])
    assert by_case(later)["encode"] == {SLOWER}
    assert {finding.runs for finding in later} == {5}
    assert not power_sees(busy, history)


def power_sees(busy: Sequence[Run], history: Sequence[Run]) -> bool:
    """Whether the simulation takes more than the calm runs for noise."""
    return any(len(noise.blocks) != len(history) for noise in recorded_noise([*history, *busy]).values())


def test_restless_runs_do_not_blind_the_gate(recorder: Recorder) -> None:
    history = recorder.history(4)
    recorder.clock = 1.0
    history += [recorder.run()]
    recorder.clock = 0.01
    assert by_case(judge(recorder.run({"encode": 1.15}), history))["encode"] == {SLOWER}


def test_the_last_runs_count(recorder: Recorder) -> None:
    """What became of the code long ago is no measure, faster or slower."""
    history = recorder.history(5) + [recorder.run({"encode": 1.3}) for _ in range(WINDOW + 5)]
    told = judge(recorder.run({"encode": 1.3}), history)
    assert by_case(told)["encode"] == {NOT_SLOWER}
    assert {finding.runs for finding in told} == {WINDOW} == {20}
    assert by_case(judge(recorder.run({"encode": 1.5}), history))["encode"] == {SLOWER}


@pytest.mark.parametrize("runs", range(3))
def test_too_little_history_is_said(recorder: Recorder, runs: int) -> None:
    history = recorder.history(runs)
    findings = judge(recorder.run({"encode": 3.0}), history)
    assert MIN_RUNS == 3
    assert len(findings) == 2 * ROWS
    assert {finding.verdict for finding in findings} == {NO_VERDICT}
    assert all(f"{runs} earlier runs" in finding.reason for finding in findings)
    assert gate.verdict(findings) == "no verdict"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text_hash": "another"}, "with another text"),
        ({"checkpoint": "base"}, "0 earlier runs"),
        ({"dtype": "int8"}, "0 earlier runs"),
        ({"device": "cuda"}, "0 earlier runs"),
    ],
)
def test_what_cannot_be_compared_is_not(recorder: Recorder, changes: dict[str, Any], reason: str) -> None:
    history = recorder.history()
    rounds = [0.5] * 30
    new = recorder.write([row("encode", "faster-whisper", rounds, rounds, **changes)])
    mine = [finding for finding in judge(new, history) if finding.key in new.rows]
    assert {finding.verdict for finding in mine} == {NO_VERDICT}
    assert all(reason in finding.reason for finding in mine)


@pytest.mark.parametrize("side", ["ours", "the peer"])
def test_an_aa_pair_that_strays_is_no_verdict(recorder: Recorder, side: str) -> None:
    history = recorder.history()
    steady, strays = [0.2] * 30, [0.2, 0.206] * 15
    sides = (strays, steady) if side == "ours" else (steady, strays)
    new = recorder.write([row("encode", "faster-whisper", *sides)])
    mine = [finding for finding in judge(new, history) if finding.key in new.rows]
    assert [(f.verdict, f.reason) for f in mine] == [
        (NO_VERDICT, f"invalid run: the A/A pair of {side} strays to 1.030 ± 0.000")
    ]


def test_an_aa_pair_that_strays_by_chance_is_judged() -> None:
    refused = 0
    for seed in range(400):
        rounds = np.exp(np.random.default_rng(seed).normal(0, 0.05, (2, 30)))
        made = recorded_row(rounds)
        refused += bool(unfit(made))
        assert unfit(recorded_row(rounds * ([1, 1.3] * 15))), "what strays by 30 % is no chance"
    assert refused <= 0.06 * 400


def recorded_row(rounds: np.ndarray) -> Row:
    return Row(Key("", "", "", "", ""), *rounds.tolist(), 1, 1, 1, 1, True, None, None)


def test_another_version_of_the_peer_leaves_the_time(recorder: Recorder) -> None:
    history = recorder.history()
    versions = {**history[-1].versions, "ctranslate2": "2"}
    findings = judge(recorder.run(versions=versions), history)
    verdicts = {(f.key.peer, f.figure): f.verdict for f in findings}
    assert verdicts["faster-whisper", "ratio"] == NO_VERDICT
    assert {verdict for key, verdict in verdicts.items() if key != ("faster-whisper", "ratio")} == {NOT_SLOWER}
    assert any("5 with another version of the peer" in finding.reason for finding in findings)


def test_few_blocks_are_said(recorder: Recorder) -> None:
    history = recorder.history()
    recorder.rounds = 6
    findings = judge(recorder.run({"encode": 2.0}), history)
    assert [finding.reason for finding in findings] == ["3 blocks, at least 8 are needed"] * ROWS


def test_a_row_that_is_gone_is_said(recorder: Recorder) -> None:
    history = recorder.history()
    findings = judge(recorder.write([]), history)
    assert [(f.verdict, f.reason) for f in findings] == [(NO_VERDICT, "not timed in this run")] * ROWS


def test_other_machines_and_later_runs_do_not_count(recorder: Recorder) -> None:
    new = recorder.run({"encode": 2.0})
    other = {"processor": "another", "cores": 64, "fingerprint": "another"}
    history = [recorder.run(machine=other) for _ in range(5)] + recorder.history()
    assert {finding.verdict for finding in judge(new, history)} == {NO_VERDICT}
    assert SLOWER in {f.verdict for f in judge(recorder.run({"encode": 2.0}), history)}


def test_a_regressed_run_is_no_measure_until_it_is_accepted(recorder: Recorder) -> None:
    history: list[Run] = recorder.history(3)
    history += [recorder.run({"encode": 1.3}, gate="regressed") for _ in range(9)]
    assert SLOWER in by_case(judge(recorder.run({"encode": 1.3}), history))["encode"]
    history += [recorder.run({"encode": 1.3}, gate="regressed", accepted="more exact")]
    history += [recorder.run({"encode": 1.3}) for _ in range(2)]
    assert SLOWER not in by_case(judge(recorder.run({"encode": 1.3}), history))["encode"]
    assert SLOWER in by_case(judge(recorder.run({"encode": 1.6}), history))["encode"]


def test_all_rows_together_raise_the_false_alarm(recorder: Recorder) -> None:
    """The share of each verdict: with more rows each is more careful."""
    history = recorder.history()
    new = recorder.run()
    wide = judge(new, history)[0]
    alone = Run(**{**vars(new), "rows": dict(list(new.rows.items())[:1])})
    narrow = next(f for f in judge(alone, history) if f.key == wide.key and f.figure == wide.figure)
    assert wide.high - wide.low > 1.05 * (narrow.high - narrow.low)
