"""What the races of the fastest stand on: settings, the choice of the fastest peer, targets, keys of the history."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.history import read_run
from tests.perf import fastest, sweep
from tests.perf.cases import window_of, windows_of
from tests.perf.fastest import ANY, EXACT, as_json, choose
from tests.perf.peers import CANNOT, CASES, CONFIGURATIONS, OURS, Configuration, Setting, able, find
from tests.perf.peers.cpp import decoder_seconds
from tests.perf.settings import CALM, FILE, Best, Settings, SettingsError, _machines, load_settings, put
from tests.recorded import Recorder, row

FASTER = Configuration("faster-whisper", "int8")
HERE = Best("faster-whisper", "int8", "tiny.en", "step", 2, 1, 1, 0.5, 4, 0.0, "2026-01-01T00:00:00+00:00")


def test_what_nobody_has_measured_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    with pytest.raises(SettingsError, match=r"knows no machine of this kind \(\w+\): make sweep"):
        load_settings(file)
    put([HERE], {}, file)
    settings = load_settings(file)
    assert settings.best(FASTER, "tiny.en", "step") == HERE
    for which, checkpoint, case in (
        (Configuration("faster-whisper", "float32"), "tiny.en", "step"), (FASTER, "base", "step"),
        (FASTER, "tiny.en", "batch"),
    ):  # fmt: skip
        says = rf'no setting of {which} for {case} with {checkpoint}: make sweep ARGS="--only {which} --model'
        with pytest.raises(SettingsError, match=says):
            settings.best(which, checkpoint, case)
    with pytest.raises(SettingsError, match="knows no machine"):
        load_settings(file, "ffffffffffff")


def test_a_sweep_replaces_what_it_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    other = replace(HERE, case="encode")
    put([HERE, other], {}, file)
    put([replace(HERE, threads=1, seconds=0.25)], {"torch": "1"}, file)
    settings = load_settings(file)
    assert settings.best(FASTER, "tiny.en", "step").setting == Setting(1)
    assert settings.best(FASTER, "tiny.en", "encode") == other
    rows = [line for line in file.read_text().splitlines() if '"system"' in line]
    assert len(rows) == 2, "a line for each row"


@pytest.mark.parametrize("text", ["", "[]", '{"machines": 1', "{}"])
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match="not what the sweep writes"):
        load_settings(file)


@pytest.mark.parametrize("kind", _machines(FILE))
def test_the_committed_settings_are_whole_and_calm(kind: str) -> None:
    settings = load_settings(kind=kind)
    for name in sweep.MODELS:
        for case in CASES:
            for which in able(case) if not (name.startswith("random-") and case in sweep.WITHOUT_WORDS) else ():
                best = settings.best(which, name, case)
                assert best.busy <= CALM, f"{best.key} was measured while others used {best.busy:.0%} of the machine"


def test_our_fastest_dtype_and_who_is_near() -> None:
    ours = [replace(HERE, system=OURS, dtype=d, seconds=s) for d, s in (("float32", 3), ("int8", 1), ("bfloat16", 2))]
    slow = Configuration("transformers", "float32")
    settings = Settings([*ours, HERE, replace(HERE, system=slow.system, dtype=slow.dtype, seconds=0.8)])
    assert settings.our_dtype("tiny.en", "step", ("float32", "bfloat16", "int8")) == "int8"
    assert settings.near(slow, "tiny.en", "step", [FASTER, slow]) == pytest.approx(1.6)
    assert settings.near(FASTER, "tiny.en", "step", [FASTER, slow]) == 1


def test_candidates() -> None:
    assert sweep.settings_of("openai-whisper", "step", 2) == [Setting(1), Setting(2)]
    two = sweep.settings_of("faster-whisper", "batched", 2)
    assert set(two) == {Setting(1, 1, 8), Setting(2, 1, 8), Setting(1, 2, 8)}
    four = sweep.settings_of("faster-whisper", "batch", 4)
    assert {(each.threads, each.workers) for each in four} == {
        (1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (2, 2), (1, 3), (1, 4)
    }  # fmt: skip
    assert sweep.settings_of(OURS, "batched", 4) == [Setting(4, 1, 8)]
    sizes = sweep.sizes_of("faster-whisper", "batched", Setting(1, 2, 8))
    assert [(each.workers, each.batch) for each in sizes] == [(2, 1), (2, 2), (2, 4), (2, 8), (2, 16)]
    assert not sweep.sizes_of("whisper.cpp", "batched", Setting(1, 2))
    assert not sweep.sizes_of("faster-whisper", "step", Setting(1))


def test_the_fastest_candidate() -> None:
    assert sweep.fastest_of({Setting(1): 2.0, Setting(2): 1.0}) == Setting(2)
    assert sweep.fastest_of({Setting(1): 1.005, Setting(2): 1.0}) == Setting(1), "as fast, with fewer threads"


def test_candidates_take_turns_and_the_least_time_counts() -> None:
    clock, calls = [0.0], []

    def candidate(name: str, *seconds: float) -> Any:
        left = list(seconds)

        def call() -> None:
            calls.append(name)
            clock[0] += left.pop(0)

        return call, lambda: clock[0]

    slow, quick = candidate("slow", 11), candidate("b", 9, 1, 7, 7, 7, 7)
    found = sweep.compare({Setting(1): candidate("a", 9, 3, 2, 5, 4, 3), Setting(2): slow, Setting(3): quick})
    assert calls == ["a", "slow", "b", *["a", "b"] * 5], "what takes long is timed once"
    assert found == {Setting(1): 2, Setting(2): 11, Setting(3): 1}


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "busy", lambda: 0.6)
    made = object.__new__(sweep.Sweep)
    made.name, made.anyway = "tiny.en", False
    with pytest.raises(MaxWhisperError, match="others use 60% of this machine"):
        made._case(FASTER, "step", None)


def test_how_busy_a_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 ticks 100 were idle, and 20 waited for a disk."""
    ticks = iter([(1000, 5000), (1120, 5400)])
    monkeypatch.setattr(sweep, "_ticks", lambda: next(ticks))
    assert sweep.busy(0) == pytest.approx(0.7)


