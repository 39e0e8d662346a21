"""The run file and the last lines of a run say what happened in it: also of failures, and no more than what passed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl.machine import commit
from maxwhisper_impl.report.kinds import Suite
from maxwhisper_impl.report.read import read_run
from tests.record import Family, Margin, Run, counted

ROOT = Path(__file__).resolve().parents[1]
UNDER_TEST = {"implementation": "theirs", "oracle": "openai-whisper", "device": "cuda", "dtype": "int8"}
CONFTEST = """
def pytest_addoption(parser):
    for name, default in (("--impl", "maxwhisper_impl"), ("--oracle", "openai-whisper"), ("--device", "cpu"),
                          ("--dtype", "float32")):
        parser.addoption(name, default=default)
"""
PARITY = """
import numpy as np
import pytest
from tests import compare, record
from tests.quality.wer import Group
from tests.tolerances import tolerance

LIMIT = tolerance("encoder.conv1", "rel_l2").limit
WANT = np.ones(1000)

@pytest.mark.parametrize("checkpoint", ["tiny.en", "base"])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_layer(checkpoint, share):
    compare.assert_tensor("encoder.conv1", WANT * (1 + share * LIMIT), WANT, "encoder.conv1")
    record.count("encoder layer outputs")

@pytest.mark.parametrize("checkpoint", ["base"])
def test_broken(checkpoint):
    record.count("encoder layer outputs")
    compare.assert_tensor("encoder.conv2", WANT * 2, WANT, "encoder.conv2")

def test_infinite():
    compare.assert_tensor("encoder.ln_post", WANT, 0 * WANT, "encoder.ln_post")

def test_times():
    for word in range(5):
        compare.assert_time(f"word {word}", 1.0, 1.01 if word == 3 else 1.0)
    for errors, dtype in ((3, "float32"), (3, "float32"), (4, "int8")):
        record.word_errors("speech", "ours", "tiny.en", dtype, errors, 40)
    record.excuse("a near-tie")
    record.note("a note")

RACE = dict(peer="x", peer_seconds=2.0, ratio=2.0, low=np.float32(1.5), high=2.1, validity=1.01, valid=np.bool_(True))

def test_race_that_is_lost(benchmark):
    benchmark.pedantic(lambda: None, rounds=4)
    benchmark.extra_info.update(RACE, case="encode", checkpoint="base")
    assert False

def test_race_of_configurations(benchmark):
    benchmark.pedantic(lambda: None, rounds=4)
    benchmark.extra_info.update(RACE, case="fastest step", checkpoint="base", dtype="int8", peer_dtype="bfloat16")

def test_race_of_older_adapters(benchmark):
    benchmark.pedantic(lambda: None, rounds=4)
    benchmark.extra_info.update(RACE)

def test_no_race(benchmark):
    benchmark.pedantic(lambda: None, rounds=4)

@pytest.fixture
def broken():
    raise RuntimeError("no such thing")

def test_error(broken): ...
def test_skipped(): pytest.skip("why not")
@pytest.mark.xfail(strict=True)
def test_expected(): assert False
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "tests.run_file", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("suite")
    (made / "parity").mkdir()
    (made / "parity" / "test_it.py").write_text(PARITY)
    (made / "conftest.py").write_text(CONFTEST)
    (made / "test_other.py").write_text("def test_other(): ...\n")
    return made


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    options = ("--impl", "theirs", "--device", "cuda", "--dtype", "int8")  # pytest's alone: nothing is loaded
    return run(folder, "--run-json", "run.json", *options)


@pytest.fixture
def written(done: subprocess.CompletedProcess[str], folder: Path) -> dict[str, Any]:
    assert done.returncode == 1, done.stdout + done.stderr
    return json.loads((folder / "run.json").read_text())


def test_outcomes_by_family(written: dict[str, Any]) -> None:
    assert written["outcomes"] == {"passed": 9, "failed": 3, "error": 1, "skipped": 1, "xfailed": 1}
    assert written["families"]["suite"] == {"outcomes": {"passed": 1}, "counts": {}, "worst": None}
    assert written["families"]["parity"]["counts"] == {"encoder layer outputs": 4}, "a test that failed proves nothing"
    assert written["exit_status"] == 1
    red = [failure["test"].rpartition("::")[2] for failure in written["failures"]]
    assert red == ["test_broken[base]", "test_infinite", "test_race_that_is_lost", "test_error"]
    assert "encoder.conv2: rel_l2 1 > 3.28e-06" in written["failures"][0]["message"]


def test_margins_are_the_worst_of_each_row_and_broken_ones_stay(written: dict[str, Any]) -> None:
    rows = {(m["checkpoint"], m["name"], m["metric"]): m for m in written["margins"]}
    for checkpoint in ("tiny.en", "base"):
        row = rows[checkpoint, "encoder.conv1", "rel_l2"]
        assert row["value"] / row["limit"] == pytest.approx(0.5)
        assert row["key"] == "encoder.conv1"
    assert rows["base", "encoder.conv2", "rel_l2"]["value"] == 1
    assert rows[None, "encoder.ln_post", "rel_l2"]["value"] is None, "infinite is no JSON"
    assert [m["name"] for m in written["margins"] if m["key"] == "word_time"] == ["word 3"]
    assert written["families"]["parity"]["worst"]["name"] == "encoder.ln_post"


