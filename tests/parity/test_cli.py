"""The command line: openai-whisper's flags, defaults and files; one line for every error; a quick start."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maxwhisper_impl import cli, commands
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.errors import AudioError, OptionError
from maxwhisper_impl.termination import Terminated
from maxwhisper_impl.threads import available_cpus
from maxwhisper_impl.weights import load_checkpoint, random_checkpoint, save_checkpoint

OURS_ALONE = {
    "dtype": "openai-whisper computes in float32 or, with --fp16, in float16",
    "live": "openai-whisper reads whole files only",
    "step": "of --live",
    "max_delay": "of --live",
    **dict.fromkeys(commands.BEYOND_OPENAI, "faster-whisper's, but for the assistant"),
}
DELIBERATE = {
    "device": "no GPU unless it is asked for; openai-whisper takes one where it finds it",
    "fp16": "the dtype is our own flag; openai-whisper's default warns on every CPU",
    "condition_on_previous_text": "batches know no previous text",
}
"""Flags that are reviewed: those that openai-whisper lacks, and those whose default differs."""


class OracleCalled(BaseException):
    """What openai-whisper's own command line would have done; BaseException, since it catches Exception."""


def oracle_module() -> Any:
    """The module of openai-whisper's command line; its package hides it behind the function of the same name."""
    return importlib.import_module("whisper.transcribe")


def oracle_parser(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    def stop(parser: argparse.ArgumentParser, *_: Any) -> None:
        raise OracleCalled(parser)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(OracleCalled) as caught:
            oracle_module().cli()
    return caught.value.args[0]


def our_parser() -> argparse.ArgumentParser:
    commands_action = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    return commands_action.choices["transcribe"]


def flags(parser: argparse.ArgumentParser) -> dict[str, tuple[Any, ...]]:
    return {a.dest: (set(a.option_strings), a.default, a.choices and set(a.choices)) for a in parser._actions}


def test_flags_and_defaults_are_openais(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = flags(our_parser()), flags(oracle_parser(monkeypatch))
    assert ours.keys() - theirs.keys() == set(OURS_ALONE)
    assert not theirs.keys() - ours.keys(), "flags of openai-whisper that are missing"
    for name, (options, default, choices) in theirs.items():
        assert ours[name][0] == options, name
        if name not in DELIBERATE:
            assert ours[name][1] == default, name
        if name != "language":  # ours are checked against the model's own list
            assert (ours[name][2] and set(ours[name][2])) == choices, name


class FakeModel:
    """Takes the place of the loaded model; keeps what `transcribe` is asked, file by file."""

    def __init__(self, name: str = "tiny") -> None:
        self.dims = SIZES[name]
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def transcribe(self, file: str, **options: Any) -> dict[str, Any]:
        self.calls.append((file, options))
        if "broken" in file:
            raise AudioError(f"{file} cannot be read as audio: it is broken")
        segment = {"id": 0, "seek": 0, "start": 0.0, "end": 1.5, "text": f" said in {Path(file).stem}", "tokens": [1]}
        return {"text": segment["text"], "segments": [segment], "language": "en"}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeModel:
    model = FakeModel()
    monkeypatch.setattr(commands, "_load", lambda options: model)
    monkeypatch.chdir(tmp_path)
    for name in ("one.wav", "broken.wav", "two.wav"):
        (tmp_path / name).write_bytes(b"")
    return model


def oracle_options(arguments: list[str]) -> dict[str, Any]:
    """The keywords with which openai-whisper's command line calls `transcribe`."""
    import whisper

    cli_of_openai = oracle_module()

    def stop(model: Any, audio: str, **options: Any) -> None:
        raise OracleCalled(options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["whisper", *arguments])
        patch.setattr(whisper, "load_model", lambda *_, **__: None)
        patch.setattr(cli_of_openai, "transcribe", stop)
        with pytest.raises(OracleCalled) as caught:
            cli_of_openai.cli()
    return caught.value.args[0]


numbers = st.floats(0.01, 4).map(lambda x: f"{x:.2f}")
VALUES: dict[str, st.SearchStrategy[str]] = {
    "--task": st.sampled_from(["transcribe", "translate"]),
    "--language": st.sampled_from(["en", "de", "French", "yue"]).filter(lambda code: code != "yue"),
    "--temperature": st.sampled_from(["0", "0.4", "1"]),
    "--best_of": st.sampled_from(["1", "7", "None"]),
    "--beam_size": st.sampled_from(["1", "5", "None"]),
    "--length_penalty": st.sampled_from(["0", "0.5", "1"]),
    "--suppress_tokens": st.sampled_from(["-1", "", "1,2,3"]),
    "--initial_prompt": st.text("abc ü", max_size=9).map(lambda text: "x" + text),
    "--condition_on_previous_text": st.sampled_from(["True", "False"]),
    "--temperature_increment_on_fallback": st.sampled_from(["None", "0.1", "0.5"]),
    "--compression_ratio_threshold": numbers | st.just("None"),
    "--logprob_threshold": numbers.map(lambda x: f"-{x}") | st.just("None"),
    "--no_speech_threshold": numbers | st.just("None"),
    "--clip_timestamps": st.sampled_from(["0", "1.5,2", "0,1,2"]),
    "--verbose": st.sampled_from(["True", "False"]),
    "--word_timestamps": st.sampled_from(["True", "False"]),
    "--prepend_punctuations": st.sampled_from(["", "(¿"]),
    "--append_punctuations": st.sampled_from(["", ".,!"]),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(VALUES)), st.none(), max_size=8).flatmap(
    lambda chosen: st.fixed_dictionaries({name: VALUES[name] for name in chosen})))
