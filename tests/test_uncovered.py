"""The list of what is uncovered: it says where, and differs when more or less is uncovered than was reviewed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import maxwhisper_impl
from tests.uncovered import ELSEWHERE, REVIEWED, Gap, differences, held, measured


def report(**functions: tuple[list[int], list[list[int]]]) -> dict[str, Any]:
    """Coverage's JSON, as far as it is read."""
    keys = ("missing_lines", "missing_branches")
    seen = {name: dict(zip(keys, gaps, strict=True)) for name, gaps in functions.items()}
    return {"files": {"maxwhisper_impl/audio.py": {"functions": seen}}}


def test_lines_and_branches_by_function() -> None:
    """A branch that starts in an uncovered line says nothing more."""
    found = measured(report(load=([7, 8], [[6, 7], [7, 9], [3, -1]]), whole=([], [])))
    assert found == {"audio.py load": (Gap(2, 2), "7, 8, 6→7, 3→exit")}


def test_any_difference_is_told() -> None:
    reviewed = {"audio.py load": (Gap(1, 0), "needs a GPU")}
    assert differences(measured(report(load=([7], []))), reviewed) == []
    more, = differences(measured(report(load=([7], [[6, 9]]))), reviewed)
    assert more == "audio.py load: 1 lines and 1 branches are uncovered (7, 6→9), reviewed are 1 and 0"
    other, covered = differences(measured(report(load=([], []), save=([2], []))), reviewed)[::-1]
    assert other.startswith("audio.py save: 1 lines and 0 branches are uncovered (2)")
    assert covered == "audio.py load: 0 lines and 0 branches are uncovered (none), reviewed are 1 and 0"


def test_what_other_tests_hold_is_not_reviewed_line_by_line() -> None:
    """But it has to be there, and to need them."""
    found = measured(report(load=([7], [])))
    assert differences(found, {}, ["audio.py"]) == differences(found, {}, ["*.py"]) == []
    assert differences(found, {}, ["audio.py", "weights/*"]) == ["weights/*: all of it is covered"]
    twice, = differences(found, {"audio.py load": (Gap(1, 0), "needs a GPU")}, ["audio.py"])
    assert twice.endswith("0 lines and 0 branches are uncovered (none), reviewed are 1 and 0")


def test_every_file_that_is_listed_exists() -> None:
    package = Path(maxwhisper_impl.__file__).parent
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert {key.partition(" ")[0] for key in REVIEWED} <= files
    for pattern in ELSEWHERE:
        assert any(held(file, pattern) for file in files), pattern
