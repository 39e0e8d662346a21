"""Live transcription: what is final stays, comes in time, and is in the end what was said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxwhisper_impl import AudioError, LiveText, LiveTranscription, Segment, Whisper
from maxwhisper_impl.audio import SAMPLE_RATE, LogMel
from tests.fuzz.scripted import DIMS, SENTENCE, Scripted
from tests.parity.fake_speech import Hearing, Raw, audio

SECOND = SAMPLE_RATE
LONG = 47.3


@pytest.fixture(autouse=True, scope="module")
def raw() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maxwhisper_impl.live.LogMel", Raw)
        yield


def live(hearing: Any, **options: Any) -> LiveTranscription:
    return Whisper(hearing.dims, hearing).live(**{"language": "en", "temperature": 0.0, **options})


def chunks(samples: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """The samples in chunks of these sizes over and over."""
    start = 0
    while start < len(samples):
        for size in sizes:
            yield samples[start : start + size]
            start += size


def check(hearing: Hearing, texts: list[LiveText], done: LiveTranscription) -> None:
    """What came out is the script's text so far at every moment, and the segments are its times."""
    assert "".join(text.final for text in texts) == done.text == hearing.said(done.seconds)
    assert "".join(segment["text"] for segment in done.segments) == done.text
    assert [segment["id"] for segment in done.segments] == list(range(len(done.segments)))
    for segment in done.segments:
        assert list(segment) == [key for key in Segment.__annotations__ if key in Segment.__required_keys__]
        word = round(segment["start"] / hearing.every)
        assert segment["start"] == pytest.approx(word * hearing.every, abs=0.021)
        said = hearing.said(segment["start"] + 0.03 + len(segment["tokens"]) * hearing.every)
        assert segment["text"] in said
    assert done.result == {"text": done.text, "segments": done.segments, "language": "en"}


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.integers(1_000, 90_000), min_size=1, max_size=5),
    step=st.sampled_from([1.0, 3.0]),
    sentence=st.sampled_from([3, 7, 200]),
    unsure=st.sampled_from([0.0, 1.2, 2.5]),
)
def test_final_text_is_the_script_whatever_the_chunks(
    sizes: list[int], step: float, sentence: int, unsure: float
) -> None:
    """200 words are more than 30 s: no segment ever ends, and yet the audio must not pile up."""
    hearing = Hearing(sentence=sentence, unsure=unsure, whole=LONG)
    done, texts = live(hearing, step=step), list[LiveText]()
    for chunk in chunks(audio(LONG), sizes):
        texts += done.feed(chunk)
    texts.append(done.finish())
    if sentence < 200:
        check(hearing, texts, done)
    assert max(end - start for start, end in hearing.passes) <= 30
    largest = max(max(sizes) / SECOND, step)
    for text in texts[:-1]:
        settled = text.seconds - unsure - 2 * largest
        if sentence < 200:
            final = "".join(t.final for t in texts if t.seconds <= text.seconds)
            assert len(final) >= len(hearing.said(settled)), f"at {text.seconds} s"


@pytest.mark.parametrize("max_delay", [3.0, 6.0])
def test_words_that_never_settle_are_final_in_time(max_delay: float) -> None:
    """Every pass hears other words; yet as many are final as had been heard `max_delay` before."""
    hearing = Hearing(unsure=1e9)
    done = live(hearing, step=0.5, max_delay=max_delay)
    final = 0
    for chunk in chunks(audio(25.0), [4_000]):
        for text in done.feed(chunk):
            final += len(text.final.split())
            due = text.seconds - max_delay - 0.5
            assert final >= len(hearing.said(due).split()), f"at {text.seconds} s"
            assert final <= len(hearing.said(text.seconds - max_delay + 0.5).split()), f"at {text.seconds} s"
    assert final > 20


@pytest.mark.parametrize("temperature", [0.0, (0.0, 0.2)])
def test_a_pass_that_repeats_itself_settles_nothing(temperature: Any) -> None:
    hearing = Hearing(loops=(1, 9, 10))
    done = live(hearing, temperature=temperature)
    texts = list(done.run(chunks(audio(18.0), [SECOND])))
    check(hearing, texts, done)
    assert not any("red red" in text.provisional for text in texts)


