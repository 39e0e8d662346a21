"""Options of a wrong type, and what else fuzzing found: one error of ours each, never one from below."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import Whisper, cli, get_writer, load_model
from maxwhisper_impl.commands import audio_files
from maxwhisper_impl.compare import compare
from maxwhisper_impl.corpus import read_corpus
from maxwhisper_impl.decoding.options import MOST_ROWS
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.errors import (
    AudioError,
    CheckpointError,
    CorpusError,
    DeviceError,
    MaxWhisperError,
    OptionError,
)
from maxwhisper_impl.files import write_whole
from maxwhisper_impl.live import verify_live
from maxwhisper_impl.samples import read_samples
from maxwhisper_impl.status import complain
from maxwhisper_impl.transcribe_options import make_transcribe_options
from maxwhisper_impl.weights import convert, load_checkpoint
from tests.fuzz.scripted import Scripted
from tests.parity.small_checkpoints import save, small

DIMS = SIZES["base"]
WRONG: list[tuple[str, Any, str]] = [
    ("language", 5, "give a string or None"),
    ("language", b"en", "give a string or None"),
    ("task", None, "give a string"),
    ("prefix", 0.5, "give a string, a list of whole numbers or None"),
    ("prefix", [0.5], "give a string, a list of whole numbers or None"),
    ("hotwords", ["a"], "give a string, a list of whole numbers or None"),
    ("suppress_tokens", 5, "give a string, a list of whole numbers or None"),
    ("suppress_tokens", b"12", "give a string, a list of whole numbers or None"),
    ("temperature", "hot", "give a number or a list of numbers"),
    ("temperature", [0.0, None], "give a number or a list of numbers"),
    ("initial_prompt", [1], "give a string or None"),
    ("seed", 0.5, "give a whole number, a list of whole numbers or None"),
    ("word_timestamps", "yes", "give True or False"),
    ("condition_on_previous_text", [], "give True or False"),
    ("beam_size", True, "give a whole number or None"),
    ("clip_timestamps", {"a": 1}, "give a string or a list of numbers"),
]


@pytest.mark.parametrize(("name", "value", "says"), WRONG, ids=[f"{name}={value!r}" for name, value, _ in WRONG])
def test_a_wrong_type_is_named(name: str, value: Any, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        make_transcribe_options(DIMS, **{name: value})
    assert str(caught.value) == f"{name}={value!r}: {says}"


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.array([0.5]), np.arange(0, 1, 0.2), range(2)]
)
def test_numpys_numbers_are_numbers(value: Any) -> None:
    clips = np.array([0.0, 1.5])
    options = make_transcribe_options(DIMS, temperature=value, beam_size=np.int64(3), clip_timestamps=clips)
    assert options.temperatures == tuple(np.ravel(np.array(value, np.float64 if np.ndim(value) else None)).tolist())
    assert options.decoding.beam_size == 3
    assert options.clip_timestamps == [0.0, 1.5]


@pytest.mark.parametrize("name", ["beam_size", "best_of", "batch_size"])
def test_more_rows_than_memory_holds_are_refused(name: str) -> None:
    options = {"temperature": 1.0} if name == "best_of" else {}
    make_transcribe_options(DIMS, **{name: MOST_ROWS}, **options)
    with pytest.raises(OptionError, match=f"{name}=1000000: give a whole number from 1 to {MOST_ROWS}"):
        make_transcribe_options(DIMS, **{name: 10**6}, **options)


@pytest.mark.parametrize("rows", [{"beam_size": 5, "best_of": 3}, {"beam_size": 3, "best_of": 5}, {"best_of": 5}])
def test_more_rows_together_than_memory_holds_are_refused(rows: dict[str, int]) -> None:
    make_transcribe_options(DIMS, batch_size=MOST_ROWS // 5, **rows)
    said = f"batch_size=100 with beam_size={rows.get('beam_size')} and best_of={rows['best_of']} makes 500 rows"
    with pytest.raises(OptionError, match=said):
        make_transcribe_options(DIMS, batch_size=100, **rows)


def test_a_parameter_whose_name_is_no_string() -> None:
    with pytest.raises(OptionError, match="unknown VAD parameter 5"):
        make_transcribe_options(DIMS, vad_filter=True, vad_parameters={5: 1})


@pytest.mark.parametrize("value", ["x", None, [1.0], b"1", float("nan")])
def test_live_times_of_a_wrong_type(value: Any) -> None:
    plain = make_transcribe_options(DIMS)
    with pytest.raises(OptionError, match="step="):
        verify_live(plain, value, 10.0)
    with pytest.raises(OptionError, match="max_delay="):
        verify_live(plain, 1.0, value)


@pytest.mark.parametrize("name", [None, 5, b"base", ["base"], np.zeros(2)], ids=str)
def test_a_checkpoint_that_is_no_name(name: Any, tmp_path: Path) -> None:
    for call in (load_checkpoint, lambda name: convert(name, tmp_path / "a.npz"), load_model):
        with pytest.raises(CheckpointError, match="given by its name or path"):
            call(name)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_a_checkpoint_whose_name_no_file_can_have(name: str) -> None:
    with pytest.raises(CheckpointError, match="neither a file or folder nor a model's name"):
        load_checkpoint(name)


def test_a_file_whose_name_no_file_can_have() -> None:
    with pytest.raises(MaxWhisperError, match=r"'a\\x00b' cannot be written: "):
        write_whole(Path("a\0b"), b"")


def test_loading_with_options_of_a_wrong_type() -> None:
    for options in ({"device": None}, {"dtype": np.zeros(2)}):
        with pytest.raises(DeviceError, match="give a string"):
            load_model("no such", **options)
    for count in (0, 10**6, "2", 1.0, True):
        with pytest.raises(OptionError, match="threads="):
            load_model("no such", num_threads=count)  # type: ignore[arg-type]


def test_comparing_with_options_of_a_wrong_type() -> None:
    for name, value in (("rounds", "3"), ("rounds", 1.5), ("threads", "1"), ("threads", None)):
        with pytest.raises(OptionError, match=f"{name}="):
            compare([], [], [], **{name: value})


@pytest.mark.parametrize("value", ["5", 2.5, [1], np.zeros(0)], ids=str)
def test_writers_with_options_of_a_wrong_type(value: Any, tmp_path: Path) -> None:
    result: Any = {"text": "", "segments": [], "language": "en"}
    with pytest.raises(OptionError, match=r"max_line_width=.*give a whole number"):
        get_writer("srt", tmp_path)(result, "a.wav", max_line_width=value)
    with pytest.raises(OptionError, match="unknown output format"):
        get_writer(value, tmp_path)


def test_an_error_is_one_line_whatever_names_hold(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a\nb\x1b[31m \udcff.wav: é\u202e日本\n  missing (1): x")
    assert capsys.readouterr().err == "maxwhisper: error: a b\\x1b[31m \\udcff.wav: é\\u202e日本 missing (1): x\n"


def test_a_missing_file_is_missing_once() -> None:
    assert audio_files(["nowhere.wav", "nowhere.wav"]) == ([], ["nowhere.wav: no such file"])


@pytest.mark.parametrize("harm", ["lost", "folder"])
@pytest.mark.parametrize("name", ["1-2.trans.txt", "manifest.jsonl"])
def test_a_transcript_that_cannot_be_read(name: str, harm: str, tmp_path: Path) -> None:
    if harm == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(CorpusError, match=f"{name}: cannot be read|no corpus here"):
        read_corpus(tmp_path)


def test_speech_detection_leaves_no_file_and_reports_nothing(tmp_path: Path) -> None:
    """onnxruntime of 1.32 and newer writes a session file for its telemetry unless it is told not to."""
    code = "import numpy as np; from maxwhisper_impl.vad import speech_probabilities as p; p(np.zeros(999, np.float32))"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], env={**environment, "TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []


class NoWork:
    """A runtime that may be asked for nothing."""

    dims = DIMS


ODD_MELS: dict[str, Any] = {
    "none": None,
    "text": "mel",
    "ragged": [[1.0], [1.0, 2.0]],
    "one frame": np.zeros(80),
    "no frames": np.zeros((80, 0)),
    "no windows": np.zeros((0, 80, 3000)),
    "objects": np.zeros((80, 3000), object),
    "complex": np.zeros((80, 3000), complex),
    "nan": np.full((80, 3000), np.nan, np.float32),
}


@pytest.mark.parametrize("name", ODD_MELS)
def test_what_is_no_mel(name: str) -> None:
    whisper = Whisper(DIMS, NoWork())  # type: ignore[arg-type]
    for ask in (whisper.decode, whisper.encode, whisper.detect_language):
        with pytest.raises(OptionError, match="mel frames"):
            ask(ODD_MELS[name])


@pytest.mark.parametrize("tokens", [None, [1], [["a"]], [[0.5]], [[]], [[1], [1, 2]]], ids=str)
def test_what_are_no_tokens(tokens: Any) -> None:
    with pytest.raises(OptionError, match="token ids must be"):
        Whisper(DIMS, NoWork()).logits(tokens, np.zeros((1, 1500, 512)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "flags", [("1e-9", "0"), ("0.2", "-1e300"), ("0.2", "-inf"), ("0.2", "nan")], ids=lambda flags: " from ".join(flags)
)
def test_more_temperatures_than_anyone_waits_for(
    flags: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    increment, temperature = flags
    arguments = ["transcribe", str(tmp_path), f"--temperature_increment_on_fallback={increment}"]
    assert cli.main([*arguments, f"--temperature={temperature}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"in steps of {float(increment)}: at most 100 temperatures" in line


@pytest.mark.parametrize("temperature", [1e-300, 1e300, -1.0, float("inf"), float("nan")])
def test_temperatures_that_logits_cannot_be_divided_by(temperature: float, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"give 0, or a number from 1e-06 to 1e\+06"):
        make_transcribe_options(DIMS, temperature=temperature)
    make_transcribe_options(DIMS, temperature=(0, 1e-6, 1.0, 1e6))


@pytest.mark.parametrize("patience", [float("inf"), -float("inf"), float("nan"), 0.0])
def test_patience_that_keeps_nothing_or_never_ends(patience: float) -> None:
    with pytest.raises(OptionError, match="keeps no candidate"):
        make_transcribe_options(DIMS, beam_size=5, patience=patience)


@pytest.mark.parametrize("out", [None, 5, True, [None], {}], ids=str)
def test_a_target_that_is_no_path(out: Any) -> None:
    with pytest.raises(CheckpointError, match="is written to a path"):
        convert("no such", out)


def test_a_file_that_links_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(AudioError, match=r"loop.wav does not exist"):
        read_samples([str(tmp_path / "loop.wav")], say=lambda line: None)


def test_tensors_that_numpy_lacks(tmp_path: Path) -> None:
    import torch

    path = save(small(), tmp_path, "pt")
    content = torch.load(path, weights_only=True)
    state, name = content["model_state_dict"], "decoder.ln.bias"
    state[name] = state[name].to(torch.float8_e4m3fn)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"{name} is torch.float8_e4m3fn, and only float16 and float32"):
        load_checkpoint(path)


def test_a_message_stays_short_whatever_the_names(tmp_path: Path) -> None:
    path = save(small(), tmp_path, "npz")
    members = dict(np.load(path))
    np.savez(path, **members, **{f"{i}{'x' * 30_000}": members["decoder.ln.bias"] for i in range(20)})
    with pytest.raises(CheckpointError, match=r"extra \(20\)") as caught:
        load_checkpoint(path)
    assert len(str(caught.value)) < 5000
    np.savez(path, **members, **{f"dims.{'x' * 30_000}": np.array(1)})
    with pytest.raises(CheckpointError, match="is unknown") as caught:
        load_checkpoint(path)
    assert len(str(caught.value)) < 1000


def test_live_segments_hold_all_that_is_final() -> None:
    """Behind two timestamps in a row, too, which only special tokens between them let happen."""
    live = Whisper(SIZES["tiny.en"], Scripted(SIZES["tiny.en"])).live()
    begin = live._tokenizer.timestamp_begin
    word, language = live._tokenizer.encode(" said")[0], live._tokenizer.sot + 1
    live._audio = np.zeros(16000, np.float32)
    live._final = [begin, language, begin + 5, begin + 9, language, begin + 12, begin + 20, word]
    live._result = replace(live._result, tokens=list(live._final))
    live._close(len(live._final))
    assert "".join(segment["text"] for segment in live.segments) == " said"
