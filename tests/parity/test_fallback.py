"""When a window is decoded again, and when it is silence: openai-whisper's rules at their thresholds."""

from __future__ import annotations

from typing import Any

import pytest

from maxwhisper_impl import DecodingResult
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.fallback import is_silence, needs_fallback
from maxwhisper_impl.transcribe_options import make_transcribe_options

ONLY_SILENCE, ONLY_REPETITION, ONLY_LIKELIHOOD = (
    {name: None for name in ("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold") if name != kept}
    for kept in ("no_speech_threshold", "compression_ratio_threshold", "logprob_threshold")
)


@pytest.mark.parametrize(
    ("avg_logprob", "compression_ratio", "no_speech_prob", "options", "again", "silence"),
    [
        pytest.param(-0.3, 1.2, 0.1, {}, False, False, id="good"),
        pytest.param(-0.3, 2.5, 0.1, {}, True, False, id="repeats itself"),
        pytest.param(-0.3, 2.4, 0.1, {}, False, False, id="at the ratio is not above it"),
        pytest.param(-1.1, 1.2, 0.1, {}, True, False, id="unlikely"),
        pytest.param(-1.0, 1.2, 0.1, {}, False, False, id="at the log-probability is not below it"),
        pytest.param(-1.1, 1.2, 0.7, {}, False, True, id="unlikely and no speech"),
        pytest.param(-1.1, 2.5, 0.7, {}, False, True, id="unlikely, no speech, repeats itself"),
        pytest.param(-0.3, 2.5, 0.7, {}, True, False, id="likely, no speech, repeats itself"),
        pytest.param(-0.3, 1.2, 0.7, {}, False, False, id="no speech, but likely"),
        pytest.param(-1.0, 1.2, 0.7, {}, False, True, id="no speech, no likelier than the threshold"),
        pytest.param(-1.1, 1.2, 0.6, {}, True, False, id="at the probability of no speech is not above it"),
        pytest.param(-0.3, 1.2, 0.7, ONLY_SILENCE, False, True, id="no speech alone"),
        pytest.param(-9.0, 9.0, 0.1, ONLY_SILENCE, False, False, id="nothing else is asked"),
        pytest.param(-9.0, 2.5, 0.9, ONLY_REPETITION, True, False, id="repetition alone"),
        pytest.param(-9.0, 2.4, 0.9, ONLY_LIKELIHOOD, True, False, id="likelihood alone"),
    ],
)
def test_what_is_decoded_again_and_what_is_silence(
    avg_logprob: float, compression_ratio: float, no_speech_prob: float, options: dict[str, Any], again: bool,
    silence: bool
) -> None:  # fmt: skip
    made = make_transcribe_options(SIZES["base"], **options)
    result = DecodingResult(None, "en", avg_logprob=avg_logprob, compression_ratio=compression_ratio,
                            no_speech_prob=no_speech_prob)  # fmt: skip
    assert (needs_fallback(made, result), is_silence(made, result)) == (again, silence)
