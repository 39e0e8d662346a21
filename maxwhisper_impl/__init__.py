"""OpenAI's Whisper as MAX graphs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .dims import ModelDimensions
from .errors import AudioError, CheckpointError, CorpusError, DeviceError, MaxWhisperError, OptionError
from .results import Result, Segment, Word

if TYPE_CHECKING:
    from .audio import load_audio, log_mel_spectrogram, pad_or_trim
    from .decoding import DecodingOptions, DecodingResult
    from .live import LiveText, LiveTranscription
    from .transcribe import Transcription
    from .whisper import Whisper, load_model
    from .writers import get_writer

__all__ = [
    "AudioError",
    "CheckpointError",
    "CorpusError",
    "DecodingOptions",
    "DecodingResult",
    "DeviceError",
    "LiveText",
    "LiveTranscription",
    "MaxWhisperError",
    "ModelDimensions",
    "OptionError",
    "Result",
    "Segment",
    "Transcription",
    "Whisper",
    "Word",
    "get_writer",
    "load_audio",
    "load_model",
    "log_mel_spectrogram",
    "pad_or_trim",
]

# Imported when first asked for: they bring NumPy, PyAV and the tokenizer, and `maxwhisper --help` needs none of them.
_LATER = {
    "DecodingOptions": "decoding",
    "DecodingResult": "decoding",
    "LiveText": "live",
    "LiveTranscription": "live",
    "Transcription": "transcribe",
    "Whisper": "whisper",
    "get_writer": "writers",
    "load_audio": "audio",
    "load_model": "whisper",
    "log_mel_spectrogram": "audio",
    "pad_or_trim": "audio",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
