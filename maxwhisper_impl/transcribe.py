"""Whole recordings: window after window of 30 s, with openai-whisper's options and rules (`whisper/transcribe.py`)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from .audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, LogMel, load_audio
from .decoding import DecodingResult, DecodingTask, Runtime, detect_language
from .decoding.task import encode_text
from .drafts import Drafts
from .fallback import decode_windows, is_silence
from .hallucinations import Silence, seek_last_word, skip_hallucinations
from .results import Result, Segment
from .segments import Cut, Window, clear_empty, cut_segments, print_segments, seconds
from .timing import Said, add_word_timestamps, last_word_end
from .tokenizer import LANGUAGES, Tokenizer, get_tokenizer
from .transcribe_options import TranscribeOptions, make_transcribe_options, seek_clips
from .vad import SpeechMap, join_speech, joined_chunks, speech_spans

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
        samples = load_audio(audio)
        self.speech: SpeechMap | None = None
        """where the speech that alone is transcribed lies in the recording; None: all of it is"""
        if options.vad_filter:
            samples = self._filter_speech(samples)
        self.mel = LogMel(samples, runtime.dims.n_mels)
        self.drafts = None if options.assistant is None else Drafts(options.assistant, samples)
        if self.speech is None:
            self.clips = seek_clips(options.clip_timestamps, self.mel.n_frames)
        self._encoded: tuple[Sequence[Window], Any] | None = None
        self.language = options.decoding.language or self._detect_language()
        self.tokenizer = self._tokenizer_of(self.language)
        prompt = options.initial_prompt
        self.initial_prompt = [] if prompt is None else encode_text(self.tokenizer, prompt)
        self.tokens = list(self.initial_prompt)
        """of the initial prompt and of all segments so far"""
        self.prompt_since = 0
        """the index in `tokens` from which on they are context for the next window"""
        self.seek = 0
        self.count = 0
        self.last_speech = 0.0
        """seconds at which the last word so far ends"""
        self.cancelled = False
        if options.word_timestamps and options.decoding.task == "translate":
            warnings.warn("Word-level timestamps on translations may not be reliable.", stacklevel=2)

    def cancel(self) -> None:
        """End the iteration behind this window, from any thread; text and segments so far stand."""
        self.cancelled = True

    def _filter_speech(self, samples: np.ndarray) -> np.ndarray:
        """The speech in `samples`, of which clips never reach across a silence that batches are cut at."""
        batched = self.options.batch_size is not None
        spans = speech_spans(samples, self.options.vad_options)
        self.speech = SpeechMap(spans)
        chunks = joined_chunks(spans, N_SAMPLES if batched else math.inf)
        # whole frames within: a time a frame later would belong to the next span
        self.clips = [(-(-start // HOP_LENGTH), end // HOP_LENGTH) for start, end in chunks]
        return join_speech(samples, spans)

    def _tokenizer_of(self, language: str) -> Tokenizer:
        dims, task = self.runtime.dims, self.options.decoding.task
        return get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages, language=language, task=task)

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
                yield from self._in_recording(self._transcribe(window))
                self._report(bar, window.seek, self.seek)

    def _report(self, bar: Any, before: int, now: int) -> int:
        """Progress from frame `before` to `now`, which is returned."""
        now = min(self.mel.n_frames, now)
        if bar is not None:
            bar.update(now - before)
        if self.progress is not None:
            self.progress(seconds(now), seconds(self.mel.n_frames))
        return now

    def _in_recording(self, segments: list[Segment], until: float = math.inf) -> list[Segment]:
        """The segments with times of the whole recording, not of its speech alone; see `SpeechMap.restore`."""
        return segments if self.speech is None else self.speech.restore(segments, until)

    def _windows(self) -> Iterator[Window]:
        """Windows of the clips; where the next one starts is known only when the last one has been transcribed."""
        for start, end in self.clips:
            self.seek = start
            while self.seek < end and not self.cancelled:
                yield Window(self.seek, min(N_FRAMES, end - self.seek))

    def _transcribe(self, window: Window) -> list[Segment]:
        """The segments of one window; moves `seek` to where the next one starts."""
        result = self._decode(window)
        if is_silence(self.options, result):
            self.seek += window.size
            return []
        cut = cut_segments(result, window, self.tokenizer)
        if self.options.word_timestamps:
            cut = self._with_words(cut, window, result.language)
        self.seek += max(cut.advance, 1)  # a word that ends where its window starts must not hold us there
        if cut.skipped:
            return []
        if self.options.verbose:
            print_segments(self._in_recording(cut.segments))
        clear_empty(cut.segments)
        numbered = enumerate(self._with_language(cut.segments, result), start=self.count)
        segments: list[Segment] = [{"id": number, **segment} for number, segment in numbered]
        self.count += len(segments)
        self.tokens += [token for segment in segments for token in segment["tokens"]]
        # a result sampled at a high temperature is no good context for the next window
        if not self.options.condition_on_previous_text or result.temperature > 0.5:
            self.prompt_since = len(self.tokens)
        return segments

    def _with_words(self, cut: Cut, window: Window, language: str) -> Cut:
        """The segments with words, less what is likely a hallucination, and the advance that goes with them."""
        o = self.options
        self._add_words([Said(cut.segments, window.size, self._tokenizer_of(language), self.last_speech)], window)
        cut = seek_last_word(cut, window)
        if o.hallucination_silence_threshold is not None:
            silence = Silence(o.hallucination_silence_threshold, self.last_speech, self.mel.n_frames)
            cut = skip_hallucinations(cut, window, silence)
        end = last_word_end(cut.segments)
        self.last_speech = self.last_speech if end is None else end
        return cut

    def _add_words(self, said: Sequence[Said], *windows: Window) -> None:
        o = self.options
        punctuations = {"prepend_punctuations": o.prepend_punctuations, "append_punctuations": o.append_punctuations}
        add_word_timestamps(self.runtime, self._encode(*windows), said, **punctuations)

    def _decode(self, window: Window) -> DecodingResult:
        language = None if self.options.multilingual else self.language
        return decode_windows(
            self.runtime, self.options, [window], self._encode(window), language=language, prompt=self._prompt(),
            drafts=self.drafts,
        )[0]  # fmt: skip

    def _with_language(self, segments: list[Segment], result: DecodingResult) -> list[Segment]:
        """Where each window may speak another language, its segments name it."""
        if self.options.multilingual:
            for segment in segments:
                segment["language"] = result.language
        return segments

    def _prompt(self) -> list[int]:
        """What the next window is told of the text before it; decoding keeps the last 223 tokens of it."""
        if not self.options.carry_initial_prompt:
            return self.tokens[self.prompt_since :]
        room = self.runtime.dims.n_text_ctx // 2 - 1 - len(self.initial_prompt)
        said = self.tokens[max(len(self.initial_prompt), self.prompt_since) :]
        return self.initial_prompt + said[-room:]

    def _encode(self, *windows: Window) -> Any:
        """Features of windows. The last ones are kept: detecting the language reads the first window as well."""
        if self._encoded is None or self._encoded[0] != windows:
            mel = np.stack([self.mel.window(window.seek, window.size) for window in windows])
            self._encoded = windows, self.runtime.encode(mel)
        return self._encoded[1]

    def _detect_language(self) -> str:
        """Of the first window that is sure enough; if none of `language_detection_segments` is, of most of them."""
        if not self.runtime.dims.is_multilingual:
            return "en"
        if self.options.verbose:
            print("Detecting language using up to the first 30 seconds. Use `--language` to specify the language")
        threshold, found = self.options.language_detection_threshold, list[str]()
        last = min(self.options.language_detection_segments * N_FRAMES, max(self.mel.n_frames, 1))
        for seek in range(0, last, N_FRAMES):
            _, (probs,) = detect_language(self.runtime, self._encode(Window(seek, N_FRAMES)))
            language = max(probs, key=probs.__getitem__)
            found.append(language)
            if threshold is not None and probs[language] > threshold:
                break
        else:
            language = max(found, key=found.count)
        if self.options.verbose is not None:
            print(f"Detected language: {LANGUAGES[language].title()}")
        return language

    def _progress_bar(self) -> AbstractContextManager[Any]:
        if self.options.verbose is not False:
            return nullcontext()
        import tqdm

        return tqdm.tqdm(total=self.mel.n_frames, unit="frames")


def start_transcription(
    runtime: Runtime, audio: Any, *, progress: Progress | None = None, **options: Any
) -> Transcription:
    """The transcription that the options ask for: window after window, or with `batch_size` several at a time."""
    from .batched import BatchedTranscription

    made = make_transcribe_options(runtime.dims, **options)
    kind = Transcription if made.batch_size is None else BatchedTranscription
    return kind(runtime, audio, made, progress)


def transcribe(runtime: Runtime, audio: Any, *, progress: Progress | None = None, **options: Any) -> Result:
    """openai-whisper's `transcribe`: {"text", "segments", "language"}.

    `audio`: what `load_audio` takes; none of any length has no text and no segments. `options`: the fields of
    `TranscribeOptions` and of `DecodingOptions`; OptionError, before any work, for one that is unknown, out of range or
    at odds with another.
    """
    transcription = start_transcription(runtime, audio, progress=progress, **options)
    segments = list(transcription)
    return {"text": transcription.text, "segments": segments, "language": transcription.language}
