"""The catalogue of seeded faults is sound, and its runner tells a caught fault from one that survives."""

from __future__ import annotations

import ast
import json
import re
import shutil
from functools import cache
from pathlib import Path

import pytest

from maxwhisper_impl.errors import MaxWhisperError
from tests.implementations import tap_names
from tests.random_weights import RANDOM, RANDOM_DIMS
from tests.teeth import __main__ as command
from tests.teeth import runs, scratch
from tests.teeth.catalogue import FAULTS
from tests.teeth.fault import STAGES, CatalogueError, Fault
from tests.teeth.runs import Red, RedWithoutFault, Run, Verdict
from tests.teeth.scratch import ROOT, farm
from tests.teeth.show import run_file

LEAST = 60


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_"))


def test_there_are_enough_and_each_stage_has_some() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names)) >= LEAST
    assert {fault.stage for fault in FAULTS} == set(STAGES)
    assert {fault.stage for fault in FAULTS if fault.quick} >= set(STAGES) - {"decoder"}
    assert {fault.checkpoint for fault in FAULTS} <= {"tiny.en", "base", *RANDOM}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_applied_and_its_tests_are_there(fault: Fault) -> None:
    """Its text is there once; what it runs is there; each right place is a test of what it runs."""
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.before) == 1
    assert fault.before != fault.after
    if fault.file.endswith(".py"):
        ast.parse((ROOT / fault.file).read_text(encoding="utf-8").replace(fault.before, fault.after))
    runs: set[str] = set()
    for test in fault.tests:
        file, _, name = test.partition("::")
        there = names_in(file)
        assert not name or name.partition("[")[0] in there, test
        runs |= {f"{file}::{n}" for n in there if name.partition("[")[0] in ("", n)}
    for place in fault.speaks:
        plain = re.escape(place.partition("[")[0]).replace(r"\*", ".*")
        assert any(re.fullmatch(f"tests/(.*/)?{plain}", test) for test in runs), f"{place} is none of {sorted(runs)}"
        if tap := re.search(rf"\[{'random-128-mels'}-(.*)\]", place):
            assert tap[1] in tap_names(RANDOM_DIMS), place


def test_groups_have_right_places_of_their_own(tmp_path: Path) -> None:
    """And can be applied together."""
    groups = {fault.group for fault in FAULTS} - {""}
    for group in groups:
        members = [fault for fault in FAULTS if fault.group == group]
        for fault in members:
            (tmp_path / group / fault.file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / fault.file, tmp_path / group / fault.file)
        for fault in members:
            fault.apply(tmp_path / group)
        places = [place for fault in members for place in fault.speaks]
        assert len(places) == len(set(places)), group
        assert len({fault.checkpoint for fault in members}) == 1, group
        for fault in members:
            assert not [p for other in members if other is not fault for p in other.speaks if fault.is_right(p)], group


def a_fault(name: str = "a", speaks: tuple[str, ...] = ("test_a.py::test_b[x*]",), group: str = "") -> Fault:
    return Fault(name, "audio", "file.py", "1 + 1", "1 + 2", ("tests/test_a.py",), speaks, group=group)


@pytest.mark.parametrize(
    ("nodeid", "right"),
    [
        ("tests/test_a.py::test_b[x]", True),
        ("tests/parity/test_a.py::test_b[x y]", True),
        ("tests/test_a.py::test_b[y]", False),
        ("tests/test_a.py::test_b", False),
        ("tests/test_a.py::test_bb[x]", False),
        ("tests/another_test_a.py::test_b[x]", False),
    ],
)
def test_right_places(nodeid: str, right: bool) -> None:
    assert a_fault().is_right(nodeid) == right
    assert a_fault(speaks=("test_a.py::test_b",)).is_right(nodeid) == ("test_b" in nodeid.split("::")[1].split("[")
                                                                        and "another" not in nodeid)  # fmt: skip


def test_a_fault_whose_text_is_not_there_once_is_an_error(tmp_path: Path) -> None:
    for text, found in (("1 + 1; 1 + 1", 2), ("1 + 2", 0)):
        (tmp_path / "file.py").write_text(text)
        with pytest.raises(CatalogueError, match=f"a: its text is {found} times in file.py"):
            a_fault().apply(tmp_path)
    (tmp_path / "file.py").write_text("x = 1 + 1\n")
    a_fault().apply(tmp_path)
    assert (tmp_path / "file.py").read_text() == "x = 1 + 2\n"


RIGHT, WRONG = Red("tests/test_a.py::test_b[x]", "call"), Red("tests/test_a.py::test_c", "call")


@pytest.mark.parametrize(
    ("first", "caught", "at_right_place"),
    [
        (None, False, False),
        (RIGHT, True, True),
        (WRONG, True, False),
        (Red(RIGHT.nodeid, "setup"), True, False),
        (Red("tests/test_a.py", "collect"), True, False),
    ],
)
def test_verdicts(first: Red | None, caught: bool, at_right_place: bool) -> None:
    verdict = Verdict(a_fault(), first, 1.0)
    assert (verdict.caught, verdict.at_right_place) == (caught, at_right_place)
    (row,) = run_file([verdict], 1.0)["faults"]
    assert row == {"name": "a", "stage": "audio", "caught": caught, "at_right_place": at_right_place,
                   "first_red": first.nodeid if first else None, "expected": "test_a.py::test_b[x*]",
                   "seconds": 1.0}  # fmt: skip


