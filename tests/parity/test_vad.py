"""Speech and silence are where faster-whisper finds them, and times come back to the same places of the recording."""

from __future__ import annotations

import builtins
import sys
from dataclasses import asdict, fields
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faster_whisper import vad as theirs
from faster_whisper.transcribe import Segment as TheirSegment
from faster_whisper.transcribe import Word, restore_speech_timestamps
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maxwhisper_impl import OptionError, vad
from maxwhisper_impl.audio import SAMPLE_RATE, load_audio
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.transcribe_options import make_transcribe_options

Options = dict[str, Any]
CHOICES: list[Options] = [
    {},
    {"min_silence_duration_ms": 160, "max_speech_duration_s": 30},
    {"threshold": 0.8, "neg_threshold": 0.7, "min_speech_duration_ms": 250, "min_silence_duration_ms": 0},
    {"max_speech_duration_s": 2.5, "min_silence_duration_ms": 300, "speech_pad_ms": 30},
]


def their_spans(audio: np.ndarray, options: Options) -> list[vad.Span]:
    found = theirs.get_speech_timestamps(audio, theirs.VadOptions(**options))
    return [(span["start"], span["end"]) for span in found]


def test_options_have_their_names_and_defaults() -> None:
    assert asdict(vad.VadOptions()) == asdict(theirs.VadOptions())
    assert [f.name for f in fields(vad.VadOptions)] == [f.name for f in fields(theirs.VadOptions)]


def assert_speech_is_theirs(clips: list[Clip], choices: list[Options]) -> int:
    """The number of spans that were compared."""
    found = 0
    for clip in clips:
        audio = load_audio(clip.audio)
        for options in choices:
            spans = vad.speech_spans(audio, vad.make_vad_options(options))
            assert spans == their_spans(audio, options), f"{clip.id} with {options}"
            found += len(spans)
    return found


def test_speech_of_clips(clips: list[Clip]) -> None:
    assert assert_speech_is_theirs([c for c in clips if c.seconds < 60][::6], CHOICES[:1]) > 10


@pytest.mark.slow
def test_speech_of_all_clips(clips: list[Clip]) -> None:
    assert assert_speech_is_theirs(clips, CHOICES) > 500


