"""What a fault is, and which red test is the right one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maxwhisper_impl.errors import MaxWhisperError

STAGES = (
    "audio", "mel", "encoder", "decoder", "kernels", "cache", "filters", "search", "drafts", "language", "tokenizer",
    "transcribe", "fallback", "segments", "timing", "hallucinations", "batched", "vad", "live", "subtitles", "writers",
    "weights", "corpus", "scoring", "compare", "cli", "comparators", "ledger", "oracle", "baselines", "differences",
    "perf", "collection", "fuzz", "soak", "report",
)  # fmt: skip
"""All of which have faults."""


class CatalogueError(MaxWhisperError):
    """A fault that cannot be applied: its text is not there once."""


@dataclass(frozen=True)
class Fault:
    """A small patch by name, the part of the suite that is to see it, and the tests that have to speak first."""

    name: str
    stage: str
    file: str
    """from the project's root"""
    before: str
    """occurs in the file exactly once"""
    after: str
    tests: tuple[str, ...]
    """what is run: files or test functions, from the project's root"""
    speaks: tuple[str, ...]
    """"file.py::test" or "file.py::test[parameters]", where * stands for anything; any of them is the right place"""
    checkpoint: str = "tiny.en"
    quick: bool = False
    """runs in `make teeth QUICK=1` too"""
    group: str = ""
    """faults of one group are applied together, because they take a compilation each: they touch operations that do
    not feed each other, and none of their right places is another's"""

    @property
    def recompiles(self) -> bool:
        """Whether graphs depend on the file."""
        graphs = ("maxwhisper_impl/kernels/", "maxwhisper_impl/model.py", "maxwhisper_impl/graphs.py")
        return self.file.startswith(graphs)

    def is_right(self, nodeid: str) -> bool:
        return any(re.fullmatch(f"(.*/)?{_regex(place)}", nodeid) for place in self.speaks)

    def apply(self, root: Path) -> None:
        """Patches the file below `root`; CatalogueError where the text is not there exactly once."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if (found := text.count(self.before)) != 1:
            raise CatalogueError(f"{self.name}: its text is {found} times in {self.file}, not once: {self.before!r}")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


def judged(stage: str, name: str, file: str, before: str, after: str, test: str, *speaks: str, quick: bool = False,
           checkpoint: str = "tiny.en") -> Fault:  # fmt: skip
    """One that the whole file `test` is to see, and of it one of `speaks` first, named without their `test_`."""
    places = tuple(f"{test.rpartition('/')[2]}::test_{each}" for each in speaks)
    return Fault(name, stage, file, before, after, (test,), places, checkpoint, quick)


def faults_of(stage: str, file: str, test: str) -> Callable[..., Fault]:
    """`judged` for what one file is and one test file sees: (name, before, after, *speaks, quick=False)."""

    def fault(name: str, before: str, after: str, *speaks: str, quick: bool = False) -> Fault:
        return judged(stage, name, file, before, after, test, *speaks, quick=quick)

    return fault


def seen(name: str, stage: str, file: str, before: str, after: str, test: str, by: str, *, quick: bool = False,
         ) -> Fault:  # fmt: skip
    """One that a single test of the file `test` is to see, named without its `test_`; all of its cases are run."""
    place = f"{test}::test_{by}"
    run = place.partition("[")[0]
    return Fault(name, stage, file, before, after, (run,), (place.rpartition("/")[2],), quick=quick)


def _regex(place: str) -> str:
    """Of a place; without parameters, any."""
    return re.escape(place).replace(r"\*", ".*") + ("" if "[" in place else r"(\[.*)?")
