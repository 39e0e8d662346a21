"""Our decoding and openai-whisper's on the same random logits: blanks, ends and timestamps come far more often."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import whisper
import whisper.decoding
from hypothesis import given, settings
from hypothesis import strategies as st

from maxwhisper_impl.decoding import DecodingTask
from maxwhisper_impl.decoding.options import make_options
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.tokenizer import get_tokenizer
from tests import compare
from tests.oracle_runtime import Draws, exact_oracle
from tests.picks import PicksOnHost

DIMS = {"tiny.en": SIZES["tiny.en"], "base": SIZES["base"]}


class Babble:
    """Logits that are a function of seed and history: a Runtime, and an inference for openai-whisper."""

    def __init__(self, name: str, seed: int):
        self.dims = DIMS[name]
        self.seed = seed
        tokenizer = get_tokenizer(self.dims.is_multilingual)
        self.favoured = [*tokenizer.encode(" "), tokenizer.eot, tokenizer.transcribe, tokenizer.no_timestamps]
        self.begin = tokenizer.timestamp_begin

    def logits(self, history: Sequence[int]) -> np.ndarray:
        rng = np.random.default_rng([self.seed, len(history), *history[-4:]])
        logits = rng.normal(0, 2, self.dims.n_vocab).astype(np.float32)
        logits[self.favoured] += rng.choice([0, 4, 12], len(self.favoured)).astype(np.float32)
        logits[self.begin :] += rng.choice([-8, 0, 2])
        return logits

    def start(self, features: Any, rows_per_window: int = 1) -> BabbleState:
        return BabbleState(self, len(features) * rows_per_window)


class BabbleState(PicksOnHost):
    def __init__(self, runtime: Babble, rows: int):
        self.runtime = runtime
        self.histories: list[list[int]] = [[] for _ in range(rows)]

    def step(self, tokens: np.ndarray, at: Sequence[int] = (-1,)) -> np.ndarray:
        before = len(self.histories[0])
        self.histories = [history + row for history, row in zip(self.histories, tokens.tolist(), strict=True)]
        ends = [before + (i % tokens.shape[1]) + 1 for i in at]
        return np.array([[self.runtime.logits(history[:end]) for end in ends] for history in self.histories])

    def select(self, rows: Sequence[int]) -> None:
        self.histories = [self.histories[row] for row in rows]


def by_oracle(babble: Babble, options: dict[str, Any]) -> Any:
    class Inference:
        def __init__(self, *_: Any) -> None: ...
        def rearrange_kv_cache(self, source_indices: Any) -> None: ...
        def cleanup_caching(self) -> None: ...

        def logits(self, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
            """Of all positions; only the last and, at the first step, that of the start are read."""
            rows = []
            for history in tokens.tolist():
                sot = history.index(50258 if babble.dims.is_multilingual else 50257)
                row = np.zeros((len(history), babble.dims.n_vocab), np.float32)
                row[sot], row[-1] = babble.logits(history[: sot + 1]), babble.logits(history)
                rows.append(row)
            return torch.from_numpy(np.array(rows))

    model = SimpleNamespace(
        dims=babble.dims, is_multilingual=babble.dims.is_multilingual, num_languages=babble.dims.num_languages
    )
    features = torch.zeros(1, babble.dims.n_audio_ctx, babble.dims.n_audio_state)
    with mock.patch.object(whisper.decoding, "PyTorchInference", Inference):
        task = whisper.decoding.DecodingTask(model, whisper.DecodingOptions(fp16=False, **options))
        return task.run(features)[0]


SEARCH = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"temperature": st.sampled_from([0.3, 1.0]), "best_of": st.integers(1, 3)}),
    st.fixed_dictionaries({"beam_size": st.integers(1, 4), "patience": st.sampled_from([None, 0.6, 1.0, 2.0])}),
)
OPTIONS = st.fixed_dictionaries(
    {"language": st.just("en"), "sample_len": st.integers(1, 9)},
    optional={
        "suppress_blank": st.booleans(),
        "suppress_tokens": st.sampled_from(["-1", "", "11,13", "-1,50256"]),
        "without_timestamps": st.booleans(),
        "max_initial_timestamp": st.sampled_from([None, 0.5, 1.0, 30.0]),
        "length_penalty": st.sampled_from([0.0, 0.5, 1.0]),
        "prompt": st.lists(st.integers(0, 50000), max_size=5),
        "prefix": st.lists(st.integers(0, 50000), max_size=3),
    },
)


@pytest.mark.parametrize("name", DIMS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), SEARCH, OPTIONS)
def test_any_options(name: str, seed: int, search: dict[str, Any], others: dict[str, Any]) -> None:
    options, babble, draws = {**others, **search}, Babble(name, seed), Draws()
    features = np.zeros((1, babble.dims.n_audio_ctx, babble.dims.n_audio_state), np.float32)
    with draws.recording():
        ours = DecodingTask(babble, make_options(**options)).run(features)[0]
    with exact_oracle(), draws.replaying():
        try:
            theirs = by_oracle(babble, options)
        except ZeroDivisionError:
            assert ours.tokens == [] or options.get("best_of", options.get("beam_size", 1)) > 1
            return  # the oracle divides by the length of an empty candidate
    assert (ours.tokens, ours.text) == (theirs.tokens, theirs.text)
    for field in ("avg_logprob", "no_speech_prob"):
        compare.assert_close(field, getattr(ours, field), getattr(theirs, field), f"rules.{field}")


def test_windows_are_sampled_apart() -> None:
    """Of windows that sound the same, each goes its own way, and the same way alone as beside others."""
    babble, options = Babble("tiny.en", 1), make_options(language="en", temperature=1.0, sample_len=9)

    def sampled(*streams: tuple[int, int]) -> list[list[int]]:
        features = np.zeros((len(streams), babble.dims.n_audio_ctx, babble.dims.n_audio_state), np.float32)
        return [result.tokens for result in DecodingTask(babble, options).run(features, streams=streams)]

    together = sampled((0, 1000), (3000, 1000), (0, 1000))
    assert together[0] == together[2] != together[1]
    assert [together[1]] == sampled((3000, 1000))