def test_names_of_configurations() -> None:
    assert find("faster-whisper:int8") == [FASTER]
    assert [each.dtype for each in find("transformers")] == ["float32", "bfloat16"]
    with pytest.raises(ValueError, match="unknown configuration 'faster'; there are maxwhisper_impl:float32, "):
        find("faster")
    for case in CASES:
        left = {each.system for each in CONFIGURATIONS} - {each.system for each in able(case)}
        assert left == {who for who, what in CANNOT if what == case}


SLOW, QUICK = [2.0, 2.01] * 8, [1.5, 1.51] * 8


def races(recorder: Recorder, case: str, *more: dict[str, Any]) -> list[Any]:
    """Of ours in int8 against a quick and a slow peer; `more` are other rows."""
    told = {"dtype": "int8", "checkpoint": "tiny.en", "peer_wer": 0.06, "audio_seconds": 130.0}
    ours = [0.5, 0.501] * 8
    rows = [
        row(case, "transformers", ours, SLOW, **told, peer_dtype="bfloat16"),
        row(case, "faster-whisper", ours, QUICK, **told, peer_dtype="int8"),
        *more,
    ]
    return list(recorder.write(rows).rows.values())


def test_the_fastest_peer(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    exact = row("fastest step", "openai-whisper", [1.0, 1.01] * 8, [1.2, 1.21] * 8, peer_dtype="float32")
    other = row("encode", "faster-whisper", [1.0, 1.01] * 8, [0.1, 0.11] * 8)
    first, second = sorted(choose(races(recorder, "fastest step", exact, other)), key=lambda each: each.among)
    assert (first.among, first.row.key.against) == (ANY, "faster-whisper:int8")
    assert [each.key.against for each in first.others] == ["transformers:bfloat16"]
    assert first.row.ratio == pytest.approx(3, rel=0.01)
    assert (second.among, second.row.key.against, second.others) == (EXACT, "openai-whisper", ())
    assert first.verdict == "reached: 2.5×"
    assert second.verdict == "not reached: 1.20× of 1.3×"
    assert [as_json(each)["reached"] for each in (first, second)] == [True, False]


def test_two_dtypes_of_ours_are_no_fastest_one(tmp_path: Path) -> None:
    more = row("fastest step", "faster-whisper", QUICK, SLOW, dtype="bfloat16", checkpoint="tiny.en", peer_dtype="int8")
    with pytest.raises(ValueError, match="there is one fastest dtype"):
        choose(races(Recorder(tmp_path), "fastest step", more))


def test_batches_have_more_to_reach(tmp_path: Path) -> None:
    name = f"{fastest.NAMES['batched']}, 130 s"
    (found,) = choose(races(Recorder(tmp_path), name))
    assert found.speed == pytest.approx(260, rel=0.01)
    good = replace(found, row=replace(found.row, low=3.1, valid=True, wer=0.06))
    assert good.misses == []
    assert replace(good, row=replace(good.row, wer=0.07)).misses == ["WER worse than theirs"]
    assert replace(good, row=replace(good.row, ours=[1.3] * 16)).misses == ["100 of 130 times real time"]
    assert replace(good, row=replace(good.row, low=2.9)).misses == ["2.90× of 3.0×"]
    assert "invalid run" in replace(good, row=replace(good.row, valid=False)).verdict


def test_keys_tell_configurations_apart(tmp_path: Path) -> None:
    told = {"dtype": "int8", "checkpoint": "tiny.en"}
    rows = [row("fastest step", "faster-whisper", QUICK, SLOW, **told, peer_dtype=each) for each in ("int8", "float32")]
    run = Recorder(tmp_path).write([*rows, row("encode", "faster-whisper", QUICK, SLOW)])
    names = ["fastest step tiny.en int8 / faster-whisper:int8", "fastest step tiny.en int8 / faster-whisper"]
    assert sorted(map(str, run.rows)) == sorted([*names, str(next(key for key in run.rows if key.case == "encode"))])
    assert {key.peer_dtype for key in run.rows if key.case == "encode"} == {"float32"}, "as of older files"
    packages = {"transformers", "torch"}
    assert set(run.peer_versions("transformers")) == packages


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path)
    races(recorder, "fastest step of 8 windows")
    (file,) = tmp_path.glob("*.json")
    assert fastest.main([str(file)]) == 0
    printed = capsys.readouterr().out
    assert "faster-whisper:int8" in printed
    assert "is without whisper.cpp: its bindings decode one window at a time" in printed
    empty = recorder.write([]).path
    assert fastest.main([str(empty)]) == 2
    assert fastest.main([str(tmp_path / "none.json")]) == 2
    assert read_run(empty).rows == {}


