"""repetition_penalty, no_repeat_ngram_size and hotwords: what faster-whisper and CTranslate2 make of them."""

from __future__ import annotations

from typing import Any

import ctranslate2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maxwhisper_impl import OptionError
from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.decoding import DecodingOptions, DecodingTask
from maxwhisper_impl.decoding.filters import (
    Filter,
    NoRepeatNgrams,
    RepetitionPenalty,
    SuppressTokens,
    TimestampRules,
    apply_plan,
    make_plan,
)
from maxwhisper_impl.dims import SIZES
from tests.implementations import IMPLEMENTATIONS, Model
from tests.parity.conftest import needs

INF = np.inf
# A vocabulary to fit on a line: text 0 1 2, end of text 3, <|notimestamps|> 4, timestamps 5 6 7 8
EOT, NO_TIMESTAMPS, BEGIN, N_VOCAB = 3, 4, 5, 9


def filtered(filters: list[Filter], sampled: list[list[int]], logits: list[list[float]]) -> list[list[float]]:
    plan = make_plan(filters, np.array(sampled, dtype=int), N_VOCAB, BEGIN)
    return apply_plan(plan, np.array(logits, dtype=np.float32)).tolist()


def test_penalty() -> None:
    """Positive logits are divided and negative ones multiplied, once for each id, in its own row only."""
    logits = [[4.0, -4.0, 3.0, 0.0, 1.0, 6.0, -1.0, 2.0, 2.0]] * 2
    got = filtered([RepetitionPenalty(2.0)], [[0, 1, 0, 5], [6, 6, 6, 2]], logits)
    assert got[0] == [2.0, -8.0, 3.0, 0.0, 1.0, 3.0, -1.0, 2.0, 2.0]
    assert got[1] == [4.0, -4.0, 1.5, 0.0, 1.0, 6.0, -2.0, 2.0, 2.0]
    assert filtered([RepetitionPenalty(2.0)], [[], []], logits) == logits, "nothing was sampled yet"


@pytest.mark.parametrize(
    ("size", "sampled", "forbidden"),
    [
        pytest.param(1, [], [], id="nothing was said"),
        pytest.param(1, [0, 5, 0], [0, 5], id="no token twice"),
        pytest.param(2, [0], [], id="shorter than the n-gram"),
        pytest.param(2, [0, 1, 0], [1], id="0 1 not again"),
        pytest.param(2, [0, 1, 0, 2, 0], [1, 2], id="two that began alike"),
        pytest.param(2, [0, 0], [0], id="overlapping itself"),
        pytest.param(3, [0, 1, 2, 0, 1], [2], id="three in a row"),
        pytest.param(3, [0, 1, 2, 1, 0], [], id="another order"),
        pytest.param(3, [0, 1], [], id="two are no three"),
    ],
)
def test_ngrams(size: int, sampled: list[int], forbidden: list[int]) -> None:
    (row,) = filtered([NoRepeatNgrams(size)], [sampled], [[1.0] * N_VOCAB])
    assert [i for i, value in enumerate(row) if value == -INF] == forbidden


def test_timestamps_are_judged_by_what_is_left_of_text() -> None:
    """A penalty, and a forbidden n-gram, may leave text less likely than the timestamps together."""
    rules = TimestampRules(EOT, BEGIN, NO_TIMESTAMPS, None)
    logits = [[4.0, -9.0, -9.0, -9.0, 0.0, 0.0, 1.0, 1.0, 1.0]]
    assert filtered([rules], [[5, 0]], logits)[0][0] == 4.0, "log 3 + 1 < 4"
    assert filtered([RepetitionPenalty(2.0), rules], [[5, 0]], logits)[0][0] == -INF, "log 3 + 1 > 2"
    assert filtered([NoRepeatNgrams(1), rules], [[5, 0]], logits)[0][1:4] == [-INF] * 3


def reference(
    sampled: np.ndarray, logits: np.ndarray, penalty: float, size: int, suppressed: list[int]
) -> np.ndarray:
    """Row by row and token by token."""
    out = logits.copy()
    for row, history in zip(out, sampled.tolist(), strict=True):
        for token in set(history):
            row[token] = row[token] * np.float32(penalty) if row[token] < 0 else row[token] / np.float32(penalty)
        for token in range(N_VOCAB):
            would = [*history, token]
            tail = would[len(would) - size :]
            if size and any(history[i : i + size] == tail for i in range(len(history) - size + 1)):
                row[token] = -INF
        row[suppressed] = -INF
    return out


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 12), st.sampled_from([0.7, 1.0, 1.3, 2.0]),
       st.integers(0, 4), st.lists(st.integers(0, N_VOCAB - 1), max_size=3))  # fmt: skip
@example(0, 1, 1, 2.0, 1, [0])
def test_against_a_plain_reference(
    seed: int, rows: int, n: int, penalty: float, size: int, suppressed: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    sampled = rng.integers(0, 3, (rows, n)) + rng.choice([0, 5], (rows, n))
    logits = rng.normal(0, 3, (rows, N_VOCAB)).astype(np.float32)
    filters: list[Filter] = [RepetitionPenalty(penalty), SuppressTokens(suppressed)]
    if size:
        filters.append(NoRepeatNgrams(size))
    got = apply_plan(make_plan(filters, sampled, N_VOCAB, BEGIN), logits.copy())
    assert np.array_equal(got, reference(sampled, logits, penalty, size, suppressed))


STEPS = 60
CASES = [
    {"repetition_penalty": 1.1},
    {"repetition_penalty": 1.6, "without_timestamps": True},
    {"repetition_penalty": 0.8},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2, "repetition_penalty": 0.8, "without_timestamps": True},
    {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3},
]
"""The first option of each must change what the others give."""


@pytest.fixture(scope="module")
def peer(load: Any, checkpoint: Any) -> Any:
    return load(IMPLEMENTATIONS["faster-whisper"], checkpoint, "cpu", "float32")


@pytest.mark.first_checkpoint
@pytest.mark.parametrize(
    "options",
    [pytest.param(case, marks=pytest.mark.slow if i % 2 else ()) for i, case in enumerate(CASES)],
    ids=lambda o: " ".join(f"{k}={v}" for k, v in o.items()),
)
def test_windows_equal_ctranslate2s(
    model: Model, peer: Any, speech: list[np.ndarray], options: dict[str, Any]
) -> None:
    """Greedy tokens of two windows that the options change, behind a prompt whose tokens must not count."""
    needs(model, "repetition")
    without = options.get("without_timestamps", False)
    previous = " the and of a to in that it was he"
    features = model.encode(np.stack([model.mel(audio) for audio in speech]))
    common: dict[str, Any] = {"language": "en", "prompt": previous, "sample_len": STEPS}
    ours = model.decode(features, **common, **options)
    plain = model.decode(features, **common, **dict(list(options.items())[1:]))
    assert [r.tokens for r in ours] != [r.tokens for r in plain], "the option changed nothing"

    tokenizer = peer._tokenizer("en", "transcribe")
    prompt = peer.engine.get_prompt(tokenizer, tokenizer.encode(previous), without)
    from faster_whisper.transcribe import get_suppressed_tokens

    results = peer.engine.model.generate(
        ctranslate2.StorageView.from_array(features), [prompt] * len(features), beam_size=1,
        max_length=len(prompt) + STEPS, suppress_blank=True, return_scores=True,
        suppress_tokens=get_suppressed_tokens(tokenizer, [-1]), max_initial_timestamp_index=50,
        **{k: v for k, v in options.items() if k != "without_timestamps"},
    )  # fmt: skip
    for got, want in zip(ours, results, strict=True):
        tokens = want.sequences_ids[0]
        assert got.tokens[: len(tokens)] == tokens, f"{tokenizer.decode(got.tokens)!r}, {tokenizer.decode(tokens)!r}"
        assert len(tokens) == len(got.tokens) or len(tokens) > STEPS // 2, "theirs stopped short of its limit"
        if len(got.tokens) == len(tokens):
            assert got.avg_logprob == pytest.approx(want.scores[0] * len(tokens) / (len(tokens) + 1), abs=1e-3)


