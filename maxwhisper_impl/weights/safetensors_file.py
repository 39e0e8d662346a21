"""safetensors files: u64 length of a JSON header, the header, then the tensors' bytes without gaps.

A reader of its own: the library copies each tensor twice, lacks bfloat16 for NumPy, and its errors name no file.
Source: https://github.com/huggingface/safetensors#format
"""

import json
import os
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from .files import parse_json, read_array, widen_bfloat16

DTYPES = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "BF16": np.dtype("<u2")}
# No weights of Whisper's, but read, so that one error can list all that is wrong.
_OTHERS = {"F64": "<f8", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
MAX_RANK = 8


def _fail(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: not a whole safetensors file: {what}")


def _span(path: Path, name: str, entry: object) -> tuple[int, int, np.dtype, tuple[int, ...]]:
    """(first byte, end, dtype, shape) of a tensor, consistent among themselves."""
    match entry:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            if kind not in DTYPES and kind not in _OTHERS:
                raise CheckpointError(f"{path}: {name} is {kind[:20]}; only {', '.join(DTYPES)} are read")
            dtype = DTYPES.get(kind) or np.dtype(_OTHERS[kind])
            if len(shape) > MAX_RANK or not all(type(length) is int and length > 0 for length in shape):
                raise _fail(path, f"{name} has the shape {shape!r:.60}")
            if end - begin != prod(shape) * dtype.itemsize:
                raise _fail(path, f"{name} is {shape} of {kind}, which is not bytes {begin} to {end}")
            return begin, end, dtype, tuple(shape)
        case _:
            raise _fail(path, f"{name} is described by {entry!r:.60}, not by dtype, shape and data_offsets")


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Name -> array, bfloat16 widened to float32. CheckpointError if the header contradicts the file or itself."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise _fail(path, f"the header needs {length} bytes, the file has {size}; truncated?")
        header = parse_json(file.read(length), path)
        header.pop("__metadata__", None)
        spans = sorted(((*_span(path, name, entry), name) for name, entry in header.items()), key=lambda span: span[:2])
        at = 0
        for begin, end, _, _, name in spans:
            if begin != at:
                raise _fail(path, f"{name} starts at byte {begin}, the one before it ends at {at}")
            at = end
        if at != size - 8 - length:
            raise _fail(path, f"the tensors end at byte {at}, the data at {size - 8 - length}; truncated?")
        tensors: dict[str, np.ndarray] = {}
        for begin, _, dtype, shape, name in spans:
            array = read_array(file, 8 + length + begin, dtype, shape)
            tensors[name] = widen_bfloat16(array) if dtype == DTYPES["BF16"] else array
        return tensors


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """float16 and float32 tensors in the order of their names; `format: pt` is what transformers asks for."""
    kinds = {dtype: kind for kind, dtype in DTYPES.items()}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in sorted(tensors.items()):
        entry = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]}
        header[name] = entry
        at += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins aligned
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in sorted(tensors.items()):
            file.write(np.ascontiguousarray(tensor).data)
