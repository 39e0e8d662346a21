"""The cached decoder: any split of a sequence into pieces, any reordering of rows, gives the uncached logits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maxwhisper_impl.decoding.filters import Plan, apply_plan
from maxwhisper_impl.decoding.greedy import pick_likeliest
from maxwhisper_impl.errors import MaxWhisperError
from tests import record
from tests.implementations import Model
from tests.measure_tolerances import initial_and_words
from tests.parity.conftest import Judge, Probe, Taps, needs

pytestmark = pytest.mark.random_weights

FEW = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="session")
def encoded(model: Model, window_probe: Probe) -> Any:
    needs(model, "cache")
    return model.runtime.encode(window_probe.mel)


@pytest.fixture(scope="session")
def tokens(window_probe: Probe) -> np.ndarray:
    """int32 [2, T]"""
    return window_probe.tokens.astype(np.int32)


@pytest.mark.first_checkpoint
@FEW
@given(cuts=st.sets(st.integers(1, 99), max_size=8))
def test_any_split(
    model: Model, encoded: Any, tokens: np.ndarray, float64_taps: Taps, judge: Judge, cuts: set[int]
) -> None:
    """`cuts`: in percent of the sequence, where one piece ends and the next begins."""
    length = tokens.shape[1]
    edges = sorted({0, length, *(1 + cut * (length - 1) // 100 for cut in cuts)})
    state = model.runtime.start(encoded)
    pieces = [state.step(tokens[:, a:b], at=range(b - a)) for a, b in pairwise(edges)]
    assert state.length == length
    judge.logits(f"split at {edges}", np.concatenate(pieces, axis=1), float64_taps["logits"])
    record.count("cache splits")


def test_token_by_token(model: Model, encoded: Any, tokens: np.ndarray, float64_taps: Taps, judge: Judge) -> None:
    state = model.runtime.start(encoded)
    steps = [state.step(column[:, None]) for column in tokens.T]
    judge.logits("steps", np.concatenate(steps, axis=1), float64_taps["logits"])


def test_picked_is_what_the_logits_of_a_step_say(model: Model, encoded: Any, tokens: np.ndarray) -> None:
    """Whatever was suppressed in the step before: here each step forbids what its own logits like best."""
    steps, picks = model.runtime.start(encoded), model.runtime.start(encoded)
    vocabulary = model.dims.n_vocab
    for column in tokens.T[:6]:
        logits = steps.step(column[:, None])[:, 0]
        plan = Plan.allow_all(len(column), vocabulary, vocabulary - 100)
        plan.suppressed = [logits.argmax(axis=1)]
        want, likely = pick_likeliest(apply_plan(plan, logits.copy()))
        got, logprobs = picks.pick(column[:, None], plan)
        assert got.tolist() == want.tolist()
        np.testing.assert_allclose(logprobs, likely, rtol=0, atol=5e-5)  # float32 sums of the whole vocabulary
    assert picks.length == steps.length == 6


def test_only_the_positions_asked_for(
    model: Model, encoded: Any, tokens: np.ndarray, float64_taps: Taps, judge: Judge
) -> None:
    got = model.runtime.start(encoded).step(tokens, at=(0, 2, -1))
    judge.logits("positions 0, 2, -1", got, float64_taps["logits"][:, [0, 2, -1]])


@pytest.mark.first_checkpoint
@FEW
@given(data=st.data())
def test_rows_are_reordered_repeated_and_dropped(
    model: Model,
    encoded: Any,
    tokens: np.ndarray,
    exact: Callable[..., np.ndarray],
    judge: Judge,
    data: st.DataObject,
) -> None:
    """Beams: two rows a window, each with tokens of its own; after a step rows continue from any others."""
    initial, spoken = initial_and_words(tokens)
    words = st.sampled_from(spoken.ravel().tolist())
    rows, windows = initial.repeat(2, axis=0), np.array([0, 0, 1, 1])
    state = model.runtime.start(encoded, rows_per_window=2)
    logits = state.step(rows)
    for _ in range(data.draw(st.integers(1, 4), label="steps")):
        chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=4), label="select")
        state.select(chosen)
        ids = data.draw(st.lists(words, min_size=len(chosen), max_size=len(chosen)), label="tokens")
        column = np.array(ids, np.int32)[:, None]
        rows, windows = np.hstack([rows[chosen], column]), windows[chosen]
        logits = state.step(column)
    judge.step(f"rows {rows.tolist()} of windows {windows.tolist()}", logits, exact(rows, windows)[:, -1:])
    record.count("row selections")


@pytest.mark.first_checkpoint
def test_the_end_of_the_context(
    model: Model, encoded: Any, tokens: np.ndarray, exact: Callable[..., np.ndarray], judge: Judge
) -> None:
    """The last position there is can be reached with the cache, and one more is refused."""
    n_text_ctx = model.dims.n_text_ctx
    rows = np.resize(tokens, (2, n_text_ctx))
    state = model.runtime.start(encoded)
    state.step(rows[:, :-1])
    judge.step(f"position {n_text_ctx - 1}", state.step(rows[:, -1:]), exact(rows, [0, 1])[:, -1:])
    with pytest.raises((MaxWhisperError, ValueError), match=str(n_text_ctx)):
        state.step(rows[:, :1])


@pytest.mark.first_checkpoint
def test_what_does_not_fit_is_refused(model: Model, encoded: Any, tokens: np.ndarray) -> None:
    """Arrays of another model's, and positions that no token stands at; what was read before stands."""
    runtime = model.runtime
    with pytest.raises(MaxWhisperError, match=r"mel has shape \(1, 7, 3000\), the model takes \['batch', "):
        runtime.encode(np.zeros((1, 7, 3000), np.float32))
    with pytest.raises(MaxWhisperError, match=r"features have shape \(1, 1500, 7\), the model takes \['batch', 1500, "):
        runtime.start(np.zeros((1, 1500, 7), np.float32))
    want = runtime.start(encoded).step(tokens[:, :3])
    state = runtime.start(encoded)
    for at in ([3], [0, -4]):
        with pytest.raises(MaxWhisperError, match=r"logits were asked for at .* of 3 positions"):
            state.step(tokens[:, :3], at=at)
    assert np.array_equal(state.step(tokens[:, :3]), want)
