"""What a comparison counts over several files, and every figure of it as it is shown and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import cli, compare, comparison_view, samples
from maxwhisper_impl.compare import Comparison, Failure, Row
from maxwhisper_impl.samples import Sample
from maxwhisper_impl.systems import SystemSpec, Transcript
from maxwhisper_impl.threads import available_cpus
from maxwhisper_impl.worker import Timed

FILES = [
    Sample("english", np.zeros(16000, np.float32), "en", "the colour of mister smith"),
    Sample("german", np.zeros(32000, np.float32), "de", "die colour of mister smith"),
    Sample("unknown", np.zeros(64000, np.float32), None, None),
]
TOKENS = {16000: [1, 2], 32000: [3, 4, 5], 64000: [6, 7, 8, 9, 10]}
"""by the length of the file"""


class Answers:
    """In the place of a worker: a second for each second of audio; ours has another token in the last file."""

    def __init__(self, spec: SystemSpec) -> None:
        self.spec = spec
        self.prepare = self.rest = self.close = lambda: None

    def load(self, progress: Any = None) -> Timed:
        return Timed(None, 0.5)

    def peak_memory(self) -> int:
        return 1000

    def transcribe(self, audio: np.ndarray, pinned: Any) -> tuple[Transcript, float]:
        tokens = list(TOKENS[len(audio)])
        if self.spec.system == "maxwhisper" and len(audio) == 64000:
            tokens[-1] = 11
        text = "The color of Mr. Smith" if len(audio) < 64000 else "nobody knows"
        return Transcript(text, tokens, [(0.0, 1.0, text)]), len(audio) / 16000


def test_all_files_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their times, their tokens, and the words of those whose transcript is known, each in its own language."""
    monkeypatch.setattr(compare, "Worker", Answers)
    result = compare.compare(FILES, ["any"], ["maxwhisper", "openai-whisper"], rounds=2, say=lambda _: None)
    ours, oracle = result.rows
    assert ours.rounds == oracle.rounds == [7.0, 7.0]
    assert result.audio_seconds == ours.audio_seconds == 7
    assert (ours.agreement, oracle.agreement) == (0.9, 1)
    assert ours.wer == oracle.wer == 3 / 10, "in German: die, colour, mister"
    assert list(ours.transcripts) == [sample.id for sample in FILES]


ROW = Row(
    SystemSpec("maxwhisper", "/some/where/tiny[en]", "cuda", "int8", 2), rounds=[3.0, 2.5, 1.0], audio_seconds=200.0,
    load_seconds=4.04, warm_up_seconds=5.06, peak_memory=466 << 20, speedup=3.214, wer=0.0614, agreement=0.91349,
    transcripts={"a.wav": Transcript(" ünïted ", [1, 2], [(0.0, 1.5, " ünïted ")])},
)  # fmt: skip
PLAIN = replace(ROW, spec=replace(ROW.spec, system="openai-whisper", dtype="float32"), speedup=None, wer=None,
                agreement=None, rounds=[20.0])  # fmt: skip


