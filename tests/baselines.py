"""What the oracle and the peers say of an audio file, computed once per machine: a content-keyed cache.

A key covers everything that the answer depends on: system, version, weights, audio, options, and the source of the
adapter and of `transcripts.py`. Parity and quality share the entries. The implementation under test is never cached
across runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

CHUNK = 32
"""How many answers are computed before they are kept: what a killed run can lose."""

_folder: Path | None = None


def use_cache_folder(folder: Path) -> None:
    """conftest.py points this at pytest's cache folder."""
    global _folder
    _folder = folder


def cache_folder() -> Path:
    if _folder is None:
        raise RuntimeError("no cache folder: conftest.py sets it, or call use_cache_folder()")
    return _folder


_hashes: dict[int, tuple[Checkpoint, str]] = {}


def weights_hash(checkpoint: Checkpoint) -> str:
    from maxwhisper_impl.weights import content_hash

    if id(checkpoint) not in _hashes:
        _hashes[id(checkpoint)] = (
            checkpoint,
            content_hash(checkpoint),
        )  # the checkpoint is kept, so that its id stays its own
    return _hashes[id(checkpoint)][1]


@cache
def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def source_hash(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def key(**parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _number(value: Any) -> Any:
    """For JSON: a number of NumPy or torch as Python's, every bit kept."""
    if not hasattr(value, "item"):
        raise TypeError(f"an answer holds a {type(value).__name__}, which JSON cannot keep")
    return value.item()


def cached(keys: list[str], compute: Callable[[list[int]], list[Any]]) -> list[Any]:
    """The JSON values under `keys`; `compute(indices)` is asked for those that are missing."""
    folder = cache_folder() / "baselines"
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[int, Any] = {}
    for i, name in enumerate(keys):
        try:
            values[i] = json.loads((folder / f"{name}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            continue
    missing = [i for i in range(len(keys)) if i not in values]
    for chunk in (missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK)):
        computed = compute(chunk)
        if len(computed) != len(chunk):
            raise ValueError(f"{len(computed)} answers for {len(chunk)} questions")
        for i, value in zip(chunk, computed, strict=True):
            partial = folder / f"{keys[i]}.{os.getpid()}"
            partial.write_text(json.dumps(value, default=_number))
            partial.rename(folder / f"{keys[i]}.json")  # a killed run leaves no half entry
            values[i] = json.loads((folder / f"{keys[i]}.json").read_text())
    return [values[i] for i in range(len(keys))]
