"""The comparison is fair and honest: turns, times, scores, and what a failure costs."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import comparison_view
from maxwhisper_impl.cli import main
from maxwhisper_impl.compare import Comparison, compare
from maxwhisper_impl.corpus import default_corpora
from maxwhisper_impl.errors import MaxWhisperError, OptionError
from maxwhisper_impl.samples import Sample, clip_of, default_clip, read_samples
from maxwhisper_impl.systems import SYSTEMS
from tests.parity.fake_systems import Fake

THREE = ["maxwhisper", "openai-whisper", "faster-whisper"]
ROW = {"system", "model", "device", "dtype", "seconds", "rtf", "speedup", "wer", "agreement", "text"}
FIVE_SECONDS = Sample("five.wav", np.zeros(5 * 16000, np.float32), "en", "the ice was thick")


class Stage:
    """Fake systems, and what was asked of them."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "script.json"
        self.said: list[str] = []

    def run(self, samples: list[Sample] | None = None, *, systems: list[str] = THREE, rounds: int = 1, threads: int = 1,
            **scripts: dict[str, Any]) -> Comparison:
        """`scripts` by system, with _ for -."""
        told = {name.replace("_", "-"): script for name, script in scripts.items()}
        self.script.write_text(json.dumps({name: told.get(name, {}) for name in THREE}))
        return compare(samples or [FIVE_SECONDS], [str(self.script)], systems, rounds=rounds, threads=threads,
                       say=self.said.append)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.script.with_name("log.jsonl").read_text().splitlines()]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for name in THREE:
        monkeypatch.setitem(SYSTEMS, name, Fake)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)  # or every worker would import pytest first
    return Stage(tmp_path)


def test_systems_take_turns_there_and_back(stage: Stage) -> None:
    stage.run(rounds=4)
    turns = [row["system"] for row in stage.log if row["what"] == "transcribe"]
    assert turns == THREE + THREE + THREE[::-1] + THREE + THREE[::-1], "a warm-up each, then A B C, C B A, A B C, C B A"


