"""The cache of transcripts: an answer is asked for once, and again when anything that it depends on has changed."""

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.weights import Checkpoint
from tests import baselines, implementations, oracle_answers, transcripts
from tests.implementations import IMPLEMENTATIONS, PINNED, Decoded
from tests.oracle_runtime import Draws
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


def test_every_bit_of_a_number_is_kept() -> None:
    third = np.float32(1) / np.float32(3)
    kept = baselines.cached(["a"], lambda _: [{"x": third, "y": np.float64(0.1), "n": (np.int64(3), torch.tensor(4))}])
    assert kept == [{"x": float(third), "y": 0.1, "n": [3, 4]}]
    with pytest.raises(TypeError, match="set, which JSON cannot keep"):
        baselines.cached(["b"], lambda _: [{1}])


def test_the_oracle_is_asked_again_where_anything_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers to options: weights, audio, options, draws, what is asked for, and the sources."""

    def answer(kind: str = "decode", weight: int = 0, sample: int = 0, draws: Any = None, **options: Any) -> int:
        tensors = {"w": np.full(3, weight, np.float16)}
        oracle: Any = SimpleNamespace(checkpoint=Checkpoint(SIZES["base"], tensors, None, tmp_path))
        data = np.full(3, sample, np.float32)
        return oracle_answers._kept(kind, oracle, data, options, draws, lambda: asked.append(1) or len(asked))

    asked, drawn = list[int](), Draws()
    drawn.samplers.append((0.5, [1, 2]))
    cases: list[dict[str, Any]] = [{}, {"kind": "transcribe"}, {"weight": 1}, {"sample": 1}, {"beam_size": 2}]
    assert [answer(**case) for case in cases] == [1, 2, 3, 4, 5] == [answer(**case) for case in cases]
    monkeypatch.setattr(drawn, "replaying", nullcontext)
    assert answer(draws=drawn) == 6
    monkeypatch.setattr(oracle_answers.importlib.metadata, "version", lambda name: f"another {name}")
    assert answer() == 7
    monkeypatch.setattr(torch, "__version__", "another")
    assert answer() == 8
    monkeypatch.setattr(baselines, "source_hash", lambda *paths: [path.name for path in paths])
    monkeypatch.setattr(baselines, "key", lambda **parts: parts["source"])
    monkeypatch.setattr(baselines, "cached", lambda keys, compute: keys)
    assert answer() == ["oracle_answers.py", "oracle_runtime.py", "openai.py", "greedy.py"]


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
    monkeypatch.setattr(implementations, "_version", lambda package: "another")
    keys.append(key())
    monkeypatch.setattr(baselines, "source_hash", lambda *paths: [path.name for path in paths])
    keys.append(key())
    asks = Transcripts(system, weights, lambda: None, keep=True)
    assert asks._source() == ["openai.py", "transcripts.py"]
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    assert key() == key(clip=dataclasses.replace(clip, id="renamed")) == keys[0]


class Told:
    """A system that answers with what it was asked."""

    def mel(self, audio: str) -> np.ndarray:
        return np.array([int(audio)])

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return mel

    def decode(self, features: np.ndarray, **options: Any) -> list[Decoded]:
        return [Decoded([int(one)], json.dumps(options, sort_keys=True), options["language"], 0.0, 0.0)
                for (one,) in features]  # fmt: skip

    def detect_language(self, features: np.ndarray) -> list[dict[str, float]]:
        return [{"en": float(one)} for (one,) in features]

    def transcribe(self, audio: str, **options: Any) -> dict[str, Any]:
        return {"text": f"{audio} {json.dumps(options, sort_keys=True)}", "language": "en", "segments": []}


def test_what_is_asked_of_each_clip_reaches_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of the clips, and whatever was asked before."""
    monkeypatch.setattr(transcripts, "load_audio", lambda path: path.stem)
    clips = []
    for number, language in enumerate(["en", "de", "en", "fr", "de"]):
        (tmp_path / f"{number}.wav").write_text(f"{number}")
        clips.append(Clip(f"{number}", tmp_path / f"{number}.wav", 9.0 - number, language, None))
    weights = Checkpoint(SIZES["base"], {"w": np.zeros(3, np.float16)}, None, tmp_path)
    system: Any = Transcripts(IMPLEMENTATIONS["maxwhisper_impl"], weights, Told, keep=False)
    system.windows(clips[1:3], beam_size=5)
    system.transcribe(clips[1:3], batch_size=8)
    for clip, found in zip(clips, system.windows(clips, beam_size=5), strict=True):
        number = int(clip.id)
        assert (found.tokens, found.language, found.language_probs) == ([number], clip.language, {"en": number})
        assert json.loads(found.text) == {"language": clip.language, "beam_size": 5}
    for clip, found in zip(clips, system.transcribe(clips, batch_size=8), strict=True):
        audio, _, options = found["text"].partition(" ")
        assert audio == clip.id
        assert json.loads(options) == {**PINNED, "language": clip.language, "batch_size": 8}
