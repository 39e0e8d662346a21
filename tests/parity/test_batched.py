"""Windows side by side say what they say one after the other; only what fails is decoded again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import DecodingResult, OptionError, Whisper, batched, fallback
from maxwhisper_impl.audio import SAMPLE_RATE
from maxwhisper_impl.decoding import DecodingTask
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.tokenizer import get_tokenizer
from maxwhisper_impl.transcribe_options import make_transcribe_options
from tests.compare import assert_words
from tests.tolerances import tolerance

Options = dict[str, Any]
GREEDY: Options = {"language": "en", "temperature": 0.0}
CLIPS = [0, 11, 11, 19.5, 26, 38.3]
ROUNDING = tolerance("batch.avg_logprob", "absolute").limit


def assert_equal(got: Any, want: Any) -> None:
    assert (got["text"], got["language"]) == (want["text"], want["language"])
    assert len(got["segments"]) == len(want["segments"])
    for ours, theirs in zip(got["segments"], want["segments"], strict=True):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            if key in ("avg_logprob", "no_speech_prob"):
                assert ours[key] == pytest.approx(value, abs=ROUNDING), f"segment {theirs['id']}: {key}"
            else:
                assert ours[key] == value, f"segment {theirs['id']}: {key}"


@contextmanager
def decodings() -> Iterator[list[tuple[float, list[int], int]]]:
    """Of each decoding its temperature, which windows of the batch it is for, and how large the batch is."""
    seen: list[tuple[float, list[int], int]] = []
    run = DecodingTask.run

    def spy(task: DecodingTask, features: Any, windows: Any, streams: Any, draft: Any) -> list[DecodingResult]:
        seen.append((task.options.temperature, list(windows), int(features.shape[0])))
        return run(task, features, windows, streams, draft)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fallback.DecodingTask, "run", spy)
        yield seen


@pytest.mark.first_checkpoint
@pytest.mark.parametrize("batch_size", [2, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 8))])
def test_clips_are_those_of_a_sequence(transcribe: Any, recording: np.ndarray, batch_size: int) -> None:
    """The clips are pieces as they are: none is longer than a window."""
    options: Options = {**GREEDY, "clip_timestamps": CLIPS}
    want = transcribe(recording, condition_on_previous_text=False, **options)
    with decodings() as seen:
        got = transcribe(recording, batch_size=batch_size, **options)
    assert_equal(got, want)
    assert max(size for *_, size in seen) == min(batch_size, len(CLIPS) // 2)
    assert got["text"]


CASES: dict[str, Options] = {
    "no timestamps": {"without_timestamps": True},
    "beams": {"beam_size": 2, "sample_len": 12},
    "samples": {"temperature": 0.7, "best_of": 2, "sample_len": 12, "logprob_threshold": None},
    "fallback": {"temperature": (0.0, 0.5), "compression_ratio_threshold": 0.9, "sample_len": 16},
    "best fallback": {
        "temperature": (0.0, 0.6, 1.0),
        "logprob_threshold": 0.0,
        "no_speech_threshold": None,
        "sample_len": 12,
        "keep_best_fallback": True,
    },
    "silence": {"no_speech_threshold": 0.0, "logprob_threshold": -0.25},
}


SLOW = {"beams", "samples", "fallback", "silence", "no timestamps"}


@pytest.mark.first_checkpoint
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES])
def test_options_hold_in_a_batch(transcribe: Any, recording: np.ndarray, name: str) -> None:
    options: Options = {**GREEDY, "clip_timestamps": CLIPS, **CASES[name]}
    assert_equal(
        transcribe(recording, batch_size=3, **options),
        transcribe(recording, condition_on_previous_text=False, **options),
    )


@pytest.mark.first_checkpoint
def test_every_window_gets_the_initial_prompt(transcribe: Any, recording: np.ndarray) -> None:
    options: Options = {**GREEDY, "clip_timestamps": [0, 11, 11, 19.5], "sample_len": 16}
    options["initial_prompt"] = "harbour, tide, WIND, MARKET"
    want = transcribe(recording, condition_on_previous_text=False, carry_initial_prompt=True, **options)
    assert_equal(transcribe(recording, batch_size=4, **options), want)


@pytest.mark.first_checkpoint
def test_words_of_a_batch_are_those_of_a_sequence(transcribe: Any, recording: np.ndarray) -> None:
    options: Options = {**GREEDY, "clip_timestamps": CLIPS, "word_timestamps": True}
    want = transcribe(recording, condition_on_previous_text=False, **options)
    got = transcribe(recording, batch_size=3, **options)
    assert_equal(without_words(got), without_words(want))
    assert len(got["segments"]) > 2
    for ours, theirs in zip(got["segments"], want["segments"], strict=True):
        assert_words(f"segment {theirs['id']}", ours["words"], theirs["words"])


def without_words(result: Any) -> Any:
    segments = [{key: value for key, value in s.items() if key != "words"} for s in result["segments"]]
    return {**result, "segments": segments}


@pytest.mark.first_checkpoint
def test_only_failing_windows_are_decoded_again(transcribe: Any, recording: np.ndarray) -> None:
    options: Options = {"language": "en", "clip_timestamps": [0, 11, 11, 19.5, 30, 38.3], "without_timestamps": True,
                        "sample_len": 20, "no_speech_threshold": None, "compression_ratio_threshold": None}  # fmt: skip
    first = transcribe(recording, batch_size=3, temperature=0.0, **options)["segments"]
    by_logprob = sorted(range(3), key=lambda i: first[i]["avg_logprob"])
    threshold = (first[by_logprob[1]]["avg_logprob"] + first[by_logprob[2]]["avg_logprob"]) / 2
    failing, passing = sorted(by_logprob[:2]), by_logprob[2]
    with decodings() as seen:
        again = transcribe(recording, batch_size=3, temperature=(0.0, 1.5), logprob_threshold=threshold, **options)
    assert seen == [(0.0, [0, 1, 2], 3), (1.5, failing, 3)]
    seeks = [segment["seek"] for segment in first]
    assert {s["seek"]: s["temperature"] for s in again["segments"]} == {
        seek: 1.5 if i in failing else 0.0 for i, seek in enumerate(seeks)
    }
    kept = next(s for s in again["segments"] if s["seek"] == seeks[passing])
    assert {**kept, "id": passing} == first[passing]


def result(avg_logprob: float, compression_ratio: float, temperature: float) -> DecodingResult:
    return DecodingResult(None, "en", text=f"{temperature}", avg_logprob=avg_logprob, no_speech_prob=0.0,
                          temperature=temperature, compression_ratio=compression_ratio)  # fmt: skip


@pytest.mark.parametrize(
    ("tried", "options", "kept"),
    [
        pytest.param([(-2, 1), (-1.5, 1), (-3, 1)], {}, "0.4", id="the likeliest"),
        pytest.param([(-0.1, 9), (-1.5, 1), (-3, 1)], {}, "0.4", id="the likeliest that does not repeat itself"),
        pytest.param([(-0.3, 9), (-0.1, 9), (-0.2, 9)], {}, "0.4", id="all repeat themselves"),
        pytest.param([(-2, 1), (-1.5, 2.4), (-3, 1)], {}, "0.4", id="at the threshold is not above it"),
        pytest.param([(-2, 9), (-1.5, 9), (-3, 1)], {"compression_ratio_threshold": None}, "0.4", id="no threshold"),
        pytest.param([(-2, 1), (-1.5, 1), (-0.5, 1)], {}, "0.8", id="the last one passes"),
        pytest.param([(-1.2, 1), (-1.2, 1), (-1.2, 1)], {}, "0.0", id="the first of equals"),
    ],
)
def test_keep_best_fallback(tried: list[tuple[float, float]], options: Options, kept: str) -> None:
    """The text is the best one's, the temperature always the last one's: faster-whisper resets its prompt by it."""
    results = [result(*values, temperature) for values, temperature in zip(tried, (0.0, 0.4, 0.8), strict=True)]
    made = make_transcribe_options(SIZES["base"], keep_best_fallback=True, **options)
    got = fallback._kept(made, results)
    assert (got.text, got.temperature) == (kept, 0.8)
    assert fallback._kept(make_transcribe_options(SIZES["base"], **options), results) is results[-1]


class Encoder:
    """A runtime that only counts what it encodes."""

    def __init__(self) -> None:
        self.dims = SIZES["tiny.en"]
        self.batches: list[int] = []

    def encode(self, mel: np.ndarray) -> np.ndarray:
        self.batches.append(len(mel))
        return np.zeros((len(mel), 1, 1), np.float32)

    def start(self, features: Any, rows_per_window: int = 1) -> Any:
        raise AssertionError("what is said is scripted")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """Of a window longer than 6 s, 4 s are said and the rest is left to the next one; a shorter one is said in full."""
    tokenizer = get_tokenizer(False)
    (word,) = tokenizer.encode(" word")

    def decode(_runtime: Any, _options: Any, windows: Any, features: Any, **_: Any) -> list[DecodingResult]:
        assert len(windows) == len(features)
        begin, end = tokenizer.timestamp_begin, tokenizer.timestamp_begin + 200
        tokens = [[begin, word, end, end] if window.size > 600 else [begin, word] for window in windows]
        return [DecodingResult(None, "en", tokens=t, avg_logprob=0.0, no_speech_prob=0.0) for t in tokens]

    monkeypatch.setattr(batched, "decode_windows", decode)
    return Encoder()


@pytest.mark.parametrize(
    ("batch_size", "batches"), [(1, [1] * 7), (2, [2, 2, 2, 1]), (3, [3, 3, 1]), (9, [4, 2, 1])]
)
def test_pieces_go_their_own_ways(scripted: Encoder, batch_size: int, batches: list[int]) -> None:
    """A piece that is done makes room for the next; segments and progress come in order, as soon as they are final."""
    done: list[tuple[float, float]] = []
    stream = Whisper(scripted.dims, scripted).stream(
        np.zeros(40 * SAMPLE_RATE, np.float32), batch_size=batch_size, clip_timestamps=[0, 3, 3, 17, 17, 27, 30, 36],
        progress=lambda now, total: done.append((now, total)),
    )  # fmt: skip
    got: list[tuple[float, float]] = []
    seen: list[int] = []
    for number, segment in enumerate(stream):
        assert segment["id"] == number
        got.append((segment["start"], segment["end"]))
        seen.append(len(scripted.batches))
    want = [(0, 3), (3, 7), (7, 11), (11, 17), (17, 21), (21, 27), (30, 36)]
    assert got == [pytest.approx(times) for times in want]
    assert seen[0] == 1, "the first segment waited for others"
    assert sum(scripted.batches) == 7
    assert scripted.batches == batches
    assert done == [(float(end), 40.0) for end in (3, 17, 27, 36)]
    assert stream.text == " word" * 7


@pytest.mark.first_checkpoint
@pytest.mark.parametrize("samples", [0, 1, 79, 160, 8000])
def test_short_and_silent_audio(transcribe: Any, samples: int) -> None:
    options: Options = {**GREEDY, "sample_len": 8}
    for audio in (np.zeros(samples, np.float32), np.linspace(-0.1, 0.1, samples, dtype=np.float32)):
        got = transcribe(audio, batch_size=4, **options)
        assert_equal(got, transcribe(audio, condition_on_previous_text=False, **options))
        silent = transcribe(audio, batch_size=4, vad_filter=True, **options)
        assert silent == {"text": "", "segments": [], "language": "en"}


@pytest.mark.slow
@pytest.mark.first_checkpoint
def test_verbose_and_progress_bar(transcribe: Any, recording: np.ndarray, capsys: Any) -> None:
    options: Options = {**GREEDY, "clip_timestamps": [0, 5, 5, 9], "sample_len": 20}
    transcribe(recording, condition_on_previous_text=False, verbose=True, **options)
    want = capsys.readouterr().out
    transcribe(recording, batch_size=2, verbose=True, **options)
    assert capsys.readouterr().out == want != ""
    transcribe(recording, batch_size=2, verbose=False, **options)
    out, err = capsys.readouterr()
    assert out == ""
    assert "900/3830" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: give a whole number from 1"),
        ({"batch_size": 2.0}, "batch_size=2.0"),
        ({"batch_size": 4, "condition_on_previous_text": True}, "needs windows in sequence, batch_size=4"),
        ({"batch_size": 4, "clip_timestamps": "0,1", "vad_filter": True}, "both choose"),
        ({"vad_parameters": {}}, "vad_parameters need vad_filter=True"),
        ({"multilingual": True, "language": "de"}, "language='de' is for all windows"),
        ({"language_detection_segments": 0}, "language_detection_segments=0"),
        ({"language_detection_segments": None}, "language_detection_segments=None: give a whole number"),
        ({"language_detection_threshold": "high"}, "language_detection_threshold='high'"),
        ({"batch": 4}, "did you mean 'batch_size'"),
    ],
)
def test_wrong_options(options: Options, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_transcribe_options(SIZES["base"], **options)


def test_default_context_is_no_error() -> None:
    """openai-whisper's default gives way; in a sequence it stays."""
    assert make_transcribe_options(SIZES["base"], batch_size=8).condition_on_previous_text is False
    assert make_transcribe_options(SIZES["base"], batch_size=8, condition_on_previous_text=False).batch_size == 8
    assert make_transcribe_options(SIZES["base"]).condition_on_previous_text is True
