"""Seeking by words and skipping silence: openai-whisper's `transcribe` and ours on the same invented windows."""

from __future__ import annotations

import random
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from maxwhisper_impl import transcribe as ours
from maxwhisper_impl.decoding import DecodingResult
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.hallucinations import is_anomaly, word_anomaly
from maxwhisper_impl.tokenizer import get_tokenizer

oracle = import_module("whisper.transcribe")  # the module: the package has a function of this name
DIMS = SIZES["tiny.en"]
TOKENIZER = get_tokenizer(False)
BEGIN = TOKENIZER.timestamp_begin
"""of the timestamps"""


class Script:
    """What is heard in the window at each frame, drawn from a seed: results, and the words of their segments."""

    def __init__(self, seed: int, oddness: float):
        self.seed, self.oddness = seed, oddness
        self.last_speech: list[tuple[int, float]] = []

    def result(self, seek: int) -> DecodingResult:
        draw = random.Random(f"{self.seed} {seek}")
        tokens: list[int] = []
        at = draw.choice([0, 0, 10, 150])
        for _ in range(draw.randint(1, 4)):
            tokens += [BEGIN + at, *TOKENIZER.encode(" and so")]
            at = min(1500, at + draw.choice([5, 60, 200, 600]))
            tokens.append(BEGIN + at)
            at = min(1500, at + draw.choice([0, 0, 30, 150]))
        ending = draw.randrange(3)
        tokens = tokens if ending == 0 else [*tokens, tokens[-1]] if ending == 1 else tokens[1:-1]
        temperature = draw.choice([0.0, 0.0, 0.8])
        return DecodingResult(None, "en", tokens=tokens, text="and so", avg_logprob=-0.3, no_speech_prob=0.1,
                              temperature=temperature, compression_ratio=1.0)  # fmt: skip

    def add_words(self, segments: list[dict[str, Any]], last_speech: float) -> None:
        seek = segments[0]["seek"]
        self.last_speech.append((seek, last_speech))
        draw = random.Random(f"{self.seed} {seek} words")
        for segment in segments:
            odd = draw.random() < self.oddness
            now = round(segment["start"] + draw.choice([0, 0, 0.4]), 2)
            segment["words"] = []
            for _ in range(draw.choice([0, 1, 2, 3, 12])):
                end = round(now + (draw.choice([0.02, 0.1, 2.6]) if odd else draw.choice([0.1, 0.3, 0.5])), 2)
                probability = draw.choice([0.01, 0.14, 0.5]) if odd else draw.choice([0.1, 0.9, 0.9, 0.99])
                word = draw.choice([" and", " so", ",", "."])
                segment["words"].append({"word": word, "start": now, "end": end, "probability": probability})
                now = end
            if segment["words"]:
                segment["start"], segment["end"] = segment["words"][0]["start"], now

    def by_us(self, n_frames: int, options: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        prompts = []

        def decode(transcription: Any, window: Any) -> DecodingResult:
            prompts.append((window.seek, window.size, transcription._prompt()))
            return self.result(window.seek)

        def add(runtime: Any, features: Any, windows: Any, **rest: Any) -> None:
            self.add_words(windows[0].segments, windows[0].last_speech)

        runtime = SimpleNamespace(dims=DIMS, alignment_heads=(), encode=lambda mel: None)
        mel = SimpleNamespace(n_frames=n_frames, window=lambda seek, size: torch.zeros(1))
        with (
            mock.patch.object(ours.Transcription, "_decode", decode),
            mock.patch.object(ours, "add_word_timestamps", add),
            mock.patch.object(ours, "load_audio"),
            mock.patch.object(ours, "LogMel", return_value=mel),
        ):
            return ours.transcribe(runtime, None, word_timestamps=True, temperature=0.0, **options), prompts

    def by_oracle(self, n_frames: int, options: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        """The mel is the number of each frame, so that a window tells where it starts, and how long it is."""
        prompts = []

        def decode(mel: Any, given: Any) -> Any:
            seek = int(mel[0, 0]) - 1
            prompts.append((seek, int(mel[0].count_nonzero()), given.prompt))
            return self.result(seek)

        def add(**given: Any) -> None:
            self.add_words(given["segments"], given["last_speech_timestamp"])

        frames = torch.cat([torch.arange(1, n_frames + 1), torch.zeros(3000)])
        model = SimpleNamespace(dims=DIMS, device=torch.device("cpu"), is_multilingual=False, num_languages=99,
                                decode=decode)  # fmt: skip
        with (
            mock.patch.object(oracle, "log_mel_spectrogram", return_value=frames.tile(DIMS.n_mels, 1)),
            mock.patch.object(oracle, "add_word_timestamps", add),
        ):
            result = oracle.transcribe(model, None, word_timestamps=True, temperature=0.0, fp16=False, **options)
        return result, prompts


OPTIONS = st.fixed_dictionaries({}, optional={
    "hallucination_silence_threshold": st.sampled_from([0.1, 0.5, 1.0, 2.0, 6.0]),
    "condition_on_previous_text": st.booleans(),
    "initial_prompt": st.just("so on"),
    "clip_timestamps": st.sampled_from(["0", "3,21", "2,8,30.5,45", "20"]),
})  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 7000), OPTIONS)
@example(0, 1.0, 6000, {"hallucination_silence_threshold": 0.5})
def test_windows_follow_as_the_oracles(seed: int, oddness: float, n_frames: int, options: dict[str, Any]) -> None:
    """The same windows, told the same prompts and the same end of speech; and the same segments."""
    clips = options.get("clip_timestamps", "0").split(",")
    assume(len(clips) == 1 or 100 * float(clips[-1]) <= n_frames)  # past the recording's end the oracle never ends
    mine, reference = Script(seed, oddness), Script(seed, oddness)
    (got, windows), (want, expected) = mine.by_us(n_frames, options), reference.by_oracle(n_frames, options)
    assert windows == expected
    assert mine.last_speech == reference.last_speech
    assert got == want


