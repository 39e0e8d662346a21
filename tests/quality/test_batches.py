"""Batches cost no words: against the same system in sequence, and against faster-whisper's batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from maxwhisper_impl.audio import load_audio
from tests import compare, record
from tests.implementations import IMPLEMENTATIONS, checkpoint_name
from tests.quality.test_wer import scorable
from tests.quality.wer import Group, score, texts
from tests.transcripts import Transcripts

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

pytestmark = pytest.mark.first_checkpoint
BATCH = 8
VARIANTS: dict[str, dict[str, Any]] = {"cut at silences": {}, "cut by VAD": {"vad_filter": True}}


@pytest.mark.parametrize("variant", [pytest.param(v, marks=pytest.mark.slow if VARIANTS[v] else ()) for v in VARIANTS])
def test_no_worse_than_in_sequence(
    checkpoint: Checkpoint, group: Group, transcripts: Transcripts, device: str, dtype: str, variant: str
) -> None:
    scorable(checkpoint, group)
    if not group.long:
        pytest.skip("one window each")
    got, want = batched(transcripts, group, **VARIANTS[variant]), score(group.clips, texts(transcripts, group))
    what = f"WER {checkpoint_name(checkpoint):8} {group.name:22} batches of {BATCH}"
    record.note(f"{what}, {variant}: {got}; in sequence {want}")
    compare.assert_wer(
        f"{group.name} in batches, {variant}", got.rate, want.rate,
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
    got = batched(transcripts, group, vad_filter=True, without_timestamps=True)
    what = f"WER {checkpoint_name(checkpoint):8} {group.name:22} batches of {BATCH}"
    record.note(f"{what}: ours {got}, faster-whisper {want}")
    compare.assert_wer(
        f"{group.name} in batches", got.rate, want.rate,
        words=want.words, key="wer_batched", device=device, dtype=dtype,
    )  # fmt: skip


def batched(transcripts: Transcripts, group: Group, **options: Any) -> Any:
    results = transcripts.transcribe(group.clips, batch_size=BATCH, **options)
    return score(group.clips, [result["text"].strip() for result in results])
