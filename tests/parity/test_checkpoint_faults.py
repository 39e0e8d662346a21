"""What goes wrong around checkpoints: while they are read or written, and in the packages that they need."""

from __future__ import annotations

import importlib.util
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import assets
from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import FORMATS, files, hashes, load_checkpoint, official, packages, save_checkpoint
from tests.parity.broken_checkpoints import refused
from tests.parity.small_checkpoints import assert_same, save, small

# ---- while they are read


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(30))
    with (tmp_path / "weights").open("rb") as file:
        assert files.read_array(file, 2, np.dtype(np.float32), (7,)).shape == (7,)
        with pytest.raises(CheckpointError, match="the file ended inside a tensor; was it changed while being read"):
            files.read_array(file, 4, np.dtype(np.float32), (7,))


def test_more_than_fits_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(small(), tmp_path, "npz")
    monkeypatch.setattr(FORMATS["npz"], "read", lambda _: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(CheckpointError, match=r"model-npz\.npz: does not fit into memory"):
        load_checkpoint(path)


def test_a_file_that_changes_while_it_is_hashed_is_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    states = iter("ab")
    with monkeypatch.context() as patch:
        patch.setattr(hashes, "_identity", lambda _: next(states))
        old = hashes.sha256(path)
    assert not list(tmp_path.rglob("*.json"))
    assert hashes.sha256(path) == old
    assert len(list(tmp_path.rglob("*.json"))) == 1


@pytest.mark.parametrize(("more", "said"), [(4, "decoder.ln.bias.npy: 36 bytes of 40"), (2**40, "more bytes than")])
def test_an_npz_whose_directory_claims_more_than_there_is(more: int, said: str, tmp_path: Path) -> None:
    """As much as the array's own header says, so that only the end of the data tells; or more than the whole file."""
    path, name = save(small(), tmp_path, "npz"), "decoder.ln.bias.npy"
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    header = members[name].replace(b"(12,), }  ", b"(10,), }  ").replace(b"<f2", b"<f4")
    members[name] = header[:-24] + bytes(36)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.getinfo(name).file_size += more
    refused(path, said)


# ---- while they are written


def test_a_folder_that_fills_while_another_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was faster is not overwritten."""
    out, write = tmp_path / "out", FORMATS["ctranslate2"].write

    def slow(*arguments: Any) -> None:
        write(*arguments)
        out.mkdir()
        (out / "theirs").touch()

    monkeypatch.setattr(FORMATS["ctranslate2"], "write", slow)
    with pytest.raises(CheckpointError, match="out: cannot be written: Directory not empty"):
        save_checkpoint(small(), out, format="ctranslate2")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_an_end_that_comes_while_a_draft_is_removed_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, ends = shutil.rmtree, [KeyboardInterrupt()]

    def interrupted(*arguments: Any, **options: Any) -> None:
        if ends:
            raise ends.pop()
        remove(*arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(small(), tmp_path, "npz")
    path, = tmp_path.iterdir()
    assert_same(load_checkpoint(path), small())


@pytest.mark.parametrize(("context", "raised"), [(OSError(28, "No space left on device"), CheckpointError),
                                                 (None, RuntimeError)])
def test_torchs_own_error_of_a_full_disk(
    context: OSError | None, raised: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends its archive all the same, and raises a RuntimeError about that; what it says else is no full disk."""
    def full(*_: Any) -> None:
        try:
            if context:
                raise context
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(raised, match="No space left on device" if context else "unexpected pos"):
        save(small(), tmp_path, "pt")
    assert list(tmp_path.iterdir()) == []


# ---- what is installed


def test_a_package_that_is_not_installed_holds_no_file() -> None:
    assert packages._locate("maxwhisper-no-such-package", "model.bin") is None
    assert packages._locate("pytest", "no/such/file") is None


def test_a_file_that_openai_whisper_does_not_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    assert assets.asset("mel_filters.npz").is_file()
    said = r"whisper/assets/.* is not installed; it comes with `pip install openai-whisper`"
    with pytest.raises(FileNotFoundError, match=said):
        assets.asset("no_such_filters.npz")
    monkeypatch.setattr(assets, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=said):
        assets.asset("mel_filters.npz")


def test_a_list_of_models_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package of that name, or another one."""
    read = official._tables.__wrapped__
    assert read().keys() >= {"_MODELS", "_ALIGNMENT_HEADS"}
    (tmp_path / "whisper.py").write_text("_MODELS = {}\n")
    other = importlib.util.spec_from_file_location("whisper", tmp_path / "whisper.py")
    for found, said in ((None, "is missing"), (SimpleNamespace(origin=None), "is missing"), (other, "_MODELS lacks b")):
        monkeypatch.setattr(official, "find_spec", lambda _, found=found: found)
        with pytest.raises(CheckpointError, match=said):
            read()
