"""Windows whose text is scripted, in sequence and in batches: what of it is printed, reported, split and left."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import DecodingResult, Whisper, batched
from maxwhisper_impl import transcribe as transcribe_module
from maxwhisper_impl.audio import SAMPLE_RATE
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.tokenizer import get_tokenizer
from maxwhisper_impl.writers import format_timestamp

DIMS = SIZES["tiny"]
TOKENIZER = get_tokenizer(True, language="en", task="transcribe")
IN_BOTH = pytest.mark.parametrize("batch_size", [None, 1, 2])
SECOND = SAMPLE_RATE

Line = tuple[float, str, float]
"""seconds from the window's start, words, seconds"""


class Script:
    """What is said in the window at each second, in which language; and what decoding was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.said: dict[float, tuple[str, Sequence[Line]]] = {}
        self.languages: list[str | None] = []
        """asked for at each call"""
        self.windows = 0
        self.words: list[Any] = []
        """each window of which words were wanted"""
        monkeypatch.setattr(transcribe_module, "decode_windows", self.decode)
        monkeypatch.setattr(batched, "decode_windows", self.decode)
        monkeypatch.setattr(transcribe_module, "add_word_timestamps", self.add_words)
        self.model = Whisper(DIMS, SimpleNamespace(dims=DIMS, encode=lambda mel: mel))  # type: ignore[arg-type]

    def decode(self, *given: Any, language: str | None, **_: Any) -> list[DecodingResult]:
        self.languages.append(language)
        self.windows += len(given[2])
        return [self.result(*self.said[window.seek / 100]) for window in given[2]]

    def result(self, language: str, lines: Sequence[Line]) -> DecodingResult:
        tokens: list[int] = []
        for start, text, end in lines:
            begin, stop = (TOKENIZER.timestamp_begin + round(at / 0.02) for at in (start, end))
            tokens += [begin, *TOKENIZER.encode(text), stop]
        return DecodingResult(None, language, tokens=tokens, avg_logprob=-0.1, no_speech_prob=0.0, temperature=0.0,
                              compression_ratio=1.0)  # fmt: skip

    def add_words(self, runtime: Any, features: Any, said: Sequence[Any], **_: Any) -> None:
        """One for each segment, over all of it."""
        self.words += said
        for segment in (segment for window in said for segment in window.segments):
            word = {"word": segment["text"], "start": segment["start"], "end": segment["end"], "probability": 1.0}
            segment["words"] = [word]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    return Script(monkeypatch)


def speak(monkeypatch: pytest.MonkeyPatch, *spans: tuple[float, float]) -> None:
    """Speech is heard there, in seconds."""
    samples = [(round(start * SECOND), round(end * SECOND)) for start, end in spans]
    monkeypatch.setattr(transcribe_module, "speech_spans", lambda *_: samples)


@IN_BOTH
@pytest.mark.parametrize("vad_filter", [False, True])
def test_what_is_printed_is_what_is_returned(
    script: Script, batch_size: int | None, vad_filter: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """As the segments are final, with times of the recording; a segment of no text is printed as it was."""
    speak(monkeypatch, (5, 10), (20, 23))
    script.said = {0: ("en", [(0, " so", 5), (5, " ", 6), (6, " on", 8)])}
    got = script.model.transcribe(np.zeros(8 * SECOND if not vad_filter else 40 * SECOND, np.float32), language="en",
                                  verbose=True, batch_size=batch_size, vad_filter=vad_filter)  # fmt: skip
    times = [(s["start"], s["end"]) for s in got["segments"]]
    assert times == ([(5, 10), (20, 21), (21, 23)] if vad_filter else [(0, 5), (5, 6), (6, 8)])
    lines = [f"[{format_timestamp(start)} --> {format_timestamp(end)}] {text}"
             for (start, end), text in zip(times, (" so", " ", " on"), strict=True)]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == lines
    assert [(s["text"], bool(s["tokens"])) for s in got["segments"]] == [(" so", True), ("", False), (" on", True)]


def test_a_time_behind_its_piece_stays_in_it(script: Script, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """What is cut off at a silence does not reach over it."""
    speak(monkeypatch, (5, 30), (50, 60))
    script.said = {0: ("en", [(0, " so", 25.04)]), 25: ("en", [(0, " on", 9)])}
    got = script.model.transcribe(np.zeros(70 * SECOND, np.float32), language="en", batch_size=2, vad_filter=True,
                                  verbose=True)  # fmt: skip
    assert [(s["start"], s["end"]) for s in got["segments"]] == [(5, 30), (50, 59)]
    assert "[00:05.000 --> 00:30.000]" in capsys.readouterr().out


def test_speech_is_cut_at_whole_frames(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that lie in it: a frame of two pieces belongs to neither."""
    speak(monkeypatch, (5, 30 + 1 / SECOND), (50, 60))
    stream = script.model.stream(np.zeros(70 * SECOND, np.float32), language="en", batch_size=2, vad_filter=True)
    assert stream.clips == [(0, 2500), (2501, 3500)]


