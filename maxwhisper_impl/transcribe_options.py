"""The options of a transcription: openai-whisper's keywords, and what is wrong with them said before any work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .audio import CHUNK_LENGTH, FRAMES_PER_SECOND
from .decoding import DecodingOptions
from .decoding.options import MOST_ROWS, check_names, make_options, plain, verify_count, verify_options
from .decoding.types import check_types
from .dims import ModelDimensions
from .errors import OptionError
from .timing import APPENDED, PREPENDED
from .vad import VadOptions, check_installed, make_vad_options


@dataclass(frozen=True)
class TranscribeOptions:
    """How a recording is transcribed; the other keywords of `transcribe` go to `DecodingOptions`."""

    verbose: bool | None = None
    """True prints segments as they come, False shows a progress bar, None shows nothing"""
    temperature: float | Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """tried in turn until a result passes the thresholds; the last one stands"""
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    """a window is silence if its no_speech_prob is above this and its avg_logprob not above logprob_threshold"""
    condition_on_previous_text: bool = True
    initial_prompt: str | None = None
    carry_initial_prompt: bool = False
    """put initial_prompt before the prompt of every window, not only of the first"""
    word_timestamps: bool = False
    """segments get `words`, and take their times from them"""
    prepend_punctuations: str = PREPENDED
    """marks that belong to the word after them"""
    append_punctuations: str = APPENDED
    """marks that belong to the word before them"""
    clip_timestamps: str | Sequence[float] = "0"
    """start,end,start,end,… in seconds; a last end that is missing is the end of the recording"""
    hallucination_silence_threshold: float | None = None
    """seconds of silence around a likely hallucination from which on it is passed over; needs word_timestamps"""
    keep_best_fallback: bool = False
    """where every temperature fails: keep the result of the highest avg_logprob among those not above
    compression_ratio_threshold, or among all, as faster-whisper does; False: the last one stands"""

    batch_size: int | None = None
    """windows decoded together: the recording is cut at silences, and no window is told the text before it, so that
    condition_on_previous_text is False. Each window gets initial_prompt. None: one after the other"""
    vad_filter: bool = False
    """transcribe only what Silero VAD takes for speech"""
    vad_parameters: Any = None
    """`VadOptions` or a dict of some of them; see `maxwhisper_impl.vad`"""
    assistant: Any = None
    """a smaller model, its name or path, or a function that is given two times in seconds and returns what may be said
    between them: its draft of each window is confirmed many tokens at a time. The text is that of greedy decoding"""
    multilingual: bool = False
    """detect the language in each window; its segments name it"""
    language_detection_threshold: float | None = 0.5
    """a window whose language is likelier than this decides for the recording; None: none does"""
    language_detection_segments: int = 1
    """windows asked before the most frequent answer decides"""
    decoding: DecodingOptions = field(default_factory=DecodingOptions)

    @property
    def vad_options(self) -> VadOptions:
        """In batches speech is cut at shorter silences, into no more than a window, as faster-whisper does."""
        defaults = {} if self.batch_size is None else {"max_speech_duration_s": CHUNK_LENGTH}
        if self.batch_size is not None and self.vad_parameters is None:
            defaults["min_silence_duration_ms"] = 160
        return make_vad_options(self.vad_parameters, **defaults)

    @property
    def temperatures(self) -> tuple[float, ...]:
        t = self.temperature
        return (t,) if isinstance(t, (int, float)) else tuple(t)

    def decoding_at(self, temperature: float) -> DecodingOptions:
        """Beams only at temperature 0, several samples only above."""
        if temperature == 0:
            return replace(self.decoding, temperature=temperature, best_of=None)
        return replace(self.decoding, temperature=temperature, beam_size=None, patience=None)


def make_transcribe_options(dims: ModelDimensions, **options: Any) -> TranscribeOptions:
    """Options from openai-whisper's keywords, checked against the model; one OptionError before any work."""
    own = [f.name for f in fields(TranscribeOptions) if f.name != "decoding"]
    known = [*own, *(f.name for f in fields(DecodingOptions))]
    check_names(options, known, "option")
    options = {name: plain(value) for name, value in options.items()}
    if options.get("prompt") is not None:
        raise OptionError("prompt is set from window to window by transcribe; give initial_prompt instead")
    decoding = make_options(**{name: value for name, value in options.items() if name not in own})
    check_types(decoding)
    if not (decoding.suppress_tokens is None or isinstance(decoding.suppress_tokens, str)):
        decoding = replace(decoding, suppress_tokens=list(decoding.suppress_tokens))
    if options.get("batch_size") is not None:
        if options.get("condition_on_previous_text"):
            raise OptionError(
                f"condition_on_previous_text=True needs windows in sequence, batch_size={options['batch_size']} "
                "decodes them together; leave one of them out"
            )
        options["condition_on_previous_text"] = False
    made = TranscribeOptions(**{k: v for k, v in options.items() if k in own}, decoding=decoding)
    _verify(made, dims)
    return made


_THRESHOLDS = (
    "compression_ratio_threshold",
    "logprob_threshold",
    "no_speech_threshold",
    "hallucination_silence_threshold",
    "language_detection_threshold",
)


