"""The ledger's measurements, measured again on this machine: no row can be loosened together with its measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.adapters.openai import OpenAI
from tests.measure_tolerances import Errors, in_dtype, odd_rows, row_errors, score_errors, tap_errors
from tests.parity.conftest import Judge, Probe, Taps, needs
from tests.tolerances import TOLERANCES

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

pytestmark = pytest.mark.random_weights

ABOVE, BELOW = 3.0, 25.0
"""A row's figure is the largest over checkpoints and clips: another clip may give more, or a good deal less.

Less is not asked of max_abs: whether outlier channels appear depends on how much silence a window has."""


def wrong_rows(prefix: str, errors: Errors, dtype: str) -> list[str]:
    """What the ledger says otherwise than this machine, one line a row."""
    at = "" if dtype == "float32" else f"@{dtype}"
    rows = {key: TOLERANCES.get(f"{prefix}{key}{at}") for key in errors}
    return [
        f"{prefix}{key}{at}: the ledger has {row.measured if row else 'no row'}, measured now {errors[key]:.2g}"
        for key, row in rows.items()
        if row is None
        or errors[key] > ABOVE * row.measured
        or (row.metric != "max_abs" and 0 < errors[key] < row.measured / BELOW)
    ]


@pytest.fixture(scope="module")
def measured(oracle: OpenAI, checkpoint: Checkpoint, dtype: str) -> OpenAI:
    """The oracle with the numbers of the dtype under test."""
    needs(oracle, "taps")
    return oracle if dtype == "float32" else in_dtype(checkpoint, dtype)


@pytest.mark.first_checkpoint
def test_measured_again(measured: OpenAI, window_probe: Probe, float64_taps: Taps, judge: Judge) -> None:
    errors = tap_errors(measured.taps(window_probe.mel, window_probe.tokens), float64_taps)
    wrong = wrong_rows(judge.prefix, {k: v for k, v in errors.items() if not k.startswith("decoder.ln/")}, judge.dtype)
    assert not wrong, "\n".join(wrong)


@pytest.mark.first_checkpoint
def test_rows_and_scores_measured_again(
    measured: OpenAI, float64: OpenAI, window_probe: Probe, float64_taps: Taps, judge: Judge
) -> None:
    """What single steps, and the scores behind word times, may err by."""
    features = [measured.encode(window_probe.mel), float64_taps["encoder.ln_post"]]
    errors = {} if judge.prefix else score_errors(measured, float64, features, window_probe.tokens)
    rows = odd_rows(window_probe.tokens)
    heard = [np.repeat(each[:1], len(rows), axis=0) for each in features]
    errors |= row_errors(measured.logits(rows, heard[0]), float64.logits(rows, heard[1]))
    wrong = wrong_rows(judge.prefix, errors, judge.dtype)
    assert not wrong, "\n".join(wrong)
