"""The cached decoder under random sequences of actions: whatever was done before, logits are the uncached oracle's.

Several decoders live at once, as in the attempts at a window and in threads: none may disturb another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from maxwhisper_impl.errors import MaxWhisperError
from tests import record
from tests.adapters.openai import OpenAI
from tests.implementations import Model
from tests.measure_tolerances import initial_and_words
from tests.parity.conftest import Judge, Probe, Taps, needs

pytestmark = pytest.mark.random_weights

BATCHES = ((0,), (0, 1), (1, 0), (1, 1, 0))
"""Windows of the probe that are decoded side by side."""


@dataclass
class Bench:
    """What all examples share: encoded batches, the oracle, the words that rows are made of."""

    runtime: Any
    batches: list[Any]
    """features of BATCHES"""
    uncached: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """(tokens [rows, T], windows [rows]) -> logits [rows, T, n_vocab]"""
    judge: Judge
    initial: list[int]
    words: list[int]


@dataclass
class Decoder:
    """A state under test beside what it should know: the tokens of each row and the window that it listens to."""

    state: Any
    batch: int
    rows: np.ndarray
    """int32 [rows, T]"""
    windows: np.ndarray
    slots: int
    unseen: bool = False
    """rows were selected, and no logits have shown it yet"""


class CacheMachine(RuleBasedStateMachine):
    decoders = Bundle("decoders")

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.all: list[Decoder] = []

    def _begin(self, batch: int, beams: int, data: st.DataObject) -> Decoder:
        windows = np.repeat(BATCHES[batch], beams)
        state = self.bench.runtime.start(self.bench.batches[batch], rows_per_window=beams)
        decoder = Decoder(state, batch, np.empty((len(windows), 0), np.int32), windows, len(windows))
        self.all.append(decoder)
        prompt = np.tile(np.array(self.bench.initial, np.int32), (len(windows), 1))
        self._advance(decoder, np.hstack([prompt, self._words(decoder, data.draw(st.integers(0, 4)), data)]), at=(-1,))
        return decoder

    def _words(self, decoder: Decoder, n: int, data: st.DataObject) -> np.ndarray:
        """int32 [rows, n]: words of the probe, drawn for each row apart."""
        count = len(decoder.windows) * n
        words = data.draw(st.lists(st.sampled_from(self.bench.words), min_size=count, max_size=count))
        return np.array(words, np.int32).reshape(len(decoder.windows), n)

    def _advance(self, decoder: Decoder, tokens: np.ndarray, at: Sequence[int]) -> None:
        """Appends tokens [rows, n]; the logits of the positions `at`, from the end, are the oracle's on all of it."""
        decoder.rows = np.hstack([decoder.rows, tokens])
        logits = decoder.state.step(tokens, at)
        want = self.bench.uncached(decoder.rows, decoder.windows)[:, list(at)]
        for number, (row, window) in enumerate(zip(decoder.rows.tolist(), decoder.windows, strict=True)):
            name = f"row {number} of {len(want)}, {row} of window {window}"
            self.bench.judge.step(name, logits[number], want[number])
        decoder.unseen = False
        record.count("cache actions")

    def _select(self, decoder: Decoder, chosen: Sequence[int]) -> None:
        decoder.state.select(chosen)
        decoder.rows, decoder.windows = decoder.rows[list(chosen)], decoder.windows[list(chosen)]
        decoder.unseen = True
        record.count("cache actions")

    @initialize(target=decoders, batch=st.integers(0, len(BATCHES) - 1), beams=st.integers(1, 2), data=st.data())
    def prefill(self, batch: int, beams: int, data: st.DataObject) -> Decoder:
        return self._begin(batch, beams, data)

    @rule(target=decoders, batch=st.integers(0, len(BATCHES) - 1), beams=st.integers(1, 2), data=st.data())
    def next_window(self, batch: int, beams: int, data: st.DataObject) -> Decoder:
        return self._begin(batch, beams, data)

    @rule(target=decoders, decoder=decoders, beams=st.integers(1, 2), data=st.data())
    def reset(self, decoder: Decoder, beams: int, data: st.DataObject) -> Decoder:
        """Another attempt at the same windows: from nothing, with the same encoded features."""
        return self._begin(decoder.batch, beams, data)

    @rule(decoder=decoders, n=st.sampled_from([1, 1, 1, 2, 3]), data=st.data())
    def step(self, decoder: Decoder, n: int, data: st.DataObject) -> None:
        self._advance(decoder, self._words(decoder, n, data), at=range(-n, 0))

    @rule(decoder=decoders, data=st.data())
    def reorder(self, decoder: Decoder, data: st.DataObject) -> None:
        """Beams: rows continue from any others, of other windows too; as many as there are slots at most."""
        rows = st.integers(0, len(decoder.windows) - 1)
        self._select(decoder, data.draw(st.lists(rows, min_size=1, max_size=decoder.slots)))

    @rule(decoder=decoders, data=st.data())
    def compact(self, decoder: Decoder, data: st.DataObject) -> None:
        """Finished rows leave, the others keep their order."""
        rows = st.sets(st.integers(0, len(decoder.windows) - 1), min_size=1)
        self._select(decoder, sorted(data.draw(rows)))

    @rule(decoder=decoders, data=st.data())
    def rewind(self, decoder: Decoder, data: st.DataObject) -> None:
        """What a draft had wrong is forgotten; what is read next takes its place."""
        if not decoder.unseen:
            kept = data.draw(st.integers(1, decoder.rows.shape[1]))
            decoder.state.rewind(kept)
            decoder.rows = decoder.rows[:, :kept]
            self._advance(decoder, self._words(decoder, 1, data), at=(-1,))

    @rule(decoder=decoders)
    def refused(self, decoder: Decoder) -> None:
        """What cannot be done changes nothing."""
        rows, state = len(decoder.windows), decoder.state
        column = np.full((rows, 1), self.bench.words[0], np.int32)
        for wrong in (np.repeat(column, 2, axis=0), np.repeat(column, 500, axis=1), column * 0 - 1):
            with pytest.raises((MaxWhisperError, ValueError)):
                state.step(wrong)
        with pytest.raises((MaxWhisperError, ValueError)):
            state.select([0] * (decoder.slots + 1))
        for length in (-1, state.length + 1):
            with pytest.raises((MaxWhisperError, ValueError)):
                state.rewind(length)

    @invariant()
    def lengths_are_those_of_the_histories(self) -> None:
        assert [decoder.state.length for decoder in self.all] == [decoder.rows.shape[1] for decoder in self.all]

    def teardown(self) -> None:
        """No selection goes unseen."""
        for decoder in self.all:
            if decoder.unseen:
                self._advance(decoder, np.full((len(decoder.windows), 1), self.bench.words[0], np.int32), at=(-1,))
            decoder.state = None  # the caches are large, and Hypothesis keeps its machines for a while


