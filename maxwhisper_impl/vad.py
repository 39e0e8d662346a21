"""Which parts of a recording are speech, and times in those parts back to times in the recording.

faster-whisper's options and results. The Silero model is the one that its package ships; its Python code is not used.
"""

from __future__ import annotations

import math
import os
from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .audio import SAMPLE_RATE
from .decoding.options import check_names
from .errors import OptionError
from .results import Segment, Word, words_of

FRAME = 512
"""samples that one probability is about"""
CONTEXT = 64
"""samples before them that the model hears too"""
MODEL = "silero_vad_v6.onnx"
_RUN = 10_000
"""frames given to the model at a time"""
_SHORT_SILENCE = SAMPLE_RATE * 98 // 1000
"""samples; after a longer one speech that gets too long may be cut"""

Span = tuple[int, int]
"""samples [start, end)"""


@dataclass(frozen=True)
class VadOptions:
    """What counts as speech: faster-whisper's names and defaults."""

    threshold: float = 0.5
    """speech begins at this probability"""
    neg_threshold: float | None = None
    """speech ends below this one; None: 0.15 below `threshold`, at least 0.01"""
    min_speech_duration_ms: float = 0
    """shorter speech is dropped"""
    max_speech_duration_s: float = math.inf
    """longer speech is cut, at its last short silence if it has one"""
    min_silence_duration_ms: float = 2000
    """shorter silence does not end speech"""
    speech_pad_ms: float = 400
    """added to both ends of speech, as far as there is silence to share"""


def make_vad_options(given: Any = None, **defaults: Any) -> VadOptions:
    """Options from a mapping, from `VadOptions` (faster-whisper's too) or from None; OptionError if they are off.

    `defaults` take the place of those of `VadOptions`.
    """
    if given is not None and is_dataclass(given) and not isinstance(given, type):
        given = asdict(given)
    if given is not None and not isinstance(given, Mapping):
        raise OptionError(f"vad_parameters={given!r}: give a dict of {', '.join(f.name for f in fields(VadOptions))}")
    values: dict[str, Any] = {**defaults, **(given or {})}
    check_names(values, [f.name for f in fields(VadOptions)], "VAD parameter")
    for name, value in values.items():
        _verify(name, value)
    return VadOptions(**values)


def _verify(name: str, value: Any) -> None:
    if value is None and name == "neg_threshold":
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or math.isnan(value):
        raise OptionError(f"VAD parameter {name}={value!r}: give a number")
    if name.endswith("threshold") and not 0 <= value <= 1:
        raise OptionError(f"VAD parameter {name}={value}: a probability lies between 0 and 1")
    if value < 0 or (name == "max_speech_duration_s" and value == 0):
        raise OptionError(f"VAD parameter {name}={value}: give a duration above 0")
    if math.isinf(value) and name != "max_speech_duration_s":
        raise OptionError(f"VAD parameter {name}={value}: give a finite duration")


def check_installed() -> None:
    """OptionError where the packages that VAD needs are not installed."""
    _model_file()
    if find_spec("onnxruntime") is None:
        raise OptionError(_MISSING.format("onnxruntime is"))


_MISSING = "vad_filter=True: {} not installed; run pip install 'maxwhisper[vad]', or leave vad_filter out"


def _model_file() -> Path:
    spec = find_spec("faster_whisper")  # finds the package without importing it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "assets" / MODEL
        if file.is_file():
            return file
    raise OptionError(_MISSING.format(f"faster-whisper with its {MODEL} is"))


@cache
def _session() -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else importing it writes a session file and reports its use
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        str(_model_file()), providers=["CPUExecutionProvider"], sess_options=options
    )


