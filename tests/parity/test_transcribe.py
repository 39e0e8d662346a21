"""Whole recordings by our rules on the oracle's own logits: every field of every segment, option by option."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import whisper

from maxwhisper_impl import DecodingResult, Result, Segment, Whisper
from maxwhisper_impl import transcribe as transcribe_module
from maxwhisper_impl.audio import HOP_LENGTH, N_FRAMES, SAMPLE_RATE, load_audio
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.segments import Window, clear_empty, cut_segments, print_segments
from maxwhisper_impl.tokenizer import get_tokenizer
from tests import oracle_answers
from tests.compare import assert_close
from tests.implementations import Model
from tests.oracle_runtime import Draws, OracleRuntime
from tests.parity.recordings import joined

pytestmark = pytest.mark.rules

Options = dict[str, Any]
NEVER: Options = {"compression_ratio_threshold": None, "logprob_threshold": None, "no_speech_threshold": None}
NO_SILENCE: Options = {"no_speech_threshold": None}
SHORT: Options = {"without_timestamps": True, "sample_len": 12}
"""few steps a window, and no seek back"""
WHOLE: Options = {"without_timestamps": False, "sample_len": None}

CASES: dict[str, Options] = {
    "defaults": {},
    "windows by themselves": {"condition_on_previous_text": False, "temperature": 0.0, **SHORT},
    "initial prompt": {"initial_prompt": "A list of ports and tides.", "temperature": 0.0},
    "carried initial prompt": {
        "initial_prompt": " a list of ports, winds, tides and names" * 20,  # little room is left beside it
        "carry_initial_prompt": True,
        "temperature": 0.0,
        **SHORT,
    },
    "no timestamps": {"without_timestamps": True, "temperature": 0.0},
    "clips": {"clip_timestamps": "3,6.5,20,24.004,11,14", "temperature": 0.0},
    "from a time on": {"clip_timestamps": [31.0], "temperature": 0.0},
    "no thresholds": {**NEVER},
    "falls back to the last temperature": {"logprob_threshold": 0.0, "temperature": (0.0, 0.3), "best_of": 2, **SHORT},
    "falls back on repetition": {"compression_ratio_threshold": 0.5, "temperature": (0.0, 0.4, 0.8), "sample_len": 40},
    "hot results are no context": {"logprob_threshold": 0.0, "temperature": (0.0, 0.6), **NO_SILENCE, **SHORT},
    "silence is not decoded again": {"logprob_threshold": 0.0, "no_speech_threshold": 0.0, "temperature": (0.0, 0.6)},
    "no speech": {"no_speech_threshold": 0.0, "logprob_threshold": None, "temperature": 0.0, **SHORT},
    "no speech, but likely text": {"no_speech_threshold": 0.0, "logprob_threshold": -5.0, "temperature": 0.0},
    "beams, then samples": {
        "beam_size": 2,
        "patience": 1.5,
        "best_of": 2,
        "temperature": (0.0, 0.5),
        "logprob_threshold": -0.1,
        **SHORT,
    },
}
SLOW = {
    "beams, then samples",
    "initial prompt",
    "no timestamps",
    "from a time on",
    "no thresholds",
    "falls back on repetition",
    "silence is not decoded again",
    "no speech, but likely text",
}

MULTILINGUAL: dict[str, Options] = {
    "detected": {"temperature": 0.0, "clip_timestamps": "0,5"},
    "translated": {"task": "translate", "language": "de", "temperature": 0.0, "clip_timestamps": "0,5"},
    "by name": {"language": "German", "temperature": 0.0, "clip_timestamps": "0,5"},
}


@pytest.fixture(scope="module")
def rules(oracle: Model) -> Whisper:
    """Our rules on the oracle's logits."""
    return Whisper(oracle.dims, OracleRuntime(oracle.torch))


def compare(name: str, rules: Whisper, oracle: Model, audio: np.ndarray, options: Options) -> dict[str, Any]:
    draws = Draws()
    with draws.recording():
        ours = rules.transcribe(audio, **options)
    assert_results(name, ours, oracle_answers.transcribe(oracle, audio, options, draws)[0])
    return ours


