"""Features and logits of the shipped graphs against openai-whisper in float64; batches, long prompts, taps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from maxwhisper_impl.errors import MaxWhisperError
from tests import compare, record
from tests.implementations import Model
from tests.parity.conftest import Judge, Probe, Taps, needs

pytestmark = pytest.mark.random_weights


@pytest.fixture(scope="session")
def features(model: Model, window_probe: Probe) -> np.ndarray:
    needs(model, "encode")
    return model.encode(window_probe.mel)


def test_features(features: np.ndarray, float64_taps: Taps, judge: Judge) -> None:
    judge.tensor("features", features, float64_taps["encoder.ln_post"], "encoder.ln_post")
    record.count("windows encoded", len(features))


def test_logits(model: Model, features: np.ndarray, window_probe: Probe, float64_taps: Taps, judge: Judge) -> None:
    needs(model, "logits")
    judge.logits("logits", model.logits(window_probe.tokens, features), float64_taps["logits"])
    record.count("logit rows", window_probe.tokens.size)


def test_the_oracle_is_within_its_own_ledger(
    oracle: Model, window_probe: Probe, float64_taps: Taps, judge: Judge
) -> None:
    needs(oracle, "logits")
    got = oracle.logits(window_probe.tokens, oracle.encode(window_probe.mel))
    compare.assert_logits("oracle in float32", got, float64_taps["logits"], key=f"{judge.prefix}logits")


def test_the_oracle_is_a_second_implementation(
    model: Model, oracle: Model, features: np.ndarray, window_probe: Probe
) -> None:
    if type(model) is type(oracle):
        pytest.skip("the oracle itself is under test")
    compare.assert_independent("features", features, oracle.encode(window_probe.mel))


def test_taps_leave_the_logits_as_they_are(
    model: Model, model_taps: Taps, features: np.ndarray, window_probe: Probe, judge: Judge
) -> None:
    judge.logits("tapped graph", model_taps["logits"], model.logits(window_probe.tokens, features))


def test_a_batch_is_its_windows(model: Model, features: np.ndarray, window_probe: Probe, judge: Judge) -> None:
    needs(model, "encode", "logits")
    batched = model.logits(window_probe.tokens, features)
    for i, (mel, tokens) in enumerate(zip(window_probe.mel, window_probe.tokens, strict=True)):
        alone = model.encode(mel[None])
        judge.tensor(f"features of window {i}", features[i : i + 1], alone, "encoder.ln_post")
        judge.step(f"logits of window {i}", batched[i : i + 1], model.logits(tokens[None], alone))


@pytest.mark.first_checkpoint
@pytest.mark.parametrize("length", [1, 227, 448, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 447))])
def test_prompts_up_to_the_context(
    model: Model,
    features: np.ndarray,
    window_probe: Probe,
    exact: Callable[..., np.ndarray],
    length: int,
    judge: Judge,
) -> None:
    needs(model, "logits")
    tokens = np.resize(window_probe.tokens[:1], (1, length))
    judge.step(f"{length} tokens", model.logits(tokens, features[:1])[:, -1:], exact(tokens, [0])[:, -1:])
    record.count("prompt lengths")


def test_a_prompt_past_the_context_is_refused(model: Model, features: np.ndarray, window_probe: Probe) -> None:
    needs(model, "cache")
    n_text_ctx = model.dims.n_text_ctx
    tokens = np.resize(window_probe.tokens[:1], (1, n_text_ctx + 1))
    with pytest.raises((MaxWhisperError, ValueError), match=str(n_text_ctx)):
        model.logits(tokens, features[:1])