@pytest.mark.parametrize("batch_size", [None, 2])
def test_progress_ends_with_the_recording(script: Script, batch_size: int | None) -> None:
    """Even where the model puts the end of a segment behind it."""
    script.said = {0: ("en", [(0, " so", 12), (12, " on", 12.04), (12.04, "", 12.04)])}
    done: list[tuple[float, float]] = []
    script.model.transcribe(np.zeros(10 * SECOND, np.float32), language="en", batch_size=batch_size,
                            progress=lambda *times: done.append(times))  # fmt: skip
    assert done == [(10, 10)]


@IN_BOTH
def test_each_window_may_speak_another_language(script: Script, batch_size: int | None) -> None:
    """It is detected, named, and its words are split as that language's; the recording's is the first window's."""
    script.said = {0: ("en", [(0, " so", 9)]), 10: ("ja", [(0, " on", 9)]), 20: ("en", [(0, " so", 9)])}
    probs = [{"en": 0.9, "ja": 0.1}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcribe_module, "detect_language", lambda *_: (None, probs))
        got = script.model.transcribe(np.zeros(30 * SECOND, np.float32), multilingual=True, word_timestamps=True,
                                      clip_timestamps=[0, 10, 10, 20, 20, 30], batch_size=batch_size)  # fmt: skip
    assert got["language"] == "en"
    assert set(script.languages) == {None}
    assert [segment["language"] for segment in got["segments"]] == ["en", "ja", "en"]
    assert [window.tokenizer.language for window in script.words] == ["en", "ja", "en"]


@IN_BOTH
def test_words_follow_on_the_last_speech_before_their_window(script: Script, batch_size: int | None) -> None:
    """Of the same piece; a piece of a batch was cut off at a silence, so that speech ended where it starts."""
    script.said = {0: ("en", [(0, " so", 4), (4, " on", 4.2), (4.2, "", 4.2)]), 4.2: ("en", [(0, " so", 2)]),
                   10: ("en", [(1, " on", 3)])}  # fmt: skip
    script.model.transcribe(np.zeros(20 * SECOND, np.float32), language="en", word_timestamps=True,
                            clip_timestamps=[0, 7, 10, 14], batch_size=batch_size)  # fmt: skip
    found = {window.segments[0]["seek"]: window.last_speech for window in script.words}
    assert found == pytest.approx({0: 0.0, 420: 4.2, 1000: 6.2 if batch_size is None else 10.0})


def test_a_cancelled_batch_is_the_last(script: Script) -> None:
    script.said = {at: ("en", [(0, " so", 4)]) for at in (0, 5, 10, 15)}
    stream = script.model.stream(np.zeros(20 * SECOND, np.float32), language="en", batch_size=2,
                                 clip_timestamps=[0, 5, 5, 10, 10, 15, 15, 20])  # fmt: skip
    segments = []
    for segment in stream:
        segments.append(segment)
        stream.cancel()
    assert [segment["seek"] for segment in segments] == [0, 500]
    assert (script.windows, stream.text) == (2, " so so")
    assert list(stream) == []
