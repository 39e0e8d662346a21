"""What a caller may ask of the decoder, and what it answers, as in openai-whisper (`whisper/decoding.py`)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from .. import tokenizer
from ..dims import ModelDimensions
from ..errors import OptionError
from ..tokenizer import LANGUAGES
from .types import check_types

TASKS = ("transcribe", "translate", "lang_id")
COLDEST = 1e-6
"""of sampling temperatures, and the least penalty; by a lower one float32 logits cannot be divided"""
MOST_ROWS = 256
"""sequences decoded side by side: each has a cache and logits of its own, 6 MB with tiny, 150 MB with large"""


@dataclass(frozen=True)
class DecodingOptions:
    """How one window of 30 s is decoded."""

    task: str = "transcribe"
    """"transcribe" (X to X), "translate" (X to English) or "lang_id" (only name the language)"""
    language: str | None = None
    """code or English name of the spoken language; None: detected in each window"""

    temperature: float = 0.0
    sample_len: int | None = None
    """most tokens to sample; None: half of the text context (224)"""
    best_of: int | None = None
    """independent samples of which the likeliest is kept (temperature > 0)"""
    beam_size: int | None = None
    """beams of a beam search; None: greedy or sampling"""
    patience: float | None = None
    """a window is done when round(beam_size * patience) sequences have ended (arXiv:2204.05424); None: 1.0"""
    length_penalty: float | None = None
    """alpha of arXiv:1609.08144, 0 to 1; None: candidates are ranked by log-probability per token"""

    prompt: str | Sequence[int] | None = None
    """text or tokens of what came before; the last 223 tokens count"""
    prefix: str | Sequence[int] | None = None
    """text or tokens with which the answer has to begin; not part of the result's tokens"""

    suppress_tokens: str | Iterable[int] | None = "-1"
    """ids never to be sampled, a list or comma-separated; -1 stands for the tokenizer's non-speech tokens. Empty or
    None also lifts the ban on the task and start tokens, as in openai-whisper."""
    suppress_blank: bool = True
    """forbid a blank or the end of text as the first sampled token"""

    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0
    """seconds; None or 0: no limit, as in openai-whisper"""

    repetition_penalty: float = 1.0
    """above 1, what was sampled before becomes less likely, timestamps included (faster-whisper's)"""
    no_repeat_ngram_size: int = 0
    """forbid so many tokens in a row a second time; 0: no limit (faster-whisper's)"""
    hotwords: str | Sequence[int] | None = None
    """text or tokens put before the prompt as a hint; the first 223 tokens count, none beside a prefix
    (faster-whisper's)"""

    seed: int | Sequence[int] | None = 0
    """of sampling; None: fresh on each call. A batch samples what each of its windows would sample alone."""
    fp16: bool | None = None
    """taken so that openai-whisper's callers need not change; the dtype is `load_model`'s"""


@dataclass(frozen=True)
class DecodingResult:
    """The best candidate of one window."""

    audio_features: Any
    """[n_audio_ctx, n_audio_state]; stays on the device until `np.asarray` is called on it"""
    language: str
    language_probs: dict[str, float] | None = None
    tokens: list[int] = field(default_factory=list)
    """sampled tokens up to the end of text, without it"""
    text: str = ""
    avg_logprob: float = math.nan
    """sum of log-probabilities / (len(tokens) + 1)"""
    no_speech_prob: float = math.nan
    temperature: float = math.nan
    compression_ratio: float = math.nan


def make_options(options: DecodingOptions | None = None, **changes: Any) -> DecodingOptions:
    """`options` with `changes`; OptionError for a name that is not an option."""
    check_names(changes, [f.name for f in fields(DecodingOptions)], "decoding option")
    return replace(options or DecodingOptions(), **{name: plain(value) for name, value in changes.items()})


def plain(value: Any) -> Any:
    """Python's own numbers and lists for NumPy's."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def check_names(given: Iterable[str], known: Sequence[str], what: str) -> None:
    """OptionError when `given` holds a name that is not in `known`."""
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known))}"
            raise OptionError(f"unknown {what} {name!r}{hint}")


def verify_options(options: DecodingOptions, dims: ModelDimensions) -> DecodingOptions:
    """The same options, or one OptionError that names what is out of range or contradicts another option."""
    o = options
    check_types(o)
    _verify_language(o, dims)
    if not _is_number(o.temperature) or not (o.temperature == 0 or COLDEST <= o.temperature <= 1 / COLDEST):
        raise OptionError(f"temperature={o.temperature!r}: give 0, or a number from {COLDEST:g} to {1 / COLDEST:g}")
    for name, most in (("sample_len", dims.n_text_ctx), ("best_of", MOST_ROWS), ("beam_size", MOST_ROWS)):
        verify_count(name, getattr(o, name), most)
    if o.beam_size is not None and o.best_of is not None:
        raise OptionError(f"beam_size={o.beam_size} and best_of={o.best_of} cannot be given together; choose one")
    if o.temperature == 0 and o.best_of is not None:
        raise OptionError(f"best_of={o.best_of} samples, but temperature=0 is greedy; raise it or drop best_of")
    if o.patience is not None:
        _verify_patience(o)
    if o.length_penalty is not None and not (_is_number(o.length_penalty) and 0 <= o.length_penalty <= 1):
        raise OptionError(f"length_penalty={o.length_penalty!r}: alpha lies between 0 and 1")
    latest = o.max_initial_timestamp
    if latest is not None and not (_is_number(latest) and 0 <= latest < math.inf):
        raise OptionError(f"max_initial_timestamp={latest!r}: give seconds from 0 up, or None")
    penalty = o.repetition_penalty
    if not _is_number(penalty) or not COLDEST <= penalty <= 1 / COLDEST:
        raise OptionError(
            f"repetition_penalty={penalty!r}: give a number from {COLDEST:g} to {1 / COLDEST:g}; 1 changes nothing"
        )
    if o.no_repeat_ngram_size != 0:
        verify_count("no_repeat_ngram_size", o.no_repeat_ngram_size, None)
    _verify_seed(o.seed)
    for name in ("prompt", "prefix", "hotwords"):
        _verify_tokens(name, getattr(o, name), dims)
    return o


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _verify_language(o: DecodingOptions, dims: ModelDimensions) -> None:
    if o.task not in TASKS:
        raise OptionError(f"unknown task {o.task!r}; there are {', '.join(TASKS)}")
    if not dims.is_multilingual and o.task != "transcribe":
        raise OptionError(f"task={o.task!r} needs a multilingual model; this one only transcribes English")
    if o.language is None:
        return
    code = language_code(o.language, dims)
    if not dims.is_multilingual and code != "en":
        raise OptionError(f"language={o.language!r} needs a multilingual model; this one only transcribes English")


def language_code(language: str, dims: ModelDimensions) -> str:
    """"de" for "de" or "German"; OptionError for a language that the model has no token for."""
    code = tokenizer.language_code(language)
    known = list(LANGUAGES)[: dims.num_languages]
    if dims.is_multilingual and code not in known:
        raise OptionError(f"language={language!r} is not one of this model's {len(known)}: {', '.join(known)}")
    return code


def verify_count(name: str, value: Any, most: int | None) -> None:
    """OptionError unless `value` is None or a whole number from 1 to `most`."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (most is not None and value > most):
        upper = f" to {most}" if most is not None else " up"
        raise OptionError(f"{name}={value!r}: give a whole number from 1{upper}")


def _verify_patience(o: DecodingOptions) -> None:
    if o.beam_size is None:
        raise OptionError(f"patience={o.patience!r} belongs to beam search; give beam_size too")
    if o.patience is None or not math.isfinite(o.patience) or round(o.beam_size * o.patience) < 1:
        raise OptionError(f"patience={o.patience!r} with beam_size={o.beam_size} keeps no candidate; raise one of them")


def _verify_seed(seed: Any) -> None:
    numbers = seed if isinstance(seed, (list, tuple)) else [] if seed is None else [seed]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise OptionError(f"seed={seed!r}: give a whole number from 0 up, or None")


def _verify_tokens(name: str, value: Any, dims: ModelDimensions) -> None:
    if value is None or isinstance(value, str):
        return
    for token in value:
        if not 0 <= token < dims.n_vocab:
            raise OptionError(f"{name} holds the token {token}; this model's lie between 0 and {dims.n_vocab - 1}")
