"""A full disk and a cache that cannot be written: one clear line, and whatever else can be done is done."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from max.graph import DeviceRef

from maxwhisper_impl import cli, commands, comparison_view, graphs
from maxwhisper_impl.errors import CheckpointError, MaxWhisperError
from maxwhisper_impl.weights import save_checkpoint
from maxwhisper_impl.weights.hashes import sha256
from maxwhisper_impl.writers import FORMATS
from tests.parity.small_checkpoints import SUFFIXES, small
from tests.robustness import victims

ROOM = 1 << 17
"""bytes that still fit"""


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own; skips where none may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here: this takes root's rights")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def limited(folder: Path) -> Iterator[Path]:
    """Files of this process may not grow beyond ROOM: needs nobody's rights."""
    folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(params=["full disk", "limited files"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder in which ROOM bytes fit into a file, and what the system says of more."""
    disk = request.param == "full disk"
    with tmpfs(tmp_path / "full", f"size={ROOM}") if disk else limited(tmp_path / "full") as folder:
        yield folder, "No space left on device" if disk else "File too large"


@pytest.fixture(params=["read-only", "a file"])
def no_cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder in which nothing can be written; root is stopped by the mount alone."""
    folder = tmp_path / "cache"
    with contextlib.ExitStack() as stack:
        if request.param == "read-only":
            stack.enter_context(tmpfs(folder, "ro"))
        else:
            folder.write_bytes(b"")
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


class Speaks(victims.Said):
    def transcribe(self, file: str, **options: Any) -> Any:
        said = victims.result("a")
        tokens = list(range(200))  # which only one format has
        segments = [{**segment, "tokens": tokens} for segment in said["segments"]]
        return {**said, "segments": segments if "long" in file else segments[:3]}


def test_transcripts_that_do_not_fit(full: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """They cost themselves alone: of the same recording's formats, and of the recordings."""
    folder, reason = full
    monkeypatch.setattr(commands, "_load", lambda _: Speaks("a"))
    files = [tmp_path / "long.wav", tmp_path / "short.wav"]
    for file in files:
        file.write_bytes(b"")
    asked = ["--model", "tiny.en", "--verbose", "False", "-o", str(folder)]
    assert cli.main(["transcribe", *map(str, files), *asked]) == 1
    line = f"maxwhisper: error: {files[0]}: {folder}/long.json: cannot be written: {reason}\n"
    assert capsys.readouterr().err == line
    assert {path.name for path in folder.iterdir()} == {f"short.{name}" for name in FORMATS} | {
        f"long.{name}" for name in FORMATS if name != "json"
    }
    assert "a 499" in (folder / "long.srt").read_text()


@pytest.mark.parametrize("format", ["npz", "huggingface", "ctranslate2", "pt"])
def test_a_checkpoint_that_does_not_fit(full: tuple[Path, str], format: str, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    folder, reason = full
    source, out = tmp_path / "source.npz", folder / f"out{SUFFIXES[format]}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
    save_checkpoint(small(dims=victims.LARGE), source)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert cli.main(["convert", str(source), str(out), "--format", format]) == 1
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith(f"maxwhisper: error: {out}: cannot be written: ")
    assert reason in line
    assert list(folder.iterdir()) == []


def test_a_figure_that_cannot_be_written_costs_no_other(full: tuple[Path, str], tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    folder, reason = full
    monkeypatch.setattr("maxwhisper_impl.compare.compare", lambda *_, **__: victims.comparison("a"))
    monkeypatch.setattr("maxwhisper_impl.samples.read_samples", lambda *_, **__: [])
    json, plot = folder / "out.json", folder / "out.svg"
    assert cli.main(["compare", "--json", str(json), "--plot", str(plot)]) == 1
    said = capsys.readouterr()
    assert said.err == f"maxwhisper: error: {json}: cannot be written: {reason}\n"
    assert [path.name for path in folder.iterdir()] == ["out.svg"]
    assert "speed-up" in said.out


def test_a_table_that_cannot_be_printed(tmp_path: Path) -> None:
    """One line and a status, not Python's own complaint at its end; the file is there."""
    out = tmp_path / "out.json"
    code = ("import sys; from maxwhisper_impl import cli, compare, samples; from tests.robustness import victims\n"
            "compare.compare = lambda *_, **__: victims.comparison('a')\n"
            "samples.read_samples = lambda *_, **__: []\n"
            f"sys.exit(cli.main(['compare', '--json', {str(out)!r}]))")
    with open("/dev/full", "w") as nowhere:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, stdout=nowhere, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "maxwhisper: error: No space left on device\n")
    assert out.stat().st_size


def test_an_artifact_that_cannot_be_kept(no_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled = victims.Compiles("a")
    artifact = graphs.cache_folder() / "graphs" / "name.mef"
    assert graphs.compile_graphs(compiled, victims.NoGraphs(), print, artifact) is compiled  # type: ignore[arg-type]
    line, = capsys.readouterr().err.splitlines()
    start = "maxwhisper: warning: the compiled graphs are not kept for the next time: "
    assert line.startswith(f"{start}{artifact}: cannot be written: ")


@pytest.mark.parametrize(
    ("device", "takes"), [(DeviceRef.CPU(), "about half a minute"), (DeviceRef.GPU(), "some minutes")]
)
def test_how_long_compiling_takes_is_said(device: DeviceRef, takes: str, tmp_path: Path) -> None:
    said: list[str] = []
    wanted: Any = SimpleNamespace(device=device, module=None, library=victims.NoGraphs.library)
    graphs.compile_graphs(victims.Compiles("a"), wanted, said.append, tmp_path / "g.mef")  # type: ignore[arg-type]
    kind = "cpu" if device.is_cpu() else "gpu"
    assert said == [f"compiling the graphs for {kind}; the first time takes {takes}", "compiled in 0 s"]


def test_an_artifact_that_does_not_fit(full: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, reason = full
    compiled = victims.Compiles("a")
    assert graphs.compile_graphs(compiled, victims.NoGraphs(), print, folder / "g.mef") is compiled  # type: ignore[arg-type]
    assert reason in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_hashes_that_cannot_be_remembered(no_cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    assert sha256(file) == sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_hashes_on_a_full_disk(full: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = full
    with contextlib.suppress(OSError), (folder / "all").open("wb") as file:
        file.write(bytes(2 * ROOM))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    sha256(Path(__file__))
    assert not [path for path in folder.rglob("*") if path.name.endswith(".unfinished")]


def test_a_model_in_parts_needs_a_cache(no_cache: Path) -> None:
    """The message names the folder: another one, or a path, is the way out."""
    from maxwhisper_impl.weights import load_checkpoint

    with pytest.raises(CheckpointError, match=f"{no_cache}/maxwhisper/base-.*: cannot be written: "):
        load_checkpoint("base", download=False)


def test_devices_are_written_to_and_links_kept(tmp_path: Path) -> None:
    """What is written whole replaces files only."""
    comparison_view.write_json(Path("/dev/null"), victims.comparison("a"))
    assert Path("/dev/null").is_char_device()
    link, file = tmp_path / "link.json", tmp_path / ("long" * 60 + ".json")
    file.write_bytes(b"old")
    link.symlink_to(file)
    comparison_view.write_json(link, victims.comparison("a"))
    assert link.is_symlink()
    assert file.read_bytes().startswith(b"{")
    assert os.stat(file).st_mode & 0o777 == 0o666 & ~umask()


def test_what_gets_a_name_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a power cut could leave the name without the bytes: each file is flushed, and renamed after that."""
    done: list[str] = []
    flush, rename = os.fsync, os.replace

    def flushed_too(file: int) -> None:
        done.append(Path(f"/proc/self/fd/{file}").readlink().name)
        flush(file)

    monkeypatch.setattr(os, "fsync", flushed_too)
    monkeypatch.setattr(os, "replace", lambda draft, target: done.append("named") or rename(draft, target))
    comparison_view.write_json(tmp_path / "out.json", victims.comparison("a"))
    assert [name.endswith(".unfinished") for name in done] == [True, False]
    for format, files in (("npz", {"out.npz"}), ("ctranslate2", {"model.bin", "config.json"})):
        done.clear()
        save_checkpoint(small(), tmp_path / f"out{SUFFIXES[format]}", format=format)
        *flushed, named = done
        assert set(flushed) >= files
        assert named == "named"


def test_names_that_lead_in_a_circle_or_that_no_file_has(tmp_path: Path) -> None:
    """A link to itself leads to no file that could be kept; a NUL is an error of ours."""
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop.name)
    comparison_view.write_json(loop, victims.comparison("a"))
    assert loop.read_bytes().startswith(b"{")
    with pytest.raises(MaxWhisperError, match="cannot be written: embedded null"):
        comparison_view.write_json(tmp_path / "a\0b.json", victims.comparison("a"))
    assert [path.name for path in tmp_path.iterdir()] == ["loop.json"]


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