class NoWork:
    """A runtime that is only asked for its dims."""

    def __init__(self, name: str):
        self.dims = SIZES[name]


def initial_tokens(**options: Any) -> list[int]:
    return DecodingTask(NoWork("tiny.en"), DecodingOptions(**options)).initial_tokens  # type: ignore[arg-type]


@pytest.mark.first_checkpoint
@settings(max_examples=60, deadline=None)
@given(hint=st.sampled_from([None, "", "Ports, tides", " Zürich ", "a b " * 20]), said=st.integers(0, 300),
       without=st.booleans())  # fmt: skip
def test_prompts_equal_faster_whispers(peer: Any, hint: str | None, said: int, without: bool) -> None:
    if peer.dims.is_multilingual:
        pytest.skip("the prompt's layout does not depend on the language")
    previous = list(range(1000, 1000 + said))
    want = peer.engine.get_prompt(peer._tokenizer("en", "transcribe"), previous, without, hotwords=hint)
    assert initial_tokens(prompt=previous, hotwords=hint, without_timestamps=without) == want


@pytest.mark.first_checkpoint
def test_long_hotwords(peer: Any) -> None:
    """The first 223 tokens, as in faster-whisper; what was said gives way to leave room for an answer, as there not."""
    if peer.dims.is_multilingual:
        pytest.skip("the prompt's layout does not depend on the language")
    hint, tokenizer = "alpha beta gamma " * 200, peer._tokenizer("en", "transcribe")
    assert initial_tokens(hotwords=hint) == peer.engine.get_prompt(tokenizer, [], hotwords=hint)
    both = initial_tokens(hotwords=hint, prompt=list(range(1000, 1300)))
    assert both[:224] == initial_tokens(hotwords=hint)[:224]
    assert both[224:] == [*range(1300 - 111, 1300), tokenizer.sot]
    assert len(both) == 448 - 112


def test_hotwords_have_no_effect_beside_a_prefix() -> None:
    assert initial_tokens(prefix="And so", hotwords="tides") == initial_tokens(prefix="And so")
    assert initial_tokens(prefix="And so", hotwords="tides", prompt="x") == initial_tokens(prefix="And so", prompt="x")
    assert initial_tokens(hotwords="tides") != initial_tokens()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repetition_penalty": 0}, "repetition_penalty=0: give a number from 1e-06 to 1e"),
        ({"repetition_penalty": 1e300}, "repetition_penalty="),
        ({"repetition_penalty": float("nan")}, "repetition_penalty=nan"),
        ({"repetition_penalty": None}, "repetition_penalty=None"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size=-1: give a whole number"),
        ({"no_repeat_ngram_size": 1.5}, "no_repeat_ngram_size=1.5"),
        ({"hotwords": [60000]}, "hotwords holds the token 60000"),
        ({"hotwords": "<|endoftext|>"}, "special token"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        initial_tokens(**options)


@pytest.mark.slow
def test_in_a_whole_recording(model: Model, peer: Any, clips: list[Clip]) -> None:
    """Through `transcribe`: hotwords in front of every window, and the filters in each."""
    needs(model, "repetition")
    clip = next(c for c in clips if c.seconds > 40 and c.language == "en")
    audio = load_audio(clip.audio)[: 40 * 16000]
    options: dict[str, Any] = {"language": "en", "temperature": 0.0, "hotwords": "Gutenberg, Schoeffer, Fust"}
    options |= {"repetition_penalty": 1.05, "no_repeat_ngram_size": 4}
    assert model.transcribe(audio, **options)["text"] == peer.transcribe(audio, **options)["text"]
