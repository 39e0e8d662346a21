"""The soak sees a leak and a changed text, and is content where there is neither."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.audio import SAMPLE_RATE
from tests import soak
from tests.soak import ENDS, SECONDS, WARM_UP, Soak, as_json, run_in, speech

ROOT = Path(__file__).parents[2]
PLANTED = """
import sys
from itertools import count
from tests.soak import soak
kept, rounds = [], count(1)
def job():
    if sys.argv[1] == "leaks": kept.append(b"x" * (1 << 20))
    if sys.argv[1] == "warms up" and len(kept) < 3: kept.append(b"x" * (8 << 20))
    return f"the text {next(rounds) == 7 and sys.argv[1] == 'changes'}"
seen = soak({"job": job, "other": lambda: "its text"}, 0, print)
print(*seen.faults(), sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize(("planted", "fault"), [
    ("nothing", "\n"),
    ("warms up", "\n"),
    ("leaks", "memory grew from "),
    ("changes", "job: in round 7 'the text True', in the first one 'the text False'\n"),
])
def test_what_is_planted_is_found(planted: str, fault: str) -> None:
    """In a process of its own, whose memory is no other test's."""
    command = [sys.executable, "-c", PLANTED, planted]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stderr.startswith(fault)
    assert done.stderr.count("\n") == 1, "that, and nothing else"
    assert f"round {WARM_UP + 2 * ENDS}: " in done.stdout


def test_too_few_rounds_prove_nothing() -> None:
    assert "too few" in Soak(memory=[1] * (WARM_UP + 2 * ENDS - 1)).faults()[0]


def test_rounds_that_sway_are_no_growth_and_a_slow_one_is() -> None:
    sway = [0, 4, -3, 2, 5, -4, 1, -2, 3, -1]
    calm = [1000 + 5 * sway[i % 10] for i in range(80)]
    assert not Soak(memory=calm).faults()
    assert "memory grew" in Soak(memory=[m + i // 2 for i, m in enumerate(calm)]).faults()[0]


def test_the_run_file_says_what_was_seen() -> None:
    seen = Soak(memory=[100] * 8 + [103] * 6, changes=["job: in round 2 …"])
    written = json.loads(json.dumps(as_json(seen, 0.5)))
    assert {"kind": "soak", "minutes": 0.5, "rounds": 14, "same_text": False}.items() <= written.items()
    assert written["memory"] == seen.memory
    assert seen.faults() == ["job: in round 2 …", "memory grew from 0.0 to 0.0 MiB, +3.0%: at most +2%"]


class Model:
    """Says what it was asked, and of the live one what it was fed."""

    def __init__(self) -> None:
        self.text = ""

    def transcribe(self, audio: np.ndarray, **options: Any) -> dict[str, Any]:
        words = [{"word": " so", "end": len(audio)}] if options["word_timestamps"] else []
        del options["language"], options["temperature"]
        return {"text": f"{len(audio)} {options}", "segments": [{"words": words}, {}]}

    def live(self, **options: Any) -> Model:
        self.text = f"{options['step']}"
        return self

    def feed(self, chunk: np.ndarray) -> None:
        assert 0 < len(chunk) <= SAMPLE_RATE // 2
        self.text += f" {len(chunk)}"

    def finish(self) -> None:
        self.text += " finished"


def test_each_job_does_what_it_is_called() -> None:
    """And gives the text that the model gave: a text that cannot change would prove nothing."""
    model: Any = Model()
    asked = model.transcribe
    model.transcribe = lambda audio, **options: asked(audio, **{"word_timestamps": False, **options})
    said = {name: job() for name, job in speech(model).items()}
    long = SECONDS * SAMPLE_RATE
    assert said["sequential"] == f"{long} {{'word_timestamps': False}}"
    assert said["batched"] == f"{long} {{'word_timestamps': False, 'batch_size': 3}}"
    short, window = int(said["short"].partition(" ")[0]), int(said["words"].removeprefix(" so@"))
    assert said["beams"] == f"{short} {{'word_timestamps': False, 'beam_size': 5}}"
    assert 0 < short < window < 30 * SAMPLE_RATE
    step, *fed, end = said["live"].split()
    assert (step, sum(map(int, fed)), end) == ("4.0", window, "finished")


def test_the_decoder_is_run_in() -> None:
    done: list[Any] = []
    state = SimpleNamespace(step=lambda tokens: done.append(tokens.shape), rewind=done.append)
    runtime = SimpleNamespace(encode=lambda mel: mel.shape, start=lambda features: done.append(features) or state)
    model: Any = SimpleNamespace(dims=SimpleNamespace(n_mels=80, n_audio_ctx=1500), runtime=runtime)
    run_in(model, 3)
    assert done == [(1, 80, 3000), *[(1, 1), 0] * 3]
    assert soak.RUN_IN == 100_000


@pytest.mark.parametrize(("last", "changes", "status"), [(100, [], 0), (103, [], 1), (100, ["a text"], 1)])
def test_the_command(
    last: int, changes: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked: list[Any] = []
    seen = Soak(memory=[100] * 8 + [last] * 6, changes=changes)
    monkeypatch.setattr("maxwhisper_impl.load_model", lambda name, **options: asked.append(name) or name)
    monkeypatch.setattr(soak, "run_in", asked.append)
    monkeypatch.setattr(soak, "speech", lambda model: asked.append(model) or {})
    monkeypatch.setattr(soak, "soak", lambda jobs, seconds, say: asked.append(seconds) or seen)
    monkeypatch.setattr("sys.argv", ["soak", "--minutes", "3", "--json", str(tmp_path / "s.json"), "--model", "x"])
    assert soak.main() == status
    assert asked == ["x", "x", "x", 180]
    assert json.loads((tmp_path / "s.json").read_text())["memory"] == seen.memory
    assert ("soak: " in capsys.readouterr().err) == bool(status)
