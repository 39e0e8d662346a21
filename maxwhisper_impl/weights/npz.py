""".npz: the tensors and dims as NumPy writes them, uncompressed and without pickles; needs nothing but NumPy to read.

Members: every tensor under openai-whisper's name, `dims.<name>` one number each, `alignment_heads` [heads, 2] if known.
"""

import re
import struct
import zipfile
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import CheckpointError
from .checkpoint import Checkpoint, check_tensors, expected_shapes, read_alignment_heads, read_dims

DIMS, HEADS = "dims.", "alignment_heads"
MAX_RANK = 3
# What numpy.save writes for arrays of numbers: magic, version 1.0, u16 length, a dict literal padded with spaces.
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(r"{'descr': '([<|][fiub][1248])', 'fortran_order': False, 'shape': \(([0-9, ]*)\), } *\n")


def _read_header(name: str, start: bytes, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    header = file.read(int.from_bytes(start[8:], "little")).decode("latin1")
    found = _HEADER.fullmatch(header) if start[:8] == _MAGIC else None
    if found is None:
        raise ValueError(f"{name}: not a .npy header of numbers in C order: {header.strip()!r:.100}")
    return tuple(int(length) for length in found[2].replace(",", " ").split()), np.dtype(found[1])


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        shape, dtype = _read_header(info.filename, file.read(10), file)
        size = info.file_size - file.tell()
        if len(shape) > MAX_RANK or dtype.itemsize * prod(shape) != size or size < 1:
            raise ValueError(f"{info.filename}: {list(shape)} of {dtype} in {size} bytes")
        array = np.empty(shape, dtype)
        target, at = array.reshape(-1).view(np.uint8), 0
        # zipfile hands out a piece at a time, and raises at the end if the checksum is not that of the data.
        while piece := file.read(1 << 20):
            target[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
        if at != size:
            raise ValueError(f"{info.filename}: {at} bytes of {size}")
        return array


def _read_members(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [info.filename for info in members]
        if len(set(names)) != len(names):
            raise ValueError("names given twice")
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in members):
            raise ValueError("it is compressed; write it with numpy.savez, not savez_compressed")
        if sum(info.file_size for info in members) > path.stat().st_size:
            raise ValueError("its members claim more bytes than the file has")
        return {info.filename.removesuffix(".npy"): _read_member(archive, info) for info in members}


def read(path: Path) -> Checkpoint:
    """Checkpoint of an `.npz` file. CheckpointError says what does not fit."""
    try:
        members = _read_members(path)
    except (ValueError, zipfile.BadZipFile, EOFError, OverflowError, RuntimeError, struct.error) as error:
        raise CheckpointError(f"{path}: not a whole .npz of plain arrays: {error!s:.300}") from error
    numbers = {name: members.pop(name) for name in list(members) if name.startswith(DIMS)}
    sizes = {name.removeprefix(DIMS): value.item() if value.shape == () else value for name, value in numbers.items()}
    dims = read_dims(sizes, path)
    heads = members.pop(HEADS, None)
    check_tensors(members, expected_shapes(dims), path)
    ordered = {name: members[name] for name in expected_shapes(dims)}
    return Checkpoint(dims, ordered, read_alignment_heads(None if heads is None else heads.tolist(), dims, path), path)


def write(checkpoint: Checkpoint, path: Path, source: Path | None = None) -> None:
    """The same bytes for the same checkpoint: members carry no time."""
    arrays = {f"{DIMS}{name}": np.asarray(value, np.int64) for name, value in asdict(checkpoint.dims).items()}
    if checkpoint.alignment_heads is not None:
        arrays[HEADS] = np.asarray(checkpoint.alignment_heads, np.int64).reshape(-1, 2)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in (arrays | checkpoint.tensors).items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)  # pyright: ignore[reportArgumentType]
