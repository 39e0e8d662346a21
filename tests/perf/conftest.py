"""Interleaved measurements of the implementation under test against each peer, with the same weights in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.corpus import Clip
from tests import record
from tests.implementations import IMPLEMENTATIONS, Model
from tests.perf.ratio import Interleaved, Ratio, ratio

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from maxwhisper_impl.weights import Checkpoint

PEERS = ("openai-whisper", "faster-whisper")


@dataclass(frozen=True)
class Peer:
    name: str
    model: Model


def load_peer(name: str, under_test: str, load: Callable[..., Model], checkpoint: Checkpoint, model: Model) -> Peer:
    """Another system with the same weights in float32; AssertionError where it is the one under test in disguise."""
    if name == under_test:
        pytest.skip("it is under test itself")
    other = load(IMPLEMENTATIONS[name], checkpoint)
    assert type(other) is not type(model), f"{name} is raced against itself: both are {type(model).__name__}"
    return Peer(name, other)


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, load: Callable[..., Model], checkpoint: Checkpoint, model: Model) -> Peer:
    return load_peer(request.param, request.config.getoption("--impl"), load, checkpoint, model)


def run_race(
    benchmark: BenchmarkFixture,
    peer: str,
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    rounds: int,
    clock: Callable[[], float] = perf_counter,
) -> Ratio:
    """Both once unmeasured, then in ABBA rounds; the ratio, also into the benchmark's JSON. `clock`: of the peer."""
    ours()
    theirs()
    other = Interleaved(theirs, clock)
    benchmark.pedantic(ours, setup=other.setup, rounds=rounds, iterations=1)
    other.finish()
    if benchmark.stats is None:
        pytest.skip("pytest-benchmark is switched off")
    got = ratio(benchmark.stats.stats.data, other.times)
    benchmark.extra_info.update(
        peer=peer,
        peer_seconds=float(np.median(other.times)),
        ratio=got.median,
        low=got.low,
        high=got.high,
        validity=got.validity,
        valid=got.valid,
    )
    ours_ms = 1e3 * float(np.median(benchmark.stats.stats.data))
    record.note(f"perf {name}: {ours_ms:.1f} ms, {peer} {1e3 * float(np.median(other.times)):.1f} ms: {got}")
    record.count("ratios")
    return got


@pytest.fixture
def race(benchmark: BenchmarkFixture, peer: Peer) -> Callable[..., Ratio]:
    """`race(name, ours, theirs, rounds)`, see `run_race`."""
    return partial(run_race, benchmark, peer.name)


@pytest.fixture(scope="session")
def utterance(clips: list[Clip]) -> np.ndarray:
    """The longest English utterance of one window."""
    spoken = [clip for clip in clips if clip.language == "en" and clip.text and clip.seconds < 30]
    return load_audio(max(spoken, key=lambda clip: clip.seconds).audio)


@pytest.fixture(scope="session")
def long_clip_audio(clips: list[Clip]) -> np.ndarray:
    """The longest English file."""
    return load_audio(max((c for c in clips if c.language == "en" and c.text), key=lambda c: c.seconds).audio)
