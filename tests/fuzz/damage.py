"""Ways to damage bytes, drawn from a case's random numbers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
HEAD = 600
"""bytes at both ends in which formats say what is in them"""


def place(random: Random, size: int) -> int:
    """0 to `size`; two times in three near one of the ends."""
    return random.choice(
        (
            random.randint(0, min(size, HEAD)),
            random.randint(max(0, size - HEAD), size),
            random.randint(0, size),
        )
    )


def span(random: Random, size: int) -> tuple[int, int]:
    first, second = place(random, size), place(random, size)
    return min(first, second), max(first, second)


def number(random: Random) -> bytes:
    """An extreme whole number, of 1 to 8 bytes, in either order of bytes."""
    width = random.choice((1, 2, 4, 8))
    return (random.choice(EXTREMES) % 2 ** (8 * width)).to_bytes(width, random.choice(("little", "big")))


def flip(random: Random, data: bytes) -> bytes:
    if not data:
        return data
    at = min(place(random, len(data)), len(data) - 1)
    return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]


def cut(random: Random, data: bytes) -> bytes:
    return data[: place(random, len(data))]


def drop(random: Random, data: bytes) -> bytes:
    start, end = span(random, len(data))
    return data[:start] + data[end:]


def repeat(random: Random, data: bytes) -> bytes:
    start, end = span(random, len(data))
    return data[:end] + data[start:]


def overwrite(random: Random, data: bytes) -> bytes:
    at, value = place(random, len(data)), number(random)
    return data[:at] + value + data[at + len(value) :]


def insert(random: Random, data: bytes) -> bytes:
    at = place(random, len(data))
    return data[:at] + random.choice((number(random), random.randbytes(random.randint(1, 40)))) + data[at:]


def blank(random: Random, data: bytes) -> bytes:
    start, end = span(random, len(data))
    return data[:start] + bytes([random.choice((0, 255))]) * (end - start) + data[end:]


def nothing(random: Random, data: bytes) -> bytes:
    return data[: random.choice((0, 0, 1, 2, 8))]


WAYS: tuple[Callable[[Random, bytes], bytes], ...] = (
    flip, flip, flip, cut, drop, repeat, overwrite, overwrite, insert, blank, nothing,
)  # fmt: skip


def damaged(random: Random, data: bytes, most: int = 4) -> bytes:
    for _ in range(random.randint(1, most)):
        data = random.choice(WAYS)(random, data)
    return data


def shuffled(random: Random, parts: Sequence[bytes]) -> bytes:
    """The parts of a container in another order, some twice or not at all."""
    chosen = [part for part in parts for _ in range(random.choice((0, 1, 1, 1, 1, 2)))]
    if random.random() < 0.7:
        random.shuffle(chosen)
    return b"".join(chosen)


def riff_chunks(data: bytes) -> list[bytes]:
    """The header of a WAV file and its chunks."""
    parts, at = [data[:12]], 12
    while at + 8 <= len(data):
        end = min(len(data), at + 8 + struct.unpack_from("<I", data, at + 4)[0])
        parts.append(data[at:end])
        at = end
    return parts


def boxes(data: bytes) -> list[bytes]:
    """The outer boxes of an MP4 file."""
    parts, at = list[bytes](), 0
    while at + 8 <= len(data):
        end = min(len(data), at + max(8, struct.unpack_from(">I", data, at)[0]))
        parts.append(data[at:end])
        at = end
    return parts


def pages(data: bytes, mark: bytes) -> list[bytes]:
    """Pieces that begin with a mark: Ogg's pages, FLAC's or MP3's frames."""
    first, *rest = data.split(mark)
    return [first, *(mark + part for part in rest)]
