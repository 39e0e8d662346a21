"""Speech alone (VAD) and speech in several languages, in sequence and in batches."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import transcribe as transcribe_module
from maxwhisper_impl import vad
from maxwhisper_impl.audio import SAMPLE_RATE
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.decoding import detect_language
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.transcribe_options import make_transcribe_options
from tests.implementations import IMPLEMENTATIONS, Model
from tests.parity.conftest import needs
from tests.parity.recordings import joined

Options = dict[str, Any]
GREEDY: Options = {"language": "en", "temperature": 0.0}


@pytest.mark.first_checkpoint
@pytest.mark.parametrize("batch_size", [None, 4])
def test_speech_alone(transcribe: Any, recording: np.ndarray, batch_size: int | None) -> None:
    """With 40 s of silence put into a pause all times lie in speech, before the silence and behind it."""
    spans = vad.speech_spans(recording)
    end, start = max(((a[1], b[0]) for a, b in pairwise(spans)), key=lambda gap: gap[1] - gap[0])
    middle = (end + start) // 2
    audio = np.concatenate([recording[:middle], np.zeros(40 * SAMPLE_RATE, np.float32), recording[middle:]])
    options: Options = {**GREEDY, "vad_filter": True, "batch_size": batch_size}
    segments = transcribe(audio, **options)["segments"]
    speech = vad.speech_spans(audio, make_transcribe_options(SIZES["tiny.en"], **options).vad_options)
    for segment in segments:
        for time in (segment["start"], segment["end"]):
            assert any(a / SAMPLE_RATE - 0.02 <= time <= b / SAMPLE_RATE + 0.02 for a, b in speech), segment
        assert segment["start"] <= segment["end"] <= len(audio) / SAMPLE_RATE
    assert {s["start"] > middle / SAMPLE_RATE + 40 for s in segments if s["text"]} == {False, True}


@pytest.mark.first_checkpoint
def test_speech_alone_equals_faster_whispers(
    transcribe: Any, load: Any, checkpoint: Any, recording: np.ndarray
) -> None:
    """In sequence, times too: both transcribe the same joined speech. Theirs lacks empty segments."""
    peer = load(IMPLEMENTATIONS["faster-whisper"], checkpoint, "cpu", "float32")
    audio = np.concatenate([np.zeros(5 * SAMPLE_RATE, np.float32), recording])
    options: Options = {**GREEDY, "vad_filter": True, "vad_parameters": {"min_silence_duration_ms": 500}}
    ours, theirs = transcribe(audio, **options), peer.transcribe(audio, **options)
    said = [(s["start"], s["end"], s["text"]) for s in ours["segments"] if s["text"]]
    assert said == [(s["start"], s["end"], s["text"]) for s in theirs["segments"]]


@pytest.fixture(scope="module")
def two_languages(clips: list[Clip]) -> tuple[np.ndarray, list[float]]:
    """12 s of German, alone in the first 30 s, and 12 s of English; the clips that they are."""
    silence = np.zeros(18 * SAMPLE_RATE, np.float32)
    return np.concatenate([joined(clips, "de", 12.0), silence, joined(clips, "en", 12.0)]), [0, 12, 30, 42]


@pytest.mark.multilingual
@pytest.mark.parametrize("batch_size", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_multilingual(transcribe: Any, two_languages: Any, batch_size: int | None) -> None:
    """Each window in its own language, as if it had been asked for."""
    audio, clips = two_languages
    options: Options = {"temperature": 0.0, "condition_on_previous_text": False}
    got = transcribe(audio, multilingual=True, clip_timestamps=clips, batch_size=batch_size, **options)
    assert got["language"] == "de"
    for language, clip in (("de", clips[:2]), ("en", clips[2:])):
        alone = transcribe(audio, language=language, clip_timestamps=clip, **options)
        said = [s for s in got["segments"] if s["language"] == language]
        assert [s["tokens"] for s in said] == [s["tokens"] for s in alone["segments"]] != []
    assert {s["language"] for s in got["segments"]} == {"de", "en"}


@pytest.mark.multilingual
@pytest.mark.parametrize(
    ("options", "language", "windows"),
    [
        pytest.param({}, "de", 1, marks=pytest.mark.slow),
        pytest.param({"language_detection_segments": 2}, "de", 1, marks=pytest.mark.slow),
        ({"language_detection_segments": 2, "language_detection_threshold": None}, "de", 2),
        pytest.param(
            {"language_detection_segments": 9, "language_detection_threshold": 1.0}, "en", 3, marks=pytest.mark.slow
        ),
    ],
)
def test_language_of_several_windows(
    model: Model, load: Any, checkpoint: Any, clips: list[Clip], options: Options, language: str, windows: int
) -> None:
    """The first sure window decides, else the most frequent language, the first of equals: as in faster-whisper."""
    needs(model, "batched")
    german, english = joined(clips, "de", 12.0), joined(clips, "en", 12.0)
    silence = np.zeros(18 * SAMPLE_RATE, np.float32)
    audio = np.concatenate([german, silence, english, silence, english])
    asked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcribe_module, "detect_language", lambda *a: asked.append(1) or detect_language(*a))
        assert model.whisper.stream(audio, **options).language == language  # type: ignore[attr-defined]
    assert len(asked) == windows
    if options.get("language_detection_threshold", 0.5) is not None:
        peer = load(IMPLEMENTATIONS["faster-whisper"], checkpoint, "cpu", "float32")
        assert peer.engine.detect_language(audio, **options)[0] == language


@pytest.mark.parametrize("kind", ["silence", "noise", "tone", "clicks"])
def test_nothing_is_said(transcribe: Any, kind: str) -> None:
    """With VAD no text is made up; `tests/quality` has a hundred of these, and the peers'."""
    t = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    audio = {
        "silence": np.zeros_like(t),
        "noise": np.random.default_rng(2).normal(0, 0.1, len(t)),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * t),
        "clicks": (np.arange(len(t)) % 8000 == 0) * 0.9,
    }[kind].astype(np.float32)
    assert transcribe(audio, vad_filter=True, language="en")["text"] == ""
    assert transcribe(audio, vad_filter=True, language="en", batch_size=4)["text"] == ""
