"""Interleaved measurements of the implementation under test against each peer, with the same weights in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, load: Callable[..., Model], checkpoint: Checkpoint, model: Model) -> Peer:
    """Another system with the same weights in float32; never the implementation under test itself."""
    other = load(IMPLEMENTATIONS[request.param], checkpoint)
    if other is model or type(other) is type(model):
        pytest.skip("it is under test itself")
    return Peer(request.param, other)


@pytest.fixture
def race(benchmark: BenchmarkFixture, peer: Peer) -> Callable[..., Ratio]:
    """`race(name, ours, theirs, rounds)`: both once unmeasured, then in ABBA rounds; the ratio, also into the JSON."""

    def run(name: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> Ratio:
        ours()
        theirs()
        other = Interleaved(theirs)
        benchmark.pedantic(ours, setup=other.setup, rounds=rounds, iterations=1)
        other.finish()
        if benchmark.stats is None:
            pytest.skip("pytest-benchmark is switched off")
        got = ratio(benchmark.stats.stats.data, other.times)
        benchmark.extra_info.update(
            peer=peer.name,
            peer_seconds=float(np.median(other.times)),
            ratio=got.median,
            low=got.low,
            high=got.high,
            validity=got.validity,
            valid=got.valid,
        )
        ours_ms = 1e3 * float(np.median(benchmark.stats.stats.data))
        record.note(f"perf {name}: {ours_ms:.1f} ms, {peer.name} {1e3 * float(np.median(other.times)):.1f} ms: {got}")
        record.count("ratios")
        return got

    return run


@pytest.fixture(scope="session")
def utterance(clips: list[Clip]) -> np.ndarray:
    """The longest English utterance of one window."""
    spoken = [clip for clip in clips if clip.language == "en" and clip.text and clip.seconds < 30]
    return load_audio(max(spoken, key=lambda clip: clip.seconds).audio)


@pytest.fixture(scope="session")
def long_clip_audio(clips: list[Clip]) -> np.ndarray:
    """The longest English file."""
    return load_audio(max((c for c in clips if c.language == "en" and c.text), key=lambda c: c.seconds).audio)