def test_every_figure_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the columns; names as they are, whatever rich makes of brackets."""
    shown = ("tiny[en]", "maxwhisper", "cuda", "int8", "2.50 s", "0.0125", "3.21×", "6.14 %", "91.34 %", "4.0 s",
             "466 MiB")  # fmt: skip
    assert comparison_view.cells(ROW) == shown
    assert comparison_view.cells(PLAIN)[3:9] == ("float32", "20.00 s", "0.1000", "–", "–", "–")
    comparison_view.print_table(Comparison([], 2, 3, [ROW], [Failure(PLAIN.spec, "no [such] thing")]))
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if "MiB" in line)
    assert line.split() == " ".join(shown).split()
    assert "0.0 s of audio · 2 threads · greedy · median of 3 interleaved rounds" in out
    assert "tiny[en] · openai-whisper failed: no [such] thing" in out
    comparison_view.print_table(Comparison([], 2, 1, [ROW]))
    assert "greedy · 1 round " in capsys.readouterr().out


def test_every_figure_is_written() -> None:
    written = comparison_view.as_json(Comparison(FILES[:1], 2, 3, [ROW], [Failure(PLAIN.spec, "gone")], "abc"))
    want = {
        "commit": "abc", "audio_seconds": 1.0, "rounds": 3, "threads": 2,
        "audio": [{"file": "english", "seconds": 1.0, "language": "en", "reference": FILES[0].text}],
        "failures": [{"system": "openai-whisper", "model": ROW.spec.model, "dtype": "float32", "reason": "gone"}],
        "options": {"beam_size": 1, "temperature": 0, "condition_on_previous_text": True, "vad_filter": False},
    }  # fmt: skip
    assert {key: written[key] for key in want} == want
    assert set(written["versions"]) == {"python", "maxwhisper", "max"}
    assert written["rows"] == [{
        "system": "maxwhisper", "model": "/some/where/tiny[en]", "device": "cuda", "dtype": "int8", "seconds": 2.5,
        "rtf": 0.0125, "speedup": 3.214, "wer": 0.0614, "agreement": 0.91349, "text": "ünïted",
        "round_seconds": [3.0, 2.5, 1.0], "load_seconds": 4.04, "warm_up_seconds": 5.06, "peak_memory": 466 << 20,
        "transcripts": {"a.wav": {"text": " ünïted ", "tokens": [1, 2],
                                  "segments": [{"start": 0.0, "end": 1.5, "text": " ünïted "}]}},
    }]  # fmt: skip


def test_every_bar_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first row on top, as long as its speed, named and labelled."""
    from matplotlib.axes import Axes

    draw, lengths = Axes.barh, list[float]()
    monkeypatch.setattr(Axes, "barh", lambda axes, y, size, **how: lengths.extend(size) or draw(axes, y, size, **how))
    comparison_view.write_plot(tmp_path / "out.svg", Comparison([], 2, 3, [ROW, PLAIN]))
    assert lengths == [10, 80]
    lines = (tmp_path / "out.svg").read_text(encoding="utf-8").splitlines()
    texts = [line.strip().removeprefix("<!-- ").removesuffix(" -->") for line in lines if "<!-- " in line]
    assert [text for text in texts if "×" in text] == ["10.0×", "80.0× · WER 6.1 %"]
    names = ["tiny[en] · openai-whisper", "tiny[en] · maxwhisper:int8"]
    assert [text for text in texts if text in names] == names


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command hands to the comparison, which then has nothing but failures."""
    kept: dict[str, Any] = {}

    def run(given: Any, models: list[str], systems: list[str], **options: Any) -> Comparison:
        kept.update(options, models=models, systems=systems)
        return Comparison(given, 1, 1, [], [Failure(PLAIN.spec, "not today")])

    monkeypatch.setattr(compare, "compare", run)
    monkeypatch.setattr(samples, "read_samples", lambda files, **options: kept.update(options, files=files) or [])
    return kept


def test_the_command_asks_for_what_its_flags_say(asked: dict[str, Any]) -> None:
    given = ["--model", "tiny.en, base", "--model", "tiny.en", "--systems", "maxwhisper:int8 , whisper.cpp"]
    given += ["--device", "cuda", "--threads", "1", "--rounds", "7", "--language", "German", "--reference", "said.txt"]
    assert cli.main(["compare", "a.wav", *given]) == 1
    del asked["say"]
    assert asked == {
        "files": ["a.wav"], "language": "de", "reference": "said.txt", "models": ["tiny.en", "base"],
        "systems": ["maxwhisper:int8", "whisper.cpp"], "device": "cuda", "threads": 1, "rounds": 7,
    }  # fmt: skip


def test_a_language_that_is_none_is_refused_before_anything_runs(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "a.wav", "--language", "klingon"]) == 2
    assert "unknown language 'klingon'" in capsys.readouterr().err
    assert not asked


def test_a_name_that_is_no_utf_8_is_written_as_what_it_is(tmp_path: Path) -> None:
    name = "\udcff.wav"
    sample = Sample(name, np.zeros(16000, np.float32), "en", None)
    comparison_view.write_json(tmp_path / "out.json", Comparison([sample], 1, 1, []))
    assert json.loads((tmp_path / "out.json").read_bytes())["audio"][0]["file"] == name


def test_whatever_a_model_is_called_each_line_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(samples, "read_samples", lambda *_, **__: [])
    spec = replace(PLAIN.spec, model="a\nb")

    def run(*_: Any, say: Callable[[str], None], **__: Any) -> Comparison:
        say("a\nb: weights")
        return Comparison([], 1, 1, [], [Failure(spec, "there is no a\nb")])

    monkeypatch.setattr(compare, "compare", run)
    assert cli.main(["compare", "a.wav", "--model", "a\nb"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "[    0 s] a b: weights\n"
    assert printed.out.splitlines()[-1] == "a b · openai-whisper failed: there is no a b"


def test_the_commands_defaults(asked: dict[str, Any]) -> None:
    assert cli.main(["compare"]) == 1
    del asked["say"]
    assert asked == {
        "files": [], "language": None, "reference": None, "models": ["tiny.en", "base"],
        "systems": ["maxwhisper", "openai-whisper", "faster-whisper", "whisper.cpp"], "device": "cpu",
        "threads": available_cpus(), "rounds": 3,
    }  # fmt: skip


def test_a_comparison_in_which_nothing_failed_is_a_success(asked: dict[str, Any],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "compare", lambda *_, **__: Comparison([], 1, 1, [ROW]))
    assert cli.main(["compare", "a.wav"]) == 0


def test_where_all_failed_there_is_nothing_to_draw(asked: dict[str, Any], tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    table, picture = tmp_path / "out.json", tmp_path / "out.png"
    assert cli.main(["compare", "--json", str(table), "--plot", str(picture)]) == 1
    assert json.loads(table.read_text())["failures"][0]["reason"] == "not today"
    assert not picture.exists()
    assert "openai-whisper failed: not today" in capsys.readouterr().out
