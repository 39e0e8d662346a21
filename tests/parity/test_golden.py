"""Golden values made by openai-whisper from these weights on this speech: they hold for the oracle and for ours.

`fixtures/make_golden.py` wrote them. A red oracle here means that the installation is broken, not the implementation.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl.audio import load_audio
from tests import compare, record
from tests.baselines import weights_hash
from tests.implementations import Decoded, Model
from tests.parity.conftest import Features, needs

if TYPE_CHECKING:
    from maxwhisper_impl.corpus import Clip
    from maxwhisper_impl.weights import Checkpoint

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
GOLDEN = json.loads((FIXTURES / "golden.json").read_text())

PUBLISHED = {
    ("tiny.en", "quilter-en.wav"): (
        "Mr. Quilter is the apostle of the middle classes, and we are glad to welcome his gospel.",
        "transformers, tests/models/whisper: test_tiny_en_generation",
    ),
}
"""Literal transcripts that others have published for these very weights and this recording, and where."""


OTHERS = ("en/17-rms.flac", "es/01.flac", "fr/01.flac", "nothing/noise.flac", "nothing/silence.flac")
"""Clips that one checkpoint alone is asked about in `make test`."""


@pytest.fixture(scope="session", params=["oracle", "implementation"])
def system(request: pytest.FixtureRequest) -> Model:
    return request.getfixturevalue("oracle" if request.param == "oracle" else "model")


@pytest.fixture
def golden(checkpoint: Checkpoint, golden_clip: str) -> dict[str, Any]:
    """The clip's values for the weights under test."""
    made = next((c for c in GOLDEN["checkpoints"].values() if c["weights"] == weights_hash(checkpoint)), None)
    if made is None:
        pytest.skip(f"no golden values for the weights of {checkpoint.source}")
    found = hashlib.sha256((FIXTURES / golden_clip).read_bytes()).hexdigest()
    assert found == GOLDEN["audio"][golden_clip], f"{golden_clip} has changed: run fixtures/make_golden.py"
    return made["clips"][golden_clip]


@pytest.mark.first_checkpoint
@pytest.mark.parametrize("golden_clip", GOLDEN["audio"])
def test_first_logits(
    system: Model, golden: dict[str, Any], golden_clip: str, features_of: Features, device: str, dtype: str
) -> None:
    needs(system, "logits")
    features = features_of(system, FIXTURES / golden_clip)
    logits = system.logits(np.array([golden["initial_tokens"]]), features)[0, -1]
    want = np.array(golden["first_logits"])
    compare.assert_tensor(
        f"{golden_clip}: first logits", logits[: len(want)], want, "logits", device=device, dtype=dtype
    )
    record.count("golden clips")


@pytest.mark.parametrize(
    "golden_clip",
    [pytest.param(clip, marks=pytest.mark.first_checkpoint if clip in OTHERS else ()) for clip in GOLDEN["audio"]],
)
def test_greedy_answer(
    system: Model,
    checkpoint: Checkpoint,
    golden: dict[str, Any],
    golden_clip: str,
    features_of: Features,
    device: str,
    dtype: str,
) -> None:
    needs(system, "decode")
    language = golden_clip.split("/")[0] if checkpoint.dims.is_multilingual else "en"
    features = features_of(system, FIXTURES / golden_clip)
    got = system.decode(features, language="en" if language == "nothing" else language)[0]
    compare.assert_tokens(golden_clip, got.tokens, golden["tokens"], device=device, dtype=dtype)
    compare.assert_text(golden_clip, got.text, golden["text"])
    for field in ("avg_logprob", "no_speech_prob"):
        compare.assert_close(
            f"{golden_clip}: {field}", getattr(got, field), golden[field], field, device=device, dtype=dtype
        )
    for code, probability in golden.get("language_probs", {}).items():
        assert_language(system, features, golden_clip, code, probability, device, dtype)


def assert_language(
    system: Model, features: np.ndarray, clip: str, code: str, probability: float, device: str, dtype: str
) -> None:
    got = system.detect_language(features)[0][code]
    compare.assert_close(f"{clip}: P({code})", got, probability, "language_probs", device=device, dtype=dtype)


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: " ".join(case))
def test_published_transcripts(system: Model, checkpoint: Checkpoint, case: tuple[str, str], clips: list[Clip]) -> None:
    name, audio = case
    text, _where = PUBLISHED[case]
    if weights_hash(checkpoint) != GOLDEN["checkpoints"][name]["weights"]:
        pytest.skip(f"published for {name}")
    clip = next((c for c in clips if c.audio.name == audio), None)
    if clip is None:
        pytest.skip(f"{audio} is not in the corpora")
    got: Decoded = system.decode(system.mel(load_audio(clip.audio))[None], language="en")[0]
    compare.assert_text(f"{audio} with {name}", got.text, text)
