"""Languages by hand, from logits that are known: how likely each is, and which one a window is then decoded in."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor

from maxwhisper_impl import transcribe
from maxwhisper_impl.audio import SAMPLE_RATE
from maxwhisper_impl.decoding import DecodingTask, detect_language
from maxwhisper_impl.decoding.options import make_options
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.tokenizer import get_tokenizer
from maxwhisper_impl.transcribe import start_transcription

TOKENIZER = get_tokenizer(True)
LANGUAGES = TOKENIZER.all_language_tokens
OTHERS = len(LANGUAGES) - 1
WINDOWS = np.array([0, OTHERS, 20])
"""the language of each, as an index in `LANGUAGES`; the first and the last are among them"""


class Speakers:
    """A Runtime whose features are the languages spoken; that one is as likely as all others together."""

    dims = SIZES["base"]

    def __init__(self) -> None:
        self.told: list[list[list[int]]] = []
        """the tokens of each step"""

    def start(self, features: Any, rows_per_window: int = 1) -> SpeakersState:
        return SpeakersState(self, np.repeat(features, rows_per_window))


class SpeakersState:
    def __init__(self, runtime: Speakers, spoken: np.ndarray):
        self.runtime, self.spoken = runtime, spoken

    def select(self, rows: Sequence[int]) -> None:
        self.spoken = self.spoken[list(rows)]

    def step(self, tokens: np.ndarray, at: Sequence[int] = (-1,)) -> np.ndarray:
        self.runtime.told.append(tokens.tolist())
        # whatever is no language is far likelier: none of it may be counted
        logits = np.full((len(tokens), len(at), self.runtime.dims.n_vocab), 20, np.float32)
        logits[..., LANGUAGES] = 0
        for row, language in zip(logits, self.spoken, strict=True):
            row[:, LANGUAGES[language]] = np.log(OTHERS)
        return logits


def test_every_language_is_counted_and_nothing_else() -> None:
    ids, found = detect_language(Speakers(), WINDOWS)
    assert ids.tolist() == [LANGUAGES[language] for language in WINDOWS]
    for language, probabilities in zip(WINDOWS, found, strict=True):
        assert list(probabilities) == list(TOKENIZER.all_language_codes)
        want = np.full(len(LANGUAGES), 0.5 / OTHERS)
        want[language] = 0.5
        assert list(probabilities.values()) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("windows", [None, [2, 0]], ids=["all", "two that are decoded again"])
def test_each_window_is_decoded_in_its_own_language(windows: list[int] | None) -> None:
    runtime = Speakers()
    results = DecodingTask(runtime, make_options(sample_len=1)).run(WINDOWS, windows)
    spoken = WINDOWS if windows is None else WINDOWS[windows]
    assert runtime.told[-1] == [[TOKENIZER.sot, LANGUAGES[language], TOKENIZER.transcribe] for language in spoken]
    assert [result.language for result in results] == [TOKENIZER.all_language_codes[language] for language in spoken]


RECORDING = np.zeros(70 * SAMPLE_RATE, np.float32)
"""three windows"""


@pytest.mark.parametrize(
    ("heard", "options", "language"),
    [
        pytest.param(["de 0.4", "en 0.9"], {}, "de", id="the first window alone"),
        pytest.param(["de 0.6", "en 0.9", "en 0.9"], {"segments": 3}, "de", id="the first one is sure"),
        pytest.param(["de 0.4", "en 0.9", "de 0.4"], {"segments": 3}, "en", id="the second one is sure"),
        pytest.param(["de 0.5", "en 0.4", "en 0.4"], {"segments": 3}, "en", id="at the threshold is not above it"),
        pytest.param(["de 0.4", "en 0.4", "en 0.4"], {"segments": 9}, "en", id="most of all windows that there are"),
        pytest.param(["de 0.3", "en 0.4"], {"segments": 2}, "de", id="the first of equals, not the likelier"),
        pytest.param(["de 0.8", "en 0.9"], {"segments": 2, "threshold": 0.85}, "en", id="surer than asked for"),
    ],
)
def test_windows_are_asked_until_one_is_sure_as_in_faster_whisper(
    heard: list[str], options: dict[str, Any], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then no more."""
    options = {f"language_detection_{name}": value for name, value in options.items()}
    windows = [{name: float(p), "fr": 0.1} for name, p in (window.split() for window in heard)]

    ours = iter(windows)
    monkeypatch.setattr(transcribe, "detect_language", lambda *_: (None, [next(ours)]))
    runtime: Any = SimpleNamespace(dims=SIZES["base"], encode=lambda mel: mel)
    assert start_transcription(runtime, RECORDING, **options).language == language

    theirs = iter(windows)
    model = SimpleNamespace(detect_language=lambda _: [[(f"<|{name}|>", p) for name, p in next(theirs).items()]])
    peer: Any = SimpleNamespace(feature_extractor=FeatureExtractor(), encode=lambda features: features, model=model)
    assert WhisperModel.detect_language(peer, RECORDING, **options)[0] == language
    assert list(ours) == list(theirs), "one of them asked more windows"


@pytest.mark.parametrize("language", [None, "de"])
@pytest.mark.parametrize("verbose", [None, False, True])
def test_what_is_printed_of_the_language_is_what_the_oracle_prints(
    verbose: bool | None, language: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probs, silence = {"de": 0.9, "en": 0.1}, np.zeros(0, np.float32)
    monkeypatch.setattr(transcribe, "detect_language", lambda *_: (None, [probs]))
    runtime: Any = SimpleNamespace(dims=SIZES["base"], encode=lambda mel: mel)
    list(start_transcription(runtime, silence, verbose=verbose, language=language))
    ours = capsys.readouterr().out
    model: Any = SimpleNamespace(dims=SIZES["base"], device=torch.device("cpu"), is_multilingual=True, num_languages=99,
                                 detect_language=lambda mel: (None, probs))  # fmt: skip
    whisper.transcribe(model, silence, verbose=verbose, fp16=False, language=language)
    assert ours == capsys.readouterr().out
    assert ("Detected language: German\n" in ours) == (language is None and verbose is not None)