def speech_probabilities(audio: np.ndarray) -> np.ndarray:
    """float32 [n_samples // FRAME + 1] for float32 audio [n_samples] at 16 kHz: is there speech in each frame?"""
    check_installed()
    frames = np.zeros((len(audio) // FRAME + 1, FRAME), np.float32)
    frames.reshape(-1)[: len(audio)] = audio
    frames[-1, -CONTEXT:] = 0  # faster-whisper's own slip: what it clears as context is still part of the last frame
    h = c = np.zeros((1, 1, 128), np.float32)
    found: list[np.ndarray] = []
    for start in range(0, len(frames), _RUN):
        run = frames[start : start + _RUN]
        before = np.zeros((len(run), CONTEXT), np.float32)
        before[1:] = run[:-1, -CONTEXT:]
        if start:
            before[0] = frames[start - 1, -CONTEXT:]
        probabilities, h, c = _session().run(None, {"input": np.hstack([before, run]), "h": h, "c": c})
        found.append(probabilities.reshape(-1))
    return np.concatenate(found)


def speech_spans(audio: np.ndarray, options: VadOptions | None = None) -> list[Span]:
    """Where there is speech in float32 audio [n_samples] at 16 kHz, in order, without overlap."""
    options = options or VadOptions()
    raw = _Spans(options).find(speech_probabilities(audio), len(audio))
    return _padded(raw, len(audio), SAMPLE_RATE * options.speech_pad_ms / 1000)


class _Spans:
    """Probabilities into unpadded spans, frame by frame. Positions are samples; 0 stands for none."""

    def __init__(self, o: VadOptions):
        negative = max(o.threshold - 0.15, 0.01) if o.neg_threshold is None else o.neg_threshold
        # in float32, as the probabilities are
        self.threshold, self.neg_threshold = (float(np.float32(p)) for p in (o.threshold, negative))
        self.min_speech = SAMPLE_RATE * o.min_speech_duration_ms / 1000
        self.min_silence = SAMPLE_RATE * o.min_silence_duration_ms / 1000
        self.max_speech = SAMPLE_RATE * o.max_speech_duration_s - FRAME - 2 * SAMPLE_RATE * o.speech_pad_ms / 1000
        self.spans: list[Span] = []
        self.start: int | None = None
        """of the speech that goes on; None in silence"""
        self._forget_silence()

    def _forget_silence(self) -> None:
        self.silence = 0
        """where the silence that goes on began"""
        self.cut = 0
        """where the last silence began that too long speech may be cut at"""
        self.resume = 0
        """where speech went on behind it"""

    def find(self, probabilities: np.ndarray, n_samples: int) -> list[Span]:
        for number, probability in enumerate(probabilities.tolist()):
            self._hear(FRAME * number, probability)
        if self.start is not None and n_samples - self.start > self.min_speech:
            self.spans.append((self.start, n_samples))
        return self.spans

    def _hear(self, now: int, probability: float) -> None:
        if probability >= self.threshold:
            if self.silence:
                self.silence = 0
                self.resume = now if self.resume < self.cut else self.resume
            if self.start is None:
                self.start = now
                return
        if self.start is not None and now - self.start > self.max_speech and self._cut_long(now, self.start):
            return
        if self.start is not None and probability < self.neg_threshold:
            self._stay_silent(now, self.start)

    def _cut_long(self, now: int, start: int) -> bool:
        """End speech that is too long; whether this frame is done with."""
        at_silence = self.cut > 0
        self.spans.append((start, self.cut if at_silence else now))
        self.start = self.resume if at_silence and self.resume >= self.cut else None
        self._forget_silence()
        return not at_silence

    def _stay_silent(self, now: int, start: int) -> None:
        self.silence = self.silence or now
        if now - self.silence > _SHORT_SILENCE:
            self.cut = self.silence
        if now - self.silence >= self.min_silence:
            if self.silence - start > self.min_speech:
                self.spans.append((start, self.silence))
            self.start = None
            self._forget_silence()


def _padded(spans: Sequence[Span], n_samples: int, pad: float) -> list[Span]:
    """Both ends widened by `pad` samples; a silence too short for two pads is shared."""
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    for i in range(len(spans)):
        if i == 0:
            starts[0] = int(max(0, starts[0] - pad))
        if i == len(spans) - 1:
            ends[i] = int(min(n_samples, ends[i] + pad))
        elif (silence := starts[i + 1] - ends[i]) < 2 * pad:
            ends[i] += silence // 2
            starts[i + 1] = max(0, starts[i + 1] - silence // 2)
        else:
            ends[i] = int(min(n_samples, ends[i] + pad))
            starts[i + 1] = int(max(0, starts[i + 1] - pad))
    return list(zip(starts, ends, strict=True))


class SpeechMap:
    """Times in speech that was joined without its silences, back to times in the recording."""

    def __init__(self, spans: Sequence[Span]):
        self.ends: list[int] = []
        """in the joined speech, in samples"""
        self.silences: list[float] = []
        """seconds of silence before each span"""
        silent = heard = 0
        for start, end in spans:
            silent += start - (heard + silent)
            heard += end - start
            self.ends.append(heard)
            self.silences.append(silent / SAMPLE_RATE)

    def index(self, time: float, *, is_end: bool = False) -> int:
        """The span that a time lies in; where two meet it is the end of the first or the start of the second."""
        sample = int(time * SAMPLE_RATE)
        if is_end and sample in self.ends:
            return self.ends.index(sample)
        return min(bisect(self.ends, sample), len(self.ends) - 1)

    def original(self, time: float, index: int | None = None, *, is_end: bool = False) -> float:
        """Seconds in the recording, to two digits; `index` says in which span, else `time` itself does."""
        return round(self.silences[self.index(time, is_end=is_end) if index is None else index] + time, 2)

    def restore(self, segments: Iterable[Segment], until: float = math.inf) -> list[Segment]:
        """The segments with times of the recording. Both ends of a word stay in one span, that of its middle.

        No time is taken to be later than `until`, in seconds of the speech: what comes behind is another span's.
        """
        return [self._restored(segment, until) for segment in segments]

    def _restored(self, segment: Segment, until: float) -> Segment:
        if not words_of(segment):
            start, end = min(segment["start"], until), min(segment["end"], until)
            return {**segment, "start": self.original(start), "end": self.original(end, is_end=True)}
        words: list[Word] = []
        for word in words_of(segment):
            at = self.index((word["start"] + word["end"]) / 2)
            words.append({**word, "start": self.original(word["start"], at), "end": self.original(word["end"], at)})
        return {**segment, "start": words[0]["start"], "end": words[-1]["end"], "words": words}


def join_speech(audio: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
    """The speech of `audio` alone, float32."""
    return np.concatenate([audio[:0], *(audio[start:end] for start, end in spans)])


def joined_chunks(spans: Sequence[Span], longest: float) -> list[Span]:
    """Neighbouring spans put together into chunks of at most `longest` samples; samples of the joined speech.

    A span that is longer by itself is a chunk of its own.
    """
    chunks: list[Span] = []
    start = end = 0
    for span_start, span_end in spans:
        length = span_end - span_start
        if end > start and end - start + length > longest:
            chunks.append((start, end))
            start = end
        end += length
    return [*chunks, (start, end)] if end > start else chunks
