"""Arrays that are, or are not, audio: odd dtypes, shapes, strides and things that only look like arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz import sounds
from tests.fuzz.case import Case

DTYPES = ("f4", "f8", "i2", ">f4", ">f8", ">i2", "f2", "i1", "u1", "u2", "i4", "i8", "u8", "c8", "?", "U1", "S2", "O",
          "M8[s]", "m8[s]", "V3", "f4,f4", "g")  # fmt: skip
SHAPES = ((0,), (1,), (2,), (159,), (400,), (5000,), (), (1, 1000), (1000, 1), (2, 1000), (1000, 2), (0, 5), (5, 0),
          (3, 4, 5),
          (0, 0), (1,) * 30)  # fmt: skip


class Pretender:
    """Says that it is an array."""

    def __init__(self, value: Any):
        self.value = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def odd_array(case: Case) -> Any:
    case.note(
        "array", kind := case.one_of(("plain", "plain", "shape", "values", "strides", "subclass", "pretender", "junk"))
    )
    return {
        "plain": _plain, "shape": _plain, "values": _values, "strides": _strides, "subclass": _subclass,
        "pretender": _pretender, "junk": _junk,
    }[kind](case)  # fmt: skip


def _plain(case: Case) -> Any:
    dtype, shape = case.one_of(DTYPES), case.one_of(SHAPES)
    case.note(dtype, shape)
    array = np.zeros(shape, dtype)
    if array.dtype.kind in "fiu" and case.chance(0.7):
        array[...] = case.numbers().integers(0, 100, shape) if case.chance(0.5) else case.chance(0.5)
    return array


def _values(case: Case) -> Any:
    array = sounds.hum(0.2).astype(case.one_of(("f4", "f8")))
    value = case.one_of((np.nan, np.inf, -np.inf, 1.5, 999.0, 1001.0, 32767.0, 1e300, -1e300, 1e-310))
    case.note(value)
    with np.errstate(over="ignore"):
        array[case.random.randrange(len(array)) :: case.one_of((1, 7, 10**6))] = value
    return array


def _strides(case: Case) -> Any:
    array = sounds.hum(0.2).astype(case.one_of(("f4", "f8", ">f4")))
    make = case.one_of((
        lambda a: a[::-1], lambda a: a[::3], lambda a: np.broadcast_to(a[:1], (1000,)), lambda a: a.reshape(2, -1)[1],
        lambda a: a.reshape(-1, 2)[:, 1], lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1, count=len(a)),
        lambda a: np.asfortranarray(a.reshape(4, -1)),
    ))  # fmt: skip
    array = make(array)
    array.flags.writeable = False
    return array


def _subclass(case: Case) -> Any:
    array = sounds.hum(0.2).astype(np.float32)
    return case.one_of((
        lambda: np.ma.masked_array(array, array > 0), lambda: array.view(np.recarray),
        lambda: np.float32(0.5), lambda: np.float64(np.nan), lambda: np.char.array(["a", "b"]),
    ))()  # fmt: skip


def _pretender(case: Case) -> Any:
    return Pretender(case.one_of((
        np.zeros(5, np.float32), np.zeros(5, np.int64), None, [0.0, 1.0], "text", 5, TypeError("no"), ValueError("no"),
        RuntimeError("no"),
    )))  # fmt: skip


def _junk(case: Case) -> Any:
    return case.one_of((
        None, 5, 0.5, True, [0.0, 1.0], (1, 2), {"a": 1}, object(), np, "", "no/such", "a\0b", "\udcff", "-x", "://",
        "file:x", "pipe:0", "concat:a|b",
        "data:,x", "subfile:x", "x" * 5000, b"", bytearray(), memoryview(b""), "lavfi:sine", "http://127.0.0.1:1/x",
        "unknown://x", "\n", "fd:",
    ))  # fmt: skip
