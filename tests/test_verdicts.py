"""The suite's verdicts are about ours and the oracle, in this order: made-up systems that differ turn its tests red."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from tests import compare, record
from tests.implementations import Decoded
from tests.parity import test_encoder_layers, test_greedy
from tests.parity.conftest import Judge
from tests.quality import test_wer
from tests.quality.wer import groups
from tests.tolerances import tolerance

CHECKPOINT: Any = SimpleNamespace(dims=SIZES["tiny.en"], source=Path("tiny.en"))
SAID = "one big house and a small one"
TIE = tolerance("near_tie", "margin").limit


@pytest.fixture(autouse=True)
def no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared here proves nothing about a model."""
    monkeypatch.setattr(record, "run", record.Run())
    monkeypatch.setattr(pytest, "skip", lambda reason: pytest.fail(f"skipped: {reason}"))  # a verdict is asked for


class Wrote:
    """A system's transcripts: always the same text."""

    implementation, checkpoint, on = SimpleNamespace(name="made up"), CHECKPOINT, "cpu float32"

    def __init__(self, text: str):
        self.text = text

    def windows(self, clips: Any, **options: Any) -> list[Decoded]:
        return [Decoded([1], self.text, "en", -0.1, 0.0) for _ in clips]

    def transcribe(self, clips: Any, **options: Any) -> list[Any]:
        return [{"text": self.text} for _ in clips]


@pytest.mark.parametrize("seconds", [5.0, 60.0], ids=["windows", "long files"])
def test_our_word_errors_are_held_to_the_oracles(seconds: float) -> None:
    (group,) = groups([Clip("a.wav", Path("en/a.wav"), seconds, "en", SAID)])
    good, bad = Wrote(SAID), Wrote("one house and a small one")

    def judge(ours: Any, theirs: Any) -> None:
        test_wer.test_no_worse_than_the_oracle(CHECKPOINT, group, ours, theirs, "cpu", "float32")

    for ours, theirs in ((good, good), (bad, bad), (good, bad)):
        judge(ours, theirs)
    with pytest.raises(AssertionError, match=r"WER 14\.29% \(1 of 7 words\) > 0\.00%"):
        judge(bad, good)


def test_our_texts_are_held_to_the_oracles() -> None:
    (group,) = groups([Clip("a.wav", Path("en/a.wav"), 5.0, "en", SAID)])
    for ours, theirs in (("one", "two"), ("two", "one")):
        with pytest.raises(AssertionError, match=f"a.wav: '{ours}', the oracle: '{theirs}'"):
            test_wer.test_agreement(CHECKPOINT, group, Wrote(ours), Wrote(theirs), "float32")


def test_a_layer_is_held_to_the_oracles() -> None:
    name = "encoder.ln_post"
    good = np.random.default_rng(1).standard_normal((2, 30, 24))
    judge = Judge("", "cpu", "float32")
    test_encoder_layers.test_layer({name: good.astype(np.float32)}, {name: good}, name, judge)
    with pytest.raises(AssertionError, match=r"encoder.ln_post: rel_l2"):
        test_encoder_layers.test_layer({name: 1.001 * good}, {name: good}, name, judge)
    with pytest.raises(AssertionError, match=r"compared with itself"):
        test_encoder_layers.test_layer({name: good}, {name: good}, name, judge)


class Logits:
    """A system whose best tokens are 5 and 6, `gap` apart."""

    capabilities = frozenset({"logits"})

    def __init__(self, gap: float):
        self.gap = gap

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return mel

    def logits(self, tokens: np.ndarray, features: np.ndarray) -> np.ndarray:
        assert tokens.tolist() == [[1, 2, 3, 4]], "the initial tokens, and the oracle's up to the step"
        row = np.linspace(-9, -8, 40)
        row[5], row[6] = 1.0, 1.0 - self.gap
        return row[None, None]

    def initial_tokens(self, **options: Any) -> tuple[int, ...]:
        return (1, 2)

    def filtered(self, logits: np.ndarray, tokens: list[int], **options: Any) -> np.ndarray:
        return logits


@pytest.mark.parametrize(("oracle_gap", "excused"), [(TIE / 2, True), (0.5, False)])
def test_only_the_oracles_own_margin_excuses(oracle_gap: float, excused: bool) -> None:
    """Whatever ours is: a system that is wrong by a hair more than its own margin is wrong."""
    ours, oracle = Logits(-oracle_gap if not excused else -0.5), Logits(oracle_gap)
    got, want = [3, 4, 6, 7], [3, 4, 5, 7]
    explain = test_greedy.step_logits(ours, oracle, lambda model: np.zeros((80, 3000)), want, {})
    if excused:
        assert compare.assert_tokens("clip", got, want, explain=explain) == 2
    else:
        with pytest.raises(AssertionError, match=r"margin between them is 0\.5"):
            compare.assert_tokens("clip", got, want, explain=explain)


def test_one_differing_token_of_a_window_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip("a.wav", Path("en/a.wav"), 5.0, "en", SAID)
    monkeypatch.setattr(test_greedy, "load_audio", lambda path: np.zeros(16000, np.float32))

    def system(tokens: list[int], logprob: float = -0.1) -> Any:
        decoded = Decoded(tokens, "a text", "en", logprob, 0.0)
        return SimpleNamespace(windows=lambda clips, **options: [decoded], language=lambda clip: "en")

    model: Any = SimpleNamespace(capabilities=frozenset({"decode"}))
    oracle: Any = SimpleNamespace(eot=50256, token_text=str)

    def judge(ours: Any) -> None:
        theirs = system([3, 4, 5])
        test_greedy.test_window(CHECKPOINT, clip, model, oracle, ours, theirs, [clip], [0, 0], "cpu", "float32")

    judge(system([3, 4, 5]))
    for wrong, says in ((system([3, 4, 6]), "step 2 of 3 is 6 '6' instead of 5"), (system([3, 4]), "50256"),
                        (system([3, 4, 5], -0.2), "avg_logprob: -0.2, expected -0.1")):  # fmt: skip
        with pytest.raises(AssertionError, match=says):
            judge(wrong)
