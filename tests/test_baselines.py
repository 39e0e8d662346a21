"""The cache of transcripts: an answer is asked for once, and again when anything that it depends on has changed."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.weights import Checkpoint
from tests import baselines
from tests.implementations import IMPLEMENTATIONS
from tests.transcripts import Transcripts


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(baselines, "_folder", tmp_path)
    return tmp_path / "baselines"


def test_only_what_is_missing_is_computed(folder: Path) -> None:
    asked: list[list[int]] = []

    def compute(indices: list[int]) -> list[Any]:
        asked.append(indices)
        return [{"index": i} for i in indices]

    baselines.cached(["b"], compute)
    assert baselines.cached(["a", "b", "c"], compute) == [{"index": 0}, {"index": 0}, {"index": 2}]
    assert asked == [[0], [0, 2]]
    (folder / "a.json").write_text('{"ind')
    baselines.cached(["a", "b", "c"], compute)
    assert asked[2:] == [[0]]
    assert json.loads((folder / "a.json").read_text()) == {"index": 0}
    assert sorted(p.name for p in folder.iterdir()) == ["a.json", "b.json", "c.json"]


def test_answers_and_questions_are_as_many() -> None:
    with pytest.raises(ValueError, match="1 answers for 2 questions"):
        baselines.cached(["a", "b"], lambda indices: [0])


def test_what_is_under_test_is_never_remembered(
    folder: Path, transcripts: Transcripts, oracle_transcripts: Transcripts
) -> None:
    """A second run asks it again, and finds the oracle's answers."""
    clip, asked = Clip("a", Path(__file__), 1.0, "en", None), list[str]()

    def answer(name: str) -> Any:
        return lambda indices: [asked.append(name)] * len(indices)

    for run in range(2):
        for name, system in (("ours", transcripts), ("oracle", oracle_transcripts)):
            system._answers(f"test {run}" if name == "ours" else "test", [clip], {}, answer(name))
            system._memory.clear()
    assert asked == ["ours", "oracle", "ours"]
    assert len(list(folder.iterdir())) == 1


def test_every_dependency_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    (tmp_path / "b.wav").write_bytes(b"b")
    clip = Clip("a", tmp_path / "a.wav", 1.0, "en", None)
    weights = Checkpoint(SIZES["base"], {"w": np.zeros(3, np.float16)}, None, tmp_path)
    system = IMPLEMENTATIONS["openai-whisper"]

    def key(
        clip: Clip = clip,
        weights: Checkpoint = weights,
        system: Any = system,
        kind: str = "windows",
        on: str = "cpu",
        **options: Any,
    ) -> str:
        return Transcripts(system, weights, lambda: None, keep=True, on=on)._key(kind, clip, options)

    keys = [
        key(),
        key(clip=dataclasses.replace(clip, audio=tmp_path / "b.wav")),
        key(clip=dataclasses.replace(clip, language="de")),
        key(weights=dataclasses.replace(weights, tensors={"w": np.ones(3, np.float16)})),
        key(system=IMPLEMENTATIONS["faster-whisper"]),
        key(kind="transcribe"),
        key(on="cuda"),
        key(without_timestamps=True),
    ]
    monkeypatch.setattr(baselines, "source_hash", lambda *paths: "edited")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    assert key() == key(clip=dataclasses.replace(clip, id="renamed")) == keys[0]
