"""What the commands make of their flags before and behind a model, and what compare is given to hear."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl import cli, commands, samples
from maxwhisper_impl.errors import OptionError
from maxwhisper_impl.samples import clip_of, default_clip, read_samples
from tests.parity.test_cli import FakeModel

SPEECH = Path(__file__).resolve().parents[2] / "fixtures" / "en" / "01-slt.flac"


@pytest.fixture
def audio(tmp_path: Path) -> str:
    (tmp_path / "one.wav").write_bytes(b"")
    return str(tmp_path / "one.wav")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What `load_model` was asked for."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("maxwhisper_impl.whisper.load_model",
                        lambda name, **options: asked.append({"name": name, **options}) or FakeModel())
    monkeypatch.chdir(tmp_path)
    return asked


@pytest.mark.parametrize(("device", "dtype", "warning"), [
    ("cpu", "float32", "maxwhisper: warning: FP16 is not supported on CPU; using FP32 instead\n"),
    ("cuda", "float16", ""),
])
def test_fp16_is_for_gpus(device: str, dtype: str, warning: str, loaded: list[dict[str, Any]], audio: str,
                          capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", audio, "--model", "tiny", "--fp16", "True", "--device", device]) == 0
    assert (loaded[0]["device"], loaded[0]["dtype"]) == (device, dtype)
    assert capsys.readouterr().err == warning


def test_the_model_computes_in_what_was_asked_for(loaded: list[dict[str, Any]], audio: str) -> None:
    assert cli.main(["transcribe", audio, "--model", "tiny", "--dtype", "int8"]) == 0
    assert (loaded[0]["device"], loaded[0]["dtype"]) == ("cpu", "int8")


@pytest.mark.parametrize(("text", "want"), [("True", True), ("true", True), ("False", False), ("FALSE", False)])
def test_true_and_false_in_any_case(text: str, want: bool, audio: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeModel()
    monkeypatch.setattr(commands, "_load", lambda _: model)
    out = str(Path(audio).parent)
    assert cli.main(["transcribe", audio, "--model", "tiny", "-o", out, "--word_timestamps", text]) == 0
    assert model.calls[0][1]["word_timestamps"] is want


def test_what_a_path_leads_to_is_known_when_it_is_loaded(
    audio: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An English-only model, here, whose file's name does not tell."""
    model = FakeModel("tiny.en")
    monkeypatch.setattr(commands, "_load", lambda _: model)
    for language in ("None", "de"):
        told = [] if language == "None" else ["--language", language]
        assert cli.main(["transcribe", audio, "--model", "my.npz", "-o", str(tmp_path), *told]) == 0
    assert [options["language"] for _, options in model.calls] == ["en", "en"]
    assert capsys.readouterr().err.count("my.npz is an English-only model but receipted 'de'") == 1


def test_a_folder_of_what_people_record(tmp_path: Path) -> None:
    """Phones, cameras, browsers, old computers; a name that is no audio's is left out."""
    kinds = "3gp aac aiff amr avi flac m4a m4b m4v mkv mov mp3 mp4 mpg oga ogg opus wav webm wma wmv"
    for kind in (*kinds.split(), "txt", "srt", "json", "jpg", "pdf"):
        (tmp_path / f"a.{kind}").touch()
    found, failed = commands.audio_files([str(tmp_path)])
    assert [Path(file).suffix[1:] for file in found] == kinds.split()
    assert not failed