def word(start: float, end: float, probability: float = 0.9, text: str = " so") -> dict[str, Any]:
    return {"word": text, "start": start, "end": end, "probability": probability}


@pytest.mark.parametrize(
    ("odd", "score"),
    [
        pytest.param(word(0, 0.3), 0, id="as words are"),
        pytest.param(word(0, 0.3, 0.14), 1, id="unlikely"),
        pytest.param(word(0, 0.3, 0.15), 0, id="likely enough"),
        pytest.param(word(0, 0.033), 1.5, id="hasty"),
        pytest.param(word(1, 4), 1, id="drawn out"),
        pytest.param(word(1, 4, 0.1), 2, id="unlikely and drawn out"),
    ],
)
def test_odd_words(odd: dict[str, Any], score: float) -> None:
    assert word_anomaly(odd) == pytest.approx(score)


@pytest.mark.parametrize(
    ("words", "odd"),
    [
        pytest.param([word(0, 0.3)], False, id="one good word"),
        pytest.param([word(0, 0.3, 0.1)], True, id="one unlikely word"),
        pytest.param([word(0, 0.3), word(0.3, 0.6, 0.1)], False, id="one of two"),
        pytest.param([word(0, 0.3), word(0.3, 0.6, 0.1, ".")], False, id="marks do not count"),
        pytest.param([word(0, 5), *[word(5, 5.3)] * 7], True, id="three points suffice"),
        pytest.param([*[word(5, 5.3)] * 8, word(5.3, 9)], False, id="the ninth word does not count"),
    ],
)
def test_odd_segments(words: list[dict[str, Any]], odd: bool) -> None:
    assert is_anomaly({"words": words}) == odd


def test_a_window_never_starts_where_the_last_one_did() -> None:
    """openai-whisper repeats a window for ever when an odd word lies on its start and no silence is short enough."""
    tokens = [BEGIN, *TOKENIZER.encode(" so"), BEGIN + 1, BEGIN + 1]
    result = DecodingResult(None, "en", tokens=tokens, avg_logprob=-0.3, no_speech_prob=0.1, temperature=0.0)
    script = Script(0, 1.0)
    script.result = lambda seek: result

    def add_words(segments: list[dict[str, Any]], last_speech: float) -> None:
        start = segments[0]["seek"] / 100
        segments[0].update(start=start + 1e-9, end=start + 1e-9, words=[word(start + 1e-9, start + 1e-9, 0.01)])

    script.add_words = add_words
    _, windows = script.by_us(30, {"hallucination_silence_threshold": 0.0})
    assert [seek for seek, *_ in windows] == sorted({seek for seek, *_ in windows})
