"""Files are byte for byte openai-whisper's on the same result: random segment lists through both writers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from whisper import utils as oracle

from maxwhisper_impl import OptionError
from maxwhisper_impl.writers import FORMATS, format_timestamp, get_writer, write_result

TIMES = st.integers(0, 4_000_000).map(lambda ms: ms / 1000) | st.floats(0, 20_000)
CHARACTERS = st.sampled_from(list(" ab\t\nß語'\"\\,-->🙂\u200b")) | st.characters(exclude_categories=["Cs"])
TEXT = st.text(CHARACTERS, max_size=12)
SPOKEN = st.sampled_from([" and", " a", " printing", ",", " —", "-", " ", "", "\n", " 語", " supercalifragilistic"])


@st.composite
def results(draw: st.DrawFn, words: bool | None = None) -> dict[str, Any]:
    """A result with or without word times; starts mostly advance, with pauses short and long."""
    with_words = draw(st.booleans()) if words is None else words
    segments, now = [], 0.0
    for number in range(draw(st.integers(0, 5))):
        now = max(0.0, now + draw(st.sampled_from([0.0, 0.5, 2.9, 3.1, 3700.0, -1.3]) | st.floats(0, 5)))
        end = now + draw(st.sampled_from([0.0, 1.004, 7.25]))
        segment = {"id": number, "start": now, "end": end, "text": draw(TEXT)}
        if with_words:
            segment["words"] = []
            for _ in range(draw(st.integers(0, 6))):
                now = max(0.0, now + draw(st.sampled_from([0.0, 0.02, 0.3, 2.999, 3.001, 3.5, -0.2]) | st.floats(0, 1)))
                end = now + draw(st.sampled_from([0.0, 0.1, 0.4]))
                segment["words"].append({"word": draw(SPOKEN | TEXT), "start": now, "end": end, "probability": 0.5})
        segments.append(segment)
    return {"text": draw(TEXT), "segments": segments, "language": "en"}


LIMIT = st.none() | st.integers(1, 40)
LINES = st.fixed_dictionaries(
    {},
    optional={
        "highlight_words": st.booleans(),
        "max_line_width": LIMIT,
        "max_line_count": st.none() | st.integers(1, 3),
        "max_words_per_line": st.none() | st.integers(1, 4),
    },
)


def written(result: dict[str, Any], name: str, **lines: Any) -> str:
    file = io.StringIO()
    write_result(result, file, name, **lines)
    return file.getvalue()


def by_oracle(result: dict[str, Any], name: str, **lines: Any) -> str:
    file = io.StringIO()
    oracle.get_writer(name, ".").write_result(result, file, **lines)
    return file.getvalue()


WORDS = [
    {"word": " so", "start": 0.0, "end": 0.4, "probability": 1.0},
    {"word": " on", "start": 0.4, "end": 5.0, "probability": 1.0},
]
SO_ON = {"id": 0, "start": 0.0, "end": 5.0, "text": " so on", "words": WORDS}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=100, deadline=None)
@given(results(), LINES)
@example({"text": "", "segments": [], "language": "en"}, {})
@example({"text": "", "segments": [{"id": 0, "start": 0.0, "end": 1.0, "text": " a --> b\tc"}], "language": "en"}, {})
@example({"text": "", "segments": [SO_ON]}, {"highlight_words": True})
def test_equal_to_the_oracles(name: str, result: dict[str, Any], lines: dict[str, Any]) -> None:
    assert written(result, name, **lines) == by_oracle(result, name, **lines)


@pytest.mark.parametrize("name", ["vtt", "srt"])
@settings(max_examples=300, deadline=None)
@given(results(words=True), LINES)
def test_word_lines_equal_to_the_oracles(name: str, result: dict[str, Any], lines: dict[str, Any]) -> None:
    assert written(result, name, **lines) == by_oracle(result, name, **lines)


@given(TIMES, st.booleans(), st.sampled_from([".", ","]))
def test_timestamps_equal_the_oracles(seconds: float, hours: bool, marker: str) -> None:
    assert format_timestamp(seconds, hours, marker) == oracle.format_timestamp(seconds, hours, marker)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "00:00.000"), (61.0005, "01:01.000"),
     (61.0006, "01:01.001"), (3599.9999, "01:00:00.000"), (363600, "101:00:00.000")],
)
def test_timestamps(seconds: float, expected: str) -> None:
    assert format_timestamp(seconds) == expected


def test_no_negative_timestamps() -> None:
    with pytest.raises(ValueError, match="not negative"):
        format_timestamp(-0.5)


RESULT = {"text": " Hello.", "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " Hellö."}], "language": "en"}


@pytest.mark.parametrize("audio", ["talk.flac", "some/where/talk.of.1999.flac", "talk", Path("x/.hidden"), "b.tar.gz"])
def test_files_are_named_and_filled_as_the_oracles(tmp_path: Path, audio: str | Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    get_writer("all", ours)(RESULT, audio)
    oracle.get_writer("all", str(theirs))(RESULT, str(audio))
    files = {path.name: path.read_bytes() for path in ours.iterdir()}
    assert files == {path.name: path.read_bytes() for path in theirs.iterdir()}
    assert len(files) == len(FORMATS)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(results(), LINES)
def test_random_files_equal_the_oracles(tmp_path: Path, result: dict[str, Any], lines: dict[str, Any]) -> None:
    """Through the encoder and the disk as well, with the line options that all five are handed."""
    for folder, writer in (("ours", get_writer), ("theirs", oracle.get_writer)):
        (tmp_path / folder).mkdir(exist_ok=True)
        writer("all", str(tmp_path / folder))(result, "talk.flac", **lines)
    for name in FORMATS:
        ours, theirs = (tmp_path / folder / f"talk.{name}" for folder in ("ours", "theirs"))
        assert ours.read_bytes() == theirs.read_bytes(), name


@pytest.mark.parametrize("name", ["vtt", "srt"])
@settings(max_examples=100, deadline=None)
@given(results(words=True), st.fixed_dictionaries({
    "highlight_words": st.just(True), "max_line_width": st.integers(4, 30), "max_line_count": st.integers(1, 3)}))
def test_highlighted_lines_equal_the_oracles(name: str, result: dict[str, Any], lines: dict[str, Any]) -> None:
    """All options at once: lines are limited in width and number, and segments need not be kept."""
    assert written(result, name, **lines) == by_oracle(result, name, **lines)


def test_one_format(tmp_path: Path) -> None:
    get_writer("srt", tmp_path)(RESULT, "talk.flac")
    assert {p.name: p.read_text(encoding="utf-8") for p in tmp_path.iterdir()} == {
        "talk.srt": "1\n00:00:00,000 --> 00:00:01,500\nHellö.\n\n"
    }


@pytest.mark.parametrize("name", FORMATS)
def test_a_cleared_segment_among_others(name: str) -> None:
    """It has "words" where the others have none: openai-whisper fails on it in subtitles."""
    empty = {"id": 0, "start": 0.0, "end": 0.0, "text": "", "words": []}
    plain = {**RESULT, "segments": [{**empty}, *RESULT["segments"]]}
    if name in ("vtt", "srt"):
        assert "--> 00:00:01,500\nHellö." in written(plain, "srt")
        assert "--> 00:01.500\nHellö." in written(plain, "vtt")
        with pytest.raises(KeyError):
            by_oracle(plain, name)
    else:
        assert written(plain, name) == by_oracle(plain, name)


def test_unknown_format_and_option(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown output format 'doc'"):
        get_writer("doc", tmp_path)
    with pytest.raises(OptionError, match=r"unknown output format 'doc'; there are txt, .* and all"):
        write_result(RESULT, io.StringIO(), "doc")
    with pytest.raises(OptionError, match="unknown option 'width'"):
        get_writer("srt", tmp_path)(RESULT, "talk.flac", width=3)
