"""Reading what nobody vouches for, and writing what is whole or not there."""

import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import CheckpointError


def read_array(file: BinaryIO, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """An aligned array of its own from `file`. The caller has checked that the bytes are there.

    Not a map of the file: every value is looked at for NaN, so a map would take as much memory, and formats
    that do not align their data would give arrays that compiled code must not be handed."""
    array = np.empty(shape, dtype)
    file.seek(offset)
    if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # pyright: ignore[reportAttributeAccessIssue]
        raise CheckpointError(f"{file.name}: the file ended inside a tensor; was it changed while being read?")
    return array


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16, given as uint16, to float32: exact, the values are float32 with the low half cut off."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        raise ValueError(f"names given twice: {twice[:10]}")
    return found


def parse_json(text: bytes, source: Path) -> dict[str, object]:
    """A JSON object; CheckpointError for anything else, and for a name given twice."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{source}: holds a JSON {type(value).__name__}, not an object")
    return value


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in a file. CheckpointError if it cannot be read."""
    try:
        return parse_json(path.read_bytes(), path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def whole(target: Path) -> Generator[Path]:
    """A path to write to (file or folder), renamed to `target` at the end: whoever sees `target` sees all of it.

    The unfinished one is in a hidden folder beside it, which a killed process leaves behind and nothing reads.
    An existing file is replaced, an existing folder only if it is empty (a folder cannot be swapped in one step)."""
    target = target.absolute()
    if target.is_dir() and any(target.iterdir()):
        raise CheckpointError(f"{target}: the folder exists and is not empty; remove it or choose another name")
    folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}.unfinished")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise CheckpointError(f"{target}: cannot be written: {error.strerror}") from error
        draft = folder / target.name
        yield draft
        _flush(draft)
        try:
            os.replace(draft, target)
        except OSError as error:
            raise CheckpointError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:  # SIGTERM comes once
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _flush(draft: Path) -> None:
    """To the disk before the rename, or a power cut could leave the name without the bytes."""
    for path in [draft] if draft.is_file() else [path for path in draft.rglob("*") if path.is_file()]:
        with path.open("rb") as file:
            os.fsync(file.fileno())
