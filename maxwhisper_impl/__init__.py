"""OpenAI's Whisper as MAX graphs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .dims import ModelDimensions
from .errors import AudioError, CheckpointError, CorpusError, DeviceError, MaxWhisperError, OptionError

if TYPE_CHECKING:
    from .decoding import DecodingOptions, DecodingResult
    from .whisper import Whisper, load_model

__all__ = [
    "AudioError",
    "CheckpointError",
    "CorpusError",
    "DecodingOptions",
    "DecodingResult",
    "DeviceError",
    "MaxWhisperError",
    "ModelDimensions",
    "OptionError",
    "Whisper",
    "load_model",
]

# Imported when first asked for: they bring NumPy, PyAV and the tokenizer, and `maxwhisper --help` needs none of them.
_LATER = {"DecodingOptions": "decoding", "DecodingResult": "decoding", "Whisper": "whisper", "load_model": "whisper"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)
