"""What greedy decoding, sampling and beam search share: a search is fed filtered logits and grows sequences."""

from __future__ import annotations

from typing import Protocol

import numpy as np

Candidate = tuple[list[int], float]
"""sampled tokens without the end of text, and the sum of their log-probabilities with it"""


class Search(Protocol):
    """Rows are numbered as in the decoder's state; a row that is done leaves it."""

    @property
    def sampled(self) -> np.ndarray:
        """int [rows, tokens sampled so far]"""
        ...

    def update(self, logits: np.ndarray) -> list[int] | None:
        """Choose the next token of each row from filtered logits, float32 [rows, n_vocab].

        Returns, for each row that goes on, the number of the row that it continues; None when every row just goes on.
        """
        ...

    def candidates(self) -> list[list[Candidate]]:
        """For each window its finished sequences, to be ranked."""
        ...


def rank(candidates: list[Candidate], length_penalty: float | None) -> Candidate:
    """The likeliest per token, or under the length penalty of arXiv:1609.08144; the first one of equals."""

    def score(candidate: Candidate) -> float:
        tokens, logprob = candidate
        # a lone end of text has no tokens to divide by; openai-whisper divides by zero there
        penalty = max(len(tokens), 1) if length_penalty is None else ((5 + len(tokens)) / 6) ** length_penalty
        return logprob / penalty

    return max(candidates, key=score)
