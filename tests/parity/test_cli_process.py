"""The command as a process of its own, and on real weights: quick to start, light to import, openai-whisper's files."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from maxwhisper_impl import cli
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.weights import Checkpoint, save_checkpoint
from tests.parity.test_cli import oracle_module


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "maxwhisper_impl", *arguments], text=True, capture_output=True,
                          timeout=300, check=False)


def test_the_command_itself() -> None:
    started = time.monotonic()
    helped = run("--help")
    took = time.monotonic() - started
    assert helped.returncode == 0
    assert "transcribe" in helped.stdout
    assert took < 5, "a second or two on a busy machine; importing torch or MAX takes longer"
    assert run("--version").stdout.startswith("maxwhisper ")
    unknown = run("transcribe", __file__, "--model", "enormous")
    assert unknown.returncode == 1
    *progress, line = unknown.stderr.splitlines()
    assert all(line.startswith("loading enormous") for line in progress)
    assert line.startswith("maxwhisper: error: 'enormous' is neither a file or folder nor a model's name")


def loaded_modules(*arguments: str) -> set[str]:
    """Top-level modules after running the command in a process of its own."""
    code = ("import sys; from maxwhisper_impl.cli import main\n"
            "try: status = main(sys.argv[1:])\n"
            "except SystemExit as left: status = left.code\n"
            "print('\\nMODULES', *{name.partition('.')[0] for name in sys.modules}); sys.exit(status)")
    done = subprocess.run([sys.executable, "-c", code, *arguments], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_help_imports_nothing_heavy() -> None:
    assert not {"torch", "max", "whisper", "scipy", "matplotlib", "rich"} & loaded_modules("--help")


def test_help_names_defaults_where_there_are_any(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["transcribe", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "(default: 2.4)" in shown
    assert "(default: None)" not in shown


def test_the_version_of_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed to whatever stands in for standard output."""
    def version(package: str) -> str:
        if package == "maxwhisper":
            raise PackageNotFoundError
        return "1.2"

    monkeypatch.setattr("importlib.metadata.version", version)
    with pytest.raises(SystemExit, match="0"), redirect_stdout(io.StringIO()) as shown:
        cli.main(["--version"])
    assert shown.getvalue() == "maxwhisper (not installed as a package)\nmax 1.2\n"


def test_letters_that_a_terminal_lacks_cost_themselves_alone() -> None:
    code = ("import sys; from maxwhisper_impl import cli, commands\n"
            "commands.convert = lambda options: print('Straße 東') or 0\n"
            "sys.exit(cli.main(['convert', 'a', 'b']))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "latin-1"},
                          capture_output=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Stra\xdfe ?\n", b"")


def test_a_reader_that_left_is_no_complaint(capsys: pytest.CaptureFixture[str]) -> None:
    """`maxwhisper compare | head`"""
    def command() -> int:
        raise BrokenPipeError(32, "Broken pipe")

    assert cli.run(command) == 1
    assert capsys.readouterr().err == ""


def test_who_handles_sigterm_already_goes_on_to() -> None:
    """And in another thread than the main one there is nothing to handle."""
    def status() -> int:
        return 7 if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN else 0

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert cli.run(status) == 7
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(cli.run, status).result() == 7
    finally:
        signal.signal(signal.SIGTERM, before)
    assert cli.run(status) == 0


def test_a_terminated_command_unwinds_once() -> None:
    """A second signal does not stop it, and the handler goes with the command."""
    undone: list[str] = []

    def command() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)  # the watching thread has heard of it, and waits
            undone.append("all of it")
        return 0

    assert cli.run(command) == 128 + signal.SIGTERM
    assert undone == ["all of it"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.fixture
def spoken(clips: list[Clip]) -> Clip:
    return min((c for c in clips if c.language == "en" and c.text and c.seconds > 2), key=lambda c: c.seconds)


@pytest.mark.first_checkpoint
def test_transcribing_imports_no_peer(checkpoint: Checkpoint, spoken: Clip, tmp_path: Path) -> None:
    modules = loaded_modules("transcribe", str(spoken.audio), "--model", str(checkpoint.source), "-o", str(tmp_path),
                             "--beam_size", "None", "--verbose", "False")
    assert "max" in modules
    assert not {"torch", "whisper", "faster_whisper", "matplotlib", "scipy", "numba", "jiwer"} & modules


@pytest.mark.first_checkpoint
def test_files_are_those_of_openais_command(checkpoint: Checkpoint, spoken: Clip, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(checkpoint, tmp_path / "model.pt")
    common = [str(spoken.audio), "--output_format", "all", "--verbose", "False", "--language", "en"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    assert cli.main(["transcribe", *common, "--model", str(checkpoint.source), "-o", str(ours)]) == 0
    asked = ["whisper", *common, "--model", str(tmp_path / "model.pt"), "-o", str(theirs), "--fp16", "False"]
    monkeypatch.setattr(sys, "argv", asked)
    monkeypatch.setattr("whisper.audio.load_audio", decoded)
    oracle_module().cli()
    for path in theirs.iterdir():
        if path.suffix != ".json":
            assert (ours / path.name).read_bytes() == path.read_bytes(), path.name
    got, want = (json.loads((folder / f"{spoken.audio.stem}.json").read_text()) for folder in (ours, theirs))
    assert got.keys() == want.keys()
    assert got["text"] == want["text"]
    assert [s["tokens"] for s in got["segments"]] == [s["tokens"] for s in want["segments"]]
    assert [s.keys() for s in got["segments"]] == [s.keys() for s in want["segments"]]


def decoded(file: str) -> np.ndarray:
    """openai-whisper asks the `ffmpeg` program, which need not be here."""
    from maxwhisper_impl.audio import load_audio

    return load_audio(file)
