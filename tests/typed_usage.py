"""The public API as a caller writes it. `make lint` checks it with pyright in strict mode; nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

import numpy as np

from maxwhisper_impl import (
    DecodingOptions,
    LiveText,
    OptionError,
    Result,
    Segment,
    Whisper,
    Word,
    get_writer,
    load_audio,
    load_model,
)


def whole_file(path: str) -> list[tuple[float, float, str]]:
    model = load_model("tiny.en", device="cpu")
    assert_type(model, Whisper)
    result = model.transcribe(path, language="en", word_timestamps=True, progress=lambda done, total: None)
    assert_type(result, Result)
    get_writer("srt", ".")(result, path)
    words = [word for segment in result["segments"] for word in segment.get("words", [])]
    assert_type(words, list[Word])
    return [(word["start"], word["end"], word["word"].strip()) for word in words]


def as_it_comes(model: Whisper, path: str, seconds: float) -> str:
    stream = model.stream(load_audio(path))
    for segment in stream:
        assert_type(segment, Segment)
        if segment["end"] > seconds:
            stream.cancel()
    return stream.text


def live(model: Whisper, chunks: Iterator[bytes]) -> list[Segment]:
    listening = model.live(step=0.5, language="en")
    for text in listening.run(chunks):
        assert_type(text, LiveText)
        print(text.final, end="")
    return listening.result["segments"]


def window(model: Whisper, mel: np.ndarray) -> list[int]:
    try:
        result = model.decode(mel, DecodingOptions(beam_size=5))
    except OptionError as error:
        print(error)
        return []
    return [] if isinstance(result, list) else result.tokens
