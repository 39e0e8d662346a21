"""Interleaved measurements of the implementation under test against each peer, with the same weights in one process.

No timing counts for a configuration that has not passed parity and WER in the same run: a test compares what it is
about to time, and `heard` the text and its errors, before `race` takes a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.scoring import word_errors
from tests import compare, record
from tests.implementations import IMPLEMENTATIONS, Model, checkpoint_name
from tests.perf.ceilings import read_memory
from tests.perf.ratio import Interleaved, Ratio, ratio
from tests.perf.recording import rounded

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from maxwhisper_impl.weights import Checkpoint

PEERS = ("openai-whisper", "faster-whisper")
PROBED_BYTES = 1 << 26
"""Enough to tell whether others read memory too."""
SHORT = 0.2
"""Seconds of both systems' calls together: below that, what the other one left in the caches would count."""


@dataclass(frozen=True)
class Peer:
    name: str
    model: Model


def load_peer(
    name: str, under_test: str, load: Callable[..., Model], checkpoint: Checkpoint, model: Model, device: str = "cpu"
) -> Peer:
    """Another system with the same weights in float32 on the same device; AssertionError where it is the one under test
    in disguise. A GPU that it cannot use skips the race."""
    if name == under_test:
        pytest.skip("it is under test itself")
    try:
        other = load(IMPLEMENTATIONS[name], checkpoint, device)
        if device != "cpu":  # CTranslate2 looks for CUDA's libraries when it first computes
            other.encode(np.zeros((1, checkpoint.dims.n_mels, 2 * checkpoint.dims.n_audio_ctx), np.float32))
    except (ImportError, RuntimeError, ValueError) as error:
        if device == "cpu":
            raise
        pytest.skip(f"{name} does not compute on {device} here: {error}")
    assert type(other) is not type(model), f"{name} is raced against itself: both are {type(model).__name__}"
    return Peer(name, other)


@pytest.fixture(params=PEERS)
def peer(
    request: pytest.FixtureRequest, load: Callable[..., Model], checkpoint: Checkpoint, model: Model, device: str
) -> Peer:
    return load_peer(request.param, request.config.getoption("--impl"), load, checkpoint, model, device)


def run_race(
    benchmark: BenchmarkFixture,
    peer: str,
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    rounds: int,
    clock: Callable[[], float] = perf_counter,
    **facts: Any,
) -> Ratio:
    """Both once unmeasured, then in ABBA rounds; the ratio, also into the JSON, with `facts`.

    A round of short calls has as many as it takes to fill SHORT. `clock`: of the peer.
    """
    began = clock()
    ours()
    theirs()
    calls = math.ceil(SHORT / max(clock() - began, 1e-3))
    other = Interleaved(repeated(theirs, calls), clock, probe=memory_probe())
    benchmark.pedantic(repeated(ours, calls), setup=other.setup, rounds=rounds, iterations=1)
    other.finish()
    if benchmark.stats is None:
        pytest.skip("pytest-benchmark is switched off")
    times, their_times = ([x / calls for x in side] for side in (benchmark.stats.stats.data, other.times))
    got = ratio(times, their_times)
    benchmark.extra_info.update(
        facts,
        peer=peer,
        calls=calls,
        peer_seconds=float(np.median(their_times)),
        peer_rounds=[rounded(x) for x in their_times],
        memory_rounds=[rounded(x) for x in other.probes],
        ratio=got.median,
        low=got.low,
        high=got.high,
        validity=got.validity,
        valid=got.valid,
    )
    took = [f"{who} {1e3 * float(np.median(t)):.1f} ms" for who, t in (("ours", times), (peer, their_times))]
    record.note(f"perf {name}: {', '.join(took)}: {got}")
    record.count("ratios")
    return got


@cache
def memory_probe() -> Callable[[], object]:
    return read_memory(PROBED_BYTES)


def repeated(call: Callable[[], object], count: int) -> Callable[[], object]:
    """What pytest-benchmark's iterations are for, which know no setup."""

    def run() -> None:
        for _ in range(count):
            call()

    return call if count == 1 else run


@dataclass(frozen=True)
class Heard:
    """What the timed configuration wrote, and its word error rate, a fraction; None for random weights."""

    text_hash: str | None = None
    wer: float | None = None
    words: int = 0


def checked(name: str, text: str, original: str, clip: Clip) -> Heard:
    """Of a text that is no worse than the original's: AssertionError if it is."""
    got, want = (word_errors([(clip.text or "", written, clip.language)]) for written in (text, original))
    compare.assert_wer(f"{name}, timed", got.rate, want.rate, words=want.words)
    return Heard(hashlib.sha256(text.encode()).hexdigest()[:16], got.rate, want.words)


@pytest.fixture(scope="session")
def heard(model: Model, oracle: Model, checkpoint: Checkpoint, utterance: Spoken, is_random: bool) -> Heard:
    """Once for each checkpoint: what the implementation under test makes of the timed utterance."""
    if is_random:
        return Heard()
    options = {"language": "en", "without_timestamps": True}
    ours, original = (system.decode(system.mel(utterance.audio)[None], **options)[0].text for system in (model, oracle))
    return checked("utterance", ours, original, utterance.clip)


@pytest.fixture
def race(
    benchmark: BenchmarkFixture,
    peer: Peer,
    heard: Heard,
    checkpoint: Checkpoint,
    is_random: bool,
    device: str,
    dtype: str,
    request: pytest.FixtureRequest,
) -> Callable[..., Ratio]:
    """`race(case, ours, theirs, rounds)`: both once unmeasured, then in ABBA rounds; the ratio, also into the JSON.

    `said`: what this case wrote, where that is not the utterance.
    """
    name = f"{checkpoint_name(checkpoint)}{' random' if is_random else ''}"
    under_test = {"impl": request.config.getoption("--impl"), "device": device, "dtype": dtype, "checkpoint": name}

    def run(
        case: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int, said: Heard = heard
    ) -> Ratio:
        facts = {"case": case, **under_test, **asdict(said)}
        return run_race(benchmark, peer.name, f"{case} {name}", ours, theirs, rounds, **facts)

    return run


@dataclass(frozen=True)
class Spoken:
    """A clip and its samples, float32 at 16 kHz."""

    clip: Clip
    audio: np.ndarray


def longest(clips: list[Clip], seconds: float = np.inf) -> Spoken:
    """The longest English clip below `seconds`."""
    spoken = [clip for clip in clips if clip.language == "en" and clip.text and clip.seconds < seconds]
    clip = max(spoken, key=lambda clip: clip.seconds)
    return Spoken(clip, load_audio(clip.audio))


@pytest.fixture(scope="session")
def utterance(clips: list[Clip]) -> Spoken:
    """The longest English utterance of one window."""
    return longest(clips, 30)


@pytest.fixture(scope="session")
def sentence(clips: list[Clip]) -> Spoken:
    """The longest English utterance of 10 s."""
    return longest(clips, 10)


@pytest.fixture(scope="session")
def reading(clips: list[Clip]) -> Spoken:
    """The longest English file."""
    return longest(clips)


@pytest.fixture(scope="session")
def is_random(checkpoint: Checkpoint) -> bool:
    """Whether nobody trained these weights: what they write says nothing."""
    return checkpoint.source.stem.startswith("random-")
