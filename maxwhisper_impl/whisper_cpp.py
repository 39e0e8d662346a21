"""whisper.cpp through the extension module of pywhispercpp, whose Python layer strips texts and gives no tokens."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import MaxWhisperError, OptionError

if TYPE_CHECKING:
    import numpy as np

ERROR = 4
"""ggml_log_level of `ggml.h`"""


@dataclass(frozen=True)
class Segment:
    """Times in seconds; `tokens` as openai-whisper gives them: text between the timestamps that begin and end it."""

    start: float
    end: float
    text: str
    tokens: list[int]


class WhisperCppModel:
    """A loaded file of `weights.ggml`; `library` is the module `_pywhispercpp`. MaxWhisperError if it cannot be loaded.

    On the CPU, with whisper.cpp's defaults in all that changes speed alone (flash attention, float16 caches).
    """

    def __init__(self, library: Any, path: str, threads: int) -> None:
        self.library, self.threads = library, threads
        settings = library.whisper_context_default_params()
        settings.use_gpu = False
        with _errors(library) as errors:
            self.context = library.whisper_init_from_file_with_params(path, settings)
        if errors:  # the context is a null pointer then, and cannot say so
            raise MaxWhisperError(f"whisper.cpp cannot load {path}: {errors[0]}")
        weakref.finalize(self, library.whisper_free, self.context).atexit = False
        self.is_multilingual = bool(library.whisper_is_multilingual(self.context))

    def transcribe(
        self, audio: np.ndarray, *, language: str | None, task: str, condition_on_previous_text: bool
    ) -> list[Segment]:
        """`audio` is float32 [n_samples] at 16 kHz. OptionError for an unknown language, MaxWhisperError else."""
        options = self.options(language, task, condition_on_previous_text)
        self.run("whisper_full", options, audio, audio.size)
        return self.segments()

    def run(self, name: str, *arguments: Any) -> None:
        """One of the library's functions on this context; MaxWhisperError, with what it logs, where it fails."""
        with _errors(self.library) as errors:
            status = getattr(self.library, name)(self.context, *arguments)
        if status:
            raise MaxWhisperError(f"whisper.cpp's {name} failed with status {status}: {' '.join(errors)}")

    def options(self, language: str | None, task: str, condition_on_previous_text: bool) -> Any:
        """`whisper_full_params`; language None: it is detected."""
        library = self.library
        known = {library.whisper_lang_str(i) for i in range(library.whisper_lang_max_id() + 1)}
        if language is not None and language not in known:  # it would be detected, without a word
            raise OptionError(f"whisper.cpp has no language {language!r}")
        options = library.whisper_full_default_params(library.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY)
        options.n_threads = self.threads
        options.language = language or ""
        options.translate = task == "translate"
        # What `no_context` leaves out is the text of the audio before this one; windows are prompted with their own.
        options.no_context = True
        if not condition_on_previous_text:
            options.n_max_text_ctx = 0
        options.greedy = {"best_of": 1}
        options.temperature, options.temperature_inc = 0.0, 0.0  # alone: no fallback
        options.logprob_thold, options.no_speech_thold = -1.0, 0.6  # openai-whisper's, whose no-speech rule they make
        options.suppress_blank = options.suppress_nst = True
        options.print_progress = options.print_realtime = options.print_timestamps = options.print_special = False
        return options

    def segments(self) -> list[Segment]:
        library, context = self.library, self.context
        first = library.whisper_token_beg(context)
        segments: list[Segment] = []
        window = 0
        for index in range(library.whisper_full_n_segments(context)):
            start = library.whisper_full_get_segment_t0(context, index)  # hundredths of a second
            end = library.whisper_full_get_segment_t1(context, index)
            tokens = self.tokens(index, first)
            if tokens and tokens[0] >= first:
                window = start - 2 * (tokens[0] - first)
            else:  # of two timestamps in a row whisper.cpp keeps the first, a segment's end; the next one began with it
                tokens.insert(0, first + (start - window) // 2)
            text = library.whisper_full_get_segment_text(context, index).decode(errors="replace")
            segments.append(Segment(start / 100, end / 100, text, tokens))
        return segments

    def tokens(self, index: int, first: int) -> list[int]:
        """Of a segment: text and timestamps, which are `first` and above."""
        library, context = self.library, self.context
        count, eot = library.whisper_full_n_tokens(context, index), library.whisper_token_eot(context)
        sampled = (library.whisper_full_get_token_id(context, index, i) for i in range(count))
        return [token for token in sampled if token < eot or token >= first]


@contextmanager
def _errors(library: Any) -> Generator[list[str]]:
    """The errors that it logs meanwhile; nothing is printed."""
    errors: list[str] = []

    def heard(level: int, text: str) -> None:
        if level == ERROR:
            errors.append(text.strip())

    library.whisper_log_set(heard)
    try:
        yield errors
    finally:
        library.whisper_log_set(None)  # a function that is still there when Python ends would crash it
