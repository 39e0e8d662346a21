"""The options of a transcription: openai-whisper's keywords, and what is wrong with them said before any work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .audio import FRAMES_PER_SECOND
from .decoding import DecodingOptions, DecodingResult
from .decoding.options import check_names, make_options, verify_options
from .dims import ModelDimensions
from .errors import OptionError


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
    clip_timestamps: str | Sequence[float] = "0"
    """start,end,start,end,… in seconds; a last end that is missing is the end of the recording"""
    hallucination_silence_threshold: float | None = None
    decoding: DecodingOptions = field(default_factory=DecodingOptions)

    @property
    def temperatures(self) -> tuple[float, ...]:
        t = self.temperature
        return (t,) if isinstance(t, (int, float)) else tuple(t)

    def needs_fallback(self, result: DecodingResult) -> bool:
        """Whether another temperature is to be tried: it repeats itself or is unlikely, and is not just silence."""
        repeats = (
            self.compression_ratio_threshold is not None
            and result.compression_ratio > self.compression_ratio_threshold
        )
        unlikely = self.logprob_threshold is not None and result.avg_logprob < self.logprob_threshold
        return (repeats or unlikely) and not (self._no_speech(result) and unlikely)

    def is_silence(self, result: DecodingResult) -> bool:
        """Whether nothing is said in the window."""
        likely = self.logprob_threshold is not None and result.avg_logprob > self.logprob_threshold
        return self._no_speech(result) and not likely

    def _no_speech(self, result: DecodingResult) -> bool:
        return self.no_speech_threshold is not None and result.no_speech_prob > self.no_speech_threshold

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
    if options.get("prompt") is not None:
        raise OptionError("prompt is set from window to window by transcribe; give initial_prompt instead")
    decoding = make_options(**{name: value for name, value in options.items() if name not in own})
    if not (decoding.suppress_tokens is None or isinstance(decoding.suppress_tokens, str)):
        decoding = replace(decoding, suppress_tokens=list(decoding.suppress_tokens))
    made = TranscribeOptions(**{k: v for k, v in options.items() if k in own}, decoding=decoding)
    _verify(made, dims)
    return made


_THRESHOLDS = (
    "compression_ratio_threshold",
    "logprob_threshold",
    "no_speech_threshold",
    "hallucination_silence_threshold",
)


def _verify(o: TranscribeOptions, dims: ModelDimensions) -> None:
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
    if o.word_timestamps:
        raise OptionError("word_timestamps=True is not supported yet; leave it out for segment times")
    if o.hallucination_silence_threshold is not None and not o.word_timestamps:
        raise OptionError("hallucination_silence_threshold needs word_timestamps=True")
    if o.carry_initial_prompt and o.initial_prompt is None:
        raise OptionError("carry_initial_prompt=True needs an initial_prompt")
    clip_times(o.clip_timestamps)


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
