"""Live transcription of real speech: about as good as that of the whole recording, and soon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import LiveText
from maxwhisper_impl.audio import SAMPLE_RATE, load_audio
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.scoring import word_errors
from tests import compare, record
from tests.implementations import Model
from tests.parity.conftest import needs

pytestmark = pytest.mark.first_checkpoint

OPTIONS: dict[str, Any] = {"temperature": 0.0, "language": "en"}
STEP = 2.0
SETTLING = 4.0
"""seconds after which all but a few words of a sentence that has ended are final"""


def listened(model: Model, audio: np.ndarray) -> tuple[list[LiveText], Any]:
    live = model.whisper.live(step=STEP, **OPTIONS)
    size = SAMPLE_RATE // 4
    return list(live.run(audio[start : start + size] for start in range(0, len(audio), size))), live


def said(clip: Clip, until: float) -> str:
    return " ".join(utterance.text for utterance in clip.segments if utterance.end <= until)


@pytest.fixture(scope="module")
def reading(clips: list[Clip]) -> Clip:
    """The longest recording of one reader, with the times of its sentences."""
    timed = [c for c in clips if c.language == "en" and len(c.segments) > 5]
    if not timed:
        pytest.skip("the corpora have no long recording with the times of its sentences")
    return max(timed, key=lambda c: c.seconds)


@pytest.mark.parametrize("seconds", [30.0, pytest.param(1e9, marks=pytest.mark.slow)], ids=["a part", "all of it"])
def test_reading(model: Model, reading: Clip, seconds: float) -> None:
    """Its errors against the truth are the offline text's, and a few; sentences are final soon after their end."""
    needs(model, "live")
    last = max(u.end for u in reading.segments if u.end <= seconds)
    audio = load_audio(reading.audio)[: round((last + 0.2) * SAMPLE_RATE)]
    texts, live = listened(model, audio)
    truth = said(reading, last)
    ours, offline = (word_errors([(truth, t, "en")]) for t in (live.text, model.transcribe(audio, **OPTIONS)["text"]))
    name = f"{reading.id} live"
    compare.assert_wer(name, ours.rate, offline.rate, words=ours.words, key="wer_live")
    record.note(f"{name}, {len(audio) / SAMPLE_RATE:.0f} s: WER {ours}, of the whole recording {offline}")
    for utterance in reading.segments:
        if utterance.end + SETTLING < last:
            final = "".join(text.final for text in texts if text.seconds <= utterance.end + SETTLING)
            due = len(said(reading, utterance.end).split())
            assert len(final.split()) >= 0.95 * due - 3, f"{utterance.text!r} is not final {SETTLING} s after its end"


def short(clips: list[Clip]) -> Iterator[Clip]:
    found = sorted((c for c in clips if c.language == "en" and c.text and 3 < c.seconds < 12), key=lambda c: c.id)
    return iter(found[:: max(len(found) // 6, 1)][:6])


@pytest.mark.slow
def test_short_clips(model: Model, clips: list[Clip]) -> None:
    """Each in a session of its own, as spoken commands are."""
    needs(model, "live")
    chosen = list(short(clips))
    live = [(c.text or "", listened(model, load_audio(c.audio))[1].text, c.language) for c in chosen]
    offline = [(c.text or "", model.transcribe(load_audio(c.audio), **OPTIONS)["text"], c.language) for c in chosen]
    ours, theirs = word_errors(live), word_errors(offline)
    compare.assert_wer("short clips live", ours.rate, theirs.rate, words=ours.words, key="wer_live")


def test_no_speech(model: Model) -> None:
    """Silence and faint hiss say nothing."""
    needs(model, "live")
    hiss = np.random.default_rng(0).normal(0, 2e-4, 8 * SAMPLE_RATE).astype(np.float32)
    for audio in (np.zeros(8 * SAMPLE_RATE, np.float32), hiss):
        texts, live = listened(model, audio)
        assert (live.text, live.segments) == ("", [])
        assert not any(text.provisional for text in texts)