def test_a_red_test_of_a_group_is_its_faults_own() -> None:
    one = a_fault("one", ("test_a.py::test_b",), "g")
    two = a_fault("two", ("test_a.py::test_d",), "g")
    reds = [RIGHT, Red("tests/test_a.py::test_d", "call")]
    assert [runs._first_red(fault, [one, two], reds) for fault in (one, two)] == reds
    assert runs._first_red(two, [one, two], [RIGHT]) is None, "two survives, whatever one turned red"
    assert runs._first_red(one, [one, two], [WRONG, RIGHT]) is WRONG, "nobody's red test speaks first"
    assert [[f.name for f in job] for job in runs.jobs([one, two, a_fault("three")])] == [["one", "two"], ["three"]]


class Copy:
    """Takes the place of a scratch copy; what pytest says is in the test's hands."""

    def __init__(self, folder: Path):
        self.root = folder
        folder.mkdir(exist_ok=True)
        self.restore("file.py")

    def restore(self, name: str) -> None:
        (self.root / name).write_text("x = 1 + 1\n")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """What pytest says, run by run; the last is said again and again."""
    said: list[Run] = []

    def run(copy: Copy, checkpoint: str, tests: list[str], *, apart: bool, first: bool = False) -> Run:
        assert (copy.root / "file.py").read_text() == ("x = 1 + 2\n" if apart else "x = 1 + 1\n")
        return said.pop(0) if len(said) > 1 else said[0]

    monkeypatch.setattr(runs, "Scratch", Copy)
    monkeypatch.setattr(runs, "run_pytest", run)
    return said


GREEN = Run([], 5, "5 passed")


def test_faults_are_run_one_by_one_and_undone(said: list[Run]) -> None:
    said += [GREEN, Run([RIGHT], 1, ""), GREEN, Run([WRONG], 2, "")]
    lines: list[str] = []
    found = runs.run_faults([a_fault(name) for name in "abc"], 1, lines.append)
    assert [(v.fault.name, v.first_red) for v in found] == [("a", RIGHT), ("b", None), ("c", WRONG)]
    assert [line.split(" · ")[:2] for line in lines[1:]] == [["1 of 3", "a"], ["2 of 3", "b"], ["3 of 3", "c"]]


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (Run([WRONG], 5, "boom"), "red before any fault.*test_c"),
        (Run([], 0, "no tests ran"), "nothing ran"),
        (Run([], None, "usage error"), "nothing ran, or pytest itself failed"),
    ],
)
def test_nothing_is_said_of_faults_where_the_suite_is_red_without(said: list[Run], run: Run, says: str) -> None:
    said.append(run)
    with pytest.raises(RedWithoutFault, match=f"(?s){says}"):
        runs.run_faults([a_fault()], 1, print)


def test_a_run_that_does_not_end_is_an_error(said: list[Run]) -> None:
    said += [GREEN, Run([], None, "Segmentation fault")]
    with pytest.raises(MaxWhisperError, match=r"(?s)a: pytest did not come to its end.*Segmentation fault"):
        runs.run_faults([a_fault()], 1, print)


@pytest.mark.parametrize(("red", "status"), [(RIGHT, 0), (WRONG, 1), (None, 1)])
def test_the_command(red: Red | None, status: int, said: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setattr(command, "FAULTS", (a_fault(),))
    monkeypatch.setattr("sys.argv", ["teeth", "--json", str(tmp_path / "new" / "teeth.json")])
    said += [GREEN, Run([red] if red else [], 3, "")]
    assert command.main() == status
    out = capsys.readouterr().out
    assert ("SURVIVED" in out) == (red is None)
    assert ("far from its place" in out) == (red is WRONG)
    assert json.loads((tmp_path / "new" / "teeth.json").read_text())["faults"][0]["caught"] == (red is not None)
    monkeypatch.setattr("sys.argv", ["teeth", "--only", "nonsense"])
    assert command.main() == 2


def test_what_is_chosen() -> None:
    assert command.chosen(None, quick=False) == list(FAULTS)
    quick = command.chosen(None, quick=True)
    assert quick == [fault for fault in FAULTS if fault.quick]
    assert len(quick) >= len(STAGES) - 1
    assert [f.name for f in command.chosen(f"{FAULTS[5].name},{FAULTS[2].name}", quick=True)] == [
        FAULTS[2].name, FAULTS[5].name
    ]  # fmt: skip


def test_what_is_written_in_a_farm_stays_there(tmp_path: Path) -> None:
    (tmp_path / "kept" / "deep").mkdir(parents=True)
    (tmp_path / "kept" / "deep" / "a.json").write_text("old")
    farm(tmp_path / "kept", tmp_path / "mine")
    mine = tmp_path / "mine" / "deep"
    assert (mine / "a.json").read_text() == "old"
    (mine / "draft").write_text("new")
    (mine / "draft").rename(mine / "a.json")
    (mine / "b.json").write_text("new")
    assert [p.name for p in (tmp_path / "kept" / "deep").iterdir()] == ["a.json"]
    assert (tmp_path / "kept" / "deep" / "a.json").read_text() == "old"


def test_copies_are_the_files_as_they_are(tmp_path: Path) -> None:
    copy = scratch.Scratch(tmp_path / "copy")
    assert (copy.root / "tests" / "test_teeth.py").read_text() == Path(__file__).read_text()
    assert (copy.root / "fixtures" / "manifest.jsonl").is_file()
    assert not (copy.root / ".git").exists()
    assert not (copy.root / ".venv").exists()
    variables = copy.environment(apart=True)
    assert variables["PYTHONPATH"] == str(copy.root)
    assert Path(variables["XDG_CACHE_HOME"]).is_relative_to(tmp_path)
    assert not (copy.root / scratch.CACHE).is_symlink()
