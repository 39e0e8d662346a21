"""Words that differ are marked and no others; texts side by side are cut where the speech was."""

from __future__ import annotations

import msgspec
import pytest

from maxwhisper_impl.report.kinds import Comparison
from maxwhisper_impl.report.transcripts import SideBySide, side_by_side
from maxwhisper_impl.report.words import aligned
from tests.report import runs
from tests.report.runs import changed


def shown(said: str, heard: str, language: str = "en") -> str:
    """+added+ -missing- <other|what was said>"""
    signs = {"same": "{0}", "added": "+{0}+", "missing": "-{0}-", "other": "<{0}|{1}>"}
    marks = aligned(said.split(), heard.split(), language)
    assert [mark.at for mark in marks] == sorted(mark.at for mark in marks)
    return " ".join(signs[mark.kind].format(mark.text, mark.instead) for mark in marks)


@pytest.mark.parametrize(
    ("said", "heard", "want"),
    [
        ("a cat sat", "A cat, sat.", "A cat, sat."),
        ("a cat sat", "a hat sat", "a <hat|cat> sat"),
        ("a cat sat", "a sat", "a -cat- sat"),
        ("a cat sat", "a big cat sat", "a +big+ cat sat"),
        ("a cat", "", "-a- -cat-"),
        ("", "a cat", "+a+ +cat+"),
        ("", "", ""),
        ("the colour of twenty", "the color of 20", "the color of 20"),
        ("um the cat — sat", "the cat uh sat", "the cat uh sat"),
        ("picture-books sold", "picture books sold", "picture books sold"),
        ("the lower-case type", "the lower type", "the lower -case- type"),
        ("one of four hundred cats", "one of hundred cats now", "one of -four- hundred cats +now+"),
        ("we walked across it", "we walked it now", "we walked -across- it +now+"),
        ("a b c d", "x a b c", "+x+ a b c -d-"),
    ],
)
def test_marks(said: str, heard: str, want: str) -> None:
    assert shown(said, heard) == want


def test_another_language_has_its_own_normaliser() -> None:
    assert shown("die colour", "Die color", "de") == "Die <color|colour>"


def table(**changes: object) -> SideBySide:
    run = msgspec.convert(changed(runs.COMPARISON, **changes), Comparison)
    (made,) = side_by_side(run, lambda row: row.system)
    return made


def cells(made: SideBySide) -> dict[str, list[str]]:
    return {", ".join(c.names): [made.joiner.join(m.text for m in cell) for cell in c.cells] for c in made.columns}


def test_equal_texts_share_a_column_and_rows_are_the_speech() -> None:
    made = table()
    assert made.starts == [0.0, 3.0]
    assert made.against == "what was said"
    assert cells(made) == {
        "what was said": ["the ice was thick", "we walked across it"],
        "maxwhisper, openai-whisper": ["The ice was thick", "We walked across it"],
        "faster-whisper": ["The rice was thick", "We walked across it now"],
    }
    assert [made.columns[2].marked(kind) for kind in ("other", "added", "missing")] == [1, 1, 1]


def test_without_a_transcript_the_first_system_is_the_measure() -> None:
    made = table(audio__0__reference=None)
    assert made.against == "maxwhisper, openai-whisper"
    assert list(cells(made)) == ["maxwhisper, openai-whisper", "faster-whisper"]


def test_a_file_without_text_or_times() -> None:
    silent = [runs.row("maxwhisper", 8.0, "", transcripts={"talk.flac": {"text": "", "segments": []}})]
    made = table(rows=silent, audio__0__reference=None)
    assert (made.starts, cells(made)) == ([None], {"maxwhisper": [""]})
    assert table(rows=[], audio__0__reference=None).columns == []


def test_languages_without_spaces_go_letter_by_letter() -> None:
    rows = [runs.row("maxwhisper", 8.0, "今日は雨", transcripts={"talk.flac": {"text": "今日は雨", "segments": []}})]
    made = table(rows=rows, audio__0__language="ja", audio__0__reference="今日は雪")
    assert cells(made) == {"what was said": ["今日は雪"], "maxwhisper": ["今日は雨"]}
    assert [(mark.text, mark.instead) for mark in made.columns[1].cells[0] if mark.kind != "same"] == [("雨", "雪")]


def test_no_word_is_lost_in_a_long_text_with_many_cuts() -> None:
    words = [f"q{a}{b}q" for a in "bcdfghjklmnprstvwxz" for b in "bcdfghjklmnprstvwxz"][:300]
    heard = [w for i, w in enumerate(words) if i % 7] + ["more"]
    segments = [{"start": i, "end": i + 1.0, "text": " ".join(heard[i : i + 10])} for i in range(0, len(heard), 10)]
    transcript = {"text": " ".join(heard), "segments": segments}
    rows = [runs.row("maxwhisper", 8.0, "x", transcripts={"talk.flac": transcript})]
    made = table(rows=rows, audio__0__reference=" ".join(words))
    assert len(made.starts) == len(segments)
    assert [mark.text for cell in made.columns[0].cells for mark in cell] == words
    marks = [mark for cell in made.columns[1].cells for mark in cell]
    assert [mark.text for mark in marks if mark.kind != "missing"] == heard
    assert sum(mark.kind == "missing" for mark in marks) == sum(i % 7 == 0 for i in range(300))
