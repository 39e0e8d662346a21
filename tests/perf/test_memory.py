"""Memory: of a short file against the original's, and of an hour against its audio. Each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl.audio import SAMPLE_RATE, load_audio
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.weights import save_checkpoint
from tests import record
from tests.parity.conftest import needs

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint
    from tests.implementations import Model

pytestmark = [pytest.mark.slow, pytest.mark.first_checkpoint]

ROOT = Path(__file__).resolve().parents[2]
PEAK = """
import atexit, sys
from maxwhisper_impl.worker import peak_memory  # of this process alone: ru_maxrss knows the parent's, too
atexit.register(lambda: print("peak", peak_memory(), file=sys.stderr))
"""
OURS = """
from maxwhisper_impl.cli import main
sys.exit(main(["transcribe", *sys.argv[1:]]))
"""
ORIGINAL = """
import json, whisper
from maxwhisper_impl.audio import load_audio  # its own needs an ffmpeg command
model = whisper.load_model(sys.argv[2])
result = model.transcribe(load_audio(sys.argv[1]), language="en", temperature=0.0, fp16=False)
print(json.dumps(result))
"""
SPARE = 1.05
"""What two runs of the same work differ by."""


def run(script: str, *arguments: object) -> tuple[int, str]:
    """The peak resident bytes of a process's whole life, and what it printed."""
    command = [sys.executable, "-c", PEAK + script, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stderr.rsplit("peak ", 1)[1]), done.stdout


def transcribe(file: Path, checkpoint: Checkpoint, *options: str) -> tuple[int, dict[str, Any]]:
    pinned = ("--language", "en", "--beam_size", "None", "--temperature", "0", "--verbose", "False")
    into = ("--output_dir", file.parent, "--output_format", "json", "--model", checkpoint.source)
    peak, _ = run(OURS, file, *into, *pinned, *options)
    return peak, json.loads(file.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def spoken(clips: list[Clip]) -> np.ndarray:
    return load_audio(max((c for c in clips if c.language == "en" and c.text), key=lambda c: c.seconds).audio)


def write(folder: Path, audio: np.ndarray, seconds: float) -> Path:
    samples = np.resize(audio, round(seconds * SAMPLE_RATE)) * 32767
    file = folder / f"{seconds:.0f}.wav"
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, len(samples), "NONE", ""))
        out.writeframes(samples.astype("<i2").tobytes())
    return file


def test_no_more_than_the_original(
    model: Model, checkpoint: Checkpoint, spoken: np.ndarray, tmp_path: Path
) -> None:
    needs(model, "live")
    file = write(tmp_path, spoken, 40)
    save_checkpoint(checkpoint, tmp_path / "original.pt")
    ours, result = transcribe(file, checkpoint)
    theirs, original = run(ORIGINAL, file, tmp_path / "original.pt")
    record.note(f"perf memory of 40 s: ours {ours >> 20} MiB, openai-whisper {theirs >> 20} MiB")
    assert result["text"] == json.loads(original)["text"]
    assert ours <= theirs


@pytest.mark.parametrize("options", [(), ("--word_timestamps", "True")], ids=["segments", "words"])
def test_an_hour(
    model: Model, checkpoint: Checkpoint, spoken: np.ndarray, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Beyond what twenty minutes take, memory grows by the audio alone, and times go on and on.

    Words are timed with the logits of all that a window says, and the longest window may lie behind twenty minutes."""
    needs(model, "live")
    minutes, _ = transcribe(write(tmp_path, spoken, 1200), checkpoint, *options)
    hour, result = transcribe(write(tmp_path, spoken, 3600), checkpoint, *options)
    record.note(f"perf memory of an hour {hour >> 20} MiB, of twenty minutes {minutes >> 20} MiB")
    audio, dims = 2400 * SAMPLE_RATE * 4, checkpoint.dims
    longest = dims.n_text_ctx // 2 * dims.n_vocab * 4 if options else 0
    assert hour <= SPARE * (minutes + audio) + longest, f"{hour >> 20} MiB after {minutes >> 20} MiB"
    segments = result["segments"]
    assert segments[-1]["end"] == pytest.approx(3600, abs=30)
    assert all(a["end"] <= b["start"] + 1e-6 for a, b in pairwise(segments))
    words = [word for segment in segments for word in segment.get("words", [])]
    assert bool(words) == bool(options)
    assert all(a["end"] <= b["start"] + 1e-6 for a, b in pairwise(words))
