"""The decoder, layer by layer, against openai-whisper in float64. The first red id is the layer where it goes wrong."""

import pytest

from tests import record
from tests.measure_tolerances import family
from tests.parity.conftest import Judge, Taps

pytestmark = pytest.mark.random_weights


def test_layer(model_taps: Taps, float64_taps: Taps, decoder_tap: str, judge: Judge) -> None:
    tap = decoder_tap
    assert tap in model_taps, f"the implementation shows no {tap}; it shows {', '.join(model_taps)}"
    judge.tensor(tap, model_taps[tap], float64_taps[tap], family(tap))
    record.count("decoder layer outputs")
