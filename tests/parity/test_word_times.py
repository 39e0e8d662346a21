"""Words and their times on real weights: ours as shipped, and our rules on the oracle's own attention."""

from __future__ import annotations

import warnings
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl import Whisper
from maxwhisper_impl.audio import SAMPLE_RATE, load_audio
from maxwhisper_impl.corpus import Clip
from tests import compare, oracle_answers
from tests.implementations import PINNED, Model
from tests.oracle_runtime import OracleRuntime
from tests.parity.conftest import Judge, Probe, Taps, needs
from tests.transcripts import Transcripts, is_window

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint
    from tests.adapters.openai import OpenAI

Options = dict[str, Any]
WORDS: Options = {"word_timestamps": True}
PER_KIND = 1


def assert_results(name: str, ours: Any, theirs: Any, device: str = "cpu", dtype: str = "float32") -> None:
    """The same segments with the same words; times and probabilities within the ledger's rows."""
    compare.assert_text(name, ours["text"], theirs["text"])
    for number, (got, want) in enumerate(zip(ours["segments"], theirs["segments"], strict=False)):
        where = f"{name}: segment {number}"
        assert list(got) == list(want), where
        assert got["text"] == want["text"], where
        compare.assert_tokens(where, got["tokens"], want["tokens"])
        compare.assert_words(where, got["words"], want["words"], device=device, dtype=dtype)
        for key in ("start", "end"):
            compare.assert_time(f"{where}: {key}", got[key], want[key], device=device, dtype=dtype)
    assert len(ours["segments"]) == len(theirs["segments"]), name


def spoken(clips: list[Clip], checkpoint: Checkpoint) -> list[Clip]:
    """A window of each language and kind of speech that the weights know; with known word times, where there are."""

    def kind(clip: Clip) -> tuple[str, bool, bool]:
        return clip.language or "", "librispeech" in clip.tags, clip.audio.stem.startswith("digits-")

    known = [c for c in clips if c.text and is_window(c) and (checkpoint.dims.is_multilingual or c.language == "en")]
    groups = groupby(sorted(known, key=lambda c: (kind(c), not c.words, c.id)), key=kind)
    return [clip for _, members in groups for clip in list(members)[:PER_KIND]]


@pytest.mark.first_checkpoint
def test_windows(
    checkpoint: Checkpoint, model: Model, clips: list[Clip], transcripts: Transcripts, oracle_transcripts: Transcripts,
    device: str, dtype: str,
) -> None:  # fmt: skip
    needs(model, "words")
    chosen = spoken(clips, checkpoint)
    assert len({clip.language for clip in chosen}) >= (4 if checkpoint.dims.is_multilingual else 1)
    results = transcripts.transcribe(chosen, **WORDS), oracle_transcripts.transcribe(chosen, **WORDS)
    for clip, ours, theirs in zip(chosen, *results, strict=True):
        assert_results(clip.id, ours, theirs, device, dtype)
    assert sum(len(segment["words"]) for result in results[1] for segment in result["segments"]) >= 4 * len(chosen)


@pytest.mark.slow
def test_long_files(
    model: Model, long_clip: Clip, transcripts: Transcripts, oracle_transcripts: Transcripts, device: str, dtype: str
) -> None:
    needs(model, "words")
    (ours,), (theirs,) = (t.transcribe([long_clip], **WORDS) for t in (transcripts, oracle_transcripts))
    assert_results(long_clip.id, ours, theirs, device, dtype)
    assert_in_order(long_clip.id, ours)


@pytest.mark.first_checkpoint
@pytest.mark.parametrize("threshold", [pytest.param(None, marks=pytest.mark.slow), 2.0])
def test_silence(
    checkpoint: Checkpoint, model: Model, clips: list[Clip], transcripts: Transcripts, oracle_transcripts: Transcripts,
    threshold: float | None, device: str, dtype: str,
) -> None:  # fmt: skip
    """A long pause, into which a greedy model writes, and what is no speech at all."""
    needs(model, "words")
    chosen = [clip for clip in clips if clip.audio.stem in ("gap", "silence", "tones", "no-speech")]
    options = {**WORDS, "hallucination_silence_threshold": threshold}
    results = transcripts.transcribe(chosen, **options), oracle_transcripts.transcribe(chosen, **options)
    for clip, ours, theirs in zip(chosen, *results, strict=True):
        assert_results(clip.id, ours, theirs, device, dtype)
        assert_in_order(clip.id, ours)


def assert_in_order(name: str, result: Any) -> None:
    words = [word for segment in result["segments"] for word in segment["words"]]
    for word in words:
        assert word["start"] <= word["end"], f"{name}: {word}"
    for before, word in pairwise(words):
        assert before["start"] <= word["start"], f"{name}: {word} is behind {before}"


