"""What `import maxwhisper_impl` offers: names, types, and nothing heavy before it is asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest

import maxwhisper_impl
from maxwhisper_impl import Result, Segment, Word, cli, errors
from maxwhisper_impl.dims import SIZES
from tests import typed_usage

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("numpy", "av", "max", "torch", "tiktoken", "whisper")


def test_every_name_is_there() -> None:
    assert sorted(maxwhisper_impl.__all__) == maxwhisper_impl.__all__
    for name in maxwhisper_impl.__all__:
        assert getattr(maxwhisper_impl, name).__name__ == name
        assert name in dir(maxwhisper_impl)
    with pytest.raises(AttributeError, match="no attribute 'transcriber'"):
        getattr(maxwhisper_impl, "transcriber")  # noqa: B009


@pytest.mark.parametrize(("name", "kind"), [
    ("AudioError", ValueError), ("CheckpointError", ValueError), ("OptionError", ValueError),
    ("CorpusError", ValueError), ("RunFileError", ValueError), ("HistoryError", ValueError),
    ("DeviceError", RuntimeError),
])
def test_errors_are_also_pythons_own(name: str, kind: type[Exception]) -> None:
    """Whoever knows openai-whisper catches those."""
    error = getattr(errors, name)
    assert error.__mro__[1:3] == (errors.MaxWhisperError, kind)
    assert getattr(maxwhisper_impl, name, error) is error


def test_names_that_come_later_are_all_public() -> None:
    assert set(maxwhisper_impl._LATER) <= set(maxwhisper_impl.__all__)


def test_nothing_heavy_is_imported() -> None:
    code = f"import sys, maxwhisper_impl; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_types_are_shipped() -> None:
    assert files(maxwhisper_impl).joinpath("py.typed").is_file()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]
    assert settings["typeCheckingMode"] == "strict"
    assert {"maxwhisper_impl", "tests/typed_usage.py"} <= set(settings["include"])
    assert get_type_hints(typed_usage.whole_file)["return"] == list[tuple[float, float, str]]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Word, "word start end probability"),
        (Segment, "id seek start end text tokens temperature avg_logprob compression_ratio no_speech_prob"),
        (Result, "text segments language"),
    ],
)
def test_dictionaries_have_openais_keys(kind: Any, names: str) -> None:
    """In openai-whisper's order; `test_transcribe.py` compares real results key by key."""
    assert [key for key in kind.__annotations__ if key in kind.__required_keys__] == names.split()
    assert kind.__optional_keys__ == ({"words", "language"} if kind is Segment else set())


def test_the_command_runs_only_where_it_is_the_program() -> None:
    """`python -m maxwhisper_impl`; whoever imports every module of the package starts nothing."""
    assert importlib.import_module("maxwhisper_impl.__main__").main is cli.main


def test_a_model_says_what_it_is() -> None:
    import whisper

    for name, dims in SIZES.items():
        ours = maxwhisper_impl.Whisper(dims, SimpleNamespace(alignment_heads=[(1, 2)]))
        theirs = whisper.Whisper.num_languages.fget(SimpleNamespace(dims=dims, is_multilingual=ours.is_multilingual))
        assert ours.num_languages == theirs, name
