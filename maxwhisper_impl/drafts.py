"""Whose guess of a window's text the model confirms (`decoding/draft.py`): a smaller model's, or the caller's own."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol

from .audio import AudioSource, LogMel
from .decoding import DecodingOptions, DecodingTask, Runtime
from .decoding.task import encode_text
from .errors import OptionError
from .segments import Window, seconds
from .tokenizer import Tokenizer, get_tokenizer

Guess = Callable[[float, float], str | Sequence[int]]
"""The caller's own: the text between two times in seconds, or its tokens."""


class Assistant(Protocol):
    """A model; see `whisper.Whisper`."""

    @property
    def runtime(self) -> Runtime: ...


class Drafts:
    """For the windows of one recording, `audio`."""

    def __init__(self, source: Assistant | Guess, audio: AudioSource):
        self.runtime: Runtime | None = getattr(source, "runtime", None)
        if self.runtime is not None:
            self.mel = LogMel(audio, self.runtime.dims.n_mels)
        elif callable(source):
            self.guess = source
        else:
            raise OptionError(f"assistant={source!r:.100}: a name is for `Whisper.transcribe`; give a model")

    def of(self, window: Window, options: DecodingOptions, ours: Tokenizer) -> list[int]:
        """Tokens in our vocabulary; none where the assistant does not know the language."""
        if self.runtime is not None:
            return self._decoded(self.runtime, window, options, ours)
        start, end = seconds(window.seek), seconds(window.seek + window.size)
        try:
            said = self.guess(start, end)
            return _encode(" " + said.strip(), ours) if isinstance(said, str) else _checked(said, ours)
        except Exception as error:
            raise OptionError(f"the assistant gives neither text nor token ids for {start:.1f} to {end:.1f} s: "
                              f"{type(error).__name__}: {error}") from error  # fmt: skip

    def _decoded(self, runtime: Runtime, window: Window, options: DecodingOptions, ours: Tokenizer) -> list[int]:
        dims, task, language = runtime.dims, options.task, options.language
        if not dims.is_multilingual and (task, language) != ("transcribe", "en"):
            return []
        theirs = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages, language=language, task=task)
        heard = runtime.encode(self.mel.window(window.seek, window.size)[None])
        prompt = translate(encode_text(ours, options.prompt or []), ours, theirs)
        asked = DecodingOptions(
            task=task, language=language, prompt=prompt, without_timestamps=options.without_timestamps
        )
        return translate(DecodingTask(runtime, asked).run(heard)[0].tokens, theirs, ours)


def translate(tokens: Sequence[int], source: Tokenizer, target: Tokenizer) -> list[int]:
    """Text and timestamps of one vocabulary in another."""
    found: list[int] = []
    for is_time, run in groupby(tokens, key=lambda token: token >= source.timestamp_begin):
        if is_time:
            found += [target.timestamp_begin + token - source.timestamp_begin for token in run]
        elif source.encoding.name == target.encoding.name:
            found += run
        else:
            found += _encode(source.decode(list(run)), target)
    return found


def _checked(tokens: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """Token ids; TypeError or ValueError for what is none."""
    if isinstance(tokens, (bytes, bytearray)):
        raise TypeError("bytes are neither")
    ids = [operator.index(token) for token in tokens]
    if wrong := [token for token in ids if not 0 <= token < tokenizer.encoding.n_vocab]:
        raise ValueError(f"{wrong[0]} is no id below {tokenizer.encoding.n_vocab}")
    return ids


def _encode(text: str, tokenizer: Tokenizer) -> list[int]:
    """Text only, even where it spells out special tokens."""
    return tokenizer.encode(text, disallowed_special=()) if text.strip() else []
