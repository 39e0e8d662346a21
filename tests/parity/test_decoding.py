"""One window decoded by our rules on the oracle's own logits is openai-whisper's result, option by option."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import whisper

from maxwhisper_impl import DecodingResult, Whisper
from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.decoding.search import rank
from tests import oracle_answers
from tests.compare import assert_close
from tests.implementations import Model
from tests.oracle_runtime import Draws, OracleRuntime

pytestmark = pytest.mark.rules

Options = dict[str, Any]

SEARCHES: dict[str, Options] = {
    "greedy": {},
    "sampled": {"temperature": 0.7, "best_of": 3},
    "beams": {"beam_size": 3},
    "patient beams": {"beam_size": 2, "patience": 2.0, "length_penalty": 0.6},
    "impatient beams": {"beam_size": 4, "patience": 0.5},
}
TIMES: dict[str, Options] = {"times": {}, "no times": {"without_timestamps": True}}
CONTEXTS: dict[str, Options] = {
    "alone": {},
    "prompt": {"prompt": "Minutes of the last meeting, read aloud."},
    "prefix": {"prefix": "And then", "sample_len": 60},
    "prompt and prefix": {"prompt": [11, 50, 257], "prefix": [843], "sample_len": 12},
}
MATRIX = {
    f"{search}, {times}, {context}": SEARCHES[search] | TIMES[times] | CONTEXTS[context]
    for search, times, context in product(SEARCHES, TIMES, CONTEXTS)
}
"""every search with and without timestamps in every context; a third of them, with every pair of values, is not slow"""

OTHERS: dict[str, Options] = {
    "sample_len": {"sample_len": 5},
    "one token": {"sample_len": 1},
    "beams cut short": {"sample_len": 4, "beam_size": 3},
    "long prompt is cut": {"prompt": [11, 50, 257] * 90, "sample_len": 6},
    "context full": {"prompt": [11] * 223, "prefix": [257] * 218},
    "suppress nothing": {"suppress_tokens": "", "suppress_blank": False},
    "suppress some": {"suppress_tokens": "-1,11,13,290"},
    "suppress a list": {"suppress_tokens": [11, 13]},
    "blank allowed": {"suppress_blank": False},
    "first timestamp any": {"max_initial_timestamp": None},
    "first timestamp 0": {"max_initial_timestamp": 0.02},
    "first timestamp 0.0 is no limit": {"max_initial_timestamp": 0.0},
    "length penalty 0": {"beam_size": 3, "length_penalty": 0.0},
    "length penalty 1": {"temperature": 0.9, "best_of": 4, "length_penalty": 1.0},
    "one beam": {"beam_size": 1},
    "beams when hot": {"beam_size": 2, "temperature": 0.5},
    "sampled cold": {"temperature": 0.05},
    "sampled hot": {"temperature": 1.5, "sample_len": 40},
}

MULTILINGUAL: dict[str, Options] = {
    "detected": {"language": None},
    "in German": {"language": "de"},
    "by name": {"language": "German"},
    "as French": {"language": "fr"},
    "translated": {"language": "de", "task": "translate"},
    "translated, detected": {"language": None, "task": "translate", "beam_size": 2},
    "only named": {"language": None, "task": "lang_id"},
    "named though known": {"language": "fr", "task": "lang_id"},
}


@pytest.fixture(scope="module")
def rules(oracle: Model) -> Whisper:
    """Our rules on the oracle's logits."""
    return Whisper(oracle.dims, OracleRuntime(oracle.torch))


@pytest.fixture(scope="module")
def features(oracle: Model, clips: list[Clip]) -> Callable[[str | None], torch.Tensor]:
    """Language of a clip, None for noise -> its encoded window, [n_audio_ctx, n_audio_state]."""
    kept: dict[str | None, torch.Tensor] = {}

    def get(language: str | None) -> torch.Tensor:
        if language not in kept:
            some = [c for c in clips if c.language == language and 1.5 < c.seconds < 30]
            if not some:
                pytest.skip(f"the corpora have no short clip of language {language}")
            mel = oracle.mel(load_audio(min(some, key=lambda c: c.seconds).audio))
            kept[language] = torch.from_numpy(oracle.encode(mel[None])[0])
        return kept[language]

    return get


