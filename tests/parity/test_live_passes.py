"""Live transcription from pass to pass: what stays as context, what counts as the same, how much a likelihood says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from tests.parity.fake_speech import TOKENIZER, Hearing, HearingState, Raw, audio
from tests.parity.test_live import SECOND, check, chunks, live


@pytest.fixture(autouse=True, scope="module")
def raw() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maxwhisper_impl.live.LogMel", Raw)
        yield


def test_final_segments_stay_as_context() -> None:
    """Until 15 s of audio are there: what is said next is understood by what was said before."""
    hearing = Hearing(sentence=4)
    list(live(hearing).run(chunks(audio(40.0), [SECOND])))
    left = [before for before, after in pairwise(hearing.passes) if after[0] > before[0]]
    assert [end - start for start, end in left] == pytest.approx([15, 15], abs=0.03)


class Wavering(Hearing):
    """Every other pass hears each timestamp `by` seconds later."""

    def __init__(self, by: float):
        super().__init__(sentence=4)
        self.by = round(by / 0.02)

    def heard(self, start: float, end: float) -> list[int]:
        later = self.by * (len(self.passes) % 2)
        return [token + later if token >= TOKENIZER.timestamp_begin else token for token in super().heard(start, end)]


@pytest.mark.parametrize(("by", "delay"), [(0.5, 2.0), (0.52, 6.0)])
def test_times_that_waver_by_half_a_second_agree(by: float, delay: float) -> None:
    """Passes that differ in times alone agree on the words; further apart, only time makes them final."""
    hearing = Wavering(by)
    done, final = live(hearing, max_delay=5.0), 0
    for chunk in chunks(audio(12.0), [SECOND]):
        for text in done.feed(chunk):
            final += len(text.final.split())
            assert final >= len(hearing.said(text.seconds - delay).split()), f"at {text.seconds} s"
    assert (final < len(hearing.said(12.0 - 3.0).split())) == (delay > 2)


class Doubting(Hearing):
    """From the fourth pass on no token is likely."""

    def start(self, features: np.ndarray, rows_per_window: int = 1) -> HearingState:
        state = super().start(features, rows_per_window)
        state.sure = 60.0 if len(self.passes) < 4 else 9.0
        return state


def test_how_likely_the_rest_of_a_window_is_says_little() -> None:
    """Behind final words a pass adds a few tokens, whose average neither is silence nor asks for another try."""
    hearing = Doubting()
    done = live(hearing, no_speech_threshold=0.0, temperature=(0.0, 0.2))
    texts = list(done.run(chunks(audio(9.0), [SECOND])))
    check(hearing, texts, done)


class Deaf(Hearing):
    """Its fifth and sixth passes are sure that nobody speaks."""

    def start(self, features: np.ndarray, rows_per_window: int = 1) -> HearingState:
        state = super().start(features, rows_per_window)
        state.no_speech = 90.0 if len(self.passes) in (5, 6) else 0.0
        return state


def test_a_pass_without_speech_takes_back_nothing() -> None:
    """Words that were final stay, and are not said again when the next pass hears them."""
    hearing = Deaf()
    done = live(hearing, logprob_threshold=None)
    texts = list(done.run(chunks(audio(9.0), [SECOND])))
    check(hearing, texts, done)
    assert not texts[4].provisional
    assert texts[6].provisional