@pytest.mark.slow
def test_speech_of_ten_minutes(clips: list[Clip]) -> None:
    """Beyond 320 s the model hears the recording in parts, and remembers."""
    longest = load_audio(max(clips, key=lambda clip: clip.seconds).audio)
    audio = np.tile(longest, -(-600 * SAMPLE_RATE // len(longest)))
    assert vad.speech_spans(audio, vad.make_vad_options(CHOICES[1])) == their_spans(audio, CHOICES[1])


def test_a_recording_in_parts_is_heard_as_a_whole(monkeypatch: pytest.MonkeyPatch, speech: list[np.ndarray]) -> None:
    whole = vad.speech_probabilities(speech[1])
    monkeypatch.setattr(vad, "_RUN", 37)
    assert np.abs(vad.speech_probabilities(speech[1]) - whole).max() < 1e-5
    assert whole.max() > 0.9


@pytest.mark.parametrize("samples", [0, 1, 448, 511, 512, 513, 1024, 5000])
def test_probabilities_of_short_audio(samples: int) -> None:
    """Up to a whole frame is added, and of the last one the end is not heard: as faster-whisper has it."""
    audio = np.random.default_rng(samples).normal(0, 0.2, samples).astype(np.float32)
    padded = np.pad(audio, (0, 512 - samples % 512))
    assert np.array_equal(vad.speech_probabilities(audio), theirs.get_vad_model()(padded).reshape(-1))


@st.composite
def synthetic(draw: st.DrawFn) -> np.ndarray:
    """Bursts of noise that sound like vowels, of tones, and of silence, float32."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = [np.zeros(draw(st.integers(0, 700)), np.float32)]
    for kind in draw(st.lists(st.sampled_from(["voice", "noise", "silence"]), max_size=6)):
        t = np.arange(draw(st.integers(1, 16000))) / SAMPLE_RATE
        if kind == "voice":
            pitch = rng.uniform(90, 220)
            part = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 20)) * (1 + np.sin(25 * t)) * 0.1
        else:
            part = rng.normal(0, 0.05 if kind == "noise" else 0, len(t))
        parts.append(np.asarray(part, np.float32))
    return np.concatenate(parts)


@settings(max_examples=25, deadline=None)
@given(synthetic(), st.sampled_from(CHOICES))
def test_speech_of_synthetic_audio(audio: np.ndarray, options: Options) -> None:
    assert vad.speech_spans(audio, vad.make_vad_options(options)) == their_spans(audio, options)


durations = st.sampled_from([0, 30, 96, 98, 160, 200.5, 400, 2000])
vad_options = st.fixed_dictionaries(
    {},
    optional={
        "threshold": st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0]),
        "neg_threshold": st.sampled_from([None, 0.0, 0.2, 0.35, 0.7]),
        "min_speech_duration_ms": durations,
        "max_speech_duration_s": st.sampled_from([0.5, 1.0, 1.7, 3, 30, float("inf")]),
        "min_silence_duration_ms": durations,
        "speech_pad_ms": durations,
    },
)
probabilities = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.35, 0.4, 0.5, 0.55, 0.6, 0.9, 1.0]), st.integers(1, 25)), max_size=25
).map(lambda runs: np.repeat(*(np.array(column) for column in zip((0.0, 1), *runs, strict=True))).astype(np.float32))


@settings(max_examples=600, deadline=None)
@given(probabilities, st.integers(0, 511), vad_options)
@example(np.repeat(np.float32([0.9, 0, 0.9]), [9, 80, 9]), 0, {"threshold": 0.1})  # speech ends below 0.01
def test_spans_of_any_probabilities(probabilities: np.ndarray, rest: int, options: Options) -> None:
    """The rules alone: both get the same probabilities in place of the model's."""
    audio = np.zeros(512 * (len(probabilities) - 1) + rest, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "get_vad_model", lambda: lambda padded: probabilities)
        patch.setattr(vad, "speech_probabilities", lambda audio: probabilities)
        assert vad.speech_spans(audio, vad.make_vad_options(options)) == their_spans(audio, options)


@st.composite
def spans_of_speech(draw: st.DrawFn) -> list[vad.Span]:
    """Apart or touching, of any sample counts."""
    points = sorted(draw(st.lists(st.integers(0, 40 * SAMPLE_RATE), min_size=2, max_size=12, unique=True)))
    touching = draw(st.booleans())
    return list(pairwise(points)) if touching else list(zip(points[::2], points[1::2], strict=False))


def segments_within(draw: st.DrawFn, spans: list[vad.Span]) -> list[dict[str, Any]]:
    """With times anywhere, at the very joints too, some with words."""
    joints = np.cumsum([end - start for start, end in spans]) / SAMPLE_RATE
    time = st.one_of(st.integers(0, 2100).map(lambda t: t * 0.02), st.sampled_from(joints.tolist()))
    segments: list[dict[str, Any]] = []
    for with_words in draw(st.lists(st.booleans(), max_size=6)):
        start, end = sorted(draw(st.tuples(time, time)))
        segment: dict[str, Any] = {"start": start, "end": end}
        if with_words:
            times = sorted(draw(st.lists(time, min_size=2, max_size=6)))
            segment["words"] = [{"start": a, "end": b, "word": " x", "probability": 0.5} for a, b in pairwise(times)]
        segments.append(segment)
    return segments


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_restored_times(data: st.DataObject) -> None:
    spans = data.draw(spans_of_speech())
    segments = segments_within(data.draw, spans)
    rest: Options = {"id": 0, "seek": 0, "text": "", "tokens": [], "avg_logprob": 0.0, "compression_ratio": 0.0}
    rest |= {"no_speech_prob": 0.0, "temperature": 0.0}
    given = [
        TheirSegment(**rest, start=s["start"], end=s["end"], words=[Word(**word) for word in s.get("words", [])])
        for s in segments
    ]
    chunks = [{"start": start, "end": end} for start, end in spans]
    want = list(restore_speech_timestamps(given, chunks, SAMPLE_RATE))
    got = vad.SpeechMap(spans).restore(segments)
    assert [(s["start"], s["end"]) for s in got] == [(s.start, s.end) for s in want]
    words = [[(word["start"], word["end"]) for word in segment.get("words", [])] for segment in got]
    assert words == [[(word.start, word.end) for word in segment.words or []] for segment in want]


def test_restored_times_end_with_the_piece() -> None:
    """A time that the model puts behind the end of what it heard does not jump over the silence there."""
    speech = vad.SpeechMap([(0, 16000), (160000, 176000)])
    segment = {"start": 0.5, "end": 1.04, "text": "x"}
    assert speech.restore([segment]) == [{"start": 0.5, "end": 10.04, "text": "x"}]
    assert speech.restore([segment], until=1.0) == [{"start": 0.5, "end": 1.0, "text": "x"}]


@settings(max_examples=200, deadline=None)
@given(spans_of_speech(), st.sampled_from([1.0, 5.0, 30.0]))
def test_chunks(spans: list[vad.Span], longest: float) -> None:
    """Together all of the speech, in the chunks that faster-whisper's batches have."""
    audio = np.arange(spans[-1][1] if spans else 0, dtype=np.float32)
    chunks, _ = theirs.collect_chunks(audio, [{"start": a, "end": b} for a, b in spans], max_duration=longest)
    joined = vad.join_speech(audio, spans)
    got = [joined[start:end] for start, end in vad.joined_chunks(spans, longest * SAMPLE_RATE)]
    want = [chunk for chunk in chunks if len(chunk)]  # theirs begin with an empty one where the first span is too long
    assert len(got) == len(want)
    assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"treshold": 0.5}, "unknown VAD parameter 'treshold'; did you mean 'threshold'"),
        ({"threshold": 1.5}, "threshold=1.5: a probability"),
        ({"neg_threshold": -0.1}, "neg_threshold=-0.1: a probability"),
        ({"threshold": None}, "threshold=None: give a number"),
        ({"speech_pad_ms": -1}, "speech_pad_ms=-1"),
        ({"speech_pad_ms": float("inf")}, "give a finite duration"),
        ({"min_silence_duration_ms": float("nan")}, "min_silence_duration_ms=nan"),
        ({"max_speech_duration_s": 0}, "max_speech_duration_s=0"),
        ({"min_speech_duration_ms": True}, "min_speech_duration_ms=True"),
        ("loud", "vad_parameters='loud': give a dict of threshold"),
    ],
)
def test_wrong_options(given: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_transcribe_options(SIZES["base"], vad_filter=True, vad_parameters=given)


def test_options_of_a_transcription() -> None:
    """In sequence faster-whisper's defaults; in batches those of its batches, where a given dict brings back 2 s."""

    def options(**given: Any) -> vad.VadOptions:
        return make_transcribe_options(SIZES["base"], vad_filter=True, **given).vad_options

    assert options() == vad.VadOptions()
    assert options(vad_parameters={"threshold": 0.6}) == vad.VadOptions(threshold=0.6)
    assert options(vad_parameters=theirs.VadOptions(speech_pad_ms=90)) == vad.VadOptions(speech_pad_ms=90)
    assert options(batch_size=4) == vad.VadOptions(max_speech_duration_s=30, min_silence_duration_ms=160)
    assert options(batch_size=4, vad_parameters={}) == vad.VadOptions(max_speech_duration_s=30)
    asked = {"max_speech_duration_s": 9.0, "min_silence_duration_ms": 80}
    assert options(batch_size=4, vad_parameters=asked) == vad.VadOptions(**asked), "what is asked for is not overridden"


@pytest.mark.parametrize("clips", ["0", "", [], [0.0], [0]])
def test_clips_that_are_all_there_is_choose_nothing(clips: Any) -> None:
    make_transcribe_options(SIZES["base"], vad_filter=True, clip_timestamps=clips)


@pytest.mark.parametrize("package", ["onnxruntime", "faster_whisper"])
def test_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = vad.find_spec
    monkeypatch.setattr(vad, "find_spec", lambda name: None if name == package else known(name))
    with pytest.raises(OptionError, match=r"not installed; run pip install 'maxwhisper\[vad\]'"):
        make_transcribe_options(SIZES["base"], vad_filter=True)


def test_an_older_faster_whisper_has_another_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(vad, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    with pytest.raises(OptionError, match=r"faster-whisper with its silero_vad_v6\.onnx is not installed"):
        vad.check_installed()


def test_faster_whispers_code_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    vad._session.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "faster_whisper"]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def guarded(name: str, *rest: Any) -> Any:
        assert not name.startswith("faster_whisper"), "imported for its asset"
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", guarded)
    assert len(vad.speech_probabilities(np.zeros(16000, np.float32))) == 32
    assert not any(name.startswith("faster_whisper") for name in sys.modules)
