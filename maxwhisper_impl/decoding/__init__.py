"""From audio features to text, one window of 30 s at a time."""

from .language import detect_language
from .options import DecodingOptions, DecodingResult
from .task import DecodingTask, Runtime, compression_ratio

__all__ = [
    "DecodingOptions",
    "DecodingResult",
    "DecodingTask",
    "Runtime",
    "compression_ratio",
    "detect_language",
]
