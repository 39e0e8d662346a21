"""Speculative decoding: whatever is guessed, the text is that of greedy decoding; a good guess saves calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maxwhisper_impl import CheckpointError, OptionError, Whisper, load_model
from maxwhisper_impl.audio import LogMel, load_audio
from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.decoding import DecodingOptions, DecodingResult, DecodingTask
from maxwhisper_impl.decoding.draft import LONGEST, SHORTEST, Draft
from maxwhisper_impl.drafts import Drafts, translate
from maxwhisper_impl.runtime import DecoderState, MaxRuntime
from maxwhisper_impl.segments import Window
from maxwhisper_impl.tokenizer import get_tokenizer
from maxwhisper_impl.weights import Checkpoint
from tests.fuzz.scripted import DIMS as SCRIPTED
from tests.fuzz.scripted import SENTENCE, Scripted
from tests.implementations import Model
from tests.parity.conftest import needs
from tests.tolerances import tolerance

pytestmark = pytest.mark.first_checkpoint

EOT, BEGIN = 99, 100
SAID = [100, 5, 6, 7, 8, 9, 104, 104, 10, 11, 12, 13, 110]
"""text between timestamps"""
GREEDY: dict[str, Any] = {"language": "en", "temperature": 0.0}
ROUNDING = tolerance("batch.avg_logprob", "absolute").limit


def follow(guess: list[int], said: list[int]) -> tuple[list[int], int]:
    """What is written, and in how many calls, by a model that says `said` and is given a draft."""
    draft, written, calls = Draft(guess, EOT, BEGIN), [said[0]], 0
    want = [*said, EOT]
    while written[-1] != EOT:
        room = len(want) - len(written) - 1
        proposed = draft.after(written, room)
        assert len(proposed) <= room
        calls += 1
        for token in [*proposed, None]:
            written.append(want[len(written)])
            if written[-1] in (EOT, *([] if token == written[-1] else [written[-1]])):
                break
    return written, calls


@pytest.mark.parametrize(
    ("guess", "most"),
    [
        pytest.param(SAID, 2, id="all right"),
        pytest.param([*SAID[:3], 50, *SAID[4:]], 4, id="a wrong word"),
        pytest.param([*SAID[:3], *SAID[5:]], 5, id="words missing"),
        pytest.param([*SAID[:3], 50, 51, *SAID[3:]], 4, id="words too many"),
        pytest.param([token + (token >= BEGIN) for token in SAID], 5, id="other times"),
        pytest.param([token for token in SAID if token < BEGIN], 5, id="no times"),
        pytest.param([7] * 30, len(SAID), id="one word over and over"),
        pytest.param([], len(SAID), id="nothing"),
    ],
)
def test_the_draft_is_met_again(guess: list[int], most: int) -> None:
    """Behind what it has wrong, without giving up and without reading the rest in vain."""
    written, calls = follow(guess, SAID)
    assert written == [*SAID, EOT]
    assert calls <= most


def test_a_guess_grows_with_what_was_right() -> None:
    tokens = list(range(60))
    draft = Draft(tokens, EOT, BEGIN)
    assert len(draft.after([0], 99)) == SHORTEST
    assert draft.after(tokens[:5], 99) == tokens[5:13]
    assert draft.after(tokens[:15], 99) == tokens[15 : 15 + LONGEST]
    assert draft.after(tokens[:20], 3) == [20, 21, 22]
    assert draft.after([*tokens[:20], 77], 99) == []


@dataclass(frozen=True)
class Spoken:
    """One window, encoded, and what greedy decoding makes of it."""

    model: Model
    features: Any
    result: DecodingResult

    def decode(self, draft: list[int] | None = None, **options: Any) -> DecodingResult:
        task = DecodingTask(self.model.runtime, DecodingOptions(**{**GREEDY, **options}))
        return task.run(self.features, draft=draft)[0]


@pytest.fixture(scope="module")
def spoken(model: Model, clips: list[Clip]) -> Spoken:
    needs(model, "cache", "decode")
    clip = max((clip for clip in clips if clip.language == "en" and clip.seconds < 15), key=lambda c: c.seconds)
    features = model.runtime.encode(model.mel(load_audio(clip.audio))[None])
    return Spoken(model, features, DecodingTask(model.runtime, DecodingOptions(**GREEDY)).run(features)[0])


@contextmanager
def calls() -> Iterator[list[int]]:
    """How many tokens each call of the engine reads."""
    seen: list[int] = []
    execute = DecoderState.execute

    def spy(state: Any, tokens: np.ndarray, *rest: Any) -> Any:
        seen.append(tokens.shape[1])
        return execute(state, tokens, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DecoderState, "execute", spy)
        yield seen


def assert_same(got: DecodingResult, want: DecodingResult) -> None:
    assert (got.tokens, got.text) == (want.tokens, want.text)
    assert got.avg_logprob == pytest.approx(want.avg_logprob, abs=ROUNDING)
    assert got.no_speech_prob == want.no_speech_prob


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_draft_gives_the_greedy_text(spoken: Spoken, data: st.DataObject) -> None:
    """Words replaced, left out, put in, moved; by ids that are text, times, special."""
    draft = list(spoken.result.tokens)
    for _ in range(data.draw(st.integers(0, 6))):
        start = data.draw(st.integers(0, len(draft)))
        until = data.draw(st.integers(start, min(len(draft), start + 12)))
        draft[start:until] = data.draw(st.lists(st.integers(0, spoken.model.dims.n_vocab - 1), max_size=8))
    assert_same(spoken.decode(draft), spoken.result)


def test_a_right_draft_saves_calls(spoken: Spoken) -> None:
    with calls() as alone:
        spoken.decode()
    with calls() as helped:
        assert_same(spoken.decode(list(spoken.result.tokens)), spoken.result)
    assert len(alone) >= len(spoken.result.tokens) >= 20
    assert len(helped) <= 4 + len(alone) / LONGEST
    assert max(helped[1:]) <= 1 + LONGEST


@pytest.mark.parametrize("options", [{"sample_len": 7}, {"repetition_penalty": 1.3}, {"without_timestamps": True}])
def test_other_options_hold_for_a_draft(spoken: Spoken, options: dict[str, Any]) -> None:
    want = spoken.decode(**options)
    assert_same(spoken.decode(list(spoken.result.tokens), **options), want)
    assert len(want.tokens) == 7 or "sample_len" not in options


@pytest.mark.parametrize("options", [{"beam_size": 2}, {"temperature": 0.6, "seed": 1}])
def test_beams_and_samples_need_no_draft(spoken: Spoken, options: dict[str, Any]) -> None:
    assert_same(spoken.decode(list(spoken.result.tokens), **options), spoken.decode(**options))


def test_a_recording(transcribe: Callable[..., Any], model: Model, recording: np.ndarray) -> None:
    """Helped by the model itself, by a function with the text, and by one that talks nonsense."""
    plain = transcribe(recording, **GREEDY)

    def said(start: float, end: float) -> str:
        return " ".join(s["text"] for s in plain["segments"] if s["start"] < end and s["end"] > start)

    with calls() as alone:
        transcribe(recording, **GREEDY)
    assistants = {"itself": Whisper(model.dims, model.runtime), "its text": said, "nonsense": lambda *times: "no " * 50,
                  "nothing": lambda *times: "", "tokens": lambda *times: [1, 2, 3]}  # fmt: skip
    for name, assistant in assistants.items():
        with calls() as helped:
            got = transcribe(recording, **GREEDY, assistant=assistant)
        assert got["text"] == plain["text"], name
        assert [s["tokens"] for s in got["segments"]] == [s["tokens"] for s in plain["segments"]], name
        if name == "its text":
            assert len(helped) < len(alone) / 2


@pytest.mark.parametrize("wrong", [7, [1.5], [-1], [51865], [10**6], [[1]], None, b"text"])
def test_a_draft_that_is_none(transcribe: Callable[..., Any], recording: np.ndarray, wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"the assistant gives neither .* 0\.0 to 30\.0 s: "):
        transcribe(recording, **GREEDY, assistant=lambda start, end: wrong)


def test_an_assistant_by_its_name(model: Model, recording: np.ndarray) -> None:
    """Loaded once; one that is not there is named before the audio is opened."""
    needs(model, "batched")
    alone, loaded = Whisper(model.dims, model.runtime), list[str | Path]()
    with pytest.raises(CheckpointError, match="no-such-model"):
        alone.transcribe("no-such-file.wav", assistant="no-such-model")

    def load(name: str | Path) -> Whisper:
        loaded.append(name)
        return alone

    ours = Whisper(model.dims, model.runtime, load=load)
    texts = [ours.transcribe(recording[:160000], **GREEDY, assistant=name)["text"] for name in ("x", "x", None)]
    assert texts[0] == texts[1] == texts[2] != ""
    assert loaded == ["x"]
    with pytest.raises(OptionError, match=r"a name is for `Whisper.transcribe`"):
        Drafts("x", recording)  # type: ignore[arg-type]


def test_an_assistant_is_loaded_as_the_model_was(
    checkpoint: Checkpoint, recording: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    load = MaxRuntime.__init__

    def loading(runtime: MaxRuntime, checkpoint: Checkpoint, **options: Any) -> None:
        asked.append(options)
        load(runtime, checkpoint, **options)

    monkeypatch.setattr(MaxRuntime, "__init__", loading)
    said: list[str] = []
    ours = load_model(checkpoint.source, download=False, progress=said.append)
    text = ours.transcribe(recording[:160000], **GREEDY, assistant=checkpoint.source)["text"]
    assert text == ours.transcribe(recording[:160000], **GREEDY)["text"] != ""
    model, assistant = asked
    assert assistant == model
    assert assistant["progress"] == said.append


def test_a_draft_in_another_vocabulary() -> None:
    english, other = get_tokenizer(False), get_tokenizer(True, language="en", task="transcribe")
    text = " The jury said: £5, naïve – 東京."
    time = [english.timestamp_begin + 12, english.timestamp_begin + 250]
    tokens = [time[0], *english.encode(text), time[1]]
    there = translate(tokens, english, other)
    assert there == [other.timestamp_begin + 12, *other.encode(text), other.timestamp_begin + 250]
    assert translate(there, other, english) == tokens
    large = get_tokenizer(True, num_languages=100, language="en", task="transcribe")
    assert translate(there, other, large) == [t + (t >= other.timestamp_begin) for t in there]
    odd = [other.encode(" hello")[0], other.encode(" world")[0]]
    assert translate(odd[::-1], other, large) == odd[::-1]


def test_an_english_assistant_knows_no_other_language(spoken: Spoken) -> None:
    if spoken.model.dims.is_multilingual:
        pytest.skip("of an English model")
    drafts = Drafts(Whisper(spoken.model.dims, spoken.model.runtime), np.zeros(16000, np.float32))
    theirs = get_tokenizer(True, language="de", task="transcribe")
    for changes in ({"language": "de"}, {"language": "en", "task": "translate"}):
        assert drafts.of(Window(0, 100), DecodingOptions(**changes), theirs) == []


class Listener(Scripted):
    """An assistant that notes what it hears and is told."""

    def __init__(self) -> None:
        super().__init__(SCRIPTED["tiny.en"])
        self.heard: list[np.ndarray] = []
        self.told: list[list[list[int]]] = []

    def encode(self, mel: np.ndarray) -> np.ndarray:
        self.heard.append(mel)
        return super().encode(mel)

    def start(self, features: Any, rows_per_window: int = 1) -> Any:
        state = super().start(features, rows_per_window)
        step = state.step

        def noted(tokens: np.ndarray, at: Any = (-1,)) -> np.ndarray:
            self.told.append(tokens.tolist())
            return step(tokens, at)

        state.step = noted  # type: ignore[method-assign]
        return state


@pytest.mark.parametrize("without_timestamps", [False, True])
def test_an_assistant_is_told_what_the_model_is_told(without_timestamps: bool) -> None:
    """The audio of this window alone, the text before it in its own vocabulary, and whether times are wanted."""
    audio = np.random.default_rng(1).normal(0, 0.1, 48000).astype(np.float32)
    ours, theirs, listener = get_tokenizer(True, language="en", task="transcribe"), get_tokenizer(False), Listener()
    options = DecodingOptions(language="en", prompt=ours.encode(" so on"), without_timestamps=without_timestamps)
    draft = Drafts(Whisper(listener.dims, listener), audio).of(Window(100, 50), options, ours)
    assert ours.decode(draft) == SENTENCE
    (heard,) = listener.heard
    assert np.array_equal(heard[0], LogMel(audio, 80).window(100, 50))
    times = [theirs.no_timestamps] if without_timestamps else []
    assert listener.told[0] == [[theirs.sot_prev, *theirs.encode(" so on"), *theirs.sot_sequence, *times]]
