"""What the fuzzer demands of results and commands: each demand rejects what it is there for."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.corpus import Clip, Word
from tests.fuzz import __main__ as command
from tests.fuzz import forged
from tests.fuzz.audio import Audio
from tests.fuzz.case import Case, Wrong
from tests.fuzz.commands import Commands
from tests.fuzz.corpora import Corpora
from tests.fuzz.result import check_result
from tests.fuzz.speech import Speech
from tests.fuzz.supervisor import Failure, Report, make


def result(*, text: str | None = None, **changed: Any) -> dict[str, Any]:
    """Two segments of a recording of 5 s; `changed` of the second."""
    word = {"word": " so", "start": 2.0, "end": 2.5, "probability": 0.5}
    first = {"id": 0, "seek": 0, "start": 0.0, "end": 2.0, "text": " and", "tokens": [1], "temperature": 0.0,
             "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.1, "words": [word]}  # fmt: skip
    segments = [first, {**first, "id": 1, "seek": 200, "start": 2.0, "end": 4.0, "text": " so", **changed}]
    said = "".join(segment["text"] for segment in segments)
    return {"text": said if text is None else text, "language": "en", "segments": segments}


WORD = {"word": " so", "start": 2.0, "end": 2.5, "probability": 0.5}
BAD_RESULTS: dict[str, tuple[Any, str]] = {
    "none": (None, "gave None"),
    "another key": ({**result(), "more": 1}, "gave {'text'"),
    "text that is none": ({**result(), "language": None}, "text or language is no string"),
    "two of one number": (result(id=0), "segments are not numbered"),
    "before the beginning": (result(start=-0.1), "-0.1 to 4.0"),
    "behind the end": (result(end=35.2), "2.0 to 35.2"),
    "backwards": (result(start=4.5), "4.5 to 4.0"),
    "no figure": (result(avg_logprob=float("nan")), "figures: "),
    "tokens of NumPy": (result(tokens=[np.int64(1)]), "tokens are not numbers"),
    "a word backwards": (result(words=[{**WORD, "end": 1.0}]), "a word from 2.0 to 1.0"),
    "more than sure": (result(words=[{**WORD, "probability": 1.1}]), "a probability of 1.1"),
    "an earlier window": (result(seek=-1), "windows are not in order"),
    "another text": (result(text=" and on"), "not ' and on'"),
    "text in brackets": (result(text=" and <so>"), "not ' and <so>'"),
}


def test_a_sane_result_passes() -> None:
    check_result(result(), 5.0, words=True)
    check_result(result(start=4.5), 5.0, ruled=False)
    check_result(result(seek=-1), 5.0, ordered=False)
    check_result(result(text=" and<|ur|> so"), 5.0)
    check_result({"text": "", "language": "en", "segments": []}, 0.0)


@pytest.mark.parametrize("fault", BAD_RESULTS)
def test_a_result_that_is_none_does_not(fault: str) -> None:
    got, says = BAD_RESULTS[fault]
    with pytest.raises(Wrong) as wrong:
        check_result(got, 5.0)
    assert says in str(wrong.value)


def test_what_a_segment_must_have() -> None:
    for name in ("seek", "tokens", "no_speech_prob", "words"):
        got = result()
        del got["segments"][1][name]
        with pytest.raises(Wrong, match="a segment lacks"):
            check_result(got, 5.0, words=True)


@pytest.mark.parametrize(
    ("status", "errors", "says"),
    [
        (0, "", ""), (1, "maxwhisper: error: a", ""), (2, "maxwhisper: error: a", ""), (0, "loading tiny.en", ""),
        (0, "maxwhisper: warning: a", ""), (3, "maxwhisper: error: a", "exit status 3"),
        (-11, "maxwhisper: error: a", "exit status -11"), (0, "maxwhisper: error: a", "exit status 0 and the error"),
        (1, "", "exit status 1 and the error lines []"), (2, "maxwhisper: error: a\nmaxwhisper: error: b", "2 error"),
        (1, "maxwhisper: error: a\nmaxwhisper: error: a", "the same error twice"),
        (1, "Traceback (most recent call last):\nmaxwhisper: error: a", "said on stderr: ['Traceback"),
    ],
)  # fmt: skip
def test_how_a_command_may_end(status: int, errors: str, says: str) -> None:
    if not says:
        Commands().judge(status, errors)
        return
    with pytest.raises(Wrong) as wrong:
        Commands().judge(status, errors)
    assert says in str(wrong.value)


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (np.zeros(400, np.float32), ""), (np.zeros(400), "gave array"), (np.zeros((2, 4), np.float32), "gave array"),
        ([0.0], "gave [0.0]"), (np.full(9, np.inf, np.float32), "gave samples that are not finite"),
    ],
)  # fmt: skip
def test_what_is_audio(audio: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Audio()
    monkeypatch.setattr(target, "kinds", lambda: [(1, given)])

    def given(case: Case) -> Any:
        return audio

    case = Case("audio", 1, 0, tmp_path)
    if not says:
        assert target.run(case) == "text"
        return
    with pytest.raises(Wrong) as wrong:
        target.run(case)
    assert says in str(wrong.value)


def test_what_was_heard_is_the_sound_and_the_text() -> None:
    target = Audio()
    target.sound = np.sin(np.arange(6400) / 5)
    assert target.heard(target.sound.astype(np.float32)) is not None
    for other in (target.sound[:6000], np.random.default_rng(0).normal(size=6400)):
        with pytest.raises(Wrong, match=r"samples, the sound has 6400|is not the sound"):
            target.heard(other.astype(np.float32))
    speech = Speech()
    speech.texts = {"a": "one big house and a small one", "b": ""}
    assert speech.near("one big house and a small", "a")
    with pytest.raises(Wrong, match="43% of the words are wrong"):
        speech.near("one big house and", "a")


def test_what_is_a_clip(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.touch()
    Corpora().check(Clip("a", file, 1.0, "en", "x", words=(Word("x", 0.0, 1.0),)))
    for clip in (
        Clip("a", tmp_path / "b.wav", 1.0, "en", "x"), Clip("a", file, -1.0, "en", "x"),
        Clip("a", file, 1.0, "en", "x", words=(Word("x", 0.5, 0.4),)),
        Clip("a", file, 1.0, "en", "x", words=(Word("x", 0.5, 1.4),)),
    ):  # fmt: skip
        with pytest.raises(Wrong):
            Corpora().check(clip)


def test_each_target_is_its_own() -> None:
    for name, where in command.TARGETS.items():
        assert make(where).name == name
    shares = [make(where).share for where in command.TARGETS.values()]
    assert min(shares) > 0.05


def test_what_a_case_does_to_its_values_is_no_other_cases(tmp_path: Path) -> None:
    for number in range(300):
        drawn = forged.value(Case("x", number, 0, tmp_path / str(number)))
        if isinstance(drawn, list):
            drawn.append("changed")
        elif isinstance(drawn, dict):
            drawn["changed"] = True
    assert [each for each in forged.HUGE if isinstance(each, (list, dict))] == [[], {}]


def test_every_kind_of_case_is_drawn() -> None:
    """A method that nobody calls fuzzes nothing."""
    for where in command.TARGETS.values():
        target = type(make(where))
        source = inspect.getsource(target)
        methods = {name for name, member in vars(target).items() if inspect.isfunction(member)} - {"prepare", "run"}
        assert not {name for name in methods if f"self.{name}" not in source}, where


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the command asks of the supervisor, which finds nothing; of "speech" it has no case."""
    asked: list[dict[str, Any]] = []

    def fuzz(target: str, seed: int, **given: Any) -> Report:
        asked.append({"target": target, "seed": seed, **given})
        report = Report(make(target).name)
        if report.name == "audio" and seed == 13:
            report.failures.append(Failure("audio", 1, seed, "crash", "SIGSEGV"))
        if report.name == "speech" and seed == 14:
            raise KeyboardInterrupt
        report.outcomes["text"] += not (report.name == "speech" and seed == 15)
        return report

    monkeypatch.setattr(command, "fuzz", fuzz)
    return asked


@pytest.mark.parametrize(("seed", "status"), [(7, 0), (13, 1), (14, 1), (15, 1)])
def test_the_command_asks_for_all_and_says_what_became_of_it(
    seed: int, status: int, asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure, an interruption and a target of which no case ran are no success."""
    written = tmp_path / "f.json"
    monkeypatch.setattr("sys.argv", ["fuzz", "--minutes", "10", "--seed", f"{seed}", "--json", str(written)])
    assert command.main() == status
    assert written.is_file()
    assert {each["seed"] for each in asked} == {seed}
    if seed != 14:
        assert [each["target"] for each in asked] == list(command.TARGETS.values())
        assert sum(each["seconds"] for each in asked) == pytest.approx(600)
