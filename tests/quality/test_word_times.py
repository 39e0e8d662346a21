"""Word times of ours, the oracle and faster-whisper against the true ones; ours no worse than the oracle's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from maxwhisper_impl.corpus import Clip, Word
from tests import compare, record
from tests.implementations import IMPLEMENTATIONS, checkpoint_name
from tests.quality.word_times import time_errors
from tests.transcripts import Transcripts, is_window

if TYPE_CHECKING:
    from pathlib import Path

    from maxwhisper_impl.weights import Checkpoint

GROUPS: dict[str, Callable[[Clip], bool]] = {
    "rendered": lambda clip: clip.audio.parent.name == "en" and clip.audio.stem[:2] in ("01", "02", "03"),
    "rendered, all": lambda clip: clip.audio.parent.name == "en",
    "recorded": lambda clip: clip.audio.parent.name == "speech" and not clip.audio.stem.startswith("digits-"),
    "digits": lambda clip: clip.audio.stem.startswith("digits-"),
    "long": lambda clip: not is_window(clip),
}
SHORT = ("rendered", "recorded")
MATCHED = 0.6
"""of the words, at least, have to be heard right: else the errors are of too few"""


def timed(clips: list[Clip], name: str, checkpoint: Checkpoint) -> list[Clip]:
    known = [c for c in clips if c.words and (checkpoint.dims.is_multilingual or c.language == "en")]
    found = [clip for clip in known if GROUPS[name](clip) and is_window(clip) == (name != "long")]
    if not found:
        pytest.skip(f"the corpora have no word times of {name} speech")
    return found


@pytest.mark.first_checkpoint
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SHORT else pytest.mark.slow) for n in GROUPS])
def test_no_worse_than_the_oracle(
    checkpoint: Checkpoint, clips: list[Clip], name: str, transcripts: Transcripts, oracle_transcripts: Transcripts,
    transcripts_of: Callable[..., Transcripts], device: str, dtype: str,
) -> None:  # fmt: skip
    chosen = timed(clips, name, checkpoint)
    peer = transcripts_of(IMPLEMENTATIONS["faster-whisper"], checkpoint)
    systems = {"ours": transcripts, "oracle": oracle_transcripts, "faster-whisper": peer}
    errors = {
        system: time_errors(chosen, known.transcribe(chosen, word_timestamps=True)) for system, known in systems.items()
    }
    table = ", ".join(f"{system} {error}" for system, error in errors.items())
    record.note(f"word times {checkpoint_name(checkpoint):8} {name:14} median error: {table}")
    for system, error in errors.items():
        if name != "digits":  # which are spelled "7" as often as "seven"
            assert len(error.start) >= MATCHED * error.words, f"{system}: {error} of {error.words} were heard right"
    ours, theirs = errors["ours"], errors["oracle"]
    if ours.median > theirs.median:
        compare.assert_close(
            f"median error of {name} word times", ours.median, theirs.median, "word_error", metric="seconds",
            device=device, dtype=dtype,
        )  # fmt: skip
    record.count("word times", len(ours.start))


def clip_of(*words: tuple[str, float, float], path: Path) -> Clip:
    return Clip("c", path, 9.0, "en", "", words=tuple(Word(*word) for word in words))


def result_of(*words: tuple[str, float, float]) -> dict[str, Any]:
    return {"segments": [{"words": [{"word": w, "start": start, "end": end} for w, start, end in words]}]}


def test_errors_are_of_the_words_heard_right(tmp_path: Path) -> None:
    clip = clip_of(("And", 0, 1), ("so", 1, 2), ("on", 2, 3), path=tmp_path)
    heard = result_of((" and", 0.5, 1), (" sore", 1, 2), (" on.", 2, 3.25), (" then", 4, 5))
    errors = time_errors([clip], [heard])
    assert (errors.start.tolist(), errors.end.tolist(), errors.words) == ([0.5, 0], [0, 0.25], 3)
    assert errors.median == 0.125
    with pytest.raises(ValueError, match="no word was heard right"):
        time_errors([clip], [result_of((" sore", 1, 2))])
