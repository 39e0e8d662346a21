"""openai-whisper's own files: `dims` and `model_state_dict`, saved by torch. The only format that needs torch."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .checkpoint import Checkpoint, check_tensors, expected_shapes, read_alignment_heads, read_dims


def _load(path: Path) -> dict[str, Any]:
    import torch

    try:
        # weights_only: a pickle may name tensors and plain containers, nothing that runs.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files; none of them is ours to tell apart
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{path}: torch cannot load it as weights: {type(error).__name__}: {reason}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}, not a dict with dims and model_state_dict")
    return loaded


def _mapping(loaded: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = loaded.get(key)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        found = "missing" if value is None else f"a {type(value).__name__}"
        raise CheckpointError(f"{path}: {key} is {found}; openai-whisper's files have a dict of names there")
    return value


def _to_numpy(tensors: Mapping[str, Any], path: Path) -> dict[str, np.ndarray]:
    import torch

    plain: dict[str, torch.Tensor] = {
        name: tensor.detach()
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
    }
    if wrong := [name for name in tensors if name not in plain]:
        raise CheckpointError(f"{path}: not plain tensors: {', '.join(wrong[:20])}")
    # Strides can make a few bytes look like any size; nothing that large has been written into this file.
    claimed, size = sum(tensor.numel() * tensor.element_size() for tensor in plain.values()), path.stat().st_size
    if claimed > size:
        raise CheckpointError(f"{path}: its tensors claim {claimed} bytes, the file has {size}")
    widened = {name: t.float() if t.dtype == torch.bfloat16 else t for name, t in plain.items()}
    return {name: np.asarray(tensor.numpy(), order="C") for name, tensor in widened.items()}


def read(path: Path) -> Checkpoint:
    """Checkpoint of a `.pt` file; its arrays are views of the mapped file. CheckpointError says what does not fit."""
    loaded = _load(path)
    dims = read_dims(_mapping(loaded, "dims", path), path)
    tensors = _to_numpy(_mapping(loaded, "model_state_dict", path), path)
    check_tensors(tensors, expected_shapes(dims), path)
    ordered = {name: tensors[name] for name in expected_shapes(dims)}
    return Checkpoint(dims, ordered, read_alignment_heads(loaded.get("alignment_heads"), dims, path), path)


def write(checkpoint: Checkpoint, path: Path, source: Path | None = None) -> None:
    """A file for `whisper.load_model(path)`; it ignores the alignment heads, `read` takes them."""
    import torch

    # A copy of what is read-only: torch warns of sharing it, and nothing is shared with a file.
    tensors = {
        name: torch.from_numpy(tensor if tensor.flags.writeable else tensor.copy())
        for name, tensor in checkpoint.tensors.items()
    }
    content: dict[str, Any] = {"dims": asdict(checkpoint.dims), "model_state_dict": tensors}
    if checkpoint.alignment_heads is not None:
        content["alignment_heads"] = [list(pair) for pair in checkpoint.alignment_heads]
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:  # torch wants to end its archive behind a write that failed, and fails at that
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise
