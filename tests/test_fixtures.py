"""The suite's fixtures are what they are called: under test is what `--impl` names, in its dtype, beside its oracle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFTEST = """
import os, runpy, types
from dataclasses import replace
import pytest
from tests.implementations import IMPLEMENTATIONS

suite = runpy.run_path(os.path.join(os.environ["PYTHONPATH"], "conftest.py"))
for name in ("load", "model", "oracle", "device", "dtype", "transcripts_of", "transcripts", "oracle_transcripts"):
    globals()[name] = suite[name]
for name, made in IMPLEMENTATIONS.items():  # each loads as a list of what was asked for
    IMPLEMENTATIONS[name] = replace(made, load=lambda weights, *where, name=name: [name, weights.source, *where])

@pytest.fixture(scope="session")
def checkpoint():
    return types.SimpleNamespace(source="weights")

def pytest_addoption(parser):
    for option in ("--impl", "--oracle", "--device", "--dtype"):
        parser.addoption(option)
"""
TESTS = """
from types import SimpleNamespace
from tests.implementations import IMPLEMENTATIONS

OURS, ORACLE = IMPLEMENTATIONS["maxwhisper_impl"], IMPLEMENTATIONS["faster-whisper"]
WEIGHTS = [SimpleNamespace(source="weights"), SimpleNamespace(source="others")]

def test_what_is_loaded(model, oracle):
    assert model == ["maxwhisper_impl", "weights", "cuda", "int8"]
    assert oracle == ["faster-whisper", "weights", "cpu", "float32"]

def test_what_is_transcribed_by(model, oracle, transcripts, oracle_transcripts):
    assert (transcripts.implementation, transcripts.on, transcripts._keep) == (OURS, "cuda int8", False)
    assert (oracle_transcripts.implementation, oracle_transcripts.on) == (ORACLE, "cpu float32")
    assert oracle_transcripts._keep
    assert transcripts._model() is model
    assert oracle_transcripts._model() is oracle

def test_each_configuration_is_loaded_once(load, transcripts_of):
    asked = [(system, weights, device, dtype) for system in (OURS, ORACLE) for weights in WEIGHTS
             for device in ("cpu", "cuda") for dtype in ("float32", "int8")]
    models = [load(*each) for each in asked]
    assert models == [[system.name, weights.source, *where] for system, weights, *where in asked]
    assert all(load(*each) is model for each, model in zip(asked, models))
    known = [transcripts_of(*each, keep=keep) for each in asked for keep in (False, True)]
    assert len({id(each) for each in known}) == 32
    assert [each._model() for each in known[::2]] == [each._model() for each in known[1::2]] == models
    assert [each._keep for each in known] == [False, True] * 16
    assert all(transcripts_of(*each, keep=True) is one for each, one in zip(asked, known[1::2]))
"""


def test_what_is_under_test_is_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(TESTS)
    options = ("--impl", "maxwhisper_impl", "--oracle", "faster-whisper", "--device", "cuda", "--dtype", "int8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout.splitlines()[-1], done.stdout + done.stderr