def test_a_folder_that_may_not_be_read_costs_itself_alone(audio: str, monkeypatch: pytest.MonkeyPatch,
                                                          tmp_path: Path) -> None:
    def denied(folder: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", denied)
    assert commands.audio_files([str(tmp_path), audio]) == ([audio], [f"{tmp_path}: Permission denied"])


@pytest.mark.parametrize("name", ["tiny.pt", "tiny"])
def test_model_dir_holds_the_model(name: str, loaded: list[dict[str, Any]], audio: str, tmp_path: Path) -> None:
    """As a file or a folder."""
    models = tmp_path / "models"
    (models / name).mkdir(parents=True)
    assert cli.main(["transcribe", audio, "--model", "tiny", "--model_dir", str(models)]) == 0
    assert loaded[0]["name"] == str(models / name)


@pytest.mark.parametrize(("flags", "warning"), [
    ("--max_line_count 2", "--max_line_count has no effect without --max_line_width"),
    ("--max_line_width 9 --max_words_per_line 2", "--max_words_per_line has no effect with --max_line_width"),
])
def test_flags_without_effect_are_told(flags: str, warning: str, loaded: list[dict[str, Any]], audio: str,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", audio, "--model", "tiny", "--word_timestamps", "True", *flags.split()]) == 0
    assert capsys.readouterr().err == f"maxwhisper: warning: {warning}\n"


def test_an_option_that_no_file_can_be_transcribed_with_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, not file by file."""
    model, asked = FakeModel(), list[str]()

    def transcribe(file: str, **options: Any) -> Any:
        asked.append(file)
        raise OptionError("not with this model")

    monkeypatch.setattr(model, "transcribe", transcribe)
    monkeypatch.setattr(commands, "_load", lambda _: model)
    monkeypatch.chdir(tmp_path)
    for name in ("one.wav", "two.wav"):
        (tmp_path / name).write_bytes(b"")
    assert cli.main(["transcribe", "one.wav", "two.wav", "--model", "tiny"]) == 2
    assert asked == ["one.wav"]
    assert capsys.readouterr().err == "maxwhisper: error: not with this model\n"


# ---- what compare is given


def manifest(folder: Path, *rows: dict[str, Any]) -> None:
    lines = [json.dumps({"language": "en", "text": "known", "seconds": 1.0, **row}) for row in rows]
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    for row in rows:
        (folder / row["audio"]).touch()


def test_a_clip_is_looked_for_in_every_corpus_above_it(tmp_path: Path) -> None:
    """A manifest that does not know the file, or is broken, is passed over, the latter with a word."""
    near = tmp_path / "near"
    near.mkdir()
    manifest(tmp_path, {"audio": "near/a.wav"})
    manifest(near, {"audio": "other.wav"})
    said: list[str] = []
    found = clip_of(near / "a.wav", said.append)
    assert found is not None
    assert (found.text, said) == ("known", [])
    (near / "manifest.jsonl").write_text("{")
    assert clip_of(near / "a.wav", said.append) == found
    line, = said
    assert line.startswith(f"{near / 'a.wav'}: no transcript from {near}: ")
    assert "manifest.jsonl:1: not JSON" in line


def test_a_clip_of_a_corpus_that_begins_two_folders_above(tmp_path: Path) -> None:
    folder = tmp_path / "en" / "long"
    folder.mkdir(parents=True)
    manifest(tmp_path, {"audio": "en/long/a.wav", "text": "two above"})
    found = clip_of(folder / "a.wav", print)
    assert found is not None
    assert found.text == "two above"


def test_a_clip_beside_librispeechs_transcripts(tmp_path: Path) -> None:
    (tmp_path / "1-2.trans.txt").write_text("1-2-0 FIRST\n1-2-1 SECOND\n")
    for name in ("1-2-0", "1-2-1", "stray"):
        (tmp_path / f"{name}.flac").write_bytes(SPEECH.read_bytes())
    found = clip_of(tmp_path / "1-2-1.flac", print)
    assert found is not None
    assert (found.text, found.language) == ("SECOND", "en")
    assert clip_of(tmp_path / "stray.flac", print) is None


def test_without_a_file_it_is_the_longest_with_a_transcript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last corpus that has one."""
    silent, spoken = tmp_path / "silent", tmp_path / "spoken"
    for folder in (silent, spoken):
        folder.mkdir()
    manifest(silent, {"audio": "a.wav", "text": ""})
    manifest(spoken, {"audio": "a.flac"}, {"audio": "b.flac", "seconds": 5.48}, {"audio": "c.flac", "text": None})
    (spoken / "b.flac").write_bytes(SPEECH.read_bytes())
    monkeypatch.setattr(samples, "default_corpora", lambda: [spoken, silent])
    sample, = read_samples([])
    assert sample.id == str(spoken / "b.flac")
    assert (sample.text, sample.language) == ("known", "en")
    assert sample.seconds == pytest.approx(5.48, abs=1e-3)
    monkeypatch.setattr(samples, "default_corpora", lambda: [silent])
    with pytest.raises(OptionError, match="no audio is given, and there are no fixtures beside the package"):
        default_clip()


def test_a_reference_of_a_windows_editor(tmp_path: Path) -> None:
    """Its byte order mark is no part of the first word, which would be an error more."""
    (tmp_path / "said.txt").write_bytes(b"\xef\xbb\xbfThe ice")
    sample, = read_samples([str(SPEECH)], reference=str(tmp_path / "said.txt"))
    assert sample.text == "The ice"


def test_a_file_that_is_given_twice() -> None:
    with pytest.raises(OptionError, match="a file is given twice"):
        read_samples(["a.wav", "a.wav"])
