"""Which format a path is in; `convert` from one to any other."""

import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import CheckpointError, OptionError
from . import ctranslate2, ggml, huggingface, npz, openai_pt
from .checkpoint import Checkpoint
from .files import whole

FORMATS: dict[str, ModuleType] = {
    "pt": openai_pt,
    "huggingface": huggingface,
    "ctranslate2": ctranslate2,
    "npz": npz,
}
WRITTEN: dict[str, ModuleType] = {**FORMATS, "ggml": ggml}
"""What `convert` writes; ggml's `read` is an error that says so."""
_SUFFIXES = {".pt": "pt", ".npz": "npz", ".ggml": "ggml"}
_WEIGHTS = {huggingface.WEIGHTS: "huggingface", huggingface.INDEX: "huggingface", "model.bin": "ctranslate2"}
KNOWN = "openai-whisper's .pt, .npz, a folder with config.json and model.safetensors, one with CTranslate2's model.bin"


def format_of(path: Path) -> str | None:
    """Name of the format, by what is in the file or folder; None if it is none of them."""
    if path.is_dir():
        return next((kind for name, kind in _WEIGHTS.items() if (path / name).is_file()), None)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, NotImplementedError):
        if ggml.is_ggml(path):
            return "ggml"
        return _SUFFIXES.get(path.suffix)  # damaged, perhaps; its reader says how
    if any(name.endswith("data.pkl") for name in names):
        return "pt"
    return "npz" if any(name.endswith(".npy") for name in names) else _SUFFIXES.get(path.suffix)


def read_path(path: Path) -> Checkpoint:
    """Checkpoint at a path, in whichever format. A folder may also be named by the file of its weights.

    CheckpointError for everything that is wrong with it."""
    if path.name in _WEIGHTS and path.is_file():
        path = path.parent
    kind = format_of(path)
    if kind is None:
        raise CheckpointError(f"{path}: no Whisper checkpoint; known are {KNOWN}")
    try:
        return WRITTEN[kind].read(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    except MemoryError as error:
        raise CheckpointError(f"{path}: does not fit into memory") from error


def write_path(checkpoint: Checkpoint, out: Path, format: str | None = None, source: Path | None = None) -> None:
    """Write a checkpoint: `out` is whole or not there. The format is that of out's suffix, folders need `format`.

    `source` is where the checkpoint came from: a folder's tokenizer files go along. OptionError for an unknown
    format, CheckpointError if `out` cannot be written."""
    by_name = _SUFFIXES.get(out.suffix)
    asked: Any = format
    if asked is not None and not isinstance(asked, str):
        raise OptionError(f"format={asked!r:.100}: give one of {', '.join(WRITTEN)}")
    kind = format or by_name
    if kind is None:
        raise OptionError(f"{out}: the name tells no format (.pt, .npz and .ggml do); give one of {', '.join(WRITTEN)}")
    if kind not in WRITTEN:
        raise OptionError(f"unknown format {kind!r}; known are {', '.join(WRITTEN)}")
    if by_name not in (None, kind):
        raise OptionError(f"{out}: a name that ends in {out.suffix} says {by_name}, not {kind}")
    try:
        with whole(out) as draft:
            WRITTEN[kind].write(checkpoint, draft, source)
    except OSError as error:
        raise CheckpointError(f"{out}: cannot be written: {error}") from error
