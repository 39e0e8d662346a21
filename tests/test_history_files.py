"""Recorded runs as they are read: in which order, which of their rows, and what of a damaged one is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl.cli import main
from maxwhisper_impl.errors import HistoryError
from maxwhisper_impl.history import Key, Row, Run, read_history, read_run
from maxwhisper_impl.history_view import cells, write_plot
from tests.recorded import FIRST, Recorder, row


def test_runs_are_read_in_the_order_of_their_making(tmp_path: Path) -> None:
    """Whatever their files are called; one that is being written is not there yet."""
    recorder = Recorder(tmp_path)
    first, second, third = recorder.history(3)
    first.path.rename(tmp_path / "zz.json")
    (tmp_path / "deeper").mkdir()
    second.path.rename(tmp_path / "deeper" / "aa.json")
    (tmp_path / ".draft.json").write_text("{")
    assert [run.made for run in read_history(tmp_path, pytest.fail)] == [run.made for run in (first, second, third)]


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_smoke_and_a_whole_measurement_the_whole_one_stays(order: int, tmp_path: Path) -> None:
    short, long = (row("mel", "faster-whisper", [seconds] * count, [0.2] * count)
                   for seconds, count in ((0.3, 6), (0.1, 30)))  # fmt: skip
    (kept,) = Recorder(tmp_path).write([short, long][::order]).rows.values()
    assert (kept.seconds, len(kept.ours)) == (0.1, 30)


KEY = Key("decode [beam]", "tiny.en", "faster-whisper", "int8", "cpu", "int8")
ROW = Row(KEY, [0.0125, 0.0126, 0.02], [1.5, 1.25, 1.0], 2.345, 1.5, 3.25, 1.031, False, "hash", 0.0614)
RUN = Run(Path("x.json"), FIRST, "0123456789abcdef+", {"fingerprint": "abcabcabcabc"}, {}, {KEY: ROW}, "passed", "why")


def test_every_figure_is_shown() -> None:
    """In the order of the columns."""
    assert cells(RUN, ROW) == (
        "2026-01-01 00:00", "012345678+", "abcabcabcabc", "decode [beam] tiny.en int8", "12.6 ms", "1.25 s",
        "faster-whisper:int8", "2.35×", "1.50–3.25", "1.031 invalid", "6.14 %", "passed, accepted",
    )  # fmt: skip


def test_the_versions_of_a_peer_are_those_of_its_packages() -> None:
    """Also of one that only the benchmarks know."""
    run = replace(RUN, versions={"transformers": "5", "torch": "2", "ctranslate2": "4", "max": "26"})
    assert run.peer_versions("transformers") == {"transformers": "5", "torch": "2"}
    assert run.peer_versions("faster-whisper") == {"faster-whisper": None, "ctranslate2": "4"}


def test_a_picture_of_one_case_shows_no_other(tmp_path: Path) -> None:
    write_plot(tmp_path / "lines.svg", Recorder(tmp_path).history(2), "encode")
    drawn = (tmp_path / "lines.svg").read_text(encoding="utf-8")
    assert "encode tiny.en" in drawn
    assert "decode" not in drawn


def test_names_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever rich makes of brackets."""
    Recorder(tmp_path).write([row("decode [beam] [/b]", "faster-whisper", [0.2] * 4, [0.1] * 4)])
    assert main(["history", "--from", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "decode [beam] [/b] tiny.en" in out
    assert "1 recorded run, oldest first" in out


DAMAGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"made": "2026-01-01T00:00:00"}, {}),
    ({"made": 5}, {}),
    ({"commit": 5}, {}),
    ({"gate": 5}, {}),
    ({"accepted": ["why"]}, {}),
    ({"machine": []}, {}),
    ({}, {"wer": "0.06"}),
    ({}, {"wer": True}),
    ({}, {"text_hash": 5}),
    ({}, {"ratio": 5.0}),
    ({}, {"low": float("nan")}),
    ({}, {"peer_rounds": [0.2, 0.0]}),
    ({}, {"peer_rounds": [0.2, float("inf")]}),
    ({}, {"memory_rounds": []}),
]


@pytest.mark.parametrize(("top", "told"), DAMAGES, ids=[str(top | told) for top, told in DAMAGES])
def test_a_damaged_run_is_named_and_left_out(top: dict[str, Any], told: dict[str, Any], tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever else there is is shown; what is no number or no date would not be."""
    recorder = Recorder(tmp_path)
    whole = recorder.run()
    timed = row("mel", "faster-whisper", [0.2] * 4, [0.1] * 4)
    data = json.loads(whole.path.read_text()) | {"benchmarks": [{**timed, "extra_info": timed["extra_info"] | told}]}
    (tmp_path / "damaged.json").write_text(json.dumps(data | top))
    with pytest.raises(HistoryError, match=r"damaged\.json: not a recorded run: "):
        read_run(tmp_path / "damaged.json")
    assert main(["history", "--from", str(tmp_path), "--plot", str(tmp_path / "lines.png")]) == 0
    said = capsys.readouterr()
    assert said.out.count("2026-01-02") == len(whole.rows)
    assert said.err.count("damaged.json") == 1


def test_a_file_of_brackets_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(HistoryError, match=r"deep\.json: not a recorded run: "):
        read_run(tmp_path / "deep.json")
