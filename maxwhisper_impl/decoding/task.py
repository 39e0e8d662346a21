"""Decoding windows of 30 s: initial tokens, the loop over steps, and the best candidate of each window."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ..audio import CHUNK_LENGTH
from ..dims import ModelDimensions
from ..errors import OptionError
from ..tokenizer import Tokenizer, get_tokenizer
from .beam import BeamSearch
from .draft import Draft
from .filters import (
    Filter,
    NoRepeatNgrams,
    Plan,
    RepetitionPenalty,
    SuppressBlank,
    SuppressTokens,
    TimestampRules,
    apply_plan,
    make_plan,
)
from .greedy import RowSearch, Sampler
from .language import detect_language
from .options import DecodingOptions, DecodingResult, language_code, verify_options
from .search import Search, rank


class DecoderState(Protocol):
    """A decoder in the middle of its rows; see `maxwhisper_impl.runtime`."""

    length: int

    def step(self, tokens: np.ndarray, at: Sequence[int] = (-1,)) -> np.ndarray: ...

    def pick(self, tokens: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]: ...

    def select(self, rows: Sequence[int]) -> None: ...

    def rewind(self, length: int) -> None: ...


class Runtime(Protocol):
    """All that decoding needs of a model; see `maxwhisper_impl.runtime`."""

    dims: ModelDimensions

    @property
    def alignment_heads(self) -> Sequence[tuple[int, int]]: ...

    def encode(self, mel: np.ndarray) -> Any: ...

    def start(self, features: Any, rows_per_window: int = 1) -> Any: ...

    def cross_scores(
        self, features: Any, tokens: np.ndarray, heads: Sequence[tuple[int, int]]
    ) -> tuple[np.ndarray, np.ndarray]: ...


class WindowFeatures:
    """One window of a batch of features that stay on the device until an array is asked for."""

    def __init__(self, features: Any, index: int):
        self.features = features
        self.index = index

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.features)[self.index].astype(dtype or np.float32)


class DecodingTask:
    """The options of a decoding, worked out once for a model; OptionError before any work if they make no sense."""

    def __init__(self, runtime: Runtime, options: DecodingOptions):
        dims = runtime.dims
        self.runtime = runtime
        self.options = verify_options(options, dims)
        self.language = options.language or (None if dims.is_multilingual else "en")
        self.tokenizer: Tokenizer = get_tokenizer(
            dims.is_multilingual,
            num_languages=dims.num_languages,
            language=language_code(self.language or "en", dims),
            task="transcribe" if options.task == "lang_id" else options.task,
        )
        self.group = options.beam_size or options.best_of or 1
        self.sample_len = options.sample_len or dims.n_text_ctx // 2
        self.initial_tokens = self._initial_tokens()
        self.sot_index = self.initial_tokens.index(self.tokenizer.sot)
        self.filters = self._filters()

    def run(
        self, features: Any, windows: Sequence[int] | None = None, streams: Sequence[Sequence[int]] | None = None,
        draft: Sequence[int] | None = None,
    ) -> list[DecodingResult]:  # fmt: skip
        """One result for each window of `features` (what the runtime's `encode` gave), or for those in `windows` only.

        `streams`, for each of them some numbers besides the seed, let them sample apart. `draft`: tokens that a single
        window may hold, which greedy decoding then only confirms.
        """
        windows = range(int(features.shape[0])) if windows is None else windows
        tokens = np.tile(np.array(self.initial_tokens, dtype=np.int32), (len(windows), 1))
        languages, probs = [self.language or "en"] * len(windows), None
        if self.language is None or self.options.task == "lang_id":
            ids, all_probs = detect_language(self.runtime, features, self.tokenizer)
            probs = [all_probs[i] for i in windows]
            languages = [max(p, key=p.__getitem__) for p in probs]
            tokens[:, self.sot_index + 1] = ids[list(windows)]
        heard = [WindowFeatures(features, i) for i in windows]
        if probs is not None and self.options.task == "lang_id":
            return [DecodingResult(*row) for row in zip(heard, languages, probs, strict=True)]

        search, no_speech = self._sample(features, tokens, windows, streams, draft)
        best = [rank(found, self.options.length_penalty) for found in search.candidates()]
        return [
            self._result(heard[i], languages[i], *best[i], no_speech[i]) for i in range(len(windows))
        ]

    def _sample(
        self, features: Any, tokens: np.ndarray, windows: Sequence[int], streams: Sequence[Sequence[int]] | None,
        guessed: Sequence[int] | None,
    ) -> tuple[Search, list[float]]:  # fmt: skip
        """The search after its last step, and the probability of no speech for each window."""
        search = self._search(len(windows), streams)
        state = self.runtime.start(features, self.group)
        # the initial tokens once a window; the rows of its group then all continue from them
        state.select([window * self.group for window in windows])
        first = state.step(tokens, at=(self.sot_index, -1))
        no_speech = softmax(first[:, 0])[:, self.tokenizer.no_speech].tolist()
        state.select([row for row in range(len(windows)) for _ in range(self.group)])
        logits = np.repeat(first[:, 1], self.group, axis=0)
        moved = search.update(apply_plan(self._plan(search), logits))

        limit = min(self.sample_len, self.runtime.dims.n_text_ctx + 1 - len(self.initial_tokens))
        draft = self._draft(search, guessed)
        while moved != [] and (left := limit - search.sampled.shape[1]) > 0:
            if moved is not None:
                state.select(moved)
            guess = draft.after(search.sampled[0].tolist(), left - 1) if draft else []
            moved = self._confirm(search, state, guess) if guess else self._step(search, state)
        return search, no_speech

    def _draft(self, search: Search, guessed: Sequence[int] | None) -> Draft | None:
        """Where a search takes the likeliest tokens of one window."""
        if not guessed or len(search.sampled) != 1 or not isinstance(search, RowSearch) or search.sampler is not None:
            return None
        return Draft(guessed, self.tokenizer.eot, self.tokenizer.timestamp_begin)

    def _plan(self, search: Search) -> Plan:
        return make_plan(self.filters, search.sampled, self.runtime.dims.n_vocab, self.tokenizer.timestamp_begin)

    def _step(self, search: Search, state: DecoderState) -> list[int] | None:
        """One more token for each row: where only the likeliest counts, no logits leave the decoder."""
        plan, newest = self._plan(search), search.sampled[:, -1:].astype(np.int32)
        if isinstance(search, RowSearch) and search.sampler is None and plan.is_plain:
            return search.take(*state.pick(newest, plan))
        return search.update(apply_plan(plan, np.array(state.step(newest)[:, 0])))

    def _confirm(self, search: Search, state: DecoderState, guess: list[int]) -> list[int] | None:
        """Those tokens of a guess that the search takes itself, and the one that it takes in place of the next."""
        length = state.length
        tokens = np.array([[*search.sampled[0, -1:], *guess]], dtype=np.int32)
        logits = state.step(tokens, at=range(tokens.shape[1]))
        taken = 0
        moved = search.update(apply_plan(self._plan(search), np.array(logits[:, 0])))
        while moved != [] and taken < len(guess) and search.sampled[0, -1] == guess[taken]:
            taken += 1
            moved = search.update(apply_plan(self._plan(search), np.array(logits[:, taken])))
        state.rewind(length + 1 + taken)
        return moved

    def _search(self, windows: int, streams: Sequence[Sequence[int]] | None) -> Search:
        o, eot = self.options, self.tokenizer.eot
        if o.beam_size is not None:
            return BeamSearch(windows, o.beam_size, o.patience, eot)
        rows = windows * self.group
        sampler = Sampler(o.temperature, o.seed, rows, self.group, streams) if o.temperature > 0 else None
        return RowSearch(rows, self.group, self.sample_len, eot, sampler)

    def _result(
        self, features: Any, language: str, tokens: list[int], total: float, no_speech: float
    ) -> DecodingResult:
        text = self.tokenizer.decode(tokens).strip()
        return DecodingResult(
            audio_features=features,
            language=language,
            tokens=tokens,
            text=text,
            avg_logprob=total / (len(tokens) + 1),
            no_speech_prob=no_speech,
            temperature=self.options.temperature,
            compression_ratio=compression_ratio(text),
        )

    def _initial_tokens(self) -> list[int]:
        o, n_ctx = self.options, self.runtime.dims.n_text_ctx
        tokens = list(self.tokenizer.sot_sequence)
        if o.without_timestamps:
            tokens.append(self.tokenizer.no_timestamps)
        if o.prefix:
            # as in openai-whisper: the default sample_len cuts nothing, a shorter one keeps the newest tokens
            tokens += encode_text(self.tokenizer, o.prefix)[-(n_ctx // 2 - self.sample_len) :]
        hint = encode_text(self.tokenizer, o.hotwords or [])[: n_ctx // 2 - 1] if not o.prefix else []
        said = encode_text(self.tokenizer, o.prompt or [])[-(n_ctx // 2 - 1) :]
        if hint:  # two halves would leave nothing for the answer: what was said first gives way to a quarter of it
            room = max(0, n_ctx - n_ctx // 4 - 1 - len(hint) - len(tokens))
            said = said[max(0, len(said) - room) :]
        if hint or said:
            tokens = [self.tokenizer.sot_prev, *hint, *said, *tokens]
        if len(tokens) > n_ctx:
            raise OptionError(f"prompt and prefix make {len(tokens)} tokens of at most {n_ctx}; shorten the prefix")
        return tokens

    def _filters(self) -> list[Filter]:
        o, t = self.options, self.tokenizer
        filters: list[Filter] = []
        if o.repetition_penalty != 1:
            filters.append(RepetitionPenalty(o.repetition_penalty))
        if o.no_repeat_ngram_size:
            filters.append(NoRepeatNgrams(o.no_repeat_ngram_size))
        if o.suppress_blank:
            filters.append(SuppressBlank([*t.encode(" "), t.eot]))
        if o.suppress_tokens:
            filters.append(SuppressTokens(self._suppressed()))
        if not o.without_timestamps:
            seconds = CHUNK_LENGTH / self.runtime.dims.n_audio_ctx
            latest = None
            if o.max_initial_timestamp:
                latest = min(round(o.max_initial_timestamp / seconds), self.runtime.dims.n_audio_ctx)
            filters.append(TimestampRules(t.eot, t.timestamp_begin, t.no_timestamps, latest))
        return filters

    def _suppressed(self) -> list[int]:
        given, t, n_vocab = self.options.suppress_tokens, self.tokenizer, self.runtime.dims.n_vocab
        try:
            ids = {int(i) for i in (given.split(",") if isinstance(given, str) else given or ())}
        except ValueError as e:
            raise OptionError(f"suppress_tokens={given!r}: give token ids, comma-separated") from e
        if wrong := [i for i in ids if not -1 <= i < n_vocab]:
            raise OptionError(f"suppress_tokens holds {wrong[0]}; ids lie between 0 and {n_vocab - 1}, or -1")
        if -1 in ids:
            ids = ids - {-1} | set(t.non_speech_tokens)
        return sorted(ids | {t.transcribe, t.translate, t.sot, t.sot_prev, t.sot_lm, t.no_speech})


def encode_text(tokenizer: Tokenizer, text: str | Sequence[int]) -> list[int]:
    """Tokens of a prompt or prefix; OptionError where it spells out a special token."""
    if not isinstance(text, str):
        return list(text)
    try:
        return tokenizer.encode(" " + text.strip())
    except ValueError as e:
        raise OptionError(f"a prompt or prefix may not spell out a special token: {text!r}") from e


def softmax(x: np.ndarray) -> np.ndarray:
    """float32 over the last axis."""
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def compression_ratio(text: str) -> float:
    """Bytes of `text` over its bytes when compressed: high when it repeats itself."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))
