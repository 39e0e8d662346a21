"""Options of live transcription: what needs the whole recording is refused, what is not refused is heeded."""

from __future__ import annotations

from typing import Any

import pytest

from maxwhisper_impl import OptionError, Whisper
from maxwhisper_impl.live import _NOT_LIVE
from tests.fuzz.scripted import DIMS, Scripted

RECORDED: dict[str, dict[str, Any]] = {
    "prefix": {"prefix": "So"},
    "without_timestamps": {"without_timestamps": True},
    "carry_initial_prompt": {"carry_initial_prompt": True, "initial_prompt": "So"},
    "word_timestamps": {"word_timestamps": True},
    "clip_timestamps": {"clip_timestamps": "3,4"},
    "batch_size": {"batch_size": 2},
    "assistant": {"assistant": len},
    "vad_filter": {"vad_filter": True},
    "multilingual": {"multilingual": True},
    "language_detection_segments": {"language_detection_segments": 2},
    "keep_best_fallback": {"keep_best_fallback": True},
}
"""options that would be without effect on live audio"""


def live(**options: Any) -> Any:
    return Whisper(DIMS["tiny"], Scripted(DIMS["tiny"])).live(**options)


@pytest.mark.parametrize("name", RECORDED)
def test_what_needs_the_recording_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"^{name}=.* is not for live audio; transcribe the recording"):
        live(**RECORDED[name])


def test_all_of_them_are_asked_about() -> None:
    assert sorted(RECORDED) == sorted(_NOT_LIVE)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"step": 0.0}, "step=0.0"), ({"step": 0.09}, "step=0.09: give 0.1 to 10"),
     ({"step": 10.1, "max_delay": 20}, "step=10.1: give 0.1 to 10"), ({"step": 2.0, "max_delay": 1.0}, "max_delay=1.0"),
     ({"max_delay": 20.1}, "from step=1.0 to 20"), ({"beam_size": 0}, "beam_size=0"),
     ({"initial_prompt": "<|endoftext|>"}, "special token")],
)  # fmt: skip
def test_options_out_of_range(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        live(**options)


def test_the_ends_of_the_ranges_are_in_them() -> None:
    for step, max_delay in ((0.1, 0.1), (10, 10), (10.0, 20.0)):
        live(step=step, max_delay=max_delay)


@pytest.mark.parametrize("hotwords", [" tides", "tides", [7, 8]])
@pytest.mark.parametrize("count", [1, 300])
def test_hotwords_stand_before_every_pass(hotwords: str | list[int], count: int) -> None:
    """Also behind words that are final, which are no prefix that anybody asked for; old context gives way to them."""
    transcription = live(hotwords=hotwords, language="en", initial_prompt=" so" * count)
    tokenizer = transcription._tokenizer
    hint = tokenizer.encode(" tides") if isinstance(hotwords, str) else hotwords
    prompt = [tokenizer.sot_prev, *hint, *(tokenizer.encode(" so") * count)[-(223 - len(hint)) :]]
    assert transcription._task(0.0).initial_tokens == [*prompt, *tokenizer.sot_sequence]
    transcription._final = [tokenizer.timestamp_begin, *tokenizer.encode(" on and")]
    assert transcription._task(0.0).initial_tokens == [*prompt, *tokenizer.sot_sequence, *transcription._final]
