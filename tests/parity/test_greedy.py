"""Greedy transcripts are openai-whisper's, token by token: every clip as one window, longer files window by window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl.audio import N_FRAMES, load_audio
from maxwhisper_impl.corpus import Clip
from tests import compare, record
from tests.compare import Step
from tests.implementations import Model, checkpoint_name
from tests.parity.conftest import needs
from tests.transcripts import Transcripts

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

pytestmark = pytest.mark.first_checkpoint

WINDOW: dict[str, Any] = {"without_timestamps": True}
compared: dict[str, list[int]] = {}
"""Per checkpoint: steps compared, steps there are."""


@pytest.fixture(scope="session")
def selected(request: pytest.FixtureRequest) -> list[Clip]:
    """The clips of this run's tests: they are decoded in batches, at the first test's expense."""
    params = [getattr(item, "callspec", None) and item.callspec.params for item in request.session.items]
    found = {p["window_clip"].audio: p["window_clip"] for p in params if p and "window_clip" in p}
    return list(found.values())


@pytest.fixture
def tally(checkpoint: Checkpoint) -> list[int]:
    return compared.setdefault(str(checkpoint.source), [0, 0])


def step_logits(
    model: Model, oracle: Model, mel: Callable[[Model], np.ndarray], want: list[int], options: dict[str, Any]
) -> Callable[[int], Step] | None:
    """For `assert_tokens`: both systems' logits behind the oracle's first tokens, after the oracle's own filters.

    None where the model shows no logits: then no difference is excused."""
    if "logits" not in model.capabilities:
        return None

    def explain(step: int) -> Step:
        tokens = [*oracle.initial_tokens(**options), *want[:step]]
        raw = [m.logits(np.array([tokens]), m.encode(mel(m)[None]))[0, -1] for m in (model, oracle)]
        return Step(*(oracle.filtered(row, tokens, **options) for row in raw))

    return explain


def test_window(
    checkpoint: Checkpoint,
    window_clip: Clip,
    model: Model,
    oracle: Model,
    transcripts: Transcripts,
    oracle_transcripts: Transcripts,
    selected: list[Clip],
    tally: list[int],
    device: str,
    dtype: str,
) -> None:
    clip = window_clip
    needs(model, "decode")
    position = selected.index(clip)
    ours = transcripts.windows(selected, **WINDOW)[position]
    theirs = oracle_transcripts.windows(selected, **WINDOW)[position]
    options = {**WINDOW, "language": transcripts.language(clip)}
    audio = load_audio(clip.audio)
    steps = compare.assert_tokens(
        clip.id,
        ours.tokens,
        theirs.tokens,
        eot=oracle.eot,
        decode=oracle.token_text,
        explain=step_logits(model, oracle, lambda m: m.mel(audio), theirs.tokens, options),
        device=device,
        dtype=dtype,
    )
    tally[0], tally[1] = tally[0] + steps, tally[1] + len(theirs.tokens)
    if ours.tokens == theirs.tokens:
        compare.assert_text(clip.id, ours.text, theirs.text)
        for field in ("avg_logprob", "no_speech_prob"):
            compare.assert_close(
                f"{clip.id} {field}", getattr(ours, field), getattr(theirs, field), field, device=device, dtype=dtype
            )
    record.count("utterances")


@pytest.mark.multilingual
def test_language(
    checkpoint: Checkpoint,
    window_clip: Clip,
    model: Model,
    transcripts: Transcripts,
    oracle_transcripts: Transcripts,
    selected: list[Clip],
    device: str,
    dtype: str,
) -> None:
    clip = window_clip
    needs(model, "detect_language")
    position = selected.index(clip)
    ours = transcripts.windows(selected, **WINDOW)[position].language_probs
    theirs = oracle_transcripts.windows(selected, **WINDOW)[position].language_probs
    assert set(ours) == set(theirs)
    assert len(theirs) == checkpoint.dims.num_languages
    compare.assert_close(f"{clip.id}: sum of probabilities", sum(ours.values()), 1.0, "language_probs")
    for code in sorted(theirs, key=theirs.__getitem__)[-5:]:
        compare.assert_close(
            f"{clip.id}: P({code})", ours[code], theirs[code], "language_probs", device=device, dtype=dtype
        )
    worst = max(theirs, key=lambda code: abs(ours[code] - theirs[code]))
    compare.assert_close(
        f"{clip.id}: P({worst})", ours[worst], theirs[worst], "language_probs", device=device, dtype=dtype
    )
    record.count("languages detected")


def test_long_file(
    checkpoint: Checkpoint,
    long_clip: Clip,
    model: Model,
    oracle: Model,
    transcripts: Transcripts,
    oracle_transcripts: Transcripts,
    tally: list[int],
    device: str,
    dtype: str,
) -> None:
    clip = long_clip
    needs(model, "transcribe")
    ours, theirs = transcripts.transcribe([clip])[0], oracle_transcripts.transcribe([clip])[0]
    language, total = transcripts.language(clip), sum(len(s["tokens"]) for s in theirs["segments"])
    prompt: list[int] = []
    tally[1] += total
    for seek, want in windows(theirs).items():
        got = windows(ours).get(seek)
        assert got is not None, f"{clip.id}: no window at frame {seek}; ours are at {list(windows(ours))}"
        options = {"language": language, "prompt": list(prompt)}
        name = f"{clip.id} window at {seek / 100:.2f} s"
        explain = step_logits(model, oracle, lambda m, at=seek: window_mel(m, clip, at), want, options)
        tally[0] += compare.assert_tokens(
            name, got, want, eot=oracle.eot, decode=oracle.token_text, explain=explain, device=device, dtype=dtype
        )
        if got != want:
            return  # an excused near-tie: seeks and prompts behind it differ with it
        prompt += want
    compare.assert_text(clip.id, ours["text"], theirs["text"])
    assert_segments(clip.id, ours["segments"], theirs["segments"])
    record.count("seconds of long files", round(clip.seconds))


def test_segments_are_numbered(
    checkpoint: Checkpoint, long_clip: Clip, model: Model, transcripts: Transcripts, oracle_transcripts: Transcripts
) -> None:
    needs(model, "transcribe")
    ours, theirs = transcripts.transcribe([long_clip])[0], oracle_transcripts.transcribe([long_clip])[0]
    assert_numbers(long_clip.id, ours["segments"], theirs["segments"])


def windows(result: dict[str, Any]) -> dict[int, list[int]]:
    """Start frame -> the window's tokens, from segments."""
    found: dict[int, list[int]] = {}
    for segment in result["segments"]:
        found.setdefault(segment["seek"], []).extend(segment["tokens"])
    return found