def assert_results(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Equal in every key, in the same order (JSON shows it); only sums of float32 may be rounded otherwise."""
    for number, (got, want) in enumerate(zip(ours["segments"], theirs["segments"], strict=False)):
        where = f"{name}: segment {number} of the window at {want['seek'] / 100} s"
        assert list(got) == list(want), where
        assert Segment.__required_keys__ <= set(want) <= Segment.__required_keys__ | Segment.__optional_keys__
        for key, value in want.items():
            if key in ("avg_logprob", "no_speech_prob"):
                assert_close(f"{where}: {key}", got[key], value, f"rules.{key}")
            else:
                assert got[key] == value, f"{where}: {key}"
    assert len(ours["segments"]) == len(theirs["segments"]), name
    assert list(ours) == list(theirs) == list(Result.__annotations__), name
    assert (ours["text"], ours["language"]) == (theirs["text"], theirs["language"]), name


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES])
def test_option(rules: Whisper, oracle: Model, recording: np.ndarray, name: str) -> None:
    result = compare(name, rules, oracle, recording, {"language": "en", **CASES[name]})
    if name == "defaults":
        assert result["segments"][-1]["seek"] > 0, "one window only"
    assert bool(result["text"]) == (name not in ("no speech", "silence is not decoded again"))


@pytest.mark.multilingual
@pytest.mark.parametrize("name", ["detected", "translated", pytest.param("by name", marks=pytest.mark.slow)])
def test_language(rules: Whisper, oracle: Model, clips: list[Clip], name: str) -> None:
    result = compare(name, rules, oracle, joined(clips, "de", 9.0), MULTILINGUAL[name])
    assert result["language"] == MULTILINGUAL[name].get("language", "de")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["defaults", "windows by themselves", "carried initial prompt"])
def test_long_files(rules: Whisper, oracle: Model, clips: list[Clip], name: str) -> None:
    for clip in clips:
        if clip.seconds > 100:
            options = {"language": clip.language or "en", **CASES[name], **WHOLE}
            compare(clip.id, rules, oracle, load_audio(clip.audio), options)


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 160, 8000])
def test_very_short_audio(rules: Whisper, oracle: Model, samples: int) -> None:
    """No audio has no segments; less than a frame has none either."""
    audio = np.linspace(-0.1, 0.1, samples, dtype=np.float32)
    if samples == 0:
        assert rules.transcribe(audio, language="en") == {"text": "", "segments": [], "language": "en"}
    else:
        compare(f"{samples} samples", rules, oracle, audio, {"language": "en", "temperature": 0.0, "sample_len": 8})


def test_stream_yields_segments_when_they_are_final(rules: Whisper, recording: np.ndarray) -> None:
    done: list[tuple[float, float]] = []
    options: Options = {"language": "en", "temperature": 0.0, "without_timestamps": True, "sample_len": 10}
    whole = rules.transcribe(recording, **options)
    stream = rules.stream(recording, progress=lambda now, total: done.append((now, total)), **options)
    segments = iter(stream)
    first = next(segments)
    encodes = rules.runtime.encodes
    assert first == whole["segments"][0]
    assert not done, "the first window is not done yet"
    assert [first, *segments] == whole["segments"]
    assert rules.runtime.encodes > encodes, "the second window was encoded before it was asked for"
    assert (stream.text, stream.language) == (whole["text"], "en")
    assert [now for now, _ in done] == sorted({now for now, _ in done})
    assert done[-1] == (pytest.approx(len(recording) / SAMPLE_RATE, abs=0.01),) * 2


def test_a_cancelled_stream_ends_behind_its_window(rules: Whisper, recording: np.ndarray) -> None:
    """What it has given stands; nothing more is encoded. A second iteration goes no further."""
    options: Options = {"language": "en", "temperature": 0.0, "without_timestamps": True, "sample_len": 10}
    stream = rules.stream(recording, **options)
    before = rules.runtime.encodes
    segments = []
    for segment in stream:
        segments.append(segment)
        stream.cancel()
    assert rules.runtime.encodes == before + 1
    assert [segment["seek"] for segment in segments] == [0]
    assert stream.text == "".join(segment["text"] for segment in segments)
    assert list(stream) == []


def test_progress_may_cancel(rules: Whisper, recording: np.ndarray) -> None:
    """Between windows, as from another thread."""
    stream = rules.stream(recording, progress=lambda *_: stream.cancel(), language="en", without_timestamps=True,
                          sample_len=10, temperature=0.0)  # fmt: skip
    assert {segment["seek"] for segment in stream} == {0}


def test_a_window_is_encoded_once_whatever_it_takes(rules: Whisper, recording: np.ndarray) -> None:
    """Detecting the language and falling back read the same features."""
    runtime = rules.runtime
    before = runtime.encodes
    result = rules.transcribe(recording, logprob_threshold=0.0, temperature=(0.0, 0.2, 0.4), sample_len=10,
                              condition_on_previous_text=False, no_speech_threshold=None)
    windows = {segment["seek"] for segment in result["segments"]}
    assert runtime.encodes - before == len(windows)


def test_verbose_prints_what_the_oracle_prints(
    rules: Whisper, oracle: Model, recording: np.ndarray, capsys: Any
) -> None:
    options: Options = {"temperature": 0.0, "verbose": True, "clip_timestamps": "0,8"}
    rules.transcribe(recording, **options)
    ours = capsys.readouterr().out
    whisper.transcribe(oracle.torch, recording, fp16=False, **options)
    assert ours == capsys.readouterr().out
    assert "[00:00.000 --> " in ours


def test_progress_bar(rules: Whisper, recording: np.ndarray, capsys: Any) -> None:
    rules.transcribe(recording, temperature=0.0, verbose=False, clip_timestamps="0,5", sample_len=5, language="en")
    out, err = capsys.readouterr()
    assert out == ""
    assert "/3830" in err


def test_seed_reproduces_a_sampled_transcript(rules: Whisper, recording: np.ndarray) -> None:
    def text(seed: int) -> str:
        clip: Options = {"clip_timestamps": "0,8", "language": "en", "sample_len": 12}
        return rules.transcribe(recording, temperature=1.0, seed=seed, **NEVER, **clip)["text"]

    assert text(1) == text(1)
    assert text(1) != text(2)


TOKENIZER = get_tokenizer(True, language="en", task="transcribe")
AND, SO = TOKENIZER.encode(" and so")
FAR = (AND - TOKENIZER.timestamp_begin) * 0.02
WINDOW = Window(seek=1000, size=2000)
"""20 s from 10 s on"""


def at(second: float) -> int:
    return TOKENIZER.timestamp_begin + round(second / 0.02)


@pytest.mark.parametrize(
    ("tokens", "segments", "advance"),
    [
        pytest.param([AND, SO], [(10.0, 30.0, " and so")], 2000, id="no timestamps: the whole window"),
        pytest.param([at(0), AND], [(10.0, 30.0, " and")], 2000, id="only an opening 0.00: the whole window"),
        pytest.param([at(1), AND], [(10.0, 11.0, " and")], 2000, id="only an opening timestamp"),
        pytest.param([at(0), AND, at(4)], [(10.0, 14.0, " and")], 2000, id="one segment: nothing follows"),
        pytest.param([at(0), AND, at(4), at(4)], [(10.0, 14.0, " and")], 400, id="on from the opened segment"),
        pytest.param([at(0), AND, at(4), at(5)], [(10.0, 14.0, " and")], 400, id="on from the last end"),
        pytest.param([at(0), AND, at(4), at(5), SO], [(10.0, 14.0, " and")], 400, id="an unfinished segment is left"),
        pytest.param(
            [at(0), AND, at(4), at(5), SO, at(9)],
            [(10.0, 14.0, " and"), (15.0, 19.0, " so")],
            2000,
            id="ends in a single timestamp: the window is done",
        ),
        pytest.param(
            [at(0.5), AND, at(4), at(5), SO, at(9), at(9)],
            [(10.5, 14.0, " and"), (15.0, 19.0, " so")],
            900,
            id="two segments, both closed",
        ),
        pytest.param([AND, at(4), at(5)], [(10.0 + FAR, 14.0, " and")], 400, id="no opening timestamp: far before"),
        pytest.param([], [(10.0, 30.0, "")], 2000, id="nothing"),
    ],
)
def test_segments_and_seek(tokens: list[int], segments: list[tuple[float, float, str]], advance: int) -> None:
    cut = cut_segments(DecodingResult(None, "en", tokens=tokens), WINDOW, TOKENIZER)
    assert [(pytest.approx(s["start"]), pytest.approx(s["end"]), s["text"]) for s in cut.segments] == segments
    assert cut.advance == advance
    kept = [token for segment in cut.segments for token in segment["tokens"]]
    assert kept == tokens[: len(kept)]


def test_text_that_no_timestamp_leads_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """openai-whisper, whose times these are, ends with an AssertionError there, and all that was said is lost."""
    cut = cut_segments(DecodingResult(None, "en", tokens=[AND, at(4), at(5)]), WINDOW, TOKENIZER)
    print_segments(cut.segments)
    assert capsys.readouterr().out == "[00:00.000 --> 00:14.000]  and\n"


def test_windows_and_seconds() -> None:
    assert Window(0, N_FRAMES).duration == 30.0
    assert Window(1, 1).start == HOP_LENGTH / SAMPLE_RATE


def test_what_is_said_over_and_over_stays() -> None:
    """Nothing is cleaned up behind the model: a loop is shown, and failing by its ratio is another rule's affair."""
    dims = SIZES["tiny"]
    loop = DecodingResult(None, "en", tokens=[at(0), *[AND] * 40, at(4)], avg_logprob=-0.1, no_speech_prob=0.0,
                          temperature=0.0, compression_ratio=9.0)  # fmt: skip
    model = Whisper(dims, SimpleNamespace(dims=dims, encode=lambda mel: mel))
    with mock.patch.object(transcribe_module, "decode_windows", return_value=[loop]):
        got = model.transcribe(np.zeros(5 * SAMPLE_RATE, np.float32), language="en")
    assert got["text"] == got["segments"][0]["text"] == " and" * 40


def test_a_segment_of_no_duration_or_text_is_emptied() -> None:
    """One word, no duration, no text; the ends of what is emptied stay."""
    segments: list[Any] = [
        {"start": 1.0, "end": 2.0, "text": " and", "tokens": [AND]},
        {"start": 2.0, "end": 2.0, "text": " so", "tokens": [SO], "words": [{"word": " so"}]},
        {"start": 2.0, "end": 3.0, "text": " ", "tokens": [220]},
    ]
    clear_empty(segments)
    empty = {"text": "", "tokens": [], "words": []}
    assert segments == [
        {"start": 1.0, "end": 2.0, "text": " and", "tokens": [AND]},
        {"start": 2.0, "end": 2.0, **empty},
        {"start": 2.0, "end": 3.0, **empty},
    ]
