"""Seeded random weights for dims that no checkpoint at hand has, on disk, where every system finds them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from maxwhisper_impl.dims import SIZES, ModelDimensions
from tests.baselines import cache_folder

SEED = 20250625
RANDOM_DIMS = ModelDimensions(
    n_mels=128,
    n_audio_ctx=1500,
    n_audio_state=128,
    n_audio_head=2,
    n_audio_layer=3,
    n_vocab=51866,
    n_text_ctx=448,
    n_text_state=128,
    n_text_head=2,
    n_text_layer=2,
)
"""What no available checkpoint has: 128 mels, the vocabulary of large-v3, encoder and decoder of unequal depth."""


RANDOM = {"random-128-mels": RANDOM_DIMS, "random-small": SIZES["small"]}
"""Names under which the suite's `checkpoint` fixture knows random weights."""


def random_weights(dims: ModelDimensions) -> Path:
    """A .pt file in the suite's cache folder."""
    from maxwhisper_impl.weights import random_checkpoint, save_checkpoint

    name = hashlib.sha256(f"{dims} {SEED}".encode()).hexdigest()[:16]
    file = cache_folder() / f"random-{name}.pt"
    if not file.is_file():
        partial = file.with_name(f"partial-{name}.pt")
        save_checkpoint(random_checkpoint(dims, SEED), partial)
        partial.rename(file)
    return file