@pytest.mark.parametrize("size", [1, 6])
def test_a_pass_that_repeats_itself_loses_no_audio(size: int) -> None:
    """Nor does it take back what came before it; a later pass hears what it should have heard."""
    hearing = Hearing(loops=(1, 2, 4))
    done, texts = live(hearing), list[LiveText]()
    for chunk in chunks(audio(30.0), [size * SECOND]):
        texts += done.feed(chunk)
    assert not "".join((texts[0].final, texts[0].provisional, texts[1].final, texts[1].provisional))
    assert texts[3].provisional == texts[2].provisional != ""
    check(hearing, [*texts, done.finish()], done)


@pytest.mark.parametrize("seconds", [9.0, 9.5])
def test_the_last_pass_is_kept_even_if_it_repeats_itself(seconds: float) -> None:
    """As openai-whisper keeps its last temperature's result, for no other follows. The end may bring no new audio."""
    hearing = Hearing(loops=range(7, 99))
    done = live(hearing, step=1.0, max_delay=20.0)
    texts = list(done.run(chunks(audio(seconds), [SECOND])))
    assert len(hearing.passes) == 10
    assert "red red red" not in "".join(text.final for text in texts[:-1])
    assert texts[-1].final.endswith(" red" * 99)
    assert done.text == "".join(text.final for text in texts) == "".join(s["text"] for s in done.segments)


def test_thirty_seconds_of_repetition_are_kept() -> None:
    """Their audio leaves, so that no later pass can hear better."""
    hearing = Hearing(loops=range(1, 31))
    done = live(hearing)
    list(done.run(chunks(audio(40.0), [SECOND])))
    assert " red red red" in done.segments[0]["text"]
    assert done.segments[0]["start"] == 0
    assert done.text.endswith(hearing.said(40.0)[-80:])


def test_provisional_text_is_the_rest() -> None:
    hearing = Hearing(unsure=1.2)
    done = live(hearing)
    said = ""
    for text in done.run(chunks(audio(8.0), [SECOND])):
        said += text.final
        assert len((said + text.provisional).split()) == len(hearing.said(text.seconds).split())
    assert text.provisional == ""


def test_more_words_than_a_window_may_have() -> None:
    """12 a second, in one endless sentence: the text is cut into segments before the tokens run out."""
    hearing = Hearing(every=0.08, sentence=10_000)
    done = live(hearing, initial_prompt="zero " * 300)
    list(done.run(chunks(audio(40.0), [SECOND])))
    assert done.text == hearing.said(40.0)
    assert len(done.segments) > 1


def test_segments_become_the_prompt() -> None:
    hearing = Hearing()
    done = live(hearing, initial_prompt="zero")
    list(done.run(chunks(audio(40.0), [SECOND])))
    assert done.segments[3]["start"] == pytest.approx(9.0, abs=0.021)
    prompt = done._task(0.0).initial_tokens
    tokenizer = done._tokenizer
    assert tokenizer.decode([t for t in prompt if t < tokenizer.eot]) == " zero" + done.text
    alone = live(hearing, condition_on_previous_text=False)
    list(alone.run(chunks(audio(40.0), [SECOND])))
    assert alone.text == done.text
    assert alone._task(0.0).initial_tokens == [tokenizer.sot]


@pytest.mark.parametrize("silence", [np.zeros(40 * SECOND, np.float32), np.full(40 * SECOND, 4e-4, np.float32)])
def test_silence_gives_nothing(silence: np.ndarray) -> None:
    hearing = Hearing()
    done = live(hearing)
    texts = list(done.run(chunks(silence, [SECOND])))
    assert {(text.final, text.provisional) for text in texts} == {("", "")}
    assert done.result == {"text": "", "segments": [], "language": "en"}
    assert not hearing.passes, "the model was asked about silence"


def test_quiet_speech_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """-59 dB of full scale: a loud voice far from the microphone."""
    monkeypatch.setattr("maxwhisper_impl.live.LogMel", LogMel)
    done = live(Scripted(DIMS["tiny.en"]))
    list(done.run(chunks(np.full(3 * SECOND, 1.1e-3, np.float32), [SECOND])))
    assert done.text == SENTENCE


