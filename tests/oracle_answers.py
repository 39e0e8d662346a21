"""What openai-whisper says with given options and draws, asked once per machine.

A key covers the weights, the audio, the options, the numbers drawn and the sources below. Ours is never kept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
import whisper

from tests import baselines
from tests.oracle_runtime import Draws, exact_oracle

if TYPE_CHECKING:
    from tests.adapters.openai import OpenAI

Options = dict[str, Any]
Calls = list[tuple[Options, list[int]]]
SEARCH = ("fp16", "best_of", "patience", "beam_size")
"""options of a decoding that say nothing of what it may say"""
_HERE = Path(__file__).parent
SOURCES = (Path(__file__), _HERE / "oracle_runtime.py", _HERE / "adapters" / "openai.py",
           _HERE.parent / "maxwhisper_impl" / "decoding" / "greedy.py")  # fmt: skip


def decode(oracle: OpenAI, features: torch.Tensor, options: Options, draws: Draws | None = None) -> Any:
    """`whisper.decode` of one window's features [n_audio_ctx, n_audio_state]: a DecodingResult."""

    def ask() -> Options:
        result = whisper.decode(oracle.torch, features, whisper.DecodingOptions(fp16=False, **options))
        return {f.name: getattr(result, f.name) for f in fields(result) if f.name != "audio_features"}

    kept = _kept("decode", oracle, features.numpy(), options, draws, ask)
    return whisper.DecodingResult(audio_features=features, **kept)


def transcribe(
    oracle: OpenAI, audio: np.ndarray, options: Options, draws: Draws | None = None
) -> tuple[Options, Calls]:
    """`whisper.transcribe`; and what it asked of `decode`, window by window, and got."""

    def ask() -> Options:
        with _noted() as calls:
            result = whisper.transcribe(oracle.torch, audio, fp16=False, verbose=None, **options)
        return {"result": result, "calls": calls}

    kept = _kept("transcribe", oracle, audio, options, draws, ask)
    return kept["result"], kept["calls"]


def _kept(
    kind: str, oracle: OpenAI, data: np.ndarray, options: Options, draws: Draws | None, ask: Callable[[], Options]
) -> Options:
    draws = draws or Draws()
    key = baselines.key(
        kind=kind,
        version=importlib.metadata.version("openai-whisper"),
        torch=torch.__version__,
        weights=baselines.weights_hash(oracle.checkpoint),
        data=hashlib.sha256(np.ascontiguousarray(data)).hexdigest(),
        options=options,
        draws=draws.samplers,
        source=baselines.source_hash(*SOURCES),
    )

    def compute(_: list[int]) -> list[Any]:
        with exact_oracle(), draws.replaying():
            return [ask()]

    return baselines.cached([key], compute)[0]


@contextmanager
def _noted() -> Iterator[Calls]:
    calls: Calls = []
    decode = whisper.Whisper.decode

    def note(model: Any, mel: Any, options: Any) -> Any:
        result = decode(model, mel, options)
        asked = {name: value for name, value in asdict(options).items() if name not in SEARCH}
        calls.append(({**asked, "temperature": 0.0}, result.tokens))
        return result

    with mock.patch.object(whisper.Whisper, "decode", note):
        yield calls

