"""Batches cost no words: against the same system in sequence, and against faster-whisper's batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from maxwhisper_impl.audio import load_audio
from tests import compare, record
from tests.implementations import IMPLEMENTATIONS, checkpoint_name
from tests.quality.paired import difference
from tests.quality.test_wer import scorable
from tests.quality.wer import Group, score, texts
from tests.transcripts import Transcripts

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

pytestmark = pytest.mark.first_checkpoint
BATCH = 8
HELD_TO_THE_LETTER = "lj-printing"
"""A real reading of many windows. Rendered voices hang on where a window begins: a few words change either way."""
VARIANTS: dict[str, dict[str, Any]] = {"cut at silences": {}, "cut by VAD": {"vad_filter": True}}


@pytest.mark.parametrize("variant", [pytest.param(v, marks=pytest.mark.slow if VARIANTS[v] else ()) for v in VARIANTS])
def test_no_worse_than_in_sequence(
    checkpoint: Checkpoint, group: Group, transcripts: Transcripts, device: str, dtype: str, variant: str
) -> None:
    """On the real reading to the letter; on other speech, where no more errors than chance would add are shown."""
    scorable(checkpoint, group)
    if not group.long:
        pytest.skip("one window each")
    options = VARIANTS[variant]
    in_batches, in_sequence = batched(transcripts, group, **options), texts(transcripts, group, **options)
    got, want = score(group.clips, in_batches), score(group.clips, in_sequence)
    more = difference([(clip.text or "", a, b, clip.language)
                       for clip, a, b in zip(group.clips, in_batches, in_sequence, strict=True)])  # fmt: skip
    what = f"WER {checkpoint_name(checkpoint):8} {group.name:22} batches of {BATCH}"
    record.note(f"{what}, {variant}: {got}; in sequence {want}; difference {more}")
    least = got.rate if group.name == HELD_TO_THE_LETTER else want.rate + max(more.low, -want.rate)
    compare.assert_wer(
        f"{group.name} in batches, {variant}", least, want.rate,
        words=want.words, key="wer_batched", device=device, dtype=dtype,
    )  # fmt: skip


@pytest.mark.slow
def test_no_worse_than_faster_whispers_batches(
    checkpoint: Checkpoint, group: Group, transcripts: Transcripts, load: Callable[..., Any], device: str, dtype: str
) -> None:
    """Theirs are cut by VAD and have no timestamps, as is their default."""
    from faster_whisper import BatchedInferencePipeline

    scorable(checkpoint, group)
    if not group.long:
        pytest.skip("one window each")
    pipeline = BatchedInferencePipeline(load(IMPLEMENTATIONS["faster-whisper"], checkpoint, "cpu", "float32").engine)
    said: list[str] = []
    for clip in group.clips:
        language = transcripts.language(clip)
        segments, _ = pipeline.transcribe(load_audio(clip.audio), language=language, beam_size=1, batch_size=BATCH)
        said.append("".join(segment.text for segment in segments))
    want = score(group.clips, said)
    got = score(group.clips, batched(transcripts, group, vad_filter=True, without_timestamps=True))
    what = f"WER {checkpoint_name(checkpoint):8} {group.name:22} batches of {BATCH}"
    record.note(f"{what}: ours {got}, faster-whisper {want}")
    compare.assert_wer(
        f"{group.name} in batches", got.rate, want.rate,
        words=want.words, key="wer_batched", device=device, dtype=dtype,
    )  # fmt: skip


def batched(transcripts: Transcripts, group: Group, **options: Any) -> list[str]:
    return texts(transcripts, group, batch_size=BATCH, **options)
