"""The reviewed differences: every line names tests that exist; a test that passes in spite of its line is red."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import differences
from tests.differences import DIFFERENCES, Difference, known_difference
from tests.implementations import IMPLEMENTATIONS

ROOT = Path(__file__).resolve().parents[1]
PARITY = ROOT / "tests" / "parity"


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda d: f"{d.implementation} {d.test}")
def test_every_line_names_tests_that_there_are(difference: Difference) -> None:
    file, name = difference.test.split("[")[0].split("::")
    assert difference.implementation in IMPLEMENTATIONS
    assert difference.implementation != "maxwhisper_impl", "ours has no differences"
    assert re.search(rf"^def {re.escape(name)}\(", (PARITY / file).read_text(), re.MULTILINE)
    assert difference.reason


def test_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Difference("x", "test_a.py::test_b[tiny.en-*]", "why")
    monkeypatch.setattr(differences, "DIFFERENCES", (line,))
    assert known_difference("x", "tests/parity/test_a.py::test_b[tiny.en-one.wav]") is line
    for implementation, nodeid in (
        ("y", "tests/parity/test_a.py::test_b[tiny.en-one.wav]"),
        ("x", "tests/parity/test_a.py::test_b[tinyXen-one.wav]"),
        ("x", "tests/parity/test_a.py::test_b[base-one.wav]"),
        ("x", "tests/parity/another_test_a.py::test_b[tiny.en-one.wav]"),
        ("x", "tests/parity/test_a.py::test_b"),
    ):
        assert known_difference(implementation, nodeid) is None, (implementation, nodeid)


CONFTEST = """
import os, runpy
from tests import differences
differences.DIFFERENCES = tuple(
    differences.Difference("openai-whisper", f"test_it.py::test_it[{how}]", "a reason")
    for how in ("gone", "there", "bug")
)
suite = runpy.run_path(os.path.join(os.environ["PYTHONPATH"], "conftest.py"))
pytest_collection_modifyitems = suite["pytest_collection_modifyitems"]

def pytest_addoption(parser):
    parser.addoption("--impl")
    parser.addoption("--dtype", default="float32")
"""
TESTS = """
import pytest

@pytest.fixture
def model(): ...

@pytest.mark.parametrize("how", ["gone", "there", "bug", "equal"])
def test_it(model, how):
    assert how != "there"
    if how == "bug":
        raise KeyError("not a difference, a fault of the adapter")

def test_of_the_package_alone(): ...
"""


@pytest.mark.parametrize(
    ("impl", "outcome"),
    [("openai-whisper", "2 failed, 1 passed, 1 deselected, 1 xfailed"), ("maxwhisper_impl", "2 failed, 3 passed")],
)
def test_a_line_is_a_strict_expectation(impl: str, outcome: str, tmp_path: Path) -> None:
    """A difference that is gone and an adapter that crashes are failures; the package's own tests are left out."""
    (tmp_path / "parity").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "parity" / "conftest.py").write_text(CONFTEST)
    (tmp_path / "parity" / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--impl", impl, "parity"]
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, check=False)
    assert outcome in done.stdout.splitlines()[-1], done.stdout + done.stderr
    assert ("[XPASS(strict)] a reason" in done.stdout) == (impl == "openai-whisper")
