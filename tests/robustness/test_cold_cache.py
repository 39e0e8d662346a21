"""The real command on an empty cache: killed while it compiles, twice at once, and without a cache at all."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.termination import GRACE, STATUS
from maxwhisper_impl.weights import random_checkpoint, save_checkpoint
from tests import record
from tests.robustness.test_disk import tmpfs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALLEST = replace(
    SIZES["tiny.en"], n_audio_state=64, n_audio_head=1, n_audio_layer=1, n_text_state=64, n_text_head=1, n_text_layer=1
)
PLAIN = ("--beam_size", "None", "--temperature_increment_on_fallback", "None", "--logprob_threshold", "None",
         "--compression_ratio_threshold", "None", "--no_speech_threshold", "None", "-f", "txt")  # fmt: skip
"""One greedy pass; random weights would fail every threshold."""
KILLS = 3
LONGEST = 600
"""seconds for a run that compiles, on a busy machine"""


class Command:
    """`maxwhisper transcribe` of one clip with small random weights, with a cache of its own."""

    def __init__(self, clip: Clip, folder: Path) -> None:
        self.clip, self.folder, self.cache = clip, folder, folder / "cache"
        save_checkpoint(random_checkpoint(SMALLEST, seed=5), folder / "model.npz")

    def start(self, out: str) -> subprocess.Popen[str]:
        asked = [str(self.clip.audio), "--model", str(self.folder / "model.npz"), "-o", str(self.folder / out), *PLAIN]
        return subprocess.Popen(
            [sys.executable, "-m", "maxwhisper_impl", "transcribe", *asked], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "XDG_CACHE_HOME": str(self.cache)},
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str], out: str) -> tuple[str, str]:
        """The transcript, and what was said on the way."""
        _, said = process.communicate(timeout=LONGEST)
        assert process.returncode == 0, said
        return (self.folder / out / f"{self.clip.audio.stem}.txt").read_text(), said

    def run(self, out: str) -> tuple[str, str]:
        return self.finish(self.start(out), out)

    def artifacts(self) -> list[Path]:
        return list((self.cache / "maxwhisper" / "graphs").glob("[!.]*"))


@pytest.fixture
def command(clips: list[Clip], tmp_path: Path) -> Command:
    return Command(min((c for c in clips if c.text and c.seconds > 2), key=lambda c: c.seconds), tmp_path)


def test_two_processes_at_once(command: Command) -> None:
    """Both compile, and whichever is later finds the other's artifact in its place; a third one has nothing to do."""
    both = [command.start(out) for out in ("one", "two")]
    texts = [command.finish(process, out) for process, out in zip(both, ("one", "two"), strict=True)]
    alone, said = command.run("alone")
    assert alone.strip(), "random weights say something"
    assert [text for text, _ in texts] == [alone, alone]
    assert len(command.artifacts()) == 1
    assert all("compiling" in said for _, said in texts)
    assert "compiling" not in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_while_compiling(command: Command, number: signal.Signals) -> None:
    moments = random.Random(number)
    for _ in range(KILLS):
        process = command.start("killed")
        assert process.stderr
        while "compiling" not in (line := process.stderr.readline()):
            assert line, "it ended before it compiled"
        time.sleep(moments.uniform(0, 8))
        process.send_signal(number)
        asked = time.monotonic()
        _, said = process.communicate(timeout=60)
        if number == signal.SIGTERM:
            assert (process.returncode, said.splitlines()[-1]) == (STATUS, "maxwhisper: error: terminated")
            assert time.monotonic() - asked < 5 * GRACE, "compiling was waited for"
        else:
            assert process.returncode == -number
        assert command.artifacts() == []
        record.count("kills")
    text, _ = command.run("after")
    assert text.strip()
    assert len(command.artifacts()) == 1


def test_without_a_cache(command: Command) -> None:
    """A read-only folder, and a file in the place of it: compiled each time, and said so; the text is there."""
    command.cache.write_bytes(b"")
    text, said = command.run("file")
    assert "not kept for the next time" in said
    command.cache.unlink()
    with tmpfs(command.cache, "ro"):
        again, said = command.run("read-only")
    assert "not kept for the next time" in said
    assert text == again
    assert text.strip()
