"""The ledger's measurements, measured again on this machine: no row can be loosened together with its measurement."""

import pytest

from tests.implementations import Model
from tests.measure_tolerances import tap_errors
from tests.parity.conftest import Judge, Probe, Taps, needs
from tests.tolerances import TOLERANCES

pytestmark = pytest.mark.random_weights

ABOVE, BELOW = 3.0, 25.0
"""A row's figure is the largest over checkpoints and clips: another clip may give more, or a good deal less.

Less is not asked of max_abs: whether outlier channels appear depends on how much silence a window has."""


def test_measured_again(oracle: Model, window_probe: Probe, float64_taps: Taps, judge: Judge) -> None:
    needs(oracle, "taps")
    errors = tap_errors(oracle.taps(window_probe.mel, window_probe.tokens), float64_taps)
    rows = {key: TOLERANCES.get(judge.prefix + key) for key in errors if not key.startswith("decoder.ln/")}
    wrong = [
        f"{key}: the ledger has {row.measured if row else 'no row'}, this machine measures {errors[key]:.2g}"
        for key, row in rows.items()
        if row is None
        or errors[key] > ABOVE * row.measured
        or (row.metric != "max_abs" and 0 < errors[key] < row.measured / BELOW)
    ]
    assert not wrong, "\n".join(wrong)
