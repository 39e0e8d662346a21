"""Checkpoints: (dims, tensors) from openai's .pt, Hugging Face and CTranslate2 directories and .npz, and back;
to whisper.cpp one way.

The only part that knows file formats. Importing it imports neither torch nor MAX.
"""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..dims import SIZES
from ..errors import CheckpointError
from . import official
from .checkpoint import Checkpoint, content_hash, expected_shapes
from .formats import FORMATS, read_path, write_path
from .names import find_checkpoint
from .random_weights import random_checkpoint, sinusoids

__all__ = [
    "FORMATS",
    "Checkpoint",
    "content_hash",
    "convert",
    "expected_shapes",
    "find_checkpoint",
    "load_checkpoint",
    "random_checkpoint",
    "save_checkpoint",
    "sinusoids",
]


def load_checkpoint(name_or_path: str | Path, *, download: bool = True) -> Checkpoint:
    """Checkpoint by name or path (`find_checkpoint`). CheckpointError lists every tensor that does not fit its dims.

    Where the files tell no alignment heads, an official name does: the one asked for, or the file's own."""
    path = find_checkpoint(name_or_path, download=download)
    checkpoint = read_path(path)
    name = str(name_or_path) if str(name_or_path) in SIZES else path.stem if path.suffix == ".pt" else path.name
    if checkpoint.alignment_heads is None and name in SIZES:
        return replace(checkpoint, alignment_heads=official.alignment_heads(name, checkpoint.dims))
    return checkpoint


def save_checkpoint(checkpoint: Checkpoint, out: str | Path, *, format: str | None = None) -> None:
    """Write a checkpoint as `convert` does."""
    write_path(checkpoint, _path(out), format)


def convert(src: str | Path, out: str | Path, *, format: str | None = None) -> None:
    """Write the checkpoint at `src` (name or path) to `out`, tensor for tensor, in the same dtype.

    `format` is one of "pt", "npz", "huggingface", "ctranslate2", "ggml"; `.pt`, `.npz` and `.ggml` names tell it. ggml,
    which whisper.cpp reads and nothing here, holds float16 matrices: float32 ones are rounded.
    `out` is whole or not there. Raises OptionError for the format, CheckpointError for the rest."""
    target = _path(out)
    checkpoint = load_checkpoint(src)
    write_path(checkpoint, target, format, checkpoint.source)


def _path(out: Any) -> Path:
    if not isinstance(out, str | PathLike):
        raise CheckpointError(f"a checkpoint is written to a path, not to {out!r:.100}")
    return Path(out)
