"""Whether options are of the types that their dataclass declares, so that a wrong one is an OptionError at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import OptionError

_NAMES: dict[Any, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    NoneType: "None",
}
_MANY: dict[Any, str] = {int: "a list of whole numbers", float: "a list of numbers"}


def check_types(options: Any) -> None:
    """OptionError for the first field of a dataclass that holds something else than it is declared with."""
    hints = _hints(type(options))
    for field in fields(options):
        value = getattr(options, field.name)
        if not _fits(value, hints[field.name]):
            raise OptionError(f"{field.name}={value!r:.100}: give {_name(hints[field.name])}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) in (Sequence, Iterable):
        return _is_list(value, get_origin(hint), get_args(hint)[0])
    if hint is bool:  # openai-whisper takes what is true or false
        return value is None or isinstance(value, (bool, int))
    if hint in (int, float):
        return not isinstance(value, bool) and isinstance(value, Integral if hint is int else Real)
    return isinstance(value, hint)


def _is_list(value: Any, kind: type, element: Any) -> bool:
    if isinstance(value, (str, bytes, bytearray, memoryview)) or not isinstance(value, kind):
        return False
    # what can be read only once is left to whom it is for
    return isinstance(value, Iterator) or all(_fits(one, element) for one in value)


def _name(hint: Any) -> str:
    if isinstance(hint, UnionType):
        *first, last = map(_name, get_args(hint))
        return f"{', '.join(first)} or {last}"
    return _MANY[get_args(hint)[0]] if get_args(hint) else _NAMES.get(hint, str(hint))
