"""Every option with the implementation's own logits: the same tokens and segments as the oracle's, options × speech.

`test_decoding.py` and `test_transcribe.py` compare the rules alone, on the oracle's logits; here all of it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.corpus import Clip
from tests import compare, oracle_answers, record
from tests.implementations import Model
from tests.oracle_runtime import Draws
from tests.parity.conftest import Features, needs
from tests.parity.recordings import joined
from tests.parity.test_greedy import assert_numbers, assert_segments, step_logits

pytestmark = pytest.mark.first_checkpoint

Options = dict[str, Any]

WINDOWS: dict[str, Options] = {
    "greedy": {},
    "beams": {"beam_size": 5},
    "patient beams": {"beam_size": 3, "patience": 2.0},
    "length penalty": {"beam_size": 3, "length_penalty": 0.6},
    "sampled": {"temperature": 0.6, "best_of": 3},
    "sampled, length penalty": {"temperature": 1.0, "best_of": 2, "length_penalty": 1.0, "sample_len": 30},
    "prompt": {"prompt": "Minutes of the last meeting, read aloud."},
    "prefix": {"prefix": "And then", "without_timestamps": True},
    "prompt, prefix, beams": {"prompt": [11, 50, 257], "prefix": [843], "beam_size": 2, "sample_len": 40},
    "no timestamps": {"without_timestamps": True},
    "some suppressed": {"suppress_tokens": "-1,11,13,290"},
    "nothing suppressed": {"suppress_tokens": "", "suppress_blank": False},
    "first timestamp early": {"max_initial_timestamp": 0.04},
    "first timestamp any": {"max_initial_timestamp": None},
    "cut short": {"sample_len": 7},
}
FILES: dict[str, Options] = {
    "defaults": {},
    "one by one": {"condition_on_previous_text": False, "temperature": 0.0},
    "beams": {"beam_size": 3, "patience": 1.5, "length_penalty": 0.8, "temperature": 0.0},
    "initial prompt": {"initial_prompt": "A list of ports and tides.", "temperature": 0.0},
    "carried prompt": {"initial_prompt": " ports, winds, tides" * 8, "carry_initial_prompt": True, "temperature": 0.0},
    "clips": {"clip_timestamps": "3,6.5,20,24.004,11,14", "temperature": 0.0},
    "no timestamps": {"without_timestamps": True, "temperature": 0.0},
    "falls back": {"logprob_threshold": -0.1, "temperature": (0.0, 0.4), "best_of": 2, "beam_size": 2},
    "falls back on repetition": {"compression_ratio_threshold": 0.5, "temperature": (0.0, 0.3), "sample_len": 40},
    "all is silence": {"no_speech_threshold": 0.0, "logprob_threshold": None, "temperature": 0.0},
    "no thresholds": {"compression_ratio_threshold": None, "logprob_threshold": None, "no_speech_threshold": None},
    "suppressed": {"suppress_tokens": "-1,11,13", "temperature": 0.0, "max_initial_timestamp": 0.5},
}
LANGUAGES: dict[str, Options] = {
    "detected": {"language": None},
    "told": {"language": "de"},
    "told wrongly": {"language": "fr"},
    "translated": {"language": "de", "task": "translate"},
    "translated with beams": {"language": None, "task": "translate", "beam_size": 2},
}
MORE_WINDOWS = 6
"""clips beyond the first two, for the slow tests"""
QUICK_FILES = ("defaults", "carried prompt", "clips")


def sampled(options: Options) -> bool:
    return np.max(options.get("temperature", 0.0)) > 0 or "logprob_threshold" in options


def cases(table: dict[str, Options], count: int, quick: Callable[[str, int], bool]) -> list[Any]:
    """options × numbers of recordings; those that are not quick are slow."""
    return [
        pytest.param(name, number, marks=() if quick(name, number) else pytest.mark.slow, id=f"{name}-{number}")
        for name in table
        for number in range(count)
    ]


def spoken(clips: list[Clip], language: str) -> list[Clip]:
    """Windows with words, from short to long, spread over the lengths that there are."""
    found = sorted((c for c in clips if c.language == language and c.text and 2 < c.seconds < 30),
                   key=lambda c: (c.seconds, c.id))  # fmt: skip
    return [found[i] for i in np.linspace(0, len(found) - 1, 2 + MORE_WINDOWS).round().astype(int)] if found else []


def assert_window(name: str, model: Model, oracle: Model, features_of: Features, clip: Clip, options: Options) -> None:
    """One window; behind a mismatch stand both systems' best tokens at the first step that differs."""
    draws = Draws()
    with draws.recording():
        (ours,) = model.decode(features_of(model, clip.audio), **options)
    theirs = oracle_answers.decode(oracle, torch.from_numpy(features_of(oracle, clip.audio)[0]), options, draws)
    name = f"{name}, {clip.id}"
    asked = {k: v for k, v in options.items() if k not in ("beam_size", "best_of", "patience", "temperature")}
    asked["language"] = ours.language
    explain = step_logits(model, oracle, lambda m: m.mel(load_audio(clip.audio)), theirs.tokens, asked)
    compare.assert_tokens(name, ours.tokens, theirs.tokens, eot=oracle.eot, decode=oracle.token_text, explain=explain)
    assert ours.language == theirs.language
    if ours.tokens == theirs.tokens:
        compare.assert_text(name, ours.text, theirs.text)
        for field in ("avg_logprob", "no_speech_prob"):
            compare.assert_close(f"{name} {field}", getattr(ours, field), getattr(theirs, field), field)
    record.count("windows with options")


