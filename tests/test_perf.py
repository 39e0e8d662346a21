"""The perf harness itself: what is timed, against whom, and what a gate says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from tests import record
from tests.perf import conftest, test_speed
from tests.perf.conftest import Peer, Spoken, checked, load_peer, longest, run_race
from tests.perf.ratio import Ratio
from tests.perf.test_speed import gate

CHECKPOINT: Any = SimpleNamespace(dims=SIZES["tiny.en"], source=Path("tiny.en"))
SPOKEN = Spoken(Clip("a.wav", Path("a.wav"), 1.0, "en", "and so on"), np.zeros(16000, np.float32))


@pytest.fixture(autouse=True)
def no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """These races are made up."""
    monkeypatch.setattr(record, "run", record.Run())
    monkeypatch.setattr(pytest, "skip", lambda reason: pytest.fail(f"skipped: {reason}"))  # a verdict is asked for


class System:
    """Answers as the oracle does, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def _answer(self, answer: Any) -> Any:
        self.asked += 1
        return answer

    def mel(self, audio: np.ndarray) -> np.ndarray:
        return self._answer(np.ones((80, 3000), np.float32))

    long_mel = mel

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return self._answer(np.ones((1, 10, 10), np.float32))

    def decode(self, features: np.ndarray, **options: Any) -> Any:
        return self._answer([SimpleNamespace(tokens=list(range(20)))])

    def transcribe(self, audio: np.ndarray, **options: Any) -> Any:
        return self._answer({"text": " and so on"})


@pytest.mark.parametrize("case", ["mel", "encode", "decode", "transcribe"])
def test_the_peer_is_what_is_timed_against(case: str) -> None:
    """The race's first call asks the system under test alone, its second the peer alone."""
    model, peer, oracle, asked = System(), System(), System(), []

    def race(name: str, ours: Any, theirs: Any, rounds: int, *said: Any) -> Any:
        for call in (ours, theirs):
            before = [system.asked for system in (model, peer, oracle)]
            call()
            asked.append([system.asked - b for system, b in zip((model, peer, oracle), before, strict=True)])
        return rounds

    run: Any = getattr(test_speed, case)
    assert run(model, oracle, Peer("peer", peer), SPOKEN, race, CHECKPOINT, 6) in (6, None)
    assert asked == [[1, 0, 0], [0, 1, 0]]


def test_what_is_timed_has_passed_its_parity_check() -> None:
    model, oracle = System(), System()
    model.long_mel = lambda audio: np.full((80, 3000), 1.1, np.float32)
    model.encode = lambda mel: np.full((1, 10, 10), 1.001, np.float32)
    model.decode = lambda features, **options: [SimpleNamespace(tokens=list(range(1, 21)))]
    model.transcribe = lambda audio, **options: {"text": " and so"}
    for case in ("mel", "encode", "decode", "transcribe"):
        run: Any = getattr(test_speed, case)
        with pytest.raises(AssertionError, match=r"mel 80 1 s|features|timed"):
            run(model, oracle, Peer("peer", oracle), SPOKEN, None, CHECKPOINT, 6)


def test_a_peer_that_says_less_is_not_raced() -> None:
    model, oracle, peer = System(), System(), System()
    peer.decode = lambda features, **options: [SimpleNamespace(tokens=list(range(19)))]
    peer.transcribe = lambda audio, **options: {"text": " and so"}
    for case in ("decode", "transcribe"):
        run: Any = getattr(test_speed, case)
        with pytest.raises(AssertionError, match=r"peer, timed decode: step 19|peer wrote another text"):
            run(model, oracle, Peer("peer", peer), SPOKEN, None, CHECKPOINT, 6)


def test_what_is_timed_has_no_more_word_errors_than_the_original() -> None:
    good, bad = " And so on.", " and on"
    for text, original, rate in ((good, good, 0), (bad, bad, 1 / 3), (good, bad, 0)):
        got = checked("reading", text, original, SPOKEN.clip)
        assert (got.wer, got.words) == (pytest.approx(rate), 3)
        assert (got.text_hash == checked("", good, good, SPOKEN.clip).text_hash) == (text == good)
    with pytest.raises(AssertionError, match=r"reading, timed: WER 33\.33% \(1 of 3 words\)"):
        checked("reading", bad, good, SPOKEN.clip)


