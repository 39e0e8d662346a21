"""A run file that is none, or not what its kind demands, is one clear error that names the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl.errors import RunFileError
from maxwhisper_impl.report.read import KINDS, UNMARKED, read_run, read_runs
from tests.report import runs
from tests.report.runs import changed

NAN = json.dumps(changed(runs.SUITE, margins__0__value=float("nan")))
MALFORMED = {
    "empty": ("", "not JSON: Input data was truncated"),
    "cut off": (json.dumps(runs.TEETH)[:200], "not JSON: Input data was truncated"),
    "text": ("passed", "not JSON: JSON is malformed: invalid character (byte 0), at 'passed'"),
    "a list": ("[]", "Expected `object`, got `array`"),
    "NaN": (NAN, '"value": NaN'),
    "two": ("{} {}", "not JSON: JSON is malformed: trailing characters (byte 4), at '{} {}'"),
    "no kind": ('{"made": "x", "b": 1}', 'is no run file: it has none of "kind", "rows" (of `maxwhisper compare '
                "--json`) and \"benchmarks\" (of pytest-benchmark), but 'made', 'b'"),
    "nothing": ("{}", "but nothing"),
    "unknown kind": ('{"kind": "soup"}', "its kind is 'soup'; there are suite, teeth, fuzz, soak, roofline"),
    "a kind that is no name": ('{"kind": 3}', "its kind is 3; there are"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str, tmp_path: Path) -> None:
    text, says = MALFORMED[case]
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(RunFileError) as caught:
        read_run(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b'{"kind": "\xff"}')
    with pytest.raises(RunFileError, match=r"run\.json: "):
        read_run(path)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no outcomes": ({k: v for k, v in runs.SUITE.items() if k != "outcomes"}, "missing required field `outcomes`"),
    "a negative count": (changed(runs.SUITE, outcomes={"passed": -1}), "Expected `int` >= 0 - at `$.outcomes[...]`"),
    "a limit in words": (changed(runs.SUITE, margins__1__limit="1e-4"), "got `str` - at `$.margins[1].limit`"),
    "no words": (changed(runs.SUITE, wer__0__words=0), "Expected `int` >= 1 - at `$.wer[0].words`"),
    "a time of zero": (changed(runs.COMPARISON, rows__2__seconds=0), "at `$.rows[2].seconds`"),
    "an agreement above 1": (changed(runs.COMPARISON, rows__0__agreement=1.1), "at `$.rows[0].agreement`"),
    "no rounds": (changed(runs.COMPARISON, rows__0__round_seconds=[]), "at `$.rows[0].round_seconds`"),
    "rows that are none": (changed(runs.COMPARISON, rows={}), "Expected `array`, got `object` - at `$.rows`"),
    "no faults": (changed(runs.TEETH, faults=[]), "at `$.faults`"),
    "caught perhaps": (changed(runs.TEETH, faults__0__caught="yes"), "got `str` - at `$.faults[0].caught`"),
    "no targets": (changed(runs.FUZZ, targets=[]), "at `$.targets`"),
    "no memory": (changed(runs.SOAK, memory=[]), "at `$.memory`"),
    "a share below zero": (changed(runs.ROOFLINE, stages__0__share=-0.1), "at `$.stages[0].share`"),
    "no median": (changed(runs.benchmarks(1, 2.0), benchmarks__0__stats={}), "at `$.benchmarks[0].stats`"),
    "a day that is none": (changed(runs.TEETH, made="yesterday"), "Invalid isoformat string: 'yesterday'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_a_kind_demands(case: str, tmp_path: Path) -> None:
    run, says = WRONG[case]
    (file,) = runs.write(tmp_path, run=run)
    with pytest.raises(RunFileError) as caught:
        read_run(Path(file))
    assert str(caught.value).startswith(f"{file}: ")
    assert says in str(caught.value), caught.value


def test_every_kind_is_read_and_more_keys_are_ignored(tmp_path: Path) -> None:
    files = runs.write(tmp_path, **{name.partition(".")[0]: {**run, "more": 1} for name, run in runs.ALL.items()})
    assert {type(source.run) for source in read_runs(files)} == {*KINDS.values(), *UNMARKED.values()}


def test_what_it_was_made_on(tmp_path: Path) -> None:
    nothing = {name: value for name, value in runs.TEETH.items() if name not in ("made", "commit")}
    bench, suite, old = read_runs(runs.write(tmp_path, bench=runs.benchmarks(3, 2.0), suite=runs.SUITE, old=nothing))
    assert (bench.commit, bench.made) == ("03ff5a7c1430 with changes", "2026-11-03 10:28 UTC")
    assert (bench.machine.processor, bench.machine.cores) == ("A Processor", 2)
    assert (suite.commit, suite.made) == ("5fcff5a7c143", "2026-11-24 10:28 UTC")
    assert suite.machine.fingerprint == "0123456789ab"
    assert (old.commit, old.made) == ("", "")


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    files = [runs.write(folder, teeth=runs.TEETH)[0] for folder in folders]
    assert [source.name for source in read_runs(files)] == files
