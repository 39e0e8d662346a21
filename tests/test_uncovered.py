"""The list of what is uncovered: it says where, and differs when more or less is uncovered than was reviewed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import maxwhisper_impl
from tests import uncovered
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
    hidden = {file for file in files if any(held(file, pattern) for pattern in ELSEWHERE)}
    assert {file for file in hidden if not file.startswith("report/")} == {
        "history.py", "history_view.py", "kernels/stock.py"
    }  # fmt: skip


@pytest.mark.parametrize(("reviewed", "status"), [(1, 0), (0, 1), (2, 1)])
def test_the_command(reviewed: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    totals = {"covered_branches": 3, "num_branches": 4, "covered_lines": 5, "num_statements": 6}
    (tmp_path / "c.json").write_text(json.dumps(report(load=([7], [])) | {"totals": totals}))
    monkeypatch.setattr(uncovered, "REVIEWED", {"audio.py load": (Gap(reviewed, 0), "needs a GPU")})
    monkeypatch.setattr(uncovered, "ELSEWHERE", {})
    assert uncovered.main(str(tmp_path / "c.json")) == status
    printed = capsys.readouterr()
    assert "audio.py load: 7\n      needs a GPU" in printed.out
    assert "3 of 4 branches and 5 of 6 statements are covered" in printed.out
    assert ("error: audio.py load: 1 lines" in printed.err) == bool(status)
