"""Which language is spoken."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OptionError
from ..tokenizer import Tokenizer, get_tokenizer


def detect_language(
    runtime: Any, features: Any, tokenizer: Tokenizer | None = None
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """For each window the id of the likeliest language token, int [windows], and the probability of every language.

    OptionError for an English-only model.
    """
    dims = runtime.dims
    if not dims.is_multilingual:
        raise OptionError("this model knows only English; detecting a language needs a multilingual model")
    tokenizer = tokenizer or get_tokenizer(True, num_languages=dims.num_languages)
    start = np.full((features.shape[0], 1), tokenizer.sot, dtype=np.int32)
    logits = runtime.start(features).step(start)[:, 0]

    ids = np.array(tokenizer.all_language_tokens)
    weights = np.exp(logits[:, ids] - logits[:, ids].max(axis=1, keepdims=True))
    probs = weights / weights.sum(axis=1, keepdims=True)
    named = [dict(zip(tokenizer.all_language_codes, row.tolist(), strict=True)) for row in probs]
    return ids[probs.argmax(axis=1)], named
