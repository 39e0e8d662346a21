"""Speed against the peers, as ratios of the same run. What is timed has passed a parity check just before.

The cases that are not `slow` are the smoke of `make test`: few rounds, no gate, the ratio printed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from maxwhisper_impl.scoring import normalizer
from tests import compare
from tests.implementations import PINNED, Model, checkpoint_name
from tests.perf.conftest import Peer, Spoken, checked
from tests.perf.ratio import Ratio

pytestmark = pytest.mark.first_checkpoint

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

SMOKE, FULL, MANY = 4, 40, 80
GATES = {("mel", "tiny.en"): 1.2, ("encode", "tiny.en"): 1.0, ("transcribe", "tiny.en", "faster-whisper"): 1.2}
"""Least ratio, at the lower end of the interval, by case and checkpoint, of one peer or of each."""

Race = Callable[..., Ratio]


def gate(case: str, checkpoint: Checkpoint, peer: Peer, got: Ratio) -> None:
    name = checkpoint_name(checkpoint)
    least = GATES.get((case, name, peer.name), GATES.get((case, name)))
    if least is not None:
        compare.assert_ratio(
            f"{case} {name} / {peer.name}", got.median, got.low, got.high, at_least=least, validity=got.validity
        )


def mel(
    model: Model, oracle: Model, peer: Peer, spoken: Spoken, race: Race, checkpoint: Checkpoint, rounds: int
) -> Ratio:
    audio, case = spoken.audio, f"mel {checkpoint.dims.n_mels} {spoken.clip.seconds:.0f} s"
    compare.assert_tensor(case, model.long_mel(audio), oracle.long_mel(audio), "mel")
    return race(case, lambda: model.long_mel(audio), lambda: peer.model.long_mel(audio), rounds)


def encode(
    model: Model, oracle: Model, peer: Peer, utterance: Spoken, race: Race, checkpoint: Checkpoint, rounds: int
) -> Ratio:
    mel = oracle.mel(utterance.audio)[None]
    compare.assert_tensor("features", model.encode(mel), oracle.encode(mel), "encoder.ln_post")
    return race("encode", lambda: model.encode(mel), lambda: peer.model.encode(mel), rounds)


def decode(
    model: Model, oracle: Model, peer: Peer, utterance: Spoken, race: Race, checkpoint: Checkpoint, rounds: int
) -> Ratio:
    features, options = oracle.encode(oracle.mel(utterance.audio)[None]), {"language": "en", "without_timestamps": True}
    want = oracle.decode(features, **options)[0].tokens
    for name, system in (("ours", model), (peer.name, peer.model)):
        compare.assert_tokens(f"{name}, timed decode", system.decode(features, **options)[0].tokens, want, minimum=20)
    return race(
        f"decode {len(want)} steps",
        lambda: model.decode(features, **options),
        lambda: peer.model.decode(features, **options),
        rounds,
    )


def transcribe(
    model: Model, oracle: Model, peer: Peer, reading: Spoken, race: Race, checkpoint: Checkpoint, rounds: int
) -> Ratio:
    audio, options = reading.audio, {**PINNED, "language": "en"}
    want, text = (system.transcribe(audio, **options)["text"] for system in (oracle, model))
    compare.assert_text("ours, timed transcribe", text, want)
    said = checked("reading", text, want, reading.clip)
    normal = normalizer("en")
    theirs = normal(peer.model.transcribe(audio, **options)["text"]).split()
    assert abs(len(theirs) - len(normal(want).split())) < 0.05 * len(theirs), f"{peer.name} wrote another text"
    return race(
        f"transcribe {reading.clip.seconds:.0f} s",
        lambda: model.transcribe(audio, **options),
        lambda: peer.model.transcribe(audio, **options),
        rounds,
        said,
    )


def test_mel_smoke(
    model: Model, oracle: Model, peer: Peer, utterance: Spoken, race: Race, checkpoint: Checkpoint
) -> None:
    mel(model, oracle, peer, utterance, race, checkpoint, SMOKE)


def test_encode_smoke(
    model: Model, oracle: Model, peer: Peer, utterance: Spoken, race: Race, checkpoint: Checkpoint
) -> None:
    encode(model, oracle, peer, utterance, race, checkpoint, SMOKE)


def test_decode_smoke(
    model: Model, oracle: Model, peer: Peer, sentence: Spoken, race: Race, checkpoint: Checkpoint
) -> None:
    decode(model, oracle, peer, sentence, race, checkpoint, SMOKE)


@pytest.mark.slow
def test_mel(model: Model, oracle: Model, peer: Peer, reading: Spoken, race: Race, checkpoint: Checkpoint) -> None:
    gate("mel", checkpoint, peer, mel(model, oracle, peer, reading, race, checkpoint, MANY))


@pytest.mark.slow
@pytest.mark.small_dims
def test_encode(
    model: Model, oracle: Model, peer: Peer, utterance: Spoken, race: Race, checkpoint: Checkpoint
) -> None:
    gate("encode", checkpoint, peer, encode(model, oracle, peer, utterance, race, checkpoint, FULL))


@pytest.mark.slow
@pytest.mark.small_dims
def test_decode(
    model: Model, oracle: Model, peer: Peer, sentence: Spoken, race: Race, checkpoint: Checkpoint
) -> None:
    gate("decode", checkpoint, peer, decode(model, oracle, peer, sentence, race, checkpoint, MANY))


@pytest.mark.slow
def test_transcribe(
    model: Model, oracle: Model, peer: Peer, reading: Spoken, race: Race, checkpoint: Checkpoint
) -> None:
    gate("transcribe", checkpoint, peer, transcribe(model, oracle, peer, reading, race, checkpoint, 8))