def test_options_reach_transcribe_as_openais_do(fake: FakeModel, chosen: dict[str, str]) -> None:
    arguments = [f"{name}={value}" for name, value in chosen.items()]
    assert cli.main(["transcribe", "one.wav", "--model", "tiny", *arguments]) == 0
    _, ours = fake.calls[-1]
    theirs = oracle_options(["one.wav", "--model", "tiny", *arguments])
    assert ours == {**{k: v for k, v in theirs.items() if k != "fp16"}, "temperature": ours["temperature"]}
    assert np.array_equal(*(np.atleast_1d(options["temperature"]) for options in (ours, theirs)))


def test_options_beyond_openais(fake: FakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    """Passed on only if given; with batches the default of condition_on_previous_text gives way, not a given one."""
    line = ["transcribe", "one.wav", "--model", "tiny"]
    assert cli.main(line) == 0
    assert not fake.calls[-1][1].keys() & set(commands.BEYOND_OPENAI)
    given = "--batch_size 4 --vad_filter True --vad_parameters threshold=0.6,speech_pad_ms=90 --hotwords tides "
    given += "--repetition_penalty 1.1 --no_repeat_ngram_size 3 --multilingual True --keep_best_fallback True "
    given += "--language_detection_threshold 0.7 --language_detection_segments 2"
    assert cli.main([*line, *given.split()]) == 0
    passed = fake.calls[-1][1]
    assert {name: passed[name] for name in commands.BEYOND_OPENAI if name != "assistant"} == {
        "batch_size": 4, "vad_filter": True, "vad_parameters": {"threshold": 0.6, "speech_pad_ms": 90.0},
        "multilingual": True, "language_detection_threshold": 0.7, "language_detection_segments": 2,
        "hotwords": "tides", "repetition_penalty": 1.1, "no_repeat_ngram_size": 3, "keep_best_fallback": True,
    }  # fmt: skip
    assert passed["condition_on_previous_text"] is False
    assert cli.main([*line, "--assistant", "base", "--beam_size", "None"]) == 0
    assert fake.calls[-1][1]["assistant"] == "base"
    assert cli.main([*line, "--assistant", "base"]) == 2
    assert "not beam_size=5" in capsys.readouterr().err
    assert cli.main([*line, "--batch_size", "4", "--condition_on_previous_text", "True"]) == 2
    assert "needs windows in sequence" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main([*line, "--vad_parameters", "threshold"])
    assert "NAME=NUMBER" in capsys.readouterr().err


def test_english_models_are_asked_for_english(fake: FakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    fake.dims = SIZES["tiny.en"]
    for told in ([], ["--language", "en"], ["--language", "English"]):
        assert cli.main(["transcribe", "one.wav", "--model", "tiny.en", *told]) == 0
        assert capsys.readouterr().err == ""
    assert cli.main(["transcribe", "one.wav", "--model", "tiny.en", "--language", "de"]) == 0
    assert [options["language"] for _, options in fake.calls] == ["en", "en", "English", "en"]
    assert "tiny.en is an English-only model" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["txt", "vtt", "srt", "tsv", "json"])
def test_files_are_written_where_asked(fake: FakeModel, form: str, tmp_path: Path) -> None:
    assert cli.main(["transcribe", "one.wav", "two.wav", "--output_format", form, "-o", "new/folder"]) == 0
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [f"one.{form}", f"two.{form}"]
    assert "said in one" in (tmp_path / "new" / "folder" / f"one.{form}").read_text()


def test_words_are_laid_out_as_asked(fake: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [{"word": f" {n}", "start": i, "end": i + 1, "probability": 1.0} for i, n in enumerate("abc")]
    result = {"text": " a b c", "segments": [{"start": 0, "end": 3, "text": " a b c", "words": words}]}
    monkeypatch.setattr(fake, "transcribe", lambda file, **options: result if options["word_timestamps"] else None)
    asked = ["--word_timestamps", "True", "--max_words_per_line", "2", "-f", "srt"]
    assert cli.main(["transcribe", "one.wav", *asked]) == 0
    assert [line for line in (tmp_path / "one.srt").read_text().splitlines() if line[:1].isalpha()] == ["a b", "c"]
    assert cli.main(["transcribe", "one.wav", *asked, "--highlight_words", "True"]) == 0
    assert "a <u>b</u>" in (tmp_path / "one.srt").read_text()


def test_all_formats_are_the_default(fake: FakeModel, tmp_path: Path) -> None:
    assert cli.main(["transcribe", "one.wav"]) == 0
    assert {path.suffix for path in tmp_path.glob("one.*")} == {".wav", ".txt", ".vtt", ".srt", ".tsv", ".json"}


def test_one_bad_file_costs_itself_alone(fake: FakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["transcribe", "gone.wav", "one.wav", "broken.wav", "two.wav", "-f", "txt"])
    assert status == 1
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["one.txt", "two.txt"]
    assert capsys.readouterr().err.splitlines() == [
        "maxwhisper: error: gone.wav: no such file",
        "maxwhisper: error: broken.wav cannot be read as audio: it is broken",
    ]


def test_what_standard_input_cannot_be_is_said_as_it_is(
    fake: FakeModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(file: str, **_: Any) -> NoReturn:
        raise AudioError("standard input is empty")

    monkeypatch.setattr(fake, "transcribe", broken)
    assert cli.main(["transcribe", "-", "-f", "txt"]) == 1
    assert capsys.readouterr().err == "maxwhisper: error: standard input is empty\n"


def test_a_folder_is_its_media_files(fake: FakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "folder"
    (folder / "deeper.wav").mkdir(parents=True)
    for name in ("b.MP3", "a.flac", "notes.txt", "c.mkv", "noise"):
        (folder / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    assert cli.main(["transcribe", "one.wav", "folder", "empty", "one.wav", "-f", "txt"]) == 1
    assert [file for file, _ in fake.calls] == ["one.wav", "folder/a.flac", "folder/b.MP3", "folder/c.mkv"]
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["a.txt", "b.txt", "c.txt", "one.txt"]
    message = "maxwhisper: error: empty: no file in this folder is named as audio or video\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(("given", "limit"), [("1", [1]), ("0", []), ("999", [available_cpus()])])
def test_threads_are_limited_before_the_model_is_loaded(given: str, limit: list[int], monkeypatch: pytest.MonkeyPatch,
                                                        tmp_path: Path) -> None:
    done: list[Any] = []
    monkeypatch.setattr(commands, "limit_threads", done.append)
    monkeypatch.setattr("maxwhisper_impl.whisper.load_model", lambda *_, **__: done.append("loaded") or FakeModel())
    assert cli.main(["transcribe", __file__, "--model", "tiny", "--threads", given, "-o", str(tmp_path)]) == 0
    assert done == [*limit, "loaded"]


def test_no_model_is_loaded_for_files_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_load", lambda _: pytest.fail("loaded"))
    assert cli.main(["transcribe", "gone.wav"]) == 1


def test_standard_input_has_a_name(fake: FakeModel, tmp_path: Path) -> None:
    assert cli.main(["transcribe", "-", "-f", "txt"]) == 0
    assert fake.calls[0][0] == "-"
    assert (tmp_path / "stdin.txt").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "the following arguments are required: FILE"),
    (["one.wav", "--beam_size", "many"], "argument --beam_size: invalid whole number or None value: 'many'"),
    (["one.wav", "--verbose", "maybe"], "expected True or False, got 'maybe'"),
    (["one.wav", "--output_format", "doc"], "invalid choice: 'doc'"),
    (["one.wav", "--no_such_flag"], "unrecognized arguments: --no_such_flag"),
    (["one.wav", "--live"], "--live listens to standard input: give - instead of one.wav"),
    (["-", "--live", "--model", "tiny", "--step", "0"], "step=0.0: give 0.1 to 10 seconds"),
    (["-", "--live", "--model", "tiny", "--clip_timestamps", "3"], "clip_timestamps='3' is not for live audio"),
    (["one.wav", "two/one.mp3"], "the transcripts of one.wav and two/one.mp3 would both be named one"),
    (["one.wav", "--highlight_words", "True"], "--highlight_words requires --word_timestamps True"),
    (["one.wav", "--temperature_increment_on_fallback", "0"], "--temperature_increment_on_fallback 0.0: give a number"),
    (["one.wav", "--model", "tiny", "--language", "Klingon"], "unknown language 'Klingon'"),
    (["one.wav", "--model", "tiny", "--best_of", "0"], "best_of=0"),
    (["one.wav", "--model", "tiny", "--clip_timestamps", "soon"], "clip_timestamps='soon'"),
])
def test_wrong_use_is_one_line_and_status_2(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch,
                                            tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two").mkdir()
    for name in ("one.wav", "two/one.mp3"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(commands, "_load", lambda _: pytest.fail("a model was loaded before the options were checked"))
    try:
        status = cli.main(["transcribe", *arguments])
    except SystemExit as left:
        status = left.code
    assert status == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("maxwhisper: error: ")
    assert message in line


@pytest.mark.parametrize(("raised", "status", "line"), [
    (OptionError("this option"), 2, "maxwhisper: error: this option"),
    (AudioError("this audio"), 1, "maxwhisper: error: this audio"),
    (KeyboardInterrupt(), 130, "maxwhisper: error: interrupted"),
    (PermissionError(13, "Permission denied", "/out"), 1, "maxwhisper: error: /out: Permission denied"),
    (Terminated(), 143, "maxwhisper: error: terminated"),
])
def test_errors_are_one_line(raised: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: Any) -> int:
        raise raised

    monkeypatch.setattr(commands, "convert", fail)
    assert cli.main(["convert", "a", "b.pt"]) == status
    assert capsys.readouterr().err == line + "\n"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(commands, "convert", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["convert", "a", "b.pt"])


def test_model_dir_is_the_only_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.wav").write_bytes(b"")
    status = cli.main(["transcribe", str(tmp_path / "one.wav"), "--model", "tiny.en", "--model_dir", str(tmp_path),
                       "-o", str(tmp_path)])
    assert status == 1
    assert f"{tmp_path} holds neither tiny.en.pt nor tiny.en" in capsys.readouterr().err


def test_convert_keeps_every_tensor(tmp_path: Path) -> None:
    first, second = tmp_path / "a.npz", tmp_path / "b"
    save_checkpoint(random_checkpoint(SIZES["tiny"], seed=1), first)
    assert cli.main(["convert", str(first), str(second), "--format", "ctranslate2"]) == 0
    want, got = load_checkpoint(first).tensors, load_checkpoint(second).tensors
    assert got.keys() == want.keys()
    assert all(np.array_equal(got[name], want[name]) for name in want)
    assert cli.main(["convert", str(first), str(tmp_path / "nameless")]) == 2
    assert cli.main(["convert", str(tmp_path / "gone.pt"), str(tmp_path / "c.npz")]) == 1


@pytest.mark.parametrize("arguments", [["report", "--out=--", "x.json"], ["transcribe", "--temperature=--", "a.wav"]])
def test_two_dashes_are_no_value(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """argparse itself hands over an empty list."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.USAGE
    assert "expected one argument, not '--'" in capsys.readouterr().err
