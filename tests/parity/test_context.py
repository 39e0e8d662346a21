"""What each window is told of the text before it, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from maxwhisper_impl import DecodingResult, Whisper
from maxwhisper_impl import transcribe as transcribe_module
from maxwhisper_impl.audio import SAMPLE_RATE
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.tokenizer import get_tokenizer

DIMS = SIZES["tiny"]
INITIAL = get_tokenizer(True).encode(" and so" * 100)
ROOM = 23
"""tokens of a prompt's 223 that the 200 of the initial one leave"""
SAID = [list(range(1000 * n, 1000 * n + 20)) for n in (1, 2, 3)]
"""window by window"""


def told(temperature: float = 0.0, **options: Any) -> list[list[int]]:
    """The prompts of the three windows of a recording."""
    prompts: list[list[int]] = []

    def decode(*_: Any, prompt: list[int], **__: Any) -> list[DecodingResult]:
        prompts.append(list(prompt))
        return [DecodingResult(None, "en", tokens=SAID[len(prompts) - 1], avg_logprob=-0.1, no_speech_prob=0.0,
                               temperature=temperature, compression_ratio=1.0)]  # fmt: skip

    model = Whisper(DIMS, SimpleNamespace(dims=DIMS, encode=lambda mel: mel))
    with mock.patch.object(transcribe_module, "decode_windows", decode):
        model.transcribe(np.zeros(70 * SAMPLE_RATE, np.float32), language="en", **options)
    return prompts


@pytest.mark.parametrize(
    ("carry", "third"),
    [
        pytest.param(True, INITIAL + (SAID[0] + SAID[1])[-ROOM:], id="the initial prompt stays, what was said is cut"),
        pytest.param(False, INITIAL + SAID[0] + SAID[1], id="all; decoding cuts it at its front"),
    ],
)
def test_prompts_of_three_windows(carry: bool, third: list[int]) -> None:
    assert len(INITIAL) + ROOM == DIMS.n_text_ctx // 2 - 1
    prompts = told(initial_prompt="and so " * 100, carry_initial_prompt=carry)
    assert prompts == [INITIAL, INITIAL + SAID[0], third]


@pytest.mark.parametrize(("temperature", "third"), [(0.5, SAID[0] + SAID[1]), (0.51, [])])
@pytest.mark.parametrize("carry", [True, False])
def test_what_is_sampled_hotter_than_a_half_is_no_context(temperature: float, third: list[int], carry: bool) -> None:
    """The initial prompt neither, but where it is carried."""
    prompts = told(temperature, initial_prompt="and so " * 50, carry_initial_prompt=carry)
    initial = INITIAL[: len(INITIAL) // 2]
    assert prompts[0] == initial
    assert prompts[2] == (initial if carry or third else []) + third
