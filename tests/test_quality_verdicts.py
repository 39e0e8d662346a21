"""Quality's verdicts are about the texts that they name: made-up systems that differ turn its tests red."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maxwhisper_impl.corpus import Clip, Word, read_corpus
from maxwhisper_impl.dims import SIZES
from tests import record
from tests.implementations import IMPLEMENTATIONS, Decoded
from tests.quality import test_batches, test_dtypes, test_wer, test_word_times
from tests.quality.wer import Group, groups, score

ROOT = Path(__file__).resolve().parents[1]
SAID, WRONG = "one big house and a small one", "one house and a small one"
CHECKPOINT: Any = SimpleNamespace(dims=SIZES["tiny.en"], source=Path("tiny.en"))


@pytest.fixture(autouse=True)
def no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared here proves nothing about a model."""
    monkeypatch.setattr(record, "run", record.Run())
    monkeypatch.setattr(pytest, "skip", lambda reason: pytest.fail(f"skipped: {reason}"))  # a verdict is asked for


class Wrote:
    """A system's transcripts: one text, and another one in batches; its words `late` seconds behind the truth."""

    implementation, checkpoint, on = SimpleNamespace(name="made up"), CHECKPOINT, "cpu float32"

    def __init__(self, text: str, in_batches: str = "", late: float = 0.0):
        self.text, self.in_batches, self.late = text, in_batches, late

    def windows(self, clips: Any, **options: Any) -> list[Decoded]:
        return [Decoded([1], self.text, "en", -0.1, 0.0) for _ in clips]

    def transcribe(self, clips: Any, **options: Any) -> list[Any]:
        text = self.in_batches if options.get("batch_size") == 8 else self.text
        words = [{"word": f" {word}", "start": i + self.late, "end": i + 0.5} for i, word in enumerate(text.split())]
        return [{"text": text, "segments": [{"words": words if options.get("word_timestamps") else []}]} for _ in clips]


def group_of(name: str = "en/01.wav", seconds: float = 5.0, *tags: str) -> Group:
    (group,) = groups([Clip("01.wav", Path(name), seconds, "en", SAID, tags=frozenset(tags))])
    return group


GOOD, BAD = Wrote(SAID), Wrote(WRONG)


def test_both_rates_are_held_to_the_committed_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"group": "en", "clips": 1, "words": 7, "checkpoint": "tiny.en", "system": "openai-whisper"}

    def judge(ours: Any, oracle: Any, percent: float, **other: Any) -> None:
        rows = [{**row, "wer": 50.0, "system": "x"}, {**row, "wer": percent, **other}]
        monkeypatch.setattr(test_wer, "FIGURES", rows)
        test_wer.test_figures(CHECKPOINT, group_of(), ours, oracle, "cpu", "float32")

    judge(GOOD, GOOD, 0.0)
    judge(GOOD, BAD, 14.29)
    for ours, oracle, percent, says in (
        (BAD, GOOD, 0.0, "ours on en against the committed figure: WER 14"), (GOOD, BAD, 0.0, "oracle on en against"),
        (GOOD, GOOD, 14.29, "the oracle cannot be better"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=says):
            judge(ours, oracle, percent)
    for other in ({"words": 8}, {"clips": 2}, {"checkpoint": "base"}, {"group": "de"}):
        with pytest.raises(pytest.fail.Exception, match="skipped: no committed figure"):
            judge(GOOD, GOOD, 0.0, **other)


def test_the_fixtures_have_committed_figures() -> None:
    """Of the oracle and of faster-whisper: else nothing holds either."""
    known = [group for group in groups(read_corpus(ROOT / "fixtures")) if group.clips[0].language == "en"]
    assert len(known) == 4
    for group in known:
        words = score(group.clips, [clip.text or "" for clip in group.clips]).words
        for system in ("openai-whisper", "faster-whisper"):
            assert test_wer.figure(CHECKPOINT, group, words, system) is not None, (group.name, system)


def test_the_third_system_is_held_to_its_own_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither worse nor better: with beams it would be both slower and better."""
    row = {"group": "en", "clips": 1, "words": 7, "checkpoint": "tiny.en", "system": "faster-whisper"}

    def judge(third: Any, percent: float) -> None:
        def of(implementation: Any, checkpoint: Any) -> Any:
            return {"faster-whisper": third}[implementation.name]

        monkeypatch.setattr(test_wer, "FIGURES", [{**row, "wer": percent}])
        test_wer.test_faster_whisper(CHECKPOINT, group_of(), GOOD, BAD, of)

    judge(GOOD, 0.0)
    judge(BAD, 14.29)
    with pytest.raises(AssertionError, match=r"faster-whisper on en: WER 14\.29%"):
        judge(BAD, 0.0)
    with pytest.raises(AssertionError, match=r"faster-whisper on en: WER 0\.00%, greedy it has 14\.29%"):
        judge(GOOD, 14.29)


@pytest.mark.parametrize("small", ["bfloat16", "int8"])
def test_a_smaller_dtype_is_held_to_float32(small: str) -> None:
    group = group_of("x/1-2-3.flac", 5.0, "librispeech")

    def judge(full: Any, less: Any) -> None:
        def of(implementation: Any, checkpoint: Any, device: str, dtype: str, *, keep: bool) -> Any:
            assert (implementation, device, keep) == (IMPLEMENTATIONS["maxwhisper_impl"], "cpu", False)
            return {"float32": full, small: less}[dtype]

        test_dtypes.test_no_worse_than_float32(CHECKPOINT, group, of, "cpu", small)

    for full, less in ((GOOD, GOOD), (BAD, BAD), (BAD, GOOD)):
        judge(full, less)
    with pytest.raises(AssertionError, match=rf"librispeech in {small}: WER 14\.29%"):
        judge(GOOD, BAD)


@pytest.mark.parametrize("variant", test_batches.VARIANTS)
def test_batches_are_held_to_the_sequence(variant: str) -> None:
    group = group_of(f"x/{test_batches.HELD_TO_THE_LETTER}.flac", 60.0)

    def judge(ours: Any) -> None:
        test_batches.test_no_worse_than_in_sequence(CHECKPOINT, group, ours, "cpu", "float32", variant)

    for in_sequence, in_batches in ((SAID, SAID), (WRONG, WRONG), (WRONG, SAID)):
        judge(Wrote(in_sequence, in_batches))
    with pytest.raises(AssertionError, match=rf"in batches, {variant}: WER 14\.29%"):
        judge(Wrote(SAID, WRONG))


def test_word_times_are_held_to_the_oracles() -> None:
    words = tuple(Word(word, float(i), i + 0.5) for i, word in enumerate(SAID.split()))
    clips = [Clip("01", Path("en/01.flac"), 9.0, "en", SAID, words=words)]

    def judge(ours: Any, oracle: Any) -> None:
        test_word_times.test_no_worse_than_the_oracle(
            CHECKPOINT, clips, "rendered", ours, oracle, lambda implementation, checkpoint: GOOD, "cpu", "float32"
        )

    for ours, oracle in ((0.0, 0.0), (0.2, 0.2), (0.0, 0.2)):
        judge(Wrote(SAID, late=ours), Wrote(SAID, late=oracle))
    with pytest.raises(AssertionError, match=r"median error of rendered word times: 0\.1, expected 0 ± 0\.005"):
        judge(Wrote(SAID, late=0.2), GOOD)
    with pytest.raises(AssertionError, match=r"ours: .* of 7 were heard right"):
        judge(Wrote("one small other text"), GOOD)