def _verify(o: TranscribeOptions, dims: ModelDimensions) -> None:
    check_types(o)
    if o.decoding.task == "lang_id":
        raise OptionError("task='lang_id' gives no transcript; use detect_language")
    if not o.temperatures:
        raise OptionError("temperature is empty; give at least one")
    for temperature in o.temperatures:
        verify_options(o.decoding_at(temperature), dims)
    for name in _THRESHOLDS:
        value = getattr(o, name)
        if value is not None and (not isinstance(value, (int, float)) or math.isnan(value)):
            raise OptionError(f"{name}={value!r}: give a number, or None to switch it off")
    _verify_room_for_words(o, dims)
    if o.hallucination_silence_threshold is not None and not o.word_timestamps:
        raise OptionError("hallucination_silence_threshold needs word_timestamps=True")
    if o.carry_initial_prompt and o.initial_prompt is None:
        raise OptionError("carry_initial_prompt=True needs an initial_prompt")
    clip_times(o.clip_timestamps)
    _verify_batch(o)
    _verify_assistant(o)
    _verify_detection(o, dims)
    _verify_vad(o)


def _verify_batch(o: TranscribeOptions) -> None:
    verify_count("batch_size", o.batch_size, MOST_ROWS)
    if o.batch_size is None:
        return
    rows = o.batch_size * max(o.decoding.beam_size or 1, o.decoding.best_of or 1)
    if rows > MOST_ROWS:
        raise OptionError(
            f"batch_size={o.batch_size} with beam_size={o.decoding.beam_size} and best_of={o.decoding.best_of} makes "
            f"{rows} rows, at most {MOST_ROWS} are decoded at a time; make one of them smaller"
        )
    if o.hallucination_silence_threshold is not None:
        raise OptionError(
            f"hallucination_silence_threshold={o.hallucination_silence_threshold} looks back at the windows before, "
            f"batch_size={o.batch_size} decodes them together; leave one out"
        )


def _verify_assistant(o: TranscribeOptions) -> None:
    """A draft is confirmed by greedy decoding of one window."""
    if o.assistant is None:
        return
    if not (isinstance(o.assistant, (str, Path)) or hasattr(o.assistant, "runtime") or callable(o.assistant)):
        raise OptionError(f"assistant={o.assistant!r:.100}: give a model, its name, or a function of two times")
    for name, value in (("beam_size", o.decoding.beam_size), ("batch_size", o.batch_size)):
        if value is not None:
            raise OptionError(f"an assistant helps greedy decoding of one window at a time, not {name}={value}; "
                              "leave one of them out")  # fmt: skip
    if 0 not in o.temperatures:
        raise OptionError(f"an assistant helps at temperature 0, not {o.temperature!r}; leave one of them out")
    if o.vad_filter and callable(o.assistant):
        raise OptionError("a function as assistant is asked by times of the recording, vad_filter=True leaves parts of "
                          "it out; leave one of them out")  # fmt: skip


def _verify_detection(o: TranscribeOptions, dims: ModelDimensions) -> None:
    if o.multilingual and not dims.is_multilingual:
        raise OptionError("multilingual=True needs a multilingual model; this one only transcribes English")
    if o.multilingual and o.decoding.language is not None:
        raise OptionError(
            f"language={o.decoding.language!r} is for all windows, multilingual=True detects it in each; leave one out"
        )
    verify_count("language_detection_segments", o.language_detection_segments or 0, None)


def _verify_vad(o: TranscribeOptions) -> None:
    if not o.vad_filter:
        if o.vad_parameters is not None:
            raise OptionError("vad_parameters need vad_filter=True")
        return
    if clip_times(o.clip_timestamps) not in ([], [0.0]):
        raise OptionError(f"clip_timestamps={o.clip_timestamps!r} and vad_filter=True both choose; leave one out")
    make_vad_options(o.vad_parameters)
    check_installed()


def _verify_room_for_words(o: TranscribeOptions, dims: ModelDimensions) -> None:
    """Words are timed by reading the whole text once more, between the initial tokens and the end of text."""
    most = dims.n_text_ctx - (5 if dims.is_multilingual else 3)
    if o.word_timestamps and o.decoding.sample_len is not None and o.decoding.sample_len > most:
        raise OptionError(f"sample_len={o.decoding.sample_len} leaves no room to time words; give at most {most}")


def clip_times(clips: str | Sequence[float]) -> list[float]:
    """Seconds from "0,12.5,30" or a list; OptionError for what is not a time."""
    parts = clips.split(",") if isinstance(clips, str) and clips else clips or []
    try:
        times = [float(part) for part in parts]
    except (TypeError, ValueError) as e:
        raise OptionError(f"clip_timestamps={clips!r}: give seconds as start,end,start,end,…") from e
    if wrong := [t for t in times if not 0 <= t < math.inf]:
        raise OptionError(f"clip_timestamps holds {wrong[0]}; times are seconds from 0 up")
    return times


def seek_clips(clips: str | Sequence[float], n_frames: int) -> list[tuple[int, int]]:
    """[start, end) of each clip in mel frames, none past the end of the recording."""
    points = [round(t * FRAMES_PER_SECOND) for t in clip_times(clips)] or [0]
    if len(points) % 2:
        points.append(n_frames)
    return [(start, min(end, n_frames)) for start, end in zip(points[::2], points[1::2], strict=True)]