def compare(name: str, rules: Whisper, oracle: Model, audio: torch.Tensor, options: Options) -> DecodingResult:
    draws = Draws()
    with draws.recording():
        ours = rules.decode(audio, **options)
    assert isinstance(ours, DecodingResult)
    assert_result(name, ours, oracle_answers.decode(oracle, audio, options, draws))
    return ours


def assert_result(name: str, ours: Any, theirs: Any) -> None:
    """Every field; both are DecodingResults."""
    for field in ("tokens", "text", "language"):
        assert getattr(ours, field) == getattr(theirs, field), f"{name}: {field}"
    for field in ("avg_logprob", "no_speech_prob"):
        got, want = getattr(ours, field), getattr(theirs, field)
        if not (np.isnan(got) and np.isnan(want)):  # of a language that was only named
            assert_close(f"{name}: {field}", got, want, f"rules.{field}")
    for field in ("temperature", "compression_ratio"):
        assert getattr(ours, field) == pytest.approx(getattr(theirs, field), abs=0, nan_ok=True), f"{name}: {field}"
    assert (ours.language_probs is None) == (theirs.language_probs is None), f"{name}: language_probs"
    if ours.language_probs is not None:
        assert_languages(name, ours.language_probs, theirs.language_probs)
    assert np.array_equal(np.asarray(ours.audio_features), np.asarray(theirs.audio_features)), f"{name}: audio_features"


def assert_languages(name: str, ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert ours.keys() == theirs.keys(), f"{name}: languages"
    for code, probability in theirs.items():
        assert_close(f"{name}: P({code})", ours[code], probability, "rules.language_probs")


def slow_cases() -> list[Any]:
    shape = (len(SEARCHES), len(TIMES), len(CONTEXTS))
    sums = [sum(np.unravel_index(i, shape)) for i in range(len(MATRIX))]
    return [pytest.param(name, marks=[pytest.mark.slow] if s % 3 else []) for name, s in zip(MATRIX, sums, strict=True)]


@pytest.mark.parametrize("name", slow_cases())
def test_search_times_context(rules: Whisper, oracle: Model, features: Any, name: str) -> None:
    options = {"language": "en", **MATRIX[name]}
    result = compare(name, rules, oracle, features("en"), options)
    assert result.tokens, "nothing was decoded, so nothing was compared"


@pytest.mark.parametrize("name", OTHERS)
def test_option(rules: Whisper, oracle: Model, features: Any, name: str) -> None:
    compare(name, rules, oracle, features("en"), {"language": "en", **OTHERS[name]})


@pytest.mark.multilingual
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("by name", "as French") else ()) for n in MULTILINGUAL]
)
def test_language(rules: Whisper, oracle: Model, features: Any, name: str) -> None:
    compare(name, rules, oracle, features("de"), MULTILINGUAL[name])


@pytest.mark.parametrize("search", ["greedy", "beams", "sampled"])
def test_noise(rules: Whisper, oracle: Model, features: Any, search: str) -> None:
    compare(search, rules, oracle, features(None), {"language": "en", "sample_len": 40, **SEARCHES[search]})


@pytest.mark.parametrize(
    "search", [pytest.param(s, marks=pytest.mark.slow if s in ("beams", "impatient beams") else ()) for s in SEARCHES]
)
def test_batch_is_each_window_alone(rules: Whisper, oracle: Model, features: Any, search: str) -> None:
    """Windows that end at different steps leave the batch, the others go on. openai-whisper has no batched beams."""
    audio = torch.stack([features("en"), features(None), features("en").flip(0)])
    options: Options = {"language": "en", "sample_len": 20, **SEARCHES[search]}
    together = rules.decode(audio, **options)
    assert isinstance(together, list)
    for number, (window, result) in enumerate(zip(audio, together, strict=True)):
        assert_result(f"window {number}", result, rules.decode(window, **options))
    assert len({len(result.tokens) for result in together}) > 1, "all windows ended at the same step"


@pytest.mark.multilingual
def test_languages_of_a_batch_are_detected_one_by_one(rules: Whisper, oracle: Model, features: Any) -> None:
    audio = torch.stack([features("de"), features("en")])
    ids, probs = rules.detect_language(audio)
    want_ids, want = whisper.detect_language(oracle.torch, audio)
    assert ids.tolist() == want_ids.tolist()
    for ours, theirs in zip(probs, want, strict=True):
        assert_languages("batch", ours, theirs)
    assert [r.language for r in rules.decode(audio, sample_len=3)] == ["de", "en"]
    one_id, one = rules.detect_language(features("de"))
    assert int(one_id) == ids[0]
    assert_languages("alone", one, whisper.detect_language(oracle.torch, features("de"))[1])


