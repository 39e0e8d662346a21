"""A whole model of the GPU's kernels, run by the CPU: held to the same ledger as the CPU's own."""

from __future__ import annotations

import pytest

from maxwhisper_impl import Whisper
from maxwhisper_impl.runtime import MaxRuntime
from maxwhisper_impl.weights import Checkpoint
from tests import compare
from tests.implementations import Model
from tests.parity.conftest import Judge, Probe, Taps, needs

pytestmark = [pytest.mark.slow, pytest.mark.first_checkpoint]


@pytest.fixture(scope="module")
def ours(model: Model, checkpoint: Checkpoint) -> Whisper:
    needs(model, "cache")
    return Whisper(checkpoint.dims, MaxRuntime(checkpoint, kernels="gpu"))


def test_features_and_logits(ours: Whisper, window_probe: Probe, float64_taps: Taps, judge: Judge) -> None:
    """Of two windows, the whole sequence at once: positions see those before them and no others."""
    features = ours.encode(window_probe.mel)
    judge.tensor("features", features, float64_taps["encoder.ln_post"], "encoder.ln_post")
    judge.logits("logits", ours.logits(window_probe.tokens, features), float64_taps["logits"])


@pytest.mark.parametrize("options", [{}, {"prompt": "Minutes of the last meeting, read aloud."}, {"beam_size": 3}])
def test_tokens(ours: Whisper, oracle: Model, window_probe: Probe, options: dict[str, object]) -> None:
    """Prompt, steps and rows that change places."""
    for number, mel in enumerate(window_probe.mel):
        got = ours.decode(mel, language="en", **options)
        (want,) = oracle.decode(mel[None], language="en", **options)
        compare.assert_tokens(f"window {number}", got.tokens, want.tokens)
