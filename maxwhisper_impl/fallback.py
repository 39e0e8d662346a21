"""Windows decoded at one temperature after another, as far as each of them needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .decoding import DecodingResult, DecodingTask, Runtime
from .drafts import Drafts
from .segments import Window
from .transcribe_options import TranscribeOptions


def decode_windows(
    runtime: Runtime,
    options: TranscribeOptions,
    windows: Sequence[Window],
    features: Any,
    *,
    language: str | None,
    prompt: Sequence[int],
    drafts: Drafts | None = None,
) -> list[DecodingResult]:
    """For each window the first result that passes the thresholds; where none does, see `_kept`.

    `features` are those of all windows; `language` None: detected in each of them. `drafts` are for a single one.
    """
    tried: list[list[DecodingResult]] = [[] for _ in windows]
    failing = list(range(len(windows)))
    for temperature in options.temperatures:
        task = DecodingTask(runtime, replace(options.decoding_at(temperature), language=language, prompt=prompt))
        # each window and temperature draws from a stream of its own, in whatever batch it is
        streams = [(windows[i].seek, round(1000 * temperature)) for i in failing]
        draft = drafts.of(windows[0], task.options, task.tokenizer) if drafts and not temperature else None
        for i, result in zip(failing, task.run(features, failing, streams, draft), strict=True):
            tried[i].append(result)
        failing = [i for i in failing if needs_fallback(options, tried[i][-1])]
        if not failing:
            break
    return [_kept(options, results) for results in tried]


def _kept(o: TranscribeOptions, results: Sequence[DecodingResult]) -> DecodingResult:
    """The last result; with `keep_best_fallback`, where it failed as well, the likeliest of those that do not repeat
    themselves, or of all. The temperature is the last one then too: it says how sure the text is as context."""
    last = results[-1]
    if not (o.keep_best_fallback and needs_fallback(o, last)):
        return last
    best = max([r for r in results if not _repeats(o, r)] or results, key=lambda result: result.avg_logprob)
    return replace(best, temperature=last.temperature)


def needs_fallback(o: TranscribeOptions, result: DecodingResult) -> bool:
    unlikely = o.logprob_threshold is not None and result.avg_logprob < o.logprob_threshold
    return (_repeats(o, result) or unlikely) and not (_no_speech(o, result) and unlikely)


def is_silence(o: TranscribeOptions, result: DecodingResult) -> bool:
    likely = o.logprob_threshold is not None and result.avg_logprob > o.logprob_threshold
    return _no_speech(o, result) and not likely


def _repeats(o: TranscribeOptions, result: DecodingResult) -> bool:
    return o.compression_ratio_threshold is not None and result.compression_ratio > o.compression_ratio_threshold


def _no_speech(o: TranscribeOptions, result: DecodingResult) -> bool:
    return o.no_speech_threshold is not None and result.no_speech_prob > o.no_speech_threshold
