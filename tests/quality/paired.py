"""Whether one text really has more errors than another of the same speech: a paired bootstrap over stretches of it."""

from __future__ import annotations

from dataclasses import dataclass

import jiwer
import numpy as np

from maxwhisper_impl.scoring import normalizer

STRETCH = 10
"""Words that are drawn together: errors come in bursts."""
RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Errors per word more than the other text has: over all words, and the interval in which it lies."""

    rate: float
    low: float
    high: float
    words: int

    def __str__(self) -> str:
        return f"{self.rate:+.2%} [{self.low:+.2%}, {self.high:+.2%}]"


def errors_by_word(reference: str, text: str, language: str | None) -> np.ndarray:
    """int [words of the reference]; added words count with the one behind them, or with the last."""
    said, heard = map(normalizer(language), (reference, text))
    output = jiwer.process_words(said, heard)
    errors = np.zeros(len(output.references[0]), int)
    for part in output.alignments[0]:
        if part.type == "insert":
            at = min(part.ref_start_idx, len(errors) - 1)
            errors[at] += part.hyp_end_idx - part.hyp_start_idx
        elif part.type != "equal":
            errors[part.ref_start_idx : part.ref_end_idx] += 1
    return errors


def difference(pairs: list[tuple[str, str, str, str | None]], seed: int = 0) -> Difference:
    """Of (reference, text, other text, language): what `text` has more. ValueError without words."""
    more = [
        errors_by_word(reference, text, language) - errors_by_word(reference, other, language)
        for reference, text, other, language in pairs
    ]
    words = sum(map(len, more))
    if not words:
        raise ValueError("no words to compare on")
    stretches = [part for each in more for part in np.array_split(each, -(-len(each) // STRETCH))]
    sums, sizes = np.array([part.sum() for part in stretches]), np.array([len(part) for part in stretches])
    drawn = np.random.default_rng(seed).integers(0, len(stretches), (RESAMPLES, len(stretches)))
    rates = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(rates, [tail, 100 - tail])
    return Difference(float(sums.sum() / words), float(low), float(high), words)
