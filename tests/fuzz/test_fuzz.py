"""The fuzzer itself: what it has to catch is planted; a case is the same on each run; a new flag is drawn at once."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from maxwhisper_impl import cli
from maxwhisper_impl.worker import Worker
from tests.fuzz import commands, damage, grammar, supervisor
from tests.fuzz.__main__ import ROOT, TARGETS, as_json, table
from tests.fuzz.case import Case
from tests.fuzz.supervisor import Report, fuzz
from tests.fuzz.toys import CASES

FAULTS = {
    "crash": ("crash", "SIGSEGV"),
    "leave": ("crash", "exit status 7"),
    "computes": ("hang", "in computes"),
    "waits": ("hang", "in waits"),
    "foreign": ("foreign", "KeyError: 'deep down'"),
    "exits": ("foreign", "SystemExit: left"),
    "wrong": ("wrong", "five was expected"),
    "unknown": ("wrong", "ended in 'all right'"),
    "silent": ("wrong", "AudioError with a message of 0 characters"),
    "memory": ("memory", "its bound is 64 MiB"),
    "runaway": ("memory", "was ended"),
    "leftover": ("leftover", "spare/forgotten"),
    "unfinished": ("leftover", "made/.out.npz.x.unfinished"),
    "unraisable": ("foreign", "where nobody can catch it"),
    "warns": ("foreign", "RuntimeWarning: divide by zero"),
}
GOOD = [case.__name__ for case in CASES if case.__name__ not in FAULTS]


@pytest.fixture(scope="module")
def caught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """What becomes of all toys in one run of one worker."""
    folder = tmp_path_factory.mktemp("toys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "RUNAWAY", 128 << 20)
        numbers = range(len(CASES))
        report = fuzz(
            "tests.fuzz.toys:Toys",
            5,
            seconds=120,
            numbers=numbers,
            workers=1,
            folder=folder / "work",
            kept=folder / "kept",
        )
    return report, folder / "kept"


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught_at_its_case(name: str, caught: tuple[Report, Path]) -> None:
    report, kept = caught
    number = [case.__name__ for case in CASES].index(name)
    (failure,) = [failure for failure in report.failures if failure.number == number]
    kind, says = FAULTS[name]
    assert failure.kind == kind, failure.what
    assert says in failure.what
    folder = kept / f"toys-5-{number}"
    assert failure.kept == str(folder)
    assert failure.command in (folder / "failure.txt").read_text()
    assert (folder / "case.txt").read_text().strip() == name


def test_what_is_right_passes(caught: tuple[Report, Path]) -> None:
    report, _ = caught
    assert report.outcomes == {"text": 2, "empty": 2, "refused": 1}
    assert sum(report.outcomes.values()) == len(GOOD)
    assert report.cases == len(CASES)


def test_the_input_of_a_crash_is_kept(caught: tuple[Report, Path]) -> None:
    _, kept = caught
    assert (kept / "toys-5-4" / "given" / "last.bin").read_bytes() == b"what it was given"


def test_the_table_and_the_json_say_all(caught: tuple[Report, Path]) -> None:
    report, _ = caught
    shown = table([report])
    row = next(line for line in shown.splitlines() if line.startswith("toys"))
    assert row.split()[1] == str(len(CASES))
    assert row.split()[6] == str(len(FAULTS))
    content = json.loads(json.dumps(as_json([report], 5, 0.1)))
    (target,) = content["targets"]
    assert (content["kind"], content["seed"], target["cases"]) == ("fuzz", 5, len(CASES))
    assert len(target["failures"]) == len(FAULTS)
    assert target["peak_bytes"] > 64 << 20
    assert target["failures"][0]["command"] in shown


def test_what_stands_in_for_a_comparisons_worker_has_all_that_one_has() -> None:
    asked = {name for name in vars(Worker) if not name.startswith("_")}
    assert asked <= set(vars(commands.Told))


def test_a_target_that_cannot_start_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="toys cannot be prepared: crash"):
        fuzz(
            "tests.fuzz.toys:Unprepared", 0, seconds=5, numbers=[0], workers=1, folder=tmp_path, kept=tmp_path / "kept"
        )


def test_a_run_ends_when_its_time_is_over(tmp_path: Path) -> None:
    report = fuzz(
        "tests.fuzz.toys:Toys", 0, seconds=0, numbers=[1, 1, 1], workers=1, folder=tmp_path, kept=tmp_path / "kept"
    )
    assert report.cases == 0


def test_the_command_fails_where_a_case_fails(tmp_path: Path) -> None:
    """A defect planted in the package is found, and named with the command that shows it again."""
    code = (
        "import sys\nfrom tests.fuzz import __main__ as fuzz\n"
        "if __name__ == '__main__':\n"
        "    fuzz.TARGETS['corpora'] = 'tests.fuzz.toys:Toys'\n"
        f"    sys.argv[1:] = ['--target', 'corpora', '--case', sys.argv[1], '--keep', {str(tmp_path)!r}]\n"
        "    sys.exit(fuzz.main())\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    for number, status in ((8, 1), (2, 0)):
        command = [sys.executable, str(script), str(number)]
        done = subprocess.run(
            command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        assert ("--target toys --case 8 --seed 0" in done.stdout) == bool(status)


def test_a_case_is_the_same_on_each_run(tmp_path: Path) -> None:
    def drawn(seed: int, number: int) -> tuple[bytes, list[str]]:
        case = Case("x", number, seed, tmp_path / f"{seed}-{number}")
        case.clear()
        return damage.damaged(case.random, bytes(range(256)) * 20), _argv(case)

    assert drawn(1, 2) == drawn(1, 2)
    assert drawn(1, 2) != drawn(2, 2)
    assert drawn(1, 2) != drawn(1, 3)


def _argv(case: Case) -> list[str]:
    return grammar.argv(case, grammar.subcommands(cli._parser())["transcribe"], {}, sense=0.9)


def test_every_flag_is_drawn_and_a_new_one_too(tmp_path: Path) -> None:
    parser = cli._parser()
    for command in grammar.subcommands(parser).values():
        command.add_argument("--brand_new", type=int)
    for command in grammar.subcommands(parser).values():
        drawn = set()
        for number in range(300):
            case = Case("x", number, 0, tmp_path)
            drawn |= {part.partition("=")[0] for part in grammar.argv(case, command, {}, sense=1.0)}
        flags = {option for action in command._actions for option in action.option_strings} - {"-h", "--help"}
        assert flags <= drawn
        assert "--brand_new" in drawn


def test_values_fit_their_types(tmp_path: Path) -> None:
    """With all sense, what is drawn for a typed flag is taken by its own converter."""
    command = grammar.subcommands(cli._parser())["transcribe"]
    typed = [action for action in command._actions if action.type is not None]
    assert len(typed) > 20
    for action in typed:
        case = Case("x", 1, 0, tmp_path)
        for _ in range(20):
            action.type(grammar._value(case, action, {}, 1.0))  # type: ignore[operator]


def test_all_targets_are_there() -> None:
    assert set(TARGETS) == {"audio", "speech", "checkpoints", "options", "commands", "corpora"}
    assert isinstance(cli._parser(), argparse.ArgumentParser)
