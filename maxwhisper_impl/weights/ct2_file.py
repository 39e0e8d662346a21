"""CTranslate2's `model.bin`, version 6: names, types and bytes of variables, before they mean anything.

Little endian: u32 version, string spec, u32 revision, u32 count; each variable: string name, u8 rank, u32 dims...,
u8 type, u32 bytes, data; then u32 count of aliases, each two strings (alias, name). A string is u16 length with its
final NUL, then the bytes. Source: `ctranslate2/specs/model_spec.py`, `ModelSpec._serialize`.
"""

import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import CheckpointError
from .files import read_array, widen_bfloat16

VERSION = 6
SPEC = "WhisperSpec"
REVISION = 3
DTYPES = {0: np.dtype("<f4"), 1: np.dtype("i1"), 2: np.dtype("<i2"), 3: np.dtype("<i4"), 4: np.dtype("<f2")}
BFLOAT16 = 5
MAX_RANK = 3


@dataclass(frozen=True)
class _Reader:
    file: BinaryIO
    path: Path
    size: int

    def fail(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: not a CTranslate2 Whisper model of version {VERSION}: {what}")

    def need(self, count: int, what: str) -> None:
        at = self.file.tell()
        if count > self.size - at:
            raise self.fail(f"{what} needs {count} bytes at offset {at}, the file ends at {self.size}; truncated?")

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        count = struct.calcsize("<" + layout)
        self.need(count, what)
        return struct.unpack("<" + layout, self.file.read(count))

    def number(self, layout: str, what: str) -> int:
        return self.numbers(layout, what)[0]

    def string(self, what: str) -> str:
        length = self.number("H", what)
        self.need(length, what)
        raw = self.file.read(length)
        try:
            if not raw.endswith(b"\0") or b"\0" in raw[:-1]:
                raise ValueError("its only NUL must be its last byte")
            return raw[:-1].decode()
        except ValueError as error:
            raise self.fail(f"{what} before offset {self.file.tell()} is no text: {error}") from error

    def variable(self) -> tuple[str, np.ndarray]:
        name = self.string("the name of a variable")
        rank = self.number("B", f"the rank of {name}")
        if rank > MAX_RANK:
            raise self.fail(f"{name} has rank {rank}, more than {MAX_RANK}")
        shape = self.numbers(f"{rank}I", f"the shape of {name}")
        code = self.number("B", f"the type of {name}")
        dtype = np.dtype("<u2") if code == BFLOAT16 else DTYPES.get(code)
        if dtype is None:
            raise self.fail(f"{name} has the unknown type {code}")
        count = self.number("I", f"the length of {name}")
        if count != prod(shape) * dtype.itemsize or not count:
            raise self.fail(f"{name} is {list(shape)} of {dtype}, which is not {count} bytes")
        self.need(count, name)
        array = read_array(self.file, self.file.tell(), dtype, shape)
        return name, widen_bfloat16(array) if code == BFLOAT16 else array


def _resolve(aliases: Mapping[str, str], variables: dict[str, np.ndarray], reader: _Reader) -> dict[str, np.ndarray]:
    found = dict(variables)
    for alias, name in aliases.items():
        path = [alias]
        while name not in found:
            if name not in aliases or len(path) > len(aliases):
                raise reader.fail(f"the alias {alias} leads {'in a circle' if name in aliases else f'to no {name}'}")
            path.append(name)
            name = aliases[name]
        found |= dict.fromkeys(path, found[name])
    return found


def read_variables(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of every variable and alias (an alias is the same array). bfloat16 is widened to float32.

    CheckpointError if anything in the file contradicts its size, the format, or itself."""
    with path.open("rb") as file:
        reader = _Reader(file, path, os.fstat(file.fileno()).st_size)
        if (version := reader.number("I", "the version")) != VERSION:
            raise reader.fail(f"the version is {version}")
        if (spec := reader.string("the kind of model")) != SPEC:
            raise reader.fail(f"it is a {spec[:40]!r}, not a {SPEC!r}")
        if (revision := reader.number("I", "the revision")) > REVISION:
            raise reader.fail(f"its revision is {revision}; up to {REVISION} is known")
        variables: dict[str, np.ndarray] = {}
        for _ in range(reader.number("I", "the number of variables")):
            name, array = reader.variable()
            if name in variables:
                raise reader.fail(f"{name} is there twice")
            variables[name] = array
        aliases: dict[str, str] = {}
        for _ in range(reader.number("I", "the number of aliases")):
            alias, name = reader.string("an alias"), reader.string("the target of an alias")
            if alias in variables or alias in aliases:
                raise reader.fail(f"the alias {alias} is there twice")
            aliases[alias] = name
        if rest := reader.size - file.tell():
            raise reader.fail(f"{rest} bytes follow its end")
    return _resolve(aliases, variables, reader)


def _string(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def write_variables(path: Path, variables: Mapping[str, Iterable[np.ndarray]], aliases: Mapping[str, str]) -> None:
    """Each variable is given as arrays that are stacked along the first axis while writing."""
    codes = {dtype: code for code, dtype in DTYPES.items()}
    with path.open("wb") as file:
        file.write(struct.pack("<I", VERSION) + _string(SPEC) + struct.pack("<II", REVISION, len(variables)))
        for name, stacked in sorted(variables.items()):
            arrays = list(stacked)
            dtype = np.result_type(*arrays).newbyteorder("<")
            parts = [array.astype(dtype, order="C", copy=False) for array in arrays]
            shape = parts[0].shape and (sum(len(part) for part in parts), *parts[0].shape[1:])
            file.write(_string(name) + struct.pack(f"<B{len(shape)}I", len(shape), *shape))
            file.write(struct.pack("<BI", codes[dtype], sum(part.nbytes for part in parts)))
            for part in parts:
                file.write(part.data)
        file.write(struct.pack("<I", len(aliases)))
        for alias, name in sorted(aliases.items()):
            file.write(_string(alias) + _string(name))
