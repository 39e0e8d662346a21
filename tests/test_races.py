"""Races of the fastest: each side with its own best setting and work, ours first, and only what is right is raced."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from tests import record
from tests.perf import test_fastest
from tests.perf.cases import Inputs
from tests.perf.conftest import Spoken
from tests.perf.peers import CASES, CONFIGURATIONS, OURS, Configuration, Setting, able, find
from tests.perf.settings import Best, Settings
from tests.perf.test_fastest import FEW, FULL, Field, race

SAID = "the big house and a small tree " * 20
WRONG = "the house and a small tree " * 20
STEPS = {"step": 21, "batch": 22}
CHECKPOINT: Any = SimpleNamespace(dims=SIZES["tiny.en"], source=Path("tiny.en"))
(PEER,) = find("faster-whisper:float32")
US = Configuration(OURS, "float32")


@pytest.fixture(autouse=True)
def no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """These races are made up."""
    monkeypatch.setattr(record, "run", record.Run())
    monkeypatch.setattr(pytest, "skip", lambda reason: pytest.fail(f"skipped: {reason}"))  # a verdict is asked for


class System:
    """A contestant that notes with which setting it was asked for what; `says` of what it gets wrong."""

    def __init__(self, which: Configuration, asked: list[Any], says: dict[Configuration, dict[str, Any]]):
        self.which, self.asked, self.wrong = which, asked, says.get(which, {})

    def at(self, setting: Setting) -> System:
        other = copy(self)
        other.setting = setting
        return other

    def _note(self, *what: Any) -> None:
        self.asked.append((self.which, self.setting.threads, *what))

    def encode(self, mel: np.ndarray) -> Any:
        self._note("encode", len(mel))
        return np.ones((len(mel), 15, 38), np.float32) * self.wrong.get("features", 1)

    def features(self, mel: np.ndarray) -> Any:
        return mel

    def decode(self, features: Any, steps: int) -> list[list[int]]:
        self._note("decode", len(features), steps)
        return [[self.wrong.get("token", 7)] * (steps - self.wrong.get("fewer", 0))] * len(features)

    def read(self, audio: np.ndarray) -> str:
        self._note("read", len(audio))
        return self.wrong.get("text", SAID)

    def read_in_batches(self, audio: np.ndarray, cuts: Any) -> str:
        self._note("read in batches", len(audio), cuts)
        return self.wrong.get("text", SAID)

    def clock(self, case: str) -> Any:
        return (self.which, case)


class Oracle:
    eot = 50256

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return np.ones((len(mel), 15, 38), np.float32)

    def decode(self, features: np.ndarray, sample_len: int, **options: Any) -> Any:
        assert options["suppress_tokens"] == "-1,50256"
        return [SimpleNamespace(tokens=[7] * sample_len)] * len(features)


def threads(which: Configuration, case: str) -> int:
    """Of its best setting: each has another number."""
    return 100 * list(CONFIGURATIONS).index(which) + CASES.index(case) + 1


def seconds(which: Configuration) -> float:
    return {"openai-whisper": 5.0, OURS: {"float32": 1.0, "bfloat16": 0.5, "int8": 0.7}.get(which.dtype)}.get(
        which.system, 1.0
    ) or 1.0  # fmt: skip


SETTINGS = Settings(
    Best(which.system, which.dtype, "tiny.en", case, threads(which, case), 1, 1, seconds(which), 4, 0.0, "")
    for case in CASES for which in able(case)
)  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`run(case, dtype, peer, {configuration: what it gets wrong})`: what was handed to the race, and what asked."""

    def made(case: str, dtype: str | None, peer: Configuration, wrong: Any = None) -> tuple[dict[str, Any], list[Any]]:
        asked: list[Any] = []
        raced: dict[str, Any] = {}

        def run_race(
            benchmark: Any, name: str, what: str, ours: Any, theirs: Any, rounds: int, clock: Any, **facts: Any
        ) -> None:
            raced.update(facts, name=name, what=what, calls=(ours, theirs), rounds=rounds, clock=clock)

        monkeypatch.setattr(test_fastest, "run_race", run_race)
        monkeypatch.setattr(test_fastest, "load", lambda which, weights, at: System(which, asked, wrong or {}).at(at))
        mel = np.zeros((8, 80, 3000), np.float32)
        inputs = Inputs(mel[:1], mel, np.zeros(99), [(0, 50), (50, 99)], STEPS["step"], STEPS["batch"])
        spoken = Spoken(Clip("lj-printing", Path("lj-printing.flac"), 130.0, "en", SAID), np.zeros(99))
        field = Field(CHECKPOINT, "tiny.en", inputs, spoken, SAID)
        oracle: Any = Oracle()
        race(None, field, field, SETTINGS, oracle, False, case, dtype, peer)
        return raced, asked

    return made


WORK = {
    "encode": ("encode", 1), "step": ("decode", 1, 21), "batch": ("decode", 8, 22), "reading": ("read", 99),
    "batched": ("read in batches", 99, [(0, 50), (50, 99)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "fastest"), [("float32", "float32"), (None, "bfloat16")])
def test_each_side_does_the_same_work_at_its_best(run: Any, case: str, dtype: str | None, fastest: str) -> None:
    raced, asked = run(case, dtype, PEER)
    us = Configuration(OURS, fastest)
    for call, which in zip(raced["calls"], (us, PEER), strict=True):
        asked.clear()
        call()
        assert asked == [(which, threads(which, case), *WORK[case])]
    assert (raced["name"], raced["dtype"], raced["peer_dtype"]) == ("faster-whisper", fastest, "float32")
    assert raced["setting"] == str(Setting(threads(us, case)))
    assert raced["peer_setting"] == str(Setting(threads(PEER, case)))
    assert raced["clock"] == (PEER, case)
    assert (raced["wer"], raced["peer_wer"]) == (0, 0)
    assert raced["audio_seconds"] == (130.0 if case in ("reading", "batched") else None)


def test_few_rounds_for_whole_recordings_and_who_is_far_behind(run: Any) -> None:
    (far,) = find("openai-whisper:float32")
    for case, peer, rounds in (("step", PEER, FULL), ("step", far, FEW), ("reading", PEER, FEW)):
        assert run(case, "float32", peer)[0]["rounds"] == rounds


@pytest.mark.parametrize(
    ("case", "wrong", "says"),
    [
        ("encode", {"features": 1.01}, "features err by 0.01"),
        ("step", {"token": 8}, "timed step: step 0 of 21 is 8"),
        ("batch", {"fewer": 1}, "made other than 22 steps"),
    ],
)
def test_what_is_timed_is_the_oracles(run: Any, case: str, wrong: dict[str, Any], says: str) -> None:
    for which in (US, PEER):
        with pytest.raises(AssertionError, match=says):
            run(case, "float32", PEER, {which: wrong})


@pytest.mark.parametrize("case", ["encode", "reading", "batched"])
def test_who_says_other_words_is_not_raced(run: Any, case: str) -> None:
    """A peer is left out; of ours it is a failure, in every dtype on a real reading."""
    with pytest.raises(pytest.fail.Exception, match=r"left out: faster-whisper:float32 with tiny.en: WER 14\.29%"):
        run(case, "float32", PEER, {PEER: {"text": WRONG}})
    for dtype, us in (("float32", US), (None, Configuration(OURS, "bfloat16"))):
        with pytest.raises(AssertionError, match=r"WER 14\.29%|ours, timed reading"):
            run(case, dtype, PEER, {us: {"text": WRONG}})
