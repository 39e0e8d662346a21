"""Command lines drawn from the parser itself, so that a flag that is new is fuzzed from its first day."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from tests.fuzz.case import Case

Pool = Mapping[str, Sequence[str]]
"""by the metavar or the name of an argument: values that make sense for it here"""
NUMBERS = (
    "0",
    "1",
    "2",
    "5",
    "-1",
    "0.2",
    "0.5",
    "1e-9",
    "1e9",
    "30",
    "448",
    "9" * 30,
    "1e400",
    "nan",
    "inf",
    "-inf",
    "None",
    "0x10",
    "1_000",
    "٣",
    "",
)
WORDS = ("", " ", "x", "True", "false", "None", "-1", "--", "en", "German", "0,1,2", "1,2.5,nan", ",", "threshold=0.5",
         "a=b=c", "é日本\u202e",
         "\udcff", "a\nb", "\x1b[31m", "<|endoftext|>", "%s%n{0}", "'\"", "A" * 4000, "-" * 50, "*", "$HOME", "~",
         "nowhere.wav")  # fmt: skip


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    choices = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(next(choices))


def argv(case: Case, parser: argparse.ArgumentParser, pool: Pool, *, sense: float) -> list[str]:
    """Arguments of one subcommand; with the probability `sense` each of them is one that makes sense."""
    flags = [action for action in parser._actions if action.option_strings and action.dest != "help"]
    positional = [action for action in parser._actions if not action.option_strings]
    count = min(len(flags), case.one_of((0, 1, 1, 2, 2, 3, 3, 5, 8, 40)))
    arguments = [part for action in case.random.sample(flags, count) for part in _flag(case, action, pool, sense)]
    places = [_value(case, action, pool, sense) for action in positional for _ in range(_times(case, action))]
    if case.chance(0.5):
        arguments = [*places, *arguments]
    else:
        arguments += ["--", *places] if case.chance(0.1) else places
    return arguments if case.chance(sense) else _spoilt(case, arguments)


def _flag(case: Case, action: argparse.Action, pool: Pool, sense: float) -> list[str]:
    name = case.one_of(action.option_strings)
    if action.nargs == 0:
        return [name]
    value = _value(case, action, pool, sense)
    return [f"{name}={value}"] if case.chance(0.5) and name.startswith("--") else [name, value]


def _times(case: Case, action: argparse.Action) -> int:
    if action.nargs in ("+", "*"):
        return case.one_of((1, 1, 1, 1, 2, 3) if action.nargs == "+" else (0, 1, 1, 1, 2))
    return 1


def _value(case: Case, action: argparse.Action, pool: Pool, sense: float) -> str:
    if not case.chance(sense):
        return case.one_of((*NUMBERS, *WORDS))
    for key in (action.dest, str(action.metavar)):
        if key in pool:
            return case.one_of(pool[key])
    if action.choices:
        return case.one_of([str(choice) for choice in action.choices])
    return case.one_of(_of_type(action.type))


def _of_type(kind: object) -> Sequence[str]:
    """By the converter's own name; text where it has none that is known."""
    name = getattr(kind, "__name__", "")
    named: dict[str, Sequence[str]] = {
        "int": ("1", "2", "3", "5", "16"),
        "whole number or None": ("None", "1", "2", "5", "40"),
        "float": ("0", "0.1", "0.5", "1", "1.0", "2.5", "10"),
        "number or None": ("None", "0", "0.2", "0.5", "-1", "2.4"),
        "_bool": ("True", "False"),
        "NAME=NUMBER,…": ("threshold=0.5", "min_speech_duration_ms=10,speech_pad_ms=0", "neg_threshold=0.1"),
    }
    return named.get(name, WORDS)


def _spoilt(case: Case, arguments: list[str]) -> list[str]:
    """Arguments lost, doubled, abbreviated or in another order."""
    spoil: Callable[[list[str]], list[str]] = case.one_of((
        lambda a: a[: len(a) // 2],
        lambda a: [*a, *a],
        lambda a: case.random.sample(a, len(a)),
        lambda a: [part[:6] if part.startswith("--") else part for part in a],
        lambda a: [*a, case.one_of(("--help", "--version", "-h", "--nothing", "-f", "-o"))],
        lambda a: [part.upper() for part in a],
    ))  # fmt: skip
    return spoil(arguments)