def test_the_rest_is_there_once(written: dict[str, Any]) -> None:
    assert [(wer["dtype"], wer["errors"], wer["words"], wer["wer"]) for wer in written["wer"]] == [
        ("float32", 3, 40, 0.075), ("int8", 4, 40, 0.1)
    ]  # fmt: skip
    assert [(race["case"], race["peer"]) for race in written["ratios"]] == [
        ("encode base", "x"), ("fastest step base int8", "x:bfloat16"), ("test_race_of_older_adapters", "x")
    ]  # fmt: skip
    assert {(race["median"], race["low"], race["validity"]) for race in written["ratios"]} == {(2.0, 1.5, 1.01)}
    assert all(0 < race["seconds"] < 1 for race in written["ratios"])
    assert (written["excuses"], written["notes"]) == (["a near-tie"], ["a note"])
    assert written["kind"] == "suite"
    assert {name: written[name] for name in UNDER_TEST} == UNDER_TEST
    assert written["machine"]["cores"] == os.cpu_count()
    assert written["versions"]["pytest"] == pytest.__version__
    assert written["commit"] == commit(ROOT)


def test_the_report_reads_it(written: dict[str, Any], folder: Path) -> None:
    got = read_run(folder / "run.json")
    assert isinstance(got, Suite)
    assert max(margin.share for margin in got.margins) == float("inf")


def test_the_last_lines(done: subprocess.CompletedProcess[str]) -> None:
    assert "what was compared, beside 4 failures" in done.stdout
    assert "what was proven" not in done.stdout
    lines = done.stdout.splitlines()
    (parity,) = [line for line in lines if line.startswith("parity: ")]
    assert parity.startswith("parity: 4 OF 13 tests FAILED · 1 skipped · 4 encoder layer outputs · worst margin ∞ of")
    assert "suite: 1 test" in lines
    assert "excused: 1 near-tie" in done.stdout
    assert "run file: run.json" in lines


def test_a_run_without_failures_says_what_was_proven(folder: Path) -> None:
    done = run(folder, "-k", "tiny.en or other")
    assert done.returncode == 0, done.stdout
    assert "what was proven" in done.stdout
    assert "parity: 2 tests · 2 encoder layer outputs · worst margin 50% of the limit: encoder.conv1 " in done.stdout


def test_a_file_that_cannot_be_imported_is_a_failure(folder: Path) -> None:
    broken = folder / "parity" / "test_broken.py"
    broken.write_text("import no_such_module\n")
    done = run(folder, "--run-json", "broken.json", "--continue-on-collection-errors", "-k", "other")
    broken.unlink()
    written = json.loads((folder / "broken.json").read_text())
    assert (done.returncode, written["outcomes"]) == (1, {"error": 1, "passed": 1})
    assert [(red["test"], "no_such_module" in red["message"]) for red in written["failures"]] == [
        ("parity/test_broken.py", True)
    ]
    assert "parity: 1 OF 1 test FAILED" in done.stdout


def test_no_file_of_a_run_that_is_none(folder: Path) -> None:
    assert run(folder, "--run-json", "none.json", "--co").returncode == 0
    assert not (folder / "none.json").exists()
    nowhere = run(folder, "--run-json", "nowhere/run.json")
    assert nowhere.returncode == 4
    assert "--run-json nowhere/run.json: there is no folder nowhere" in nowhere.stderr


@pytest.mark.parametrize(("n", "what", "line"), [(1, "utterances", "1 utterance"), (2, "utterances", "2 utterances"),
                                                 (1, "seconds of long files", "1 second of long files"),
                                                 (1, "windows encoded", "1 window encoded"), (0, "words", "0 words"),
                                                 (1234, "steps", "1,234 steps")])  # fmt: skip
def test_singular_and_plural(n: int, what: str, line: str) -> None:
    assert counted(n, what) == line


def test_shares() -> None:
    def share(value: float, limit: float) -> float:
        return Margin(None, "x", "max_abs", value, limit, "x").share

    assert (share(1, 4), share(0, 0), share(1, 0), share(float("nan"), 1)) == (0.25, 0.0, float("inf"), float("inf"))


def test_what_a_test_counted_is_forgotten_when_it_fails() -> None:
    made = Run()
    for outcome in ("failed", "passed"):
        made.start("parity", None)
        made.pending["layers"] += 2
        made.end("parity", outcome)
    made.pending["layers"] += 5
    made.start("parity", None)
    made.end("parity", "passed")
    assert made.families["parity"].counts == {"layers": 2}
    assert Family().line() == "0 tests"
