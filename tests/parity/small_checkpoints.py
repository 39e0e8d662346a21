"""Checkpoints for the tests of file formats: small, seeded, in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from maxwhisper_impl.dims import ModelDimensions
from maxwhisper_impl.weights import FORMATS, Checkpoint, random_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[2]
MANIFEST = json.loads((ROOT / "fixtures" / "checkpoints.json").read_text())["checkpoints"]
"""The data packages and what is in them, by model name."""

SUFFIXES = {"pt": ".pt", "npz": ".npz", "huggingface": "", "ctranslate2": ""}
# All ten numbers differ wherever they may, so that no two can be taken for each other.
DIMS = ModelDimensions(
    n_mels=5,
    n_audio_ctx=7,
    n_audio_state=12,
    n_audio_head=2,
    n_audio_layer=3,
    n_vocab=29,
    n_text_ctx=11,
    n_text_state=12,
    n_text_head=3,
    n_text_layer=2,
)
HEADS = ((0, 2), (1, 0), (1, 1))


def small(dtype: str = "float16", dims: ModelDimensions = DIMS) -> Checkpoint:
    """Random weights with alignment heads."""
    checkpoint = random_checkpoint(dims, seed=3)
    tensors = {name: tensor.astype(dtype) for name, tensor in checkpoint.tensors.items()}
    if dtype == "float32":  # values that float16 would change
        tensors = {name: tensor + np.float32(2**-20) for name, tensor in tensors.items()}
    return replace(checkpoint, tensors=tensors, alignment_heads=HEADS)


def save(checkpoint: Checkpoint, folder: Path, format: str, name: str = "model") -> Path:
    path = folder / f"{name}-{format}{SUFFIXES[format]}"
    save_checkpoint(checkpoint, path, format=format)
    return path


def weights_file(path: Path) -> Path:
    """The file that holds the tensors."""
    names = {"model.bin", FORMATS["huggingface"].WEIGHTS}
    return path if path.is_file() else next(file for file in path.iterdir() if file.name in names)


def assert_same(got: Checkpoint, want: Checkpoint) -> None:
    """Equal bit for bit: dims, names, shapes, dtypes, values, alignment heads."""
    assert got.dims == want.dims
    assert got.alignment_heads == want.alignment_heads
    assert got.tensors.keys() == want.tensors.keys()
    for name, tensor in want.tensors.items():
        assert got.tensors[name].dtype == tensor.dtype, name
        assert got.tensors[name].shape == tensor.shape, name
        assert got.tensors[name].tobytes() == tensor.tobytes(), f"{name} differs"