TIMINGS = """
whisper_print_timings:     load time =    50.00 ms
whisper_print_timings:   sample time =    10.00 ms /    31 runs (     0.32 ms per run)
whisper_print_timings:   encode time =   400.00 ms /     1 runs (   400.00 ms per run)
whisper_print_timings:   decode time =    90.00 ms /    29 runs (     3.10 ms per run)
whisper_print_timings:   batchd time =     5.00 ms /     2 runs (     2.50 ms per run)
whisper_print_timings:   prompt time =     0.00 ms /     1 runs (     0.00 ms per run)
whisper_print_timings:    total time =   600.00 ms
"""


def test_windows_are_pieces_of_their_own() -> None:
    """Each from its cut on and no further, in order, over again where there are fewer than eight."""
    audio = np.random.default_rng(0).standard_normal(3 * 16000).astype(np.float32)
    cuts = [(0, 16000), (16000, 40000), (40000, 48000)]
    windows = windows_of(audio, cuts, 80)
    pieces = [window_of(audio[start:end], 80)[0] for start, end in cuts]
    assert windows.shape == (8, 80, 3000)
    for i, window in enumerate(windows):
        np.testing.assert_array_equal(window, pieces[i % 3])


def test_the_clock_of_whisper_cpp() -> None:
    assert decoder_seconds(TIMINGS) == (pytest.approx(0.105), 30)
    with pytest.raises(MaxWhisperError, match="timings lack decode"):
        decoder_seconds(TIMINGS.replace("decode time", "other time"))
    with pytest.raises(MaxWhisperError, match="decoded nothing"):
        decoder_seconds(TIMINGS.replace("29 runs", "0 runs"))


def test_shares_of_workers() -> None:
    from tests.perf.peers.faster import Faster

    made = object.__new__(Faster)
    for workers, sizes in ((1, [8]), (2, [4, 4]), (3, [2, 3, 3])):
        made.setting = Setting(1, workers)
        shares = made._shares(np.arange(8))
        assert [len(each) for each in shares] == sizes
        assert np.array_equal(np.concatenate(shares), np.arange(8))
    assert [len(each) for each in made._shares([1])] == [1], "none is empty"


def test_what_is_recorded_says_which_is_the_fastest(tmp_path: Path) -> None:
    """As the plugin writes it."""
    (found,) = choose(races(Recorder(tmp_path), "fastest encode"))
    told = json.loads(json.dumps(as_json(found)))
    assert (told["peer"], told["peer_dtype"], told["dtype"], told["target"]) == ("faster-whisper", "int8", "int8", 2.5)
    assert told["others"] == {"transformers:bfloat16": pytest.approx(4, rel=0.01)}
