"""The seeded slow-downs: what is called right and wrong, and that a slowed process is the one that is timed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maxwhisper_impl.errors import MaxWhisperError
from tests.perf import slowdowns, slowed
from tests.perf.slowdowns import CLEAN, RERUN, SECOND, TRIES, main, record
from tests.perf.slowed import SLOW_DOWNS
from tests.perf.verdicts import unfit
from tests.recorded import Recorder, row


def stage(folder: Path, **slower: float) -> None:
    """Runs of every name and their second measurements; `slower` by name, 1.3 for every slow-down."""
    recorder = Recorder(folder, within=0.005)
    for name in [*CLEAN, RERUN, *SLOW_DOWNS, *(f"{name}{SECOND}" for name in (RERUN, *SLOW_DOWNS))]:
        factor = slower.get(name, 1.3 if name.removesuffix(SECOND) in SLOW_DOWNS else 1.0)
        recorder.run({"encode": factor, "decode 30 steps": factor}).path.rename(folder / f"{name}.json")


def test_all_caught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage(tmp_path)
    assert main(["--into", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (RERUN, *SLOW_DOWNS))
    assert "NO" not in printed.replace("NOT", "")


@pytest.mark.parametrize("time", ["", SECOND])
@pytest.mark.parametrize("name", SLOW_DOWNS)
def test_one_missed(tmp_path: Path, name: str, time: str, capsys: pytest.CaptureFixture[str]) -> None:
    stage(tmp_path, **{name + time: 1.0})
    assert main(["--into", str(tmp_path)]) == 1
    assert " NO " in capsys.readouterr().out


def test_a_clean_rerun_that_is_flagged(tmp_path: Path) -> None:
    stage(tmp_path, **{RERUN: 1.3})
    assert main(["--into", str(tmp_path)]) == 0, "it is not slower when it is timed a second time"
    stage(tmp_path, **{RERUN: 1.3, RERUN + SECOND: 1.3})
    assert main(["--into", str(tmp_path)]) == 1


def test_an_invalid_run_is_timed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    recorder = Recorder(tmp_path)

    def loud(name: str, path: Path) -> None:
        asked.append(name)
        rounds = [0.2, 0.2 if len(asked) == 2 else 0.3] * 15
        recorder.write([row("encode", "faster-whisper", rounds, rounds)]).path.rename(path)

    monkeypatch.setattr(slowdowns, "time_it", loud)
    assert all(not unfit(each) for each in record("sleep", tmp_path).rows.values())
    assert asked == ["sleep"] * 2
    record("sleep", tmp_path)
    assert len(asked) == 2, "what has been timed is not timed again"
    record("thread", tmp_path)
    assert asked[2:] == ["thread"] * TRIES
    record("cross", tmp_path, SECOND)
    assert asked[2 + TRIES :] == ["cross"] * TRIES, "what is slow is as slow the second time"


def test_what_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow-down reaches the process by name, a clean run gets none; a failure comes with pytest's words."""
    script = tmp_path / "sh"
    script.write_text('#!/bin/sh\necho "slow: ${SLOW_DOWN:-none}" "$@"\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setattr(slowdowns.sys, "executable", str(script))
    monkeypatch.delenv(slowed.VARIABLE, raising=False)
    for name in (CLEAN[0], *SLOW_DOWNS):
        with pytest.raises(MaxWhisperError, match=f"slow: {name if name in SLOW_DOWNS else 'none'} -m pytest"):
            slowdowns.time_it(name, tmp_path / "run.json")


def test_the_plugin_slows_down_only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for name in SLOW_DOWNS:
        monkeypatch.setitem(SLOW_DOWNS, name, lambda name=name: called.append(name))
    monkeypatch.delenv(slowed.VARIABLE, raising=False)
    slowed.pytest_configure()
    assert not called
    monkeypatch.setitem(os.environ, slowed.VARIABLE, "cross")
    slowed.pytest_configure()
    assert called == ["cross"]


def test_a_step_sleeps_for_a_part_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from maxwhisper_impl.runtime import DecoderState

    clock, slept = iter([10.0, 12.0]), list[float]()
    monkeypatch.setattr(DecoderState, "execute", lambda self, tokens: f"results of {tokens}")
    monkeypatch.setattr(slowed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(slowed.time, "sleep", slept.append)
    SLOW_DOWNS["sleep"]()
    assert DecoderState.execute(None, 7) == "results of 7"
    assert slept == [pytest.approx(0.15 * 2)]
