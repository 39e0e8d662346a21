"""No test gets lost: each is collected, runs by some target of make, and is slow or skipped by review alone."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from maxwhisper_impl.corpus import read_corpus
from maxwhisper_impl.dims import SIZES
from tests.implementations import tap_names
from tests.measure_tolerances import family
from tests.record import FAMILIES
from tests.tolerances import TOLERANCES

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = """
import json, pathlib
def pytest_collection_finish(session):
    told = {"filters": session.config.getini("filterwarnings"), "tests": [
        (item.nodeid, sorted({mark.name for mark in item.iter_markers()})) for item in session.items]}
    pathlib.Path(__file__).with_name("collected.json").write_text(json.dumps(told))
"""
SLOW = {
    "parity/test_batched.py": ["verbose_and_progress_bar"],
    "parity/test_cache_machine.py": ["many_actions", "planted_faults_are_found"],
    "parity/test_gpu_graph.py": [
        "products_are_of_float32", "a_threads_variables_stay_in_its_registers", "it_is_for_the_gpu_that_was_asked_for",
    ],
    "parity/test_gpu_model.py": ["features_and_logits", "tokens"],
    "parity/test_greedy.py": ["language"],
    "parity/test_options_on_speech.py": ["language"],
    "parity/test_repetition.py": ["in_a_whole_recording"],
    "parity/test_transcribe.py": ["long_files"],
    "parity/test_vad.py": ["speech_of_all_clips", "speech_of_ten_minutes"],
    "parity/test_word_times.py": ["long_files"],
    "perf/test_cold_start.py": ["cold_start"],
    "perf/test_fastest.py": ["encode", "step", "batch", "reading", "batched"],
    "perf/test_memory.py": ["no_more_than_the_original", "an_hour"],
    "perf/test_speed.py": ["mel", "encode", "decode", "transcribe"],
    "quality/test_batches.py": ["no_worse_than_faster_whispers_batches"],
    "quality/test_dtypes.py": ["no_worse_than_float32"],
    "quality/test_live.py": ["short_clips"],
    "quality/test_no_speech.py": ["no_text_is_made_up", "what_each_system_makes_up"],
    "quality/test_wer.py": ["published"],
    "report/test_browser.py": [
        "it_opens_in_silence", "it_asks_for_nothing", "a_page_that_complains_or_asks_is_noticed",
        "it_fits_a_phone_and_the_recording_plays", "light_dark_and_printed",
    ],
    "robustness/test_cold_cache.py": ["two_processes_at_once", "killed_while_compiling", "without_a_cache"],
    "test_power.py": ["the_command"],
}  # fmt: skip
"""Of which no case runs in `make test` and `make suite`, once more, so that none leaves by an edit in one place."""
SKIPS = {
    "parity/conftest.py": 1, "parity/recordings.py": 1, "parity/test_checkpoint_interchange.py": 4,
    "parity/test_corpus.py": 1, "parity/test_decoding.py": 2, "parity/test_drafts.py": 1, "parity/test_golden.py": 3,
    "parity/test_greedy.py": 1, "parity/test_kernels.py": 1, "parity/test_logits.py": 1,
    "parity/test_options_on_speech.py": 2, "parity/test_repetition.py": 2, "parity/test_whisper_cpp.py": 2,
    "perf/conftest.py": 3, "perf/test_fastest.py": 3, "quality/test_batches.py": 2, "quality/test_dtypes.py": 1,
    "quality/test_live.py": 1, "quality/test_wer.py": 6, "quality/test_word_times.py": 1, "report/test_browser.py": 1,
    "robustness/test_disk.py": 1, "test_options.py": 1,
}  # fmt: skip
"""How often a file may skip: what a checkpoint, a corpus, a machine or another implementation cannot."""
MADE_UP = ("test_collection.py", "test_run_file.py", "teeth")
"""Those that write of tests of their own."""
SKIPPING = re.compile(r"mark\.(?:skip|skipif|xfail)\b|importorskip|allow_module_level|pytest\.skip\(")


class Found(NamedTuple):
    id: str
    marks: frozenset[str]

    @property
    def function(self) -> str:
        return self.id.partition("[")[0].removeprefix("tests/")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Found], list[str]]:
    """All tests as `make` finds them, and pytest's filters of warnings."""
    folder = tmp_path_factory.mktemp("collected")
    (folder / "collected.py").write_text(PLUGIN)
    paths = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "pytest", "--co", "-qq", "-p", "collected"]
    done = subprocess.run(command, cwd=ROOT, env=paths, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    told = json.loads((folder / "collected.json").read_text())
    return [Found(name, frozenset(marks)) for name, marks in told["tests"]], told["filters"]


@pytest.fixture
def tests(collected: tuple[list[Found], list[str]]) -> list[Found]:
    return collected[0]


def written() -> set[str]:
    """Every test function of every test file."""
    found: set[str] = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
        assert len(names) == len(set(names)), f"{path}: of two tests of one name only the last one runs"
        found |= {f"{path.relative_to(ROOT / 'tests')}::{name}" for name in names}
    return found


def test_every_test_is_collected(tests: list[Found]) -> None:
    methods = {test.function for test in tests if test.function.count("::") > 1}  # of Hypothesis' machines
    assert {test.function for test in tests} - methods == written()


def test_what_is_slow_is_reviewed(tests: list[Found]) -> None:
    fast = {test.function for test in tests if "slow" not in test.marks}
    assert {test.function for test in tests} - fast == {
        f"{file}::test_{name}" for file, names in SLOW.items() for name in names
    }


def test_what_is_skipped_is_reviewed() -> None:
    files = {path.relative_to(ROOT / "tests"): path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    counts = {path.as_posix(): len(SKIPPING.findall(text)) for path, text in files.items()
              if path.parts[0] not in MADE_UP}  # fmt: skip
    assert {file: count for file, count in counts.items() if count} == SKIPS
    assert len(SKIPPING.findall((ROOT / "conftest.py").read_text())) == 2, "of smaller dtypes; of reviewed differences"


def chosen(target: str) -> str:
    """The markers by which a target of make chooses tests."""
    command = ["make", "--dry-run", "--old-file=.venv/.installed", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (found,) = re.findall(r"-m pytest .*?-m '([^']+)'", done.stdout)
    return found


def runs(expression: str, test: Found) -> bool:
    return eval(expression, {}, {name: name in test.marks for name in (*FAMILIES, "slow", "fastest")})


def test_every_test_is_some_targets(tests: list[Found]) -> None:
    """What is not slow: of `make test` or `make suite`, and of one part; the rest of `make slow` or perf."""
    usual, parts, rest = ("test", "suite"), ("parity", "quality", "perf", "suite"), ("slow", "perf-full")
    wanted = {target: chosen(target) for target in {*usual, *parts, *rest}}

    def targets(test: Found, among: Sequence[str]) -> list[str]:
        return [target for target in among if runs(wanted[target], test)]

    for test in tests:
        if "slow" not in test.marks:
            assert len(targets(test, usual)) == len(targets(test, parts)) == 1, test
        elif "fastest" not in test.marks:
            assert len(targets(test, rest)) == 1, test
    report = chosen("report")
    assert all(runs(report, test) == ("slow" not in test.marks) for test in tests)


def test_warnings_are_errors(collected: tuple[list[Found], list[str]]) -> None:
    first, *others = collected[1]
    assert first == "error"
    assert len(others) == 3, "each other one is reviewed"


def test_every_layer_of_every_checkpoint_is_compared(tests: list[Found]) -> None:
    """And every kind of layer that the ledger has a row of is tapped, in every block."""
    names = {test.id for test in tests if "slow" not in test.marks}
    for checkpoint in ("tiny.en", "base"):
        taps = tap_names(SIZES[checkpoint])
        for tap in taps:
            side = "encoder" if tap.startswith("encoder.") else "decoder"
            assert f"tests/parity/test_{side}_layers.py::test_layer[{checkpoint}-{tap}]" in names
        rows = {key.removesuffix("/rel_l2") for key in TOLERANCES if key.endswith("/rel_l2")}
        kinds = {row for row in rows if row.startswith(("encoder.", "decoder.", "logits"))} - {"decoder.cross_scores"}
        assert {family(tap).removesuffix(".1") for tap in taps} == kinds
        for kind in kinds:
            blocks = {"encoder.b": SIZES[checkpoint].n_audio_layer, "decoder.b": SIZES[checkpoint].n_text_layer}
            assert sum(family(tap) == kind for tap in taps) == blocks.get(kind[:9], 1), kind


def test_random_weights_and_every_clip_are_compared(tests: list[Found]) -> None:
    names = {test.id for test in tests if "slow" not in test.marks}
    assert "tests/parity/test_logits.py::test_logits[random-128-mels]" in names
    assert "tests/perf/test_speed.py::test_encode[openai-whisper-random-small]" in {test.id for test in tests}
    for clip in read_corpus(ROOT / "fixtures"):
        if clip.seconds <= 30 and clip.language == "en":
            assert f"tests/parity/test_greedy.py::test_window[tiny.en-{clip.id}]" in names
