"""Smaller numbers cost next to no words: ours in bfloat16 and int8 against ours in float32, on real speech."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests import compare, record
from tests.implementations import IMPLEMENTATIONS, checkpoint_name
from tests.quality.paired import difference
from tests.quality.test_wer import keep, scorable
from tests.quality.wer import Group, agreement, score, texts
from tests.transcripts import Transcripts

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

pytestmark = pytest.mark.slow
HELD = ("librispeech", "lj-printing")
"""Enough words for a rate; of rendered voices a few words change with any change of numbers."""


@pytest.mark.parametrize("small", ["bfloat16", "int8"])
def test_no_worse_than_float32(
    checkpoint: Checkpoint, group: Group, transcripts_of: Callable[..., Transcripts], device: str, small: str
) -> None:
    """The rate is held to the promise; beside it, in how wide an interval the difference lies, and how many texts are
    the same to the letter."""
    scorable(checkpoint, group)
    if group.name not in HELD:
        pytest.skip(f"held on {' and '.join(HELD)}")
    ours = IMPLEMENTATIONS["maxwhisper_impl"]
    full, rounded = (transcripts_of(ours, checkpoint, device, dtype, keep=False) for dtype in ("float32", small))
    said, less = texts(full, group), texts(rounded, group)
    want, got = score(group.clips, said), score(group.clips, less)
    keep(group, rounded, got)
    pairs = zip(group.clips, less, said, strict=True)
    more = difference([(clip.text or "", a, b, clip.language) for clip, a, b in pairs])
    record.note(
        f"WER {checkpoint_name(checkpoint):8} {group.name:22} {small}: {got}; float32 {want}; difference {more}; "
        f"text equal to float32's: {agreement(less, said)} of {len(said)}"
    )
    compare.assert_wer(f"{group.name} in {small}", got.rate, want.rate, words=want.words, key="wer", dtype=small)
    record.count("words", want.words)