def test_silence_after_speech_leaves() -> None:
    """A long pause is not decoded over and over; its audio leaves, and what follows it is timed right."""
    hearing = Hearing(silent_from=6.0)
    done = live(hearing)
    list(done.run(chunks(audio(60.0), [SECOND])))
    check(hearing, [LiveText(0, done.text, "")], done)
    assert max(end - start for start, end in hearing.passes[25:]) <= 2.1


def test_what_is_no_speech_gives_nothing() -> None:
    """By the thresholds, whatever the words that the model made of it."""
    hearing = Hearing()
    done = live(hearing, no_speech_threshold=0.0, logprob_threshold=None)
    texts = list(done.run(chunks(audio(9.0), [SECOND])))
    assert {(text.final, text.provisional) for text in texts} == {("", "")}
    assert done.segments == []
    assert len(hearing.passes) > 5


def test_the_language_is_detected_until_something_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = iter(({"fr": 0.6, "de": 0.4}, {"fr": 0.1, "de": 0.9}))
    monkeypatch.setattr("maxwhisper_impl.live.detect_language", lambda *_: (None, [next(heard)]))
    monkeypatch.setattr("maxwhisper_impl.live.LogMel", LogMel)
    done = live(Scripted(DIMS["tiny"]), language=None)
    assert done.feed(audio(1.0))[0].final == ""
    assert done.language == "fr"
    texts = list(done.run(chunks(audio(5.0), [SECOND])))
    assert texts[0].final, "the sentence was said twice"
    assert done.result["language"] == "de"


@pytest.mark.parametrize(
    ("stops", "step"), [((2,), 1.0), ((14, 15), 1.0), ((1,), 3.0)], ids=["all of it", "behind a segment", "long steps"]
)
def test_what_one_pass_does_not_hear_is_heard_by_the_next(stops: tuple[int, ...], step: float) -> None:
    """Models end early at times: that nothing is said needs two passes as well, over the same audio."""
    hearing = Hearing(sentence=9, stops=stops)
    done = live(hearing, step=step)
    texts = list(done.run(chunks(audio(30.0), [SECOND])))
    check(hearing, texts, done)
    assert not texts[stops[-1] - 1].provisional


@pytest.mark.parametrize("fails", ["", "the line is dead", "an array or bytes of s16le, not str"])
def test_a_source_that_stops_midway_loses_nothing(fails: str) -> None:
    """It ends, raises, or gives what is no audio."""

    def source() -> Iterator[Any]:
        yield from chunks(audio(7.6), [3_000])
        if "line" in fails:
            raise ConnectionError(fails)
        yield from ["noise"] if fails else []

    hearing = Hearing()
    done, texts = live(hearing), list[LiveText]()
    with pytest.raises((ConnectionError, AudioError), match=fails) if fails else nullcontext():
        for text in done.run(source()):
            texts.append(text)
    check(hearing, texts, done)
    assert done.text == hearing.said(7.5)


def test_bytes_are_s16le_in_any_pieces() -> None:
    """Also cut within a sample."""
    samples = (np.random.default_rng(0).normal(0, 3000, 9_999)).astype("<i2")
    done = live(Hearing(), step=10.0, max_delay=10.0)
    data = samples.tobytes()
    for start in range(0, len(data), 777):
        done.feed(memoryview(data)[start : start + 777])
    assert np.array_equal(done._audio, samples.astype(np.float32) / 32768)


@pytest.mark.parametrize(
    ("chunk", "says"),
    [("text", "array or bytes of s16le, not str"), (np.zeros((2, 9), np.float32), "shape"),
     (np.full(9, np.nan, np.float32), "nan"), (None, "not NoneType"), (np.zeros(9, np.int32), "int32")],
)  # fmt: skip
def test_what_is_no_audio(chunk: Any, says: str) -> None:
    """Refused, and what came before and comes after stands."""
    hearing = Hearing()
    done = live(hearing)
    texts = done.feed(audio(5.0)[: 3 * SECOND])
    with pytest.raises(AudioError, match=says):
        done.feed(chunk)
    texts += [*done.feed(audio(5.0)[3 * SECOND :]), done.finish()]
    check(hearing, texts, done)
