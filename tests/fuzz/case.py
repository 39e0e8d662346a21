"""One fuzz case: its random numbers, its folder, and what may come of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

import numpy as np

OUTCOMES = ("text", "empty", "refused")
"""the right result, a defined empty one, or one error of ours"""
T = TypeVar("T")


class Wrong(Exception):
    """A case ended in something that it must not end in."""


def demand(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


@dataclass
class Case:
    """Case `number` of a target: the same for the same seed, whatever ran before it.

    `given` holds its input, and is kept where it fails; what the case makes belongs into `made`.
    """

    target: str
    number: int
    seed: int
    folder: Path
    allowance: int = 0
    """bytes of memory beyond the target's bound that this case is entitled to"""
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.seed} {self.target} {self.number}")

    @property
    def given(self) -> Path:
        return self.folder / "given"

    @property
    def made(self) -> Path:
        return self.folder / "made"

    @property
    def spare(self) -> Path:
        """For temporary files, of which none may be left."""
        return self.folder / "spare"

    @property
    def notes(self) -> Path:
        return self.folder / "case.txt"

    def clear(self) -> None:
        self.notes.unlink(missing_ok=True)
        for folder in (self.given, self.made, self.spare):
            if not folder.is_dir() or any(folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)

    def numbers(self) -> np.random.Generator:
        return np.random.default_rng(self.random.getrandbits(64))

    def note(self, *what: object) -> None:
        """On the disk at once: it is what is known of a case that ends its process."""
        with self.notes.open("a", errors="backslashreplace") as file:
            print(*what, file=file)

    def write(self, name: str, content: bytes) -> Path:
        path = self.given / name
        path.write_bytes(content)
        return path

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, *weighted: tuple[float, T]) -> T:
        return self.random.choices([value for _, value in weighted], [weight for weight, _ in weighted])[0]

    def one_of(self, values: Sequence[T]) -> T:
        return self.random.choice(values)


class Target(Protocol):
    """What is fuzzed. A run ends in "text" or "empty"; an error of ours is "refused"; any other error is a failure."""

    name: str
    share: float
    """of the time"""
    seconds: float
    """of computing, after which a case hangs"""
    memory: int
    """bytes that the process may grow by, over what it took before the first case"""

    def prepare(self, folder: Path) -> None:
        """Once in each process, into `folder`: what the cases start from."""
        ...

    def run(self, case: Case) -> str: ...


def part_of(kinds: Sequence[tuple[float, Callable[..., Any]]], case: Case) -> Callable[..., Any]:
    """One of the weighted kinds of case, noted."""
    kind = case.pick(*kinds)
    case.note(kind.__name__)
    return kind
