"""From a shell's prompt to the first text, each system in a process of its own, all already compiled or converted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maxwhisper_impl.corpus import Clip
from tests import compare
from tests.perf.conftest import Peer, checked
from tests.perf.ratio import Ratio

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = {"maxwhisper_impl": "maxwhisper", "openai-whisper": "openai-whisper", "faster-whisper": "faster-whisper"}
SCRIPT = """
import sys
from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.systems import SYSTEMS, Pinned, SystemSpec
system = SYSTEMS[sys.argv[1]](SystemSpec(sys.argv[1], sys.argv[2], threads=2))
system.prepare()
system.load()
print(system.transcribe(load_audio(sys.argv[3]), Pinned(language="en")).text.strip())
"""
LIMIT = 6.0
"""Seconds to the first text from a warm cache."""


def first_text(system: str, checkpoint: Checkpoint, audio: Path) -> str:
    command = [sys.executable, "-c", SCRIPT, SYSTEMS[system], str(checkpoint.source), str(audio)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{system}: {done.stderr[-2000:]}"
    return done.stdout.strip()


@pytest.mark.slow
def test_cold_start(
    peer: Peer,
    race: Callable[..., Ratio],
    checkpoint: Checkpoint,
    clips: list[Clip],
    request: pytest.FixtureRequest,
    benchmark,
) -> None:
    clip = min((c for c in clips if c.language == "en" and c.text and c.seconds > 4), key=lambda c: c.seconds)
    impl = request.config.getoption("--impl")
    want = first_text("openai-whisper", checkpoint, clip.audio)
    text = first_text(impl, checkpoint, clip.audio)
    compare.assert_text("ours, cold", text, want)
    race(
        "cold start",
        lambda: first_text(impl, checkpoint, clip.audio),
        lambda: first_text(peer.name, checkpoint, clip.audio),
        4,
        checked("cold start", text, want, clip),
    )
    seconds = sorted(benchmark.stats.stats.data)[len(benchmark.stats.stats.data) // 2]
    assert seconds <= LIMIT, f"{seconds:.1f} s to the first text, at most {LIMIT} s"
