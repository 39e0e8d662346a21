"""When a window is decoded again, and when it is silence: openai-whisper's rules at their thresholds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import DecodingResult, fallback
from maxwhisper_impl.decoding import DecodingTask
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.drafts import Drafts
from maxwhisper_impl.fallback import is_silence, needs_fallback
from maxwhisper_impl.segments import Window
from maxwhisper_impl.tokenizer import get_tokenizer
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


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What decoding is asked for at each try: temperature, windows, streams and draft. The first window passes."""
    asked: list[tuple[Any, ...]] = []

    class Task(DecodingTask):
        def run(self, features: Any, windows: Any, streams: Any, draft: Any) -> list[DecodingResult]:  # type: ignore[override]
            asked.append((self.options.temperature, list(windows), list(streams), draft))
            return [DecodingResult(None, "en", avg_logprob=-9.0 if i else -0.1, compression_ratio=1.0,
                                   no_speech_prob=0.0) for i in windows]  # fmt: skip

    monkeypatch.setattr(fallback, "DecodingTask", Task)
    return asked


RUNTIME: Any = SimpleNamespace(dims=SIZES["tiny.en"])


def test_each_window_and_temperature_draws_from_a_stream_of_its_own(tried: list[tuple[Any, ...]]) -> None:
    """By its place in the recording, not in the batch: what fails is sampled anew, and as it would be alone."""
    options = make_transcribe_options(SIZES["tiny.en"], temperature=(0.0, 0.25, 1.0))
    windows = [Window(1000, 3000), Window(4000, 3000), Window(7000, 500)]
    fallback.decode_windows(RUNTIME, options, windows, None, language="en", prompt=[])
    assert [streams for _, _, streams, _ in tried] == [
        [(1000, 0), (4000, 0), (7000, 0)], [(4000, 250), (7000, 250)], [(4000, 1000), (7000, 1000)]
    ]  # fmt: skip
    assert [which for _, which, *_ in tried] == [[0, 1, 2], [1, 2], [1, 2]]


def test_an_assistant_is_asked_once(tried: list[tuple[Any, ...]]) -> None:
    """Samples cannot be confirmed."""
    options = make_transcribe_options(SIZES["tiny.en"], temperature=(0.0, 0.25, 1.0), logprob_threshold=0.0)
    drafts = Drafts(lambda start, end: said.append((start, end)) or "so", np.zeros(0, np.float32))
    said: list[tuple[float, float]] = []
    fallback.decode_windows(RUNTIME, options, [Window(1000, 500)], None, language="en", prompt=[], drafts=drafts)
    assert said == [(10.0, 15.0)]
    assert [draft for *_, draft in tried] == [get_tokenizer(False).encode(" so"), None, None]
