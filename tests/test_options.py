"""The suite's own options: what cannot be tested is an error that says so; the header and the markers say what is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from maxwhisper_impl.machine import gpus

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--impl", "whisper.cpp"],
            "--impl whisper.cpp: unknown; there are maxwhisper_impl, openai-whisper, faster-whisper",
        ),
        (["--oracle", "x"], "--oracle x: unknown; there are maxwhisper_impl, openai-whisper, faster-whisper"),
        (["--corpus", "/nowhere"], "--corpus /nowhere: no such folder"),
        (["-p", "no:cacheprovider"], "-p no:cacheprovider: pytest's cache holds what the oracle answers"),
        (["--dtype", "float8"], "--dtype: invalid choice: 'float8'"),
    ],
)
def test_what_is_not_there_is_an_error(arguments: list[str], says: str) -> None:
    done = run(*arguments, "tests/test_options.py", "--co", "-q")
    assert done.returncode == 4
    assert says in done.stderr


@pytest.mark.skipif(gpus(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_an_error() -> None:
    done = run("--device", "cuda", "--co", "-q")
    assert done.returncode == 4
    assert "--device cuda: this machine has no CUDA GPU" in done.stderr


def test_header_and_markers() -> None:
    done = run(
        "--co", "-m", "perf", "--checkpoint", "base", "--impl", "openai-whisper", "tests/perf", "tests/test_wer.py"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for part in (
        "under test: openai-whisper (openai-whisper ",
        "oracle: openai-whisper",
        "checkpoints: base;",
        "machine: ",
    ):
        assert part in done.stdout
    assert "test_encode_smoke[openai-whisper-base]" in done.stdout
    assert "test_wer.py" not in done.stdout.split("collected")[1]


def test_an_english_model_alone() -> None:
    """What needs a multilingual one has no checkpoint then, and is skipped."""
    done = run("--co", "-q", "-m", "not slow", "--checkpoint", "tiny.en", "tests/parity/test_greedy.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_window[tiny.en-en/01-slt.flac]" in done.stdout
    assert "test_window[tiny.en-de/01.flac]" not in done.stdout


def test_a_multilingual_model_alone() -> None:
    """It is the first checkpoint then, whose tests are not slow, and knows every language."""
    done = run("--co", "-q", "-m", "not slow", "--checkpoint", "base", "tests/parity/test_greedy.py")
    assert done.returncode == 0, done.stdout + done.stderr
    for clip in ("en/01-slt.flac", "de/01.flac"):
        assert f"test_window[base-{clip}]" in done.stdout
        assert f"test_language[base-{clip}]" in done.stdout


def test_a_smaller_dtype_is_held_to_its_rows_and_not_to_the_oracles_tokens() -> None:
    tests = ["test_greedy.py::test_window", "test_logits.py::test_logits", "test_logits.py::test_features"]
    done = run(
        *(f"tests/parity/{test}" for test in tests),
        "--setup-plan", "-q", "--dtype", "int8", "--checkpoint", "tiny.en", "-k", "slt or test_logits or features",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^ +tests/parity/(\S+)\[", done.stdout, re.MULTILINE) == tests[1:]
    assert re.search(r"SKIPPED \[\d+\] tests/parity/test_greedy.py: float32 alone promises", done.stdout)


def test_the_header_needs_neither_torch_nor_max() -> None:
    code = "import sys, conftest; print([m for m in ('torch', 'max', 'whisper', 'ctranslate2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
