"""Word error rates of ours, the oracle and faster-whisper on the corpora, and how often their texts agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maxwhisper_impl.scoring import WordErrors
from tests import compare, record
from tests.implementations import IMPLEMENTATIONS, checkpoint_name
from tests.quality.wer import Group, agreement, score, texts
from tests.transcripts import Transcripts

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

pytestmark = pytest.mark.first_checkpoint

DATA = json.loads((Path(__file__).parent / "figures.json").read_text())
FIGURES: list[dict[str, Any]] = DATA["measured"]
"""Rates that were measured before, by group, clips, words, checkpoint and system, in percent with two digits."""
PUBLISHED: list[dict[str, Any]] = DATA["published"]
"""Rates that others published for whole corpora, which `--corpus` may bring."""


def scorable(checkpoint: Checkpoint, group: Group) -> None:
    if not checkpoint.dims.is_multilingual and group.clips[0].language != "en":
        pytest.skip("an English model")


def figure(checkpoint: Checkpoint, group: Group, words: int, system: str) -> float | None:
    """The committed rate (a fraction) of a system on exactly these clips."""
    name = checkpoint_name(checkpoint)
    for row in FIGURES:
        if (row["group"], row["clips"], row["words"], row["checkpoint"], row["system"]) == (
            group.name,
            len(group.clips),
            words,
            name,
            system,
        ):
            return row["wer"] / 100
    return None


def keep(group: Group, transcripts: Transcripts, got: WordErrors) -> None:
    """Into the run file, whatever the verdict."""
    system, dtype = transcripts.implementation.name, transcripts.on.split()[-1]
    record.word_errors(group.name, system, checkpoint_name(transcripts.checkpoint), dtype, got.errors, got.words)


def test_no_worse_than_the_oracle(
    checkpoint: Checkpoint,
    group: Group,
    transcripts: Transcripts,
    oracle_transcripts: Transcripts,
    device: str,
    dtype: str,
) -> None:
    scorable(checkpoint, group)
    ours, theirs = texts(transcripts, group), texts(oracle_transcripts, group)
    got, want = score(group.clips, ours), score(group.clips, theirs)
    keep(group, transcripts, got)
    keep(group, oracle_transcripts, want)
    if dtype != "float32":
        pytest.skip("held to our own float32, on what has enough words, by test_dtypes.py")
    compare.assert_wer(
        f"{group.name} ({got.words} words)", got.rate, want.rate, words=want.words, device=device, dtype=dtype
    )
    record.count("utterances" if not group.long else "long files", len(group.clips))
    record.count("words", want.words)


def test_figures(
    checkpoint: Checkpoint,
    group: Group,
    transcripts: Transcripts,
    oracle_transcripts: Transcripts,
    device: str,
    dtype: str,
) -> None:
    """Ours and the oracle's rates are the committed ones: neither installation has drifted."""
    scorable(checkpoint, group)
    if dtype != "float32":
        pytest.skip("float32 alone promises the oracle's rate")
    scores = {
        name: score(group.clips, texts(t, group)) for name, t in (("ours", transcripts), ("oracle", oracle_transcripts))
    }
    want = figure(checkpoint, group, scores["oracle"].words, "openai-whisper")
    if want is None:
        pytest.skip(f"no committed figure for {group.name}, {len(group.clips)} clips, with these weights")
    for name, got in scores.items():
        compare.assert_wer(
            f"{name} on {group.name} against the committed figure",
            got.rate,
            want,
            words=got.words,
            key="wer_figure",
            device=device,
            dtype=dtype,
        )
    assert scores["oracle"].rate >= want - compare.tolerance("wer_figure", "absolute").limit, (
        "the oracle cannot be better"
    )


@pytest.mark.slow
def test_published(checkpoint: Checkpoint, group: Group, transcripts: Transcripts, device: str, dtype: str) -> None:
    """A whole LibriSpeech test set, brought with `--corpus`: its published rate, to a tenth of a percent or better."""
    rows = [r for r in PUBLISHED if (r["clips"], r["checkpoint"]) == (len(group.clips), checkpoint_name(checkpoint))]
    if group.name != "librispeech" or not rows:
        pytest.skip("nothing is published for these clips and weights")
    got = score(group.clips, texts(transcripts, group))
    compare.assert_wer(
        rows[0]["corpus"], got.rate, rows[0]["wer"] / 100, words=got.words, key="wer_figure", device=device, dtype=dtype
    )


def test_faster_whisper(
    checkpoint: Checkpoint,
    group: Group,
    transcripts: Transcripts,
    oracle_transcripts: Transcripts,
    transcripts_of: Callable[..., Transcripts],
) -> None:
    """The third system with the same weights: held to its own figure, and the row of the table that all three make."""
    scorable(checkpoint, group)
    third = transcripts_of(IMPLEMENTATIONS["faster-whisper"], checkpoint)
    peer = texts(third, group)
    got = score(group.clips, peer)
    keep(group, third, got)
    want = figure(checkpoint, group, got.words, "faster-whisper")
    ours, theirs = texts(transcripts, group), texts(oracle_transcripts, group)
    record.note(
        f"WER {checkpoint_name(checkpoint):8} {group.name:22} ours {score(group.clips, ours)}, "
        f"oracle {score(group.clips, theirs)}, faster-whisper {got}; text equal to the oracle's: "
        f"ours {agreement(ours, theirs)}, faster-whisper {agreement(peer, theirs)} of {len(theirs)}"
    )
    if want is not None:
        compare.assert_wer(f"faster-whisper on {group.name}", got.rate, want, words=got.words, key="wer_figure")
        better = f"faster-whisper on {group.name}: WER {got}, greedy it has {want:.2%}: does it search?"
        assert got.rate >= want - compare.tolerance("wer_figure", "absolute").limit, better


def test_agreement(
    checkpoint: Checkpoint, group: Group, transcripts: Transcripts, oracle_transcripts: Transcripts, dtype: str
) -> None:
    """In float32 every text is the oracle's; another dtype's agreement is reported by the table alone."""
    scorable(checkpoint, group)
    if dtype != "float32":
        pytest.skip("float32 alone promises equal text")
    ours, theirs = texts(transcripts, group), texts(oracle_transcripts, group)
    excused = sum(any(text.startswith(f"{clip.id}") for text in record.run.excuses) for clip in group.clips)
    assert agreement(ours, theirs) >= len(theirs) - excused, [
        f"{clip.id}: {a!r}, the oracle: {b!r}" for clip, a, b in zip(group.clips, ours, theirs, strict=True) if a != b
    ]