@pytest.fixture(scope="session")
def bench(model: Model, window_probe: Probe, float64: OpenAI, float64_taps: Taps, judge: Judge) -> Bench:
    needs(model, "cache")
    features = float64_taps["encoder.ln_post"]

    def uncached(tokens: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """Window by window, so that a window's keys and values are computed once for all its rows."""
        logits = [np.empty(0)] * len(tokens)
        for window in set(windows.tolist()):
            rows = np.flatnonzero(windows == window)
            for row, each in zip(rows, float64.logits(tokens[rows], features[[window]]), strict=True):
                logits[row] = each
        return np.stack(logits)

    batches = [model.runtime.encode(window_probe.mel[list(batch)]) for batch in BATCHES]
    initial, words = initial_and_words(window_probe.tokens)
    return Bench(model.runtime, batches, uncached, judge, initial[0].tolist(), words.ravel().tolist())


def run(bench: Bench, examples: int, steps: int) -> None:
    """Without shrinking: a failing example is short enough to read, and each takes seconds."""
    budget = settings(max_examples=examples, stateful_step_count=steps, phases=(Phase.generate,), deadline=None,
                      derandomize=True, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(lambda: CacheMachine(bench), settings=budget)


@pytest.mark.first_checkpoint
def test_any_actions(bench: Bench) -> None:
    """The cache does not depend on the weights: mostly on those of the small random model."""
    run(bench, examples=12 if bench.judge.prefix else 2, steps=10)


@pytest.mark.slow
def test_many_actions(bench: Bench) -> None:
    run(bench, examples=25, steps=30)


def _off_by_one(state: Any, rows: Sequence[int], select: Any) -> None:
    select(state, rows)
    state.length -= 1


def _wrong_slot(state: Any, rows: Sequence[int], select: Any) -> None:
    kept = state.source
    select(state, rows)
    state.source = kept[: len(rows)]


def _stale_window(state: Any, rows: Sequence[int], select: Any) -> None:
    kept = state.windows
    select(state, rows)
    state.windows = kept[: len(rows)]


def _shared_cache(state: Any, runtime: Any) -> None:
    """One cache for all decoders of as many rows, as if the second had been reset without forgetting the first."""
    shared = runtime.__dict__.setdefault("shared", {})
    state.caches = shared.setdefault(state.slots, state.caches)


def _not_reset(state: Any, runtime: Any) -> None:
    before = runtime.__dict__.setdefault("before", {})
    earlier = before.setdefault(state.slots, state)
    state.source, state.length, state.caches = earlier.source.copy(), earlier.length, earlier.caches


@pytest.mark.slow
@pytest.mark.parametrize("fault", [_off_by_one, _wrong_slot, _stale_window, _shared_cache, _not_reset])
def test_planted_faults_are_found(bench: Bench, fault: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    from maxwhisper_impl.runtime import DecoderState

    select, init = DecoderState.select, DecoderState.__init__

    def faulty_init(state: Any, runtime: Any, *arguments: Any) -> None:
        init(state, runtime, *arguments)
        fault(state, runtime)

    if fault in (_shared_cache, _not_reset):
        monkeypatch.setattr(DecoderState, "__init__", faulty_init)
        for name in ("shared", "before"):
            monkeypatch.setitem(bench.runtime.__dict__, name, {})
    else:
        monkeypatch.setattr(DecoderState, "select", lambda state, rows: fault(state, rows, select))
    with pytest.raises((AssertionError, MaxWhisperError, Flaky)):  # Flaky: not the same answer twice
        run(bench, examples=12, steps=10)
