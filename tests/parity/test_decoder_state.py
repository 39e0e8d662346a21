"""What the decoder's graph is handed at each step: ids, slots, windows, what is suppressed. No graph runs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType

from maxwhisper_impl.decoding.filters import Plan
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.errors import OptionError
from maxwhisper_impl.runtime import DecoderState, Features

DIMS = replace(SIZES["tiny.en"], n_text_ctx=8, n_vocab=10, n_text_layer=1)


class Given:
    """In the place of the graph."""

    def execute(self, ids: Any, source: Any, windows: Any, at: Any, ranges: Any, suppressed: Any, *_: Any) -> Any:
        self.ids, self.source, self.windows, self.at = (array.tolist() for array in (ids, source, windows, at))
        self.ranges, self.suppressed = ranges.tolist(), np.flatnonzero(suppressed).tolist()
        return [SimpleNamespace(to_numpy=lambda: np.zeros(len(ids)))] * 3


def start(windows: list[int]) -> tuple[DecoderState, Given]:
    ops, given = SimpleNamespace(cache_shape=lambda dims, slots: [slots], cache_dtype=DType.float32), Given()
    runtime: Any = SimpleNamespace(dims=DIMS, device=CPU(), ops=ops, put=lambda array: array.copy())
    return DecoderState(runtime, given, [], np.array(windows)), given  # type: ignore[arg-type]


def column(*ids: int) -> np.ndarray:
    return np.array(ids)[:, None]


def test_each_position_is_found_in_the_slot_that_it_was_written_to() -> None:
    state, given = start([0, 0, 1])
    state.step(np.array([[1, 2], [3, 4], [5, 6]]), at=(0, -1))
    assert given.ids == [[1, 2], [3, 4], [5, 6]]
    assert given.source == [[0, 0], [1, 1], [2, 2]]
    assert (given.windows, given.at, state.length) == ([0, 0, 1], [0, 1], 2)
    state.select([2, 1, 1])
    state.step(column(7, 8, 9))
    assert given.source == [[2, 2, 0], [1, 1, 1], [1, 1, 2]]
    assert (given.windows, given.at, state.length) == ([1, 0, 0], [0], 3)
    state.select([2, 0])
    state.step(column(0, 1))
    assert given.source == [[1, 1, 2, 0], [2, 2, 0, 1]]
    assert given.windows == [0, 1]
    state.rewind(2)
    state.step(column(0, 1))
    assert given.source == [[1, 1, 0], [2, 2, 1]]
    state.rewind(0)
    state.step(column(0, 1))
    assert given.source == [[0], [1]]


@pytest.mark.parametrize("token", [-1, DIMS.n_vocab])
def test_ids_beyond_the_vocabulary_are_refused(token: int) -> None:
    """They would be read from beside the table; the last one there is is none of them."""
    state, _ = start([0, 0])
    state.step(column(DIMS.n_vocab - 1, 0))
    with pytest.raises(OptionError, match="the vocabulary has 10"):
        state.step(column(0, token))
    assert state.length == 1
    state.step(np.zeros((2, DIMS.n_text_ctx - 1), int))
    with pytest.raises(OptionError, match=r"8 \+ 1 tokens are more than the model's context of 8"):
        state.step(column(0, 0))


def test_features_are_arrays_of_any_dtype_and_copies_where_copies_are_wanted() -> None:
    kept = Features(Buffer.from_numpy(np.full((2, 3, 4), 0.5, np.float32)), None)  # type: ignore[arg-type]
    assert (kept.shape, len(kept)) == ((2, 3, 4), 2)
    wide, own = np.asarray(kept, dtype=np.float64), np.array(kept)
    assert (wide.dtype, own.dtype) == (np.float64, np.float32)
    own[:] = 7
    assert (np.asarray(kept) == 0.5).all()


def test_what_is_suppressed_is_that_of_the_step() -> None:
    state, given = start([0])
    always, first = np.array([2, 3]), np.array([7])
    for suppressed, want in (([always, first], [2, 3, 7]), ([always], [2, 3]), ([], []), ([first], [7]),
                             ([np.array([1])], [1])):  # fmt: skip
        plan = Plan.allow_all(1, DIMS.n_vocab, 5)
        plan.suppressed = suppressed
        state.pick(column(0), plan)
        assert given.suppressed == want
        assert given.ranges == plan.ranges.tolist()
