"""How good a transcript is: word error rate against what was said, agreement with another system's tokens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache


@cache
def normalizer(language: str | None) -> Callable[[str], str]:
    """openai-whisper's text normaliser: the English one for English, the basic one for every other language."""
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves the file of its spellings open
        return EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()


@dataclass(frozen=True)
class WordErrors:
    """Wrong, missing and added words, and how many were said."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        """Errors per word, 0.0611 for 6.11 %; ZeroDivisionError where no word was said."""
        return self.errors / self.words

    def __str__(self) -> str:
        return f"{self.rate:.2%}"


def word_errors(pairs: Iterable[tuple[str, str, str | None]]) -> WordErrors:
    """Over all (reference, text, language) together, as OpenAI counts them: behind Whisper's normaliser."""
    import jiwer

    errors = words = 0
    for reference, text, language in pairs:
        said, heard = map(normalizer(language), (reference, text))
        if not said:  # jiwer takes no empty reference; every word is an insertion
            errors += len(heard.split())
            continue
        counts = jiwer.process_words(said, heard)
        errors += counts.substitutions + counts.deletions + counts.insertions
        words += counts.hits + counts.substitutions + counts.deletions
    return WordErrors(errors, words)


def agreement(tokens: Sequence[int], oracle: Sequence[int]) -> float:
    """1 − edit distance / length of the longer one: 1.0 exactly when the tokens are the same."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(tokens, oracle)