def test_an_english_model_needs_no_language(rules: Whisper, features: Any) -> None:
    if rules.is_multilingual:
        pytest.skip("a multilingual model detects it")
    told, untold = (rules.decode(features("en"), sample_len=4, **given) for given in ({"language": "en"}, {}))
    assert_result("untold", untold, told)


def test_seeds(rules: Whisper, features: Any) -> None:
    options: Options = {"language": "en", "temperature": 1.0, "best_of": 2, "sample_len": 12}
    results = [rules.decode(features("en"), seed=seed, **options).tokens for seed in (1, 1, 2, None, None)]
    assert results[0] == results[1], "the same seed"
    assert results[0] != results[2], "another seed"
    assert results[3] != results[4], "no seed"


def test_mel_and_features_give_the_same(rules: Whisper, oracle: Model, clips: list[Clip]) -> None:
    clip = min((c for c in clips if c.language == "en"), key=lambda c: c.seconds)
    mel = oracle.mel(load_audio(clip.audio))
    encoded = rules.encode(mel)
    assert encoded.shape == (rules.dims.n_audio_ctx, rules.dims.n_audio_state)
    options: Options = {"language": "en", "sample_len": 8}
    assert_result("batch of one", rules.decode(mel[None], **options)[0], rules.decode(mel, **options))
    assert_result("features", rules.decode(encoded, **options), rules.decode(mel, **options))


class Counting(OracleRuntime):
    """Notes how many rows and positions each step had."""

    def __init__(self, model: whisper.Whisper):
        super().__init__(model)
        self.work: list[tuple[int, int]] = []

    def start(self, features: Any, rows_per_window: int = 1) -> Any:
        state, step = super().start(features, rows_per_window), type(super().start(features)).step

        def counted(tokens: np.ndarray, at: Any = (-1,)) -> np.ndarray:
            self.work.append(tokens.shape)
            return step(state, tokens, at)

        state.step = counted
        return state


def test_work_is_not_done_twice(oracle: Model, features: Any) -> None:
    """One prefill, then one position a step; no step behind the last token; ended rows leave when half of them have."""
    runtime = Counting(oracle.torch)
    model = Whisper(oracle.dims, runtime)
    alone = model.decode(features("en"), language="en", prompt=[11, 50])
    prefix = 5 if oracle.dims.is_multilingual else 3
    assert runtime.work[0] == (1, prefix + 1)
    assert runtime.work[1:] == [(1, 1)] * len(alone.tokens)

    runtime.work.clear()
    model.decode(features("en"), language="en", sample_len=5)
    assert len(runtime.work) == 5

    runtime.work.clear()
    audio = torch.stack([features("en"), features(None)])
    results = model.decode(audio, language="en", sample_len=60)
    lengths = sorted(len(result.tokens) for result in results)
    assert [rows for rows, _ in runtime.work].count(2) == lengths[0] + 1
    assert len(runtime.work) == min(lengths[1] + 1, 60)


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [(None, [1, 2, 3, 4]), (0.0, [1]), (1.0, [1, 2, 3, 4])],
    ids=["per token", "sum", "alpha 1"],
)
def test_ranking(penalty: float | None, expected: list[int]) -> None:
    """-1 for one token or -1.4 for four; the first of equals."""
    assert rank([([1], -1.0), ([1, 2, 3, 4], -1.4)], penalty)[0] == expected
    assert rank([([5], -1.0), ([6], -1.0)], penalty)[0] == [5]
    assert rank([([], -1.0), ([6], -3.0)], penalty)[0] == [], "no division by the length of an empty answer"


def test_changes_to_options(rules: Whisper, features: Any) -> None:
    """`decode(mel, options, name=value)` as openai-whisper's."""
    from maxwhisper_impl import DecodingOptions

    options = DecodingOptions(language="en", sample_len=20)
    changed = rules.decode(features("en"), options, sample_len=3)
    assert changed.tokens == rules.decode(features("en"), replace(options, sample_len=3)).tokens
    assert len(changed.tokens) == 3