def window_mel(model: Model, clip: Clip, seek: int) -> np.ndarray:
    mel = model.long_mel(load_audio(clip.audio))[:, seek : seek + N_FRAMES]
    return np.pad(mel, ((0, 0), (0, N_FRAMES - mel.shape[1])))


def assert_numbers(name: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    got, want = ([segment["id"] for segment in segments] for segments in (ours, theirs))
    assert got == want, f"{name}: segments are numbered {got}, expected {want}"


def assert_segments(name: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs), f"{name}: {len(ours)} segments, the oracle has {len(theirs)}"
    for got, want in zip(ours, theirs, strict=True):
        for field in ("seek", "text", "tokens", "temperature"):
            assert got[field] == want[field], (
                f"{name} segment {want['id']}: {field} {got[field]!r}, expected {want[field]!r}"
            )
        for field in ("start", "end"):
            where = f"{name} segment {want['id']} {field}"
            compare.assert_close(where, got[field], want[field], "segment_time", metric="seconds")
        for field in ("avg_logprob", "no_speech_prob"):
            compare.assert_close(f"{name} segment {want['id']} {field}", got[field], want[field], field)


def test_nearly_every_step_was_compared(checkpoint: Checkpoint, tally: list[int]) -> None:
    """A near-tie ends its window's comparison; that must not be a way to compare little."""
    if not tally[1]:
        pytest.skip("nothing was compared in this run")
    assert tally[0] >= 0.99 * tally[1], f"only {tally[0]} of the oracle's {tally[1]} steps were compared"
    record.note(f"{checkpoint_name(checkpoint)}: {tally[0]:,} of the oracle's {tally[1]:,} greedy steps compared")