def test_one_warm_up_on_the_first_window_alone(stage: Stage) -> None:
    minute = Sample("minute.wav", np.zeros(60 * 16000, np.float32), "en", None)
    stage.run([FIVE_SECONDS, minute], rounds=2, systems=["maxwhisper"])
    lengths = [row["samples"] // 16000 for row in stage.log if row["what"] == "transcribe"]
    assert lengths == [30, 5, 60, 5, 60]


def test_all_are_asked_the_same(stage: Stage) -> None:
    french = Sample("french.wav", np.zeros(16000, np.float32), "fr", None)
    stage.run([FIVE_SECONDS, french])
    keys = ("samples", "language", "cpus")
    asked = {name: [tuple(map(row.get, keys)) for row in stage.log if row["system"] == name] for name in THREE}
    assert asked[THREE[0]] == asked[THREE[1]] == asked[THREE[2]]
    assert [language for _, language, _ in asked[THREE[0]]] == [None, None, "en", "en", "fr"]


def test_every_system_has_the_cpus_that_were_asked_for(stage: Stage) -> None:
    cpus = len(os.sched_getaffinity(0))
    for threads in {1, cpus}:
        stage.run(threads=threads)
        assert {row["cpus"] for row in stage.log[-6:]} == {threads}
        assert all(row["libraries"] == [str(threads)] * 3 for row in stage.log[-6:])
    assert len(os.sched_getaffinity(0)) == cpus, "this process keeps its own"


def test_each_comes_to_rest_before_the_next_one_starts(stage: Stage) -> None:
    lingers = {"lingers": 2}
    stage.run(maxwhisper=lingers, openai_whisper=lingers, faster_whisper=lingers)
    order = [row["what"] for row in stage.log if row["what"] in ("transcribe", "at rest")]
    assert order == ["transcribe", "at rest"] * 6


def test_times_hold_the_transcribing_alone(stage: Stage) -> None:
    row = stage.run(maxwhisper={"load_seconds": 0.6, "seconds": 0.05}).rows[0]
    assert 0.05 <= row.seconds < 0.6, "the load must not be in it"
    assert row.load_seconds >= 0.6
    assert row.warm_up_seconds >= 0.05
    assert row.rtf == row.seconds / 5


def test_rounds_give_their_median_and_speed_is_over_openai(stage: Stage) -> None:
    result = stage.run(rounds=3, maxwhisper={"seconds": 0.05}, openai_whisper={"seconds": 0.2})
    ours, oracle, _ = result.rows
    assert ours.seconds == sorted(ours.rounds)[1]
    assert len(ours.rounds) == len(oracle.rounds) == 3
    assert ours.speedup == oracle.seconds / ours.seconds
    assert oracle.speedup == 1
    assert ours.speedup > 1.5


def test_texts_are_scored(stage: Stage) -> None:
    result = stage.run(maxwhisper={"text": " The ice: was THICK!", "tokens": [1, 2, 3, 4]},
                       openai_whisper={"text": "the ice was sick", "tokens": [1, 2, 3, 5]},
                       faster_whisper={"text": "", "tokens": []})
    assert [row.wer for row in result.rows] == [0, 0.25, 1]
    assert [row.agreement for row in result.rows] == [0.75, 1, 0]
    assert [row.text for row in result.rows] == ["The ice: was THICK!", "the ice was sick", ""]


def test_no_verdict_without_oracle_or_transcript(stage: Stage) -> None:
    unknown = Sample("unknown.wav", np.zeros(16000, np.float32), None, None)
    rows = stage.run([unknown], systems=["maxwhisper", "faster-whisper"]).rows
    assert [(row.speedup, row.agreement, row.wer) for row in rows] == [(None, None, None)] * 2


def test_a_quantised_oracle_is_no_oracle(stage: Stage) -> None:
    rows = stage.run(systems=["openai-whisper:int8", "openai-whisper"], openai_whisper={"seconds": 0.01}).rows
    assert rows[1].speedup == 1
    assert rows[0].speedup == rows[1].seconds / rows[0].seconds


@pytest.mark.parametrize(("fails_at", "reason"), [
    ("prepare", "these weights are not here"),
    ("load", "KeyError: 'deep down'"),
    ("crash", "the process ended while in transcribe, exit code 41"),
    ("round", "ValueError: not again"),
])
def test_one_failure_does_not_cost_the_others(stage: Stage, fails_at: str, reason: str) -> None:
    result = stage.run(rounds=2, openai_whisper={"fails_at": fails_at})
    assert [row.spec.system for row in result.rows] == ["maxwhisper", "faster-whisper"]
    assert [(failure.spec.system, failure.reason) for failure in result.failures] == [("openai-whisper", reason)]
    assert all(row.speedup is None and row.agreement is None for row in result.rows)


def test_a_transcript_that_changes_is_a_failure(stage: Stage) -> None:
    result = stage.run(rounds=2, maxwhisper={"forgets": True})
    assert [row.spec.system for row in result.rows] == ["openai-whisper", "faster-whisper"]
    assert "not the transcript of the first round" in result.failures[0].reason


def test_memory_is_of_the_system_alone(stage: Stage) -> None:
    small, large, _ = stage.run(openai_whisper={"allocate": 300 * 2**20}).rows
    assert large.peak_memory - small.peak_memory > 250 * 2**20
    assert small.peak_memory < 200 * 2**20, "not this process' memory"


def test_progress_names_every_step(stage: Stage) -> None:
    stage.run(systems=["maxwhisper"])
    steps = " | ".join(stage.said)
    for part in ("maxwhisper: loading", "maxwhisper: compiling something", "warming up", "round 1 of 1"):
        assert part in steps


EMPTY = Sample("empty.wav", np.zeros(0, np.float32), None, None)


@pytest.mark.parametrize(("samples", "options", "message"), [
    ([FIVE_SECONDS], {"rounds": 0}, "rounds=0"),
    ([FIVE_SECONDS], {"threads": 10_000}, "threads=10000: give 1 to"),
    ([EMPTY], {}, "every file is empty"),
])
def test_nothing_to_measure_is_an_error(stage: Stage, samples: list[Sample], options: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        stage.run(samples, **options)


def test_json_has_the_promised_keys(stage: Stage, tmp_path: Path) -> None:
    result = stage.run(maxwhisper={"text": "ünïted"}, faster_whisper={"fails_at": "load"})
    out = tmp_path / "out.json"
    comparison_view.write_json(out, result)
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["audio_seconds"] == 5
    assert [set(row) >= ROW for row in written["rows"]] == [True, True]
    assert written["rows"][0]["text"] == "ünïted"
    assert written["rows"][1]["speedup"] == 1
    assert [failure["system"] for failure in written["failures"]] == ["faster-whisper"]


def test_json_is_whole_or_not_there(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    out.write_text("the last run")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(MaxWhisperError, match=r"out\.json: cannot be written: No space left on device"):
        comparison_view.write_json(out, stage.run())
    assert out.read_text() == "the last run"
    assert not list(tmp_path.glob(".out.json*"))


def test_table_shows_every_figure(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    result = stage.run(maxwhisper={"tokens": [1] * 99_999 + [2]}, openai_whisper={"tokens": [1] * 100_000},
                       faster_whisper={"fails_at": "load"})
    comparison_view.print_table(result)
    shown = capsys.readouterr().out
    ours = next(line for line in shown.splitlines() if " maxwhisper " in line)
    assert comparison_view.cells(result.rows[0])[-3] == "99.99 %", "rounded down: 100 % is kept for equal"
    for cell in comparison_view.cells(result.rows[0]):
        assert f" {cell} " in ours + " "
    assert "100.00 %" in shown
    assert "failed: KeyError: 'deep down'" in shown


def test_picture_is_drawn(stage: Stage, tmp_path: Path) -> None:
    comparison_view.write_plot(tmp_path / "out.png", stage.run())
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_command_writes_and_reports(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    stage.run(faster_whisper={"fails_at": "round"})
    audio = default_clip().audio
    status = main(["compare", str(audio), "--model", str(stage.script), "--rounds", "2", "--json", "out.json"])
    assert status == 1, "a system failed"
    written = json.loads((tmp_path / "out.json").read_text())
    assert [row["system"] for row in written["rows"]] == ["maxwhisper", "openai-whisper"]
    assert written["audio"][0]["reference"] == default_clip().text
    assert "speed-up" in capsys.readouterr().out


def test_models_stand_apart_in_the_table(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    result = stage.run(systems=["maxwhisper"])
    other = replace(result.rows[0], spec=replace(result.rows[0].spec, model="other"))
    comparison_view.print_table(replace(result, rows=[*result.rows, other, other]))
    _, _, *below = capsys.readouterr().out.partition("speed-up")[2].splitlines()
    assert [bool(line.strip()) for line in below[:4]] == [True, False, True, True]


def test_nothing_is_left_running_when_the_comparison_is_interrupted(stage: Stage) -> None:
    """Neither the system that waits for its turn, nor the one that is deep in work and does not hear of it."""
    def interrupt(line: str) -> None:
        if "openai-whisper: compiling something" in line:
            raise KeyboardInterrupt

    stage.said = SimpleNamespace(append=interrupt)  # type: ignore[assignment]
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stage.run(openai_whisper={"load_seconds": 60})
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 30
    assert {row["system"] for row in stage.log} == {"maxwhisper", "openai-whisper"}


def test_nothing_is_left_running_when_the_comparison_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"maxwhisper": {"seconds": 60}}))
    code = ("import sys, numpy as np; from maxwhisper_impl import systems, compare, samples\n"
            "from tests.parity.fake_systems import Fake\n"
            "systems.SYSTEMS['maxwhisper'] = Fake\n"
            "audio = samples.Sample('a.wav', np.zeros(16000, np.float32), 'en', None)\n"
            "compare.compare([audio], [sys.argv[1]], ['maxwhisper'], say=lambda _: None)")
    comparison = subprocess.Popen([sys.executable, "-c", code, str(script)])
    log = script.with_name("log.jsonl")
    try:
        within(60, lambda: log.exists() and "transcribe" in log.read_text())
        worker = json.loads(log.read_text().splitlines()[0])["process"]
        assert Path(f"/proc/{worker}").exists()
    finally:
        comparison.kill()
        comparison.wait()
    within(10, lambda: not Path(f"/proc/{worker}").exists())


def within(seconds: float, condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; AssertionError if it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.1)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--systems", "kaldi"], "unknown system 'kaldi'; there are maxwhisper, openai-whisper, faster-whisper"),
    (["--systems", ","], "a list of names is empty"),
    (["--systems", "maxwhisper:int3"], "no dtype 'int3'"),
    (["--json", "nowhere/out.json"], "there is no folder nowhere"),
    (["--plot", "out.txt"], "the name of a picture ends in .png, .svg, .pdf"),
    (["--reference", "text.txt"], "a reference is the transcript of one file, and 0 are given"),
])
def test_wrong_use_is_told_before_any_work(stage: Stage, arguments: list[str], message: str,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_reference_is_found_in_the_corpus(tmp_path: Path) -> None:
    clip = default_clip()
    found = clip_of(clip.audio, print)
    assert found is not None
    assert (found.id, found.text) == (clip.id, clip.text)
    assert found.audio.samefile(clip.audio)
    stray = tmp_path / "stray.flac"
    stray.write_bytes(clip.audio.read_bytes())
    assert clip_of(stray, print) is None


def test_reference_from_a_file_goes_first(tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    said.write_text("something else", encoding="utf-8")
    file = str(min((default_corpora()[0] / "en").glob("*.flac")))
    sample, = read_samples([file], reference=str(said), language="de")
    assert (sample.text, sample.language) == ("something else", "de")
    with pytest.raises(OptionError, match=r"gone\.txt: the reference cannot be read"):
        read_samples([file], reference=str(tmp_path / "gone.txt"))