def assert_file(name: str, model: Model, oracle: Model, audio: np.ndarray, options: Options) -> dict[str, Any]:
    """All segments; of a window that differs, both systems' best tokens at the first step that does."""
    draws = Draws()
    with draws.recording():
        ours = model.transcribe(audio, **options)
    theirs, calls = oracle_answers.transcribe(oracle, audio, options, draws)
    got, want = by_window(ours), by_window(theirs)
    assert list(got) == list(want), f"{name}: windows at frames {list(got)}, the oracle's at {list(want)}"
    for seek, tokens in want.items():
        # segments without text are empty, so that a window's tokens need not be what was decoded
        asked = next((asked for asked, answer in reversed(calls) if answer[: len(tokens)] == tokens), None)
        explain = asked and step_logits(model, oracle, lambda m, at=seek: window(m, audio, at), tokens, asked)
        where = f"{name}, window at {seek / 100:.2f} s"
        compare.assert_tokens(where, got[seek], tokens, eot=oracle.eot, decode=oracle.token_text, explain=explain)
        if got[seek] != tokens:
            return theirs  # an excused near-tie: what comes behind it differs with it
    compare.assert_text(name, ours["text"], theirs["text"])
    assert ours["language"] == theirs["language"]
    assert_segments(name, ours["segments"], theirs["segments"])
    assert_numbers(name, ours["segments"], theirs["segments"])
    record.count("files with options")
    return theirs


def by_window(result: Any) -> dict[int, list[int]]:
    """Start frame -> the tokens of the window's segments."""
    found: dict[int, list[int]] = {}
    for segment in result["segments"]:
        found.setdefault(segment["seek"], []).extend(int(token) for token in segment["tokens"])
    return found


def window(model: Model, audio: np.ndarray, seek: int) -> np.ndarray:
    mel = model.long_mel(audio)[:, seek : seek + 3000]
    return np.pad(mel, ((0, 0), (0, 3000 - mel.shape[1])))


def able(model: Model, options: Options) -> None:
    needs(model, "options", *(["sampling"] if sampled(options) else []))


@pytest.mark.parametrize(("name", "number"), cases(WINDOWS, 2 + MORE_WINDOWS, lambda _, number: number < 1))
def test_window(model: Model, oracle: Model, features_of: Features, clips: list[Clip], name: str, number: int) -> None:
    options = {"language": "en", **WINDOWS[name]}
    able(model, options)
    found = spoken(clips, "en")
    if number >= len(found):
        pytest.skip("the corpora have no English clip for it")
    assert_window(name, model, oracle, features_of, found[number], options)


@pytest.mark.parametrize(("name", "number"), cases(FILES, 2, lambda name, number: number == 0 and name in QUICK_FILES))
def test_file(model: Model, oracle: Model, clips: list[Clip], name: str, number: int) -> None:
    """38 s put together from clips; each recording from every other one."""
    options = {"language": "en", **FILES[name]}
    able(model, options)
    audio = joined(clips[number::2], "en", 38.3)
    result = assert_file(name, model, oracle, audio, options)
    assert bool(result["segments"]) == (name != "all is silence")


@pytest.mark.multilingual
@pytest.mark.parametrize(("name", "number"), cases(LANGUAGES, 2, lambda _, number: number == 0))
def test_language(
    model: Model, oracle: Model, features_of: Features, clips: list[Clip], name: str, number: int
) -> None:
    able(model, LANGUAGES[name])
    found = spoken(clips, ("de", "es")[number])
    if not found:
        pytest.skip("the corpora have no such clip")
    assert_window(name, model, oracle, features_of, found[0], LANGUAGES[name])