@pytest.fixture(scope="module")
def rules(oracle: Model) -> Whisper:
    """Our rules on the oracle's logits and attention."""
    return Whisper(oracle.dims, OracleRuntime(oracle.torch))


def story(clips: list[Clip]) -> np.ndarray:
    """36 s of English sentences, with pauses of 1, 2, 3, … s between them."""
    short = sorted((c for c in clips if c.language == "en" and c.words and 3 < c.seconds < 8), key=lambda c: c.id)[:5]
    parts = [part for i, c in enumerate(short) for part in (load_audio(c.audio), np.zeros(i * SAMPLE_RATE, np.float32))]
    return np.concatenate(parts)


CASES: dict[str, Options] = {
    "greedy": {},
    "marks by themselves": {"prepend_punctuations": "", "append_punctuations": "", "clip_timestamps": "0,12"},
    "no timestamps": {"without_timestamps": True, "clip_timestamps": "0.5,14"},
    "silence": {"hallucination_silence_threshold": 1.0, "condition_on_previous_text": False},
}
SLOW = ("no timestamps", "silence")


@pytest.mark.rules
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in CASES])
def test_rules(rules: Whisper, oracle: Model, clips: list[Clip], name: str) -> None:
    options = {"language": "en", **PINNED, **WORDS, **CASES[name]}
    audio = story(clips)
    ours = rules.transcribe(audio, **options)
    assert_results(name, ours, oracle_answers.transcribe(oracle, audio, options)[0])
    assert sum(len(segment["words"]) for segment in ours["segments"]) > 10


@pytest.mark.rules
@pytest.mark.filterwarnings("ignore:std_mean:UserWarning")  # the oracle's, of no positions at all
@pytest.mark.parametrize("samples", [160, 480, *(pytest.param(n, marks=pytest.mark.slow) for n in (320, 1600))])
def test_very_short_audio(rules: Whisper, oracle: Model, samples: int) -> None:
    """Windows of no, one and a few encoder positions."""
    audio = np.linspace(-0.1, 0.1, samples, dtype=np.float32)
    options = {"language": "en", "sample_len": 8, "no_speech_threshold": None, **PINNED, **WORDS}
    assert_results(f"{samples}", rules.transcribe(audio, **options),
                   oracle_answers.transcribe(oracle, audio, options)[0])  # fmt: skip


@pytest.mark.rules
@pytest.mark.multilingual
def test_a_language_without_spaces(rules: Whisper, oracle: Model, clips: list[Clip]) -> None:
    """English heard as Japanese: every character is a word of its own."""
    options = {"language": "ja", "clip_timestamps": "0,6", "sample_len": 40, "no_speech_threshold": None,
               **PINNED, **WORDS}  # fmt: skip
    audio = story(clips)
    ours = rules.transcribe(audio, **options)
    assert_results("ja", ours, oracle_answers.transcribe(oracle, audio, options)[0])
    assert any(len(word["word"].strip()) == 1 for segment in ours["segments"] for word in segment["words"])


@pytest.mark.rules
@pytest.mark.multilingual
def test_translations_are_warned_of(rules: Whisper, oracle: Model, clips: list[Clip]) -> None:
    options = {"language": "de", "task": "translate", "clip_timestamps": "0,5", "sample_len": 30, **PINNED, **WORDS}
    audio = load_audio(next(c for c in clips if c.language == "de").audio)
    with pytest.warns(UserWarning, match="translations may not be reliable"):
        ours = rules.transcribe(audio, **options)
    with warnings.catch_warnings(action="ignore"):  # the oracle's own, when it is asked for the first time
        theirs = oracle_answers.transcribe(oracle, audio, options)[0]
    assert_results("translated", ours, theirs)


def test_alignment_heads(checkpoint: Checkpoint, model: Model, oracle: Model) -> None:
    """The checkpoint's, in every implementation."""
    needs(model, "cache")
    assert sorted(model.whisper.alignment_heads) == sorted(OracleRuntime(oracle.torch).alignment_heads)


def test_scores(
    model: Model, float64: OpenAI, float64_taps: Taps, window_probe: Probe, judge: Judge
) -> None:
    """Of the alignment heads, before their softmax, for a batch of two windows; and the logits with them."""
    needs(model, "cache")
    heads = model.runtime.alignment_heads
    got, logits = model.runtime.cross_scores(model.runtime.encode(window_probe.mel), window_probe.tokens, heads)
    exact = OracleRuntime(float64.torch).cross_scores(float64_taps["encoder.ln_post"], window_probe.tokens, heads)
    assert got.shape == (*window_probe.tokens.shape[:1], len(heads), window_probe.tokens.shape[1], 1500)
    judge.tensor("cross-attention scores", got, exact[0], "decoder.cross_scores")
    judge.logits("logits", logits, exact[1])
