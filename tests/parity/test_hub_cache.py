"""Where others keep their downloads, and which of them is taken: Hugging Face's cache as its own library reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.weights import Checkpoint, find_checkpoint, load_checkpoint, random_checkpoint
from maxwhisper_impl.weights.names import hub_cache
from tests.parity.small_checkpoints import save, small

VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
"""the first that is set decides"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, of a user without any other cache."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "huggingface" / "hub"


def snapshot(hub: Path, repository: str, revision: str, age: int = 0, checkpoint: Checkpoint | None = None) -> Path:
    """A downloaded model, `age` days old."""
    folder = hub / f"models--{repository.replace('/', '--')}" / "snapshots"
    path = save(checkpoint or small(), folder, "ctranslate2", revision).rename(folder / revision)
    os.utime(path, (1e9 - age * 86400, 1e9 - age * 86400))
    return path


@pytest.mark.parametrize("given", range(len(VARIABLES) + 1))
def test_the_hubs_cache_is_where_its_library_has_it(given: int, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of a settings file, which no shell has seen, are told by ~ and by variables as well."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    for name in VARIABLES[given:]:
        monkeypatch.setenv(name, f"~/$LOGNAME/{name}" if name != "XDG_CACHE_HOME" else f"/{name}")
    monkeypatch.setenv("LOGNAME", "somebody")
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert str(hub_cache()) == theirs


def test_of_several_revisions_main_is_taken_or_else_the_newest(hub: Path) -> None:
    repository = "Systran/faster-whisper-tiny.en"
    paths = [snapshot(hub, repository, name, age) for name, age in (("a", 3), ("b", 1), ("c", 2))]
    assert find_checkpoint("tiny.en", download=False) == paths[1]
    main = paths[0].parents[1] / "refs" / "main"
    main.parent.mkdir()
    main.write_text("c\n")
    assert find_checkpoint("tiny.en", download=False) == paths[2]
    main.write_bytes(b"\xff\xfe")  # damaged
    assert find_checkpoint("tiny.en", download=False) == paths[1]
    (paths[1] / "config.json").unlink()  # not downloaded yet
    assert find_checkpoint("tiny.en", download=False) == paths[2]


@pytest.mark.parametrize("name", SIZES)
def test_what_faster_whisper_has_downloaded_is_found(name: str, hub: Path) -> None:
    from faster_whisper.utils import _MODELS

    path = snapshot(hub, _MODELS[name], "main")
    assert find_checkpoint(name, download=False) == path


def test_the_name_that_is_asked_for_tells_the_alignment_heads(hub: Path) -> None:
    """Where neither the files nor their folder's name do."""
    snapshot(hub, "Systran/faster-whisper-tiny.en", "a", checkpoint=random_checkpoint(SIZES["tiny.en"], 0))
    heads = ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4))
    assert load_checkpoint("tiny.en", download=False).alignment_heads == heads
