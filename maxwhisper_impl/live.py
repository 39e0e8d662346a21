"""Speech as it arrives: text that was given out is final, and how long it takes is bounded in seconds of audio.

The audio that is not settled yet, at most 30 s, is decoded again whenever `step` seconds more have come. What two
passes in a row agree on is final and begins every later pass, so that it cannot change (LocalAgreement-2,
arXiv:2307.14743). Segments that are final leave the audio and become the prompt of what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .audio import HOP_LENGTH, N_SAMPLES, SAMPLE_RATE, LogMel, load_audio
from .decoding import DecodingResult, DecodingTask, Runtime, detect_language
from .decoding.filters import Behind, Filter
from .decoding.task import encode_text
from .errors import AudioError, OptionError
from .fallback import is_silence, needs_fallback
from .results import Result, Segment
from .segments import FRAMES_PER_TIMESTAMP, Window, cut_segments
from .tokenizer import Tokenizer, get_tokenizer
from .transcribe_options import TranscribeOptions

SETTLED_SECONDS = 15.0
"""of audio that are kept as context before final segments leave it"""
QUIET = 1e-3
"""peak, of a full scale of 1, below which there is nothing to be heard"""
_SAME_TIME = 25
"""timestamps, 0.5 s, by which two passes may differ and still agree"""
_GRAIN = FRAMES_PER_TIMESTAMP * HOP_LENGTH
"""samples between two timestamps: audio leaves in multiples of it"""
_MARGIN = 24
"""tokens that a pass must have left to say something new"""
_NOT_LIVE = (
    "prefix", "without_timestamps", "carry_initial_prompt", "word_timestamps", "clip_timestamps", "batch_size",
    "assistant", "vad_filter", "multilingual", "language_detection_segments", "keep_best_fallback",
)  # fmt: skip


@dataclass(frozen=True)
class LiveText:
    """What one pass has made of the audio."""

    seconds: float
    """of audio heard so far"""
    final: str
    """follows the final text before it, and never changes"""
    provisional: str
    """what seems to come next, and may change"""


class LiveTranscription:
    """Feed it audio and take the text that is final; or `run` it over a source."""

    def __init__(self, runtime: Runtime, options: TranscribeOptions, *, step: float = 1.0, max_delay: float = 10.0):
        """`step`: seconds of new audio a pass. `max_delay`: seconds after which a word that was heard is final, whether
        two passes agree on it or not. OptionError for options that need the whole recording."""
        verify_live(options, step, max_delay)
        self.runtime, self.options = runtime, options
        self.language = options.decoding.language or (None if runtime.dims.is_multilingual else "en")
        self.text = ""
        """all that is final"""
        self.segments: list[Segment] = []
        """those that have ended"""
        self._step, self._max_delay = round(step * SAMPLE_RATE), round(max_delay * SAMPLE_RATE)
        self._odd_byte = b""
        self._audio = np.zeros(0, np.float32)
        self._start = 0
        """of `_audio`, in samples from the beginning"""
        self._passed = 0
        """samples from the beginning that have been decoded"""
        self._unclear = False
        """the last pass repeated itself and was left out"""
        self._initial = None if options.initial_prompt is None else encode_text(self._tokenizer, options.initial_prompt)
        self._past: list[int] = []
        """tokens of ended segments"""
        self._final: list[int] = []
        """final tokens within `_audio`"""
        self._result = DecodingResult(None, "en")
        """of the last pass; its tokens begin with the final ones"""
        self._heard: list[tuple[int, int]] = []
        """(samples, text tokens from the beginning) at each pass of the last `max_delay`"""
        self._task(0.0)  # what is wrong with the options is said now

    @property
    def seconds(self) -> float:
        """of audio heard so far"""
        return self._end / SAMPLE_RATE

    @property
    def result(self) -> Result:
        """What `transcribe` would return, of what is final."""
        return {"text": self.text, "segments": self.segments, "language": self.language or "en"}

    def run(self, source: Iterable[Any]) -> Iterator[LiveText]:
        """All of a source of chunks; when it ends or fails, first what it has given is finished."""
        chunks, failure = iter(source), None
        while failure is None:
            try:
                texts = self.feed(next(chunks))
            except StopIteration:
                break
            except Exception as error:
                failure = error
            else:
                yield from texts
        yield self.finish()
        if failure is not None:
            raise failure

    def feed(self, chunk: Any) -> list[LiveText]:
        """Take in a chunk: float or int16 samples at 16 kHz, or the bytes of s16le ones. Texts of the passes it led to.

        AudioError for anything else; the chunk is then left out.
        """
        samples, texts = self._samples(chunk), list[LiveText]()
        while len(samples):
            room = N_SAMPLES - len(self._audio)
            self._audio = np.concatenate([self._audio, samples[:room]])
            samples = samples[room:]
            if self._end - self._passed >= self._step or len(self._audio) == N_SAMPLES:
                texts.append(self._pass())
        return texts

    def finish(self) -> LiveText:
        """Everything that is left is final: the source has ended."""
        text = self._pass(last=True)
        self._close(len(self._final))
        return text

    @property
    def _end(self) -> int:
        return self._start + len(self._audio)

    @property
    def _tokenizer(self) -> Tokenizer:
        dims, task = self.runtime.dims, self.options.decoding.task
        language = self.language or "en"
        return get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages, language=language, task=task)

    def _samples(self, chunk: Any) -> np.ndarray:
        if not isinstance(chunk, bytes | bytearray | memoryview):
            if not hasattr(chunk, "__array__"):
                raise AudioError(f"a chunk of live audio is an array or bytes of s16le, not {type(chunk).__name__}")
            return load_audio(chunk)
        data = self._odd_byte + bytes(chunk)
        whole = len(data) // 2 * 2
        self._odd_byte = data[whole:]
        return load_audio(np.frombuffer(data[:whole], "<i2").astype(np.int16))

    def _pass(self, last: bool = False) -> LiveText:
        """Decode what is not settled; what is final from now on."""
        crowded = N_SAMPLES - len(self._audio) < self._step
        count, before = len(self._final), self._result
        if self._end > self._passed or self._unclear:
            self._passed, heard = self._end, self._listen(at_any_rate=last or crowded)
            self._unclear = heard is None
            if heard is None:
                return LiveText(self.seconds, "", self._decode(before.tokens[count:]))
            self._result = heard
            count = self._agreed(before.tokens)
        tokens = self._result.tokens
        full = crowded or len(tokens) > self.runtime.dims.n_text_ctx // 2 - _MARGIN
        count = len(tokens) if last else max(count, self._overdue(), self._ended(tokens) if full else 0)
        if full and not self._ended(tokens):
            count = len(tokens)  # no segment ends in all that the model can take in
        final = self._decode(tokens[len(self._final) : count])
        self._final = tokens[:count]
        self.text += final
        text = LiveText(self.seconds, final, self._decode(tokens[count:]))
        if not self._decode([*before.tokens, *tokens]):
            self._forget()
        elif not last:
            self._let_go(full)
        return text

    def _listen(self, at_any_rate: bool) -> DecodingResult | None:
        """The first result that passes the thresholds; no tokens beyond the final ones where nothing is said.

        None where all repeat themselves, which the next pass may not; where there is none, `at_any_rate`, the last.
        """
        nothing = replace(self._result, tokens=self._final)
        if np.abs(self._audio).max(initial=0) < QUIET:
            return nothing
        features = self.runtime.encode(LogMel(self._audio, self.runtime.dims.n_mels).window(0)[None])
        if self.options.decoding.language is None and self.runtime.dims.is_multilingual and not self.text:
            _, (probs,) = detect_language(self.runtime, features)
            self.language = max(probs, key=probs.__getitem__)
        result = nothing
        for temperature in self.options.temperatures:
            result = self._task(temperature).run(features)[0]
            # how likely a few more tokens are says little
            judged = replace(result, avg_logprob=0.0) if self._final else result
            if is_silence(self.options, judged):
                return nothing
            if not needs_fallback(self.options, judged):
                break
        else:
            if not at_any_rate and needs_fallback(self.options, replace(result, avg_logprob=0.0)):
                return None
        return replace(result, tokens=self._final + result.tokens)

    def _task(self, temperature: float) -> DecodingTask:
        """Goes on behind the final tokens, as if it had sampled them itself."""
        options, final = self.options.decoding_at(temperature), self._final
        room = self.runtime.dims.n_text_ctx // 2
        said = [*(self._initial or ()), *(self._past if self.options.condition_on_previous_text else ())]
        # hotwords have no effect beside a prefix that is asked for; this one is not
        hint = encode_text(self._tokenizer, options.hotwords or [])[: room - 1]
        prompt = [*hint, *said[max(0, len(said) - (room - 1 - len(hint))) :]]
        options = replace(options, language=self.language, prompt=prompt, prefix=final, hotwords=None,
                          sample_len=max(room - len(final), 1))  # fmt: skip
        task = DecodingTask(self.runtime, options)
        behind: list[Filter] = [Behind(final, narrow) for narrow in task.filters]
        task.filters = behind
        return task

    def _agreed(self, before: Sequence[int]) -> int:
        """How many tokens of this pass the one before had too, in whole words."""
        begin, count = self._tokenizer.timestamp_begin, 0
        for ours, theirs in zip(self._result.tokens, before, strict=False):
            if ours != theirs and not (min(ours, theirs) >= begin and abs(ours - theirs) <= _SAME_TIME):
                break
            count += 1
        return max((end for end in self._word_ends() if end <= count), default=len(self._final))

    def _overdue(self) -> int:
        """How many tokens have to be final now, because as many words were heard `max_delay` ago; in whole words."""
        tokens, eot = self._result.tokens, self._tokenizer.eot
        said = list(accumulate((token < eot for token in tokens), initial=sum(t < eot for t in self._past)))
        # words that a later pass took back are not waited for
        self._heard = [*((at, min(count, said[-1])) for at, count in self._heard), (self._end, said[-1])]
        due = max((count for at, count in self._heard if at <= self._end - self._max_delay), default=0)
        self._heard = [(at, count) for at, count in self._heard if count > due]
        count = next(i for i, number in enumerate(said) if number >= min(due, said[-1]))
        return min((end for end in self._word_ends() if end >= count), default=len(self._final))

    def _word_ends(self) -> list[int]:
        """Ends of the words of the last pass, counted in tokens, from the final ones on."""
        fresh = self._result.tokens[len(self._final) :]
        _, words = self._tokenizer.split_to_word_tokens(fresh)
        return list(accumulate(map(len, words), initial=len(self._final)))

    def _ended(self, tokens: Sequence[int]) -> int:
        """How many tokens the segments take up whose end is known."""
        begin, eot = self._tokenizer.timestamp_begin, self._tokenizer.eot
        ends = (i for i in range(len(tokens) - 1, 0, -1) if tokens[i] >= begin and tokens[i - 1] < eot)
        return next(ends, -1) + 1

    def _let_go(self, full: bool) -> None:
        """The audio of final segments leaves."""
        ended = self._ended(self._final)
        if full:
            self._close(ended or len(self._final))
        elif len(self._audio) >= SETTLED_SECONDS * SAMPLE_RATE and ended:
            self._close(ended)

    def _forget(self) -> None:
        """Audio leaves that two passes in a row have heard nothing in."""
        self._final, self._result = [], replace(self._result, tokens=[])
        self._drop(len(self._audio) - max(self._step, SAMPLE_RATE))

    def _close(self, count: int) -> None:
        """The first tokens, all of them final, become segments; their audio leaves."""
        ended, begin = self._ended(self._final[:count]), self._tokenizer.timestamp_begin
        window = Window(self._start // HOP_LENGTH, len(self._audio) // HOP_LENGTH)
        if ended:  # doubled, a timestamp both ends a segment and begins the next
            closed = replace(self._result, tokens=[*self._final[:ended], self._final[ended - 1]])
            cut = cut_segments(closed, window, self._tokenizer)
            advance = cut.advance
        else:
            # no timestamp before another: what follows such a pair would be left to a next window
            rest = [token for token, after in pairwise([*self._final[:count], 0]) if min(token, after) < begin]
            cut = cut_segments(replace(self._result, tokens=rest), window, self._tokenizer)
            ended, advance = count, window.size
        said = enumerate((segment for segment in cut.segments if segment["text"].strip()), len(self.segments))
        numbered: list[Segment] = [{"id": number, **segment} for number, segment in said]
        self.segments += numbered
        self._past += self._final[:ended]
        moved = advance // FRAMES_PER_TIMESTAMP
        rest = [token - moved if token >= begin else token for token in self._result.tokens[ended:]]
        self._final, self._result = rest[: len(self._final) - ended], replace(self._result, tokens=rest)
        self._drop(advance * HOP_LENGTH)
        if ended < count:
            self._close(count - ended)

    def _drop(self, samples: int) -> None:
        samples = max(samples, 0) // _GRAIN * _GRAIN
        self._start += len(self._audio[:samples])
        self._audio = self._audio[samples:]

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode([token for token in tokens if token < self._tokenizer.eot])


def verify_live(options: TranscribeOptions, step: Any, max_delay: Any) -> None:
    """OptionError for what cannot be done with audio that is still to come."""
    plain = TranscribeOptions()
    for name in _NOT_LIVE:
        holder, default = (options, plain) if hasattr(options, name) else (options.decoding, plain.decoding)
        if getattr(holder, name) != getattr(default, name):
            raise OptionError(f"{name}={getattr(holder, name)!r} is not for live audio; transcribe the recording")
    if not isinstance(step, (int, float)) or not 0.1 <= step <= 10:
        raise OptionError(f"step={step!r:.100}: give 0.1 to 10 seconds")
    if not isinstance(max_delay, (int, float)) or not step <= max_delay <= 20:
        raise OptionError(f"max_delay={max_delay!r:.100}: give seconds from step={step} to 20")
