"""Whole recordings: window after window of 30 s, with openai-whisper's options and rules (`whisper/transcribe.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from .audio import N_FRAMES, LogMel, load_audio
from .decoding import DecodingResult, DecodingTask, Runtime, detect_language
from .decoding.task import encode_text
from .results import Result, Segment
from .segments import Window, clear_empty, cut_segments, print_segments, seconds
from .tokenizer import LANGUAGES, get_tokenizer
from .transcribe_options import TranscribeOptions, make_transcribe_options, seek_clips

Progress = Callable[[float, float], object]
"""Called after each window with the seconds done and the seconds in all."""


class Transcription:
    """A recording on its way to text. Iterate over it for the segments, each as soon as it is final.

    AudioError for audio that cannot be read.
    """

    def __init__(self, runtime: Runtime, audio: Any, options: TranscribeOptions, progress: Progress | None = None):
        self.runtime = runtime
        self.options = options
        self.progress = progress
        self._check_tasks()
        self.mel = LogMel(load_audio(audio), runtime.dims.n_mels)
        self._encoded: tuple[Window, Any] | None = None
        self.language = options.decoding.language or self._detect_language()
        self.tokenizer = get_tokenizer(
            runtime.dims.is_multilingual,
            num_languages=runtime.dims.num_languages,
            language=self.language,
            task=options.decoding.task,
        )
        prompt = options.initial_prompt
        self.initial_prompt = [] if prompt is None else encode_text(self.tokenizer, prompt)
        self.tokens = list(self.initial_prompt)
        """of the initial prompt and of all segments so far"""
        self.prompt_since = 0
        """the index in `tokens` from which on they are context for the next window"""
        self.seek = 0
        self.count = 0
        self.cancelled = False

    def cancel(self) -> None:
        """End the iteration behind this window, from any thread; text and segments so far stand."""
        self.cancelled = True

    def _check_tasks(self) -> None:
        """OptionError now rather than after the audio has been read: with the longest prompt and with the given one."""
        longest = [0] * self.runtime.dims.n_text_ctx
        for temperature in self.options.temperatures:
            for prompt in (longest, self.options.initial_prompt):
                DecodingTask(self.runtime, replace(self.options.decoding_at(temperature), prompt=prompt))

    @property
    def text(self) -> str:
        """All that has been transcribed so far."""
        return self.tokenizer.decode(self.tokens[len(self.initial_prompt) :])

    def __iter__(self) -> Iterator[Segment]:
        with self._progress_bar() as bar:
            for window in self._windows():
                yield from self._transcribe(window)
                done = min(self.mel.n_frames, self.seek)
                if bar is not None:
                    bar.update(done - window.seek)
                if self.progress is not None:
                    self.progress(seconds(done), seconds(self.mel.n_frames))

    def _windows(self) -> Iterator[Window]:
        """Windows of the clips; where the next one starts is known only when the last one has been transcribed."""
        for start, end in seek_clips(self.options.clip_timestamps, self.mel.n_frames):
            self.seek = start
            while self.seek < end and not self.cancelled:
                yield Window(self.seek, min(N_FRAMES, end - self.seek))

    def _transcribe(self, window: Window) -> list[Segment]:
        """The segments of one window; moves `seek` to where the next one starts."""
        result = self._decode(window)
        if self.options.is_silence(result):
            self.seek += window.size
            return []
        cut = cut_segments(result, window, self.tokenizer)
        self.seek += cut.advance
        if self.options.verbose:
            print_segments(cut.segments)
        clear_empty(cut.segments)
        numbered = enumerate(cut.segments, start=self.count)
        segments: list[Segment] = [{"id": number, **segment} for number, segment in numbered]
        self.count += len(segments)
        self.tokens += [token for segment in segments for token in segment["tokens"]]
        # a result sampled at a high temperature is no good context for the next window
        if not self.options.condition_on_previous_text or result.temperature > 0.5:
            self.prompt_since = len(self.tokens)
        return segments

    def _decode(self, window: Window) -> DecodingResult:
        """The first result that passes the thresholds, or that of the last temperature."""
        features = self._encode(window)
        first, *others = self.options.temperatures
        result = self._decode_at(first, window, features)
        for temperature in others:
            if not self.options.needs_fallback(result):
                break
            result = self._decode_at(temperature, window, features)
        return result

    def _decode_at(self, temperature: float, window: Window, features: Any) -> DecodingResult:
        options = self.options.decoding_at(temperature)
        options = replace(options, language=self.language, prompt=self._prompt())
        seed = options.seed
        if seed is not None:
            # each window and temperature draws from a stream of its own
            words = [seed] if isinstance(seed, int) else list(seed)
            options = replace(options, seed=[*words, window.seek, round(1000 * temperature)])
        return DecodingTask(self.runtime, options).run(features)[0]

    def _prompt(self) -> list[int]:
        """What the next window is told of the text before it; decoding keeps the last 223 tokens of it."""
        if not self.options.carry_initial_prompt:
            return self.tokens[self.prompt_since :]
        room = self.runtime.dims.n_text_ctx // 2 - 1 - len(self.initial_prompt)
        said = self.tokens[max(len(self.initial_prompt), self.prompt_since) :]
        return self.initial_prompt + said[-room:]

    def _encode(self, window: Window) -> Any:
        """Features of a window. The last ones are kept: detecting the language reads the first window as well."""
        if self._encoded is None or self._encoded[0] != window:
            self._encoded = window, self.runtime.encode(self.mel.window(window.seek, window.size)[None])
        return self._encoded[1]

    def _detect_language(self) -> str:
        """The language of the first 30 s."""
        if not self.runtime.dims.is_multilingual:
            return "en"
        if self.options.verbose:
            print("Detecting language using up to the first 30 seconds. Use `--language` to specify the language")
        _, (probs,) = detect_language(self.runtime, self._encode(Window(0, N_FRAMES)))
        language = max(probs, key=probs.__getitem__)
        if self.options.verbose is not None:
            print(f"Detected language: {LANGUAGES[language].title()}")
        return language

    def _progress_bar(self) -> AbstractContextManager[Any]:
        if self.options.verbose is not False:
            return nullcontext()
        import tqdm

        return tqdm.tqdm(total=self.mel.n_frames, unit="frames")


def transcribe(runtime: Runtime, audio: Any, *, progress: Progress | None = None, **options: Any) -> Result:
    """openai-whisper's `transcribe`: {"text", "segments", "language"}.

    `audio`: what `load_audio` takes; none of any length has no text and no segments. `options`: the fields of
    `TranscribeOptions` and of `DecodingOptions`; OptionError, before any work, for one that is unknown, out of range or
    at odds with another.
    """
    made = make_transcribe_options(runtime.dims, **options)
    transcription = Transcription(runtime, audio, made, progress)
    segments = list(transcription)
    return {"text": transcription.text, "segments": segments, "language": transcription.language}