def test_what_is_timed_is_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of English speech; of what fits, where there is a limit."""
    monkeypatch.setattr(conftest, "load_audio", lambda path: np.zeros(1))
    spoken = [(5.0, "en", "a"), (20.0, "en", "b"), (90.0, "en", "c"), (99.0, "de", "d"), (99.0, "en", None)]
    clips = [Clip(f"{s}", Path("x"), s, language, text) for s, language, text in spoken]
    assert [longest(clips, *limit).clip.seconds for limit in ((), (30,), (10,))] == [90, 20, 5]


def test_ours_is_no_peer() -> None:
    model, other = System(), type("Other", (System,), {})()
    assert load_peer("faster-whisper", "maxwhisper_impl", lambda *given: other, CHECKPOINT, model).model is other
    for same in (model, System()):
        with pytest.raises(AssertionError, match="faster-whisper is raced against itself"):
            load_peer("faster-whisper", "maxwhisper_impl", lambda *given, same=same: same, CHECKPOINT, model)
    with pytest.raises(pytest.fail.Exception, match="under test itself"):
        load_peer("faster-whisper", "faster-whisper", lambda *given: other, CHECKPOINT, model)


def test_a_peer_races_on_the_same_device() -> None:
    """Where it cannot, there is no race; on the CPU it has to."""
    model, asked = System(), []
    other = type("Other", (System,), {})()

    def load(implementation: Any, checkpoint: Any, device: str) -> Any:
        asked.append(device)
        return other

    def refuses(*given: Any) -> Any:
        raise RuntimeError("libcublas.so.12 is not found")

    other.encode = lambda mel: mel
    for device in ("cpu", "cuda"):
        assert load_peer("openai-whisper", "maxwhisper_impl", load, CHECKPOINT, model, device).model is other
    assert asked == ["cpu", "cuda"]
    other.encode = refuses  # as CTranslate2 does, when it first computes
    assert load_peer("faster-whisper", "maxwhisper_impl", load, CHECKPOINT, model, "cpu").model is other
    for way in (load, refuses):
        with pytest.raises(pytest.fail.Exception, match=r"faster-whisper does not compute on cuda here: libcublas"):
            load_peer("faster-whisper", "maxwhisper_impl", way, CHECKPOINT, model, "cuda")
    with pytest.raises(RuntimeError, match="libcublas"):
        load_peer("faster-whisper", "maxwhisper_impl", refuses, CHECKPOINT, model, "cpu")


class Benchmark:
    """pytest-benchmark's `pedantic`, on a clock of its own that ours and the peer move."""

    def __init__(self, clock: list[float]):
        self.clock, self.extra_info = clock, {}
        self.stats: Any = None

    def pedantic(self, ours: Any, setup: Any, rounds: int, iterations: int) -> None:
        times = []
        for _ in range(rounds):
            setup()
            start = self.clock[0]
            ours()
            times.append(self.clock[0] - start)
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=times))


@pytest.mark.parametrize(("first", "calls_for_six"), [(100, 7), (0.025, 1 + 6 * 4)])
def test_a_race_has_the_ratio_of_its_times(first: float, calls_for_six: int) -> None:
    """The peer takes twice as long; what is unmeasured may take as long as it likes, and short calls fill a round."""
    clock, calls = [0.0], {"ours": 0, "theirs": 0}

    def system(name: str, seconds: float) -> Any:
        def run() -> None:
            calls[name] += 1
            clock[0] += seconds if calls[name] > 1 else first

        return run

    benchmark = Benchmark(clock)
    got = run_race(benchmark, "peer", "case", system("ours", 1), system("theirs", 2), 6, clock=lambda: clock[0])
    assert (got.median, got.low, got.high, got.validity) == pytest.approx((2, 2, 2, 1))
    assert calls == {"ours": calls_for_six, "theirs": calls_for_six}
    assert benchmark.extra_info["ratio"] == got.median
    assert benchmark.extra_info["peer_seconds"] == 2
    assert benchmark.extra_info["calls"] == (calls_for_six - 1) / 6
    assert benchmark.extra_info["valid"]
    assert benchmark.extra_info["peer_rounds"] == [2] * 6, "of the peer, as the history judges it"
    assert len(benchmark.extra_info["memory_rounds"]) == 12


def test_what_a_race_records_is_its_interval() -> None:
    clock, ours, theirs = [0.0], iter([1, 1, 1.5, 1, 1.2, 1, 1, 1.1, 1]), iter([3, 2, 3, 2, 2, 4, 2, 2, 3])
    benchmark = Benchmark(clock)

    def takes(seconds: Any) -> Any:
        return lambda: clock.__setitem__(0, clock[0] + next(seconds))

    got = run_race(benchmark, "peer", "case", takes(ours), takes(theirs), 8, clock=lambda: clock[0], wer=0.5)
    told = benchmark.extra_info
    assert got.low < got.median < got.high
    for name in ("low", "high", "validity", "valid"):
        assert told[name] == getattr(got, name)
    assert (told["ratio"], told["wer"], told["peer"]) == (got.median, 0.5, "peer")


@pytest.mark.parametrize(
    ("case", "peer", "low", "validity", "says"),
    [
        ("mel", "faster-whisper", 1.19, 1.0, "does not reach 1.20×"),
        ("encode", "openai-whisper", 0.99, 1.0, "does not reach 1.00×"),
        ("encode", "faster-whisper", 0.99, 1.0, "does not reach 1.00×"),
        ("transcribe", "faster-whisper", 1.19, 1.0, "does not reach 1.20×"),
        ("transcribe", "faster-whisper", 1.25, 1.05, "invalid run"),
    ],
)
def test_gates(case: str, peer: str, low: float, validity: float, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        gate(case, CHECKPOINT, Peer(peer, None), Ratio(1.4, low, 1.5, validity, 4))
    gate(case, CHECKPOINT, Peer(peer, None), Ratio(1.4, 1.25, 1.5, 1.0, 4))


@pytest.mark.parametrize("case", ["mel", "encode", "transcribe"])
def test_full_measurements_go_through_the_gate(case: str) -> None:
    def race(*given: Any) -> Ratio:
        return Ratio(1.4, 0.9, 1.5, 1.0, 4)

    peer = Peer("faster-whisper", System())
    with pytest.raises(AssertionError, match="does not reach"):
        getattr(test_speed, f"test_{case}")(System(), System(), peer, SPOKEN, race, CHECKPOINT)
