"""Corpora are read exactly, or refused with file and line."""

import json
import re
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maxwhisper_impl.corpus import Clip, Segment, Word, default_corpora, read_corpus
from maxwhisper_impl.errors import CorpusError

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
SPEECH = FIXTURES / "en" / "01-slt.flac"  # 5.48 s
GOOD = {"audio": "a.wav", "seconds": 2.0, "language": "en", "text": "Two words."}

LENIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # every example writes files


def read_lines(*lines: bytes | dict[str, object], audio: tuple[str, ...] = ("a.wav", "b.wav")) -> list[Clip]:
    """The corpus of a manifest with these lines beside (empty) audio files."""
    with tempfile.TemporaryDirectory() as folder:
        for name in audio:
            (Path(folder) / name).touch()
        content = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
        (Path(folder) / "manifest.jsonl").write_bytes(content)
        return read_corpus(folder)


# ---- what is read


def test_a_row_is_carried_whole() -> None:
    row = GOOD | {
        "language": "fr",
        "translation": "In English",
        "words": [{"word": "Two", "start": 0, "end": 0.5}, {"word": "words", "start": 0.5, "end": 1.25}],
        "utterances": [{"id": "u1", "text": "Two words.", "start": 0, "end": 1.25}],
        "tags": ["long", "odd"],
        "voice": "slt",
        "source": "somewhere",
        "licence": "MIT",
        "note": "a note",
        "speaker_age": 40,  # keys of other people's are none of ours
    }
    (clip,) = read_lines(row)
    assert clip == Clip(
        id="a.wav",
        audio=clip.audio,
        seconds=2.0,
        language="fr",
        text="Two words.",
        translation="In English",
        words=(Word("Two", 0.0, 0.5), Word("words", 0.5, 1.25)),
        segments=(Segment("Two words.", 0.0, 1.25, "u1"),),
        tags=frozenset({"long", "odd"}),
        voice="slt",
        source="somewhere",
        licence="MIT",
        note="a note",
    )
    assert clip.audio.name == "a.wav"


def test_unknown_text_and_no_text_stay_apart() -> None:
    unknown, silent = read_lines(GOOD | {"text": None}, GOOD | {"audio": "b.wav", "text": "", "language": None})
    assert (unknown.text, silent.text, silent.language) == (None, "", None)


def test_a_line_separator_within_a_string_does_not_end_the_line() -> None:
    (clip,) = read_lines(json.dumps(GOOD | {"text": "one\u2028two"}, ensure_ascii=False).encode())
    assert clip.text == "one\u2028two"


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    """Windows' editors write one."""
    clips = read_lines(b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), GOOD | {"audio": "b.wav"})
    assert [clip.id for clip in clips] == ["a.wav", "b.wav"]


def test_times_may_be_rounded_beyond_the_end() -> None:
    """To the millisecond, as manifests give them."""
    (clip,) = read_lines(GOOD | {"seconds": 1.9996, "words": [{"word": "x", "start": 1, "end": 2.0}]})
    assert clip.words == (Word("x", 1.0, 2.0),)
    with pytest.raises(CorpusError, match="must be in order"):
        read_lines(GOOD | {"seconds": 1.998, "words": [{"word": "x", "start": 1, "end": 2.0}]})


def test_the_length_is_asked_of_the_file_where_the_manifest_lacks_it(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(SPEECH.read_bytes())
    (tmp_path / "manifest.jsonl").write_text('{"audio": "a.flac", "language": "en", "text": null}')
    assert read_corpus(tmp_path)[0].seconds == pytest.approx(5.48, abs=1e-6)


def test_a_file_may_be_shorter_than_a_second(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    (tmp_path / "manifest.jsonl").write_text('{"audio": "a.wav", "language": "en", "text": ""}')
    assert read_corpus(tmp_path)[0].seconds == 0.5


def librispeech(folder: Path, lines: str, *audio: str) -> None:
    chapter = folder / "test-other" / "367" / "130732"
    chapter.mkdir(parents=True)
    (chapter / "367-130732.trans.txt").write_text(lines)
    for name in audio:
        (chapter / f"{name}.flac").write_bytes(SPEECH.read_bytes())


def test_both_layouts_in_one_folder(tmp_path: Path) -> None:
    librispeech(tmp_path, "367-130732-0000 TWO WORDS\n367-130732-0001 MORE\n", "367-130732-0000", "367-130732-0001")
    (tmp_path / "a.wav").touch()
    (tmp_path / "manifest.jsonl").write_text(json.dumps(GOOD))
    clips = read_corpus(tmp_path)
    assert [clip.id for clip in clips] == ["a.wav", "367-130732-0000", "367-130732-0001"]
    first = clips[1]
    assert (first.text, first.language, first.voice, first.tags) == ("TWO WORDS", "en", "367", {"librispeech"})
    assert first.seconds == pytest.approx(5.48, abs=1e-6)
    assert first.audio.is_file()


def test_the_default_corpora_are_the_fixtures_and_the_shared_speech() -> None:
    shared = ROOT.parent / "shared" / "speech"
    assert default_corpora() == [FIXTURES] + [shared] * shared.is_dir()


@pytest.mark.skipif(len(default_corpora()) < 2, reason="../shared/speech is not here")
def test_the_shared_speech_is_read_whole() -> None:
    folder = default_corpora()[1]
    clips = read_corpus(folder)
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    transcripts = [line for path in folder.rglob("*.trans.txt") for line in path.read_text().splitlines()]
    assert len(clips) == len(rows) + len(transcripts)
    for row, clip in zip(rows, clips, strict=False):  # LibriSpeech's clips come after
        same = {"audio": clip.id, "text": clip.text, "language": clip.language, "licence": clip.licence}
        assert same == {key: row[key] for key in same}
        assert len(clip.segments) == len(row.get("utterances", []))
        assert [word.word for word in clip.words] == [word["word"] for word in row.get("words", [])]
    assert {f"{c.id} {c.text}" for c in clips if "librispeech" in c.tags} == set(transcripts)


def test_reading_a_corpus_imports_neither_torch_nor_max() -> None:
    code = "import sys, maxwhisper_impl.corpus; print(sorted({'torch', 'whisper', 'max'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


# ---- what is refused


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere: no such folder"):
        read_corpus(tmp_path / "nowhere")


def test_no_corpus_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no corpus here.*manifest\.jsonl.*LibriSpeech"):
        read_corpus(tmp_path)


def test_an_empty_manifest_is_no_corpus() -> None:
    with pytest.raises(CorpusError, match="no corpus here"):
        read_lines(b"", b"  ")


WORD = {"word": "x", "start": 0.0, "end": 1.0}
MALFORMED: list[tuple[bytes | dict[str, object], str]] = [
    (b"{", "not JSON"),
    (b"\xff", "not UTF-8"),
    (b"[" * 100_000, "not JSON"),
    (b"[1]", "expected a JSON object, got [1]"),
    ({"language": "en", "text": "x"}, "'audio' is missing; the line has ['language', 'text']"),
    ({"audio": "b.wav", "seconds": 1, "text": "x"}, "'language' is missing"),
    ({"audio": "b.wav", "seconds": 1, "language": "en"}, "'text' is missing"),
    (GOOD | {"audio": None}, "'audio' must be a string, got None"),
    (GOOD | {"audio": ""}, "no such audio file"),
    (GOOD | {"audio": "c.wav"}, "no such audio file"),
    (GOOD | {"audio": "x" * 5000}, "no such audio file"),
    (GOOD | {"audio": "b.wav", "text": 5}, "'text' must be a string or null, got 5"),
    (GOOD | {"audio": "b.wav", "seconds": "2"}, "'seconds' must be seconds, a number from 0 to 1e+06, got '2'"),
    (GOOD | {"audio": "b.wav", "seconds": None}, "'seconds' must be"),
    (GOOD | {"audio": "b.wav", "seconds": True}, "'seconds' must be"),
    (GOOD | {"audio": "b.wav", "seconds": -1}, "'seconds' must be"),
    (GOOD | {"audio": "b.wav", "seconds": float("nan")}, "'seconds' must be"),
    (GOOD | {"audio": "b.wav", "seconds": 10**400}, "'seconds' must be"),
    (GOOD | {"audio": "b.wav", "tags": "long"}, "'tags' must be a list of strings, got 'long'"),
    (GOOD | {"audio": "b.wav", "words": {}}, "'words' must be a list, got {}"),
    (GOOD | {"audio": "b.wav", "words": ["x"]}, "words[0]: expected a JSON object, got 'x'"),
    (GOOD | {"audio": "b.wav", "words": [{"word": "x", "start": 0}]}, "words[0]: 'end' must be"),
    (GOOD | {"audio": "b.wav", "words": [WORD, WORD | {"word": None}]}, "words[1]: 'word' must be a string"),
    (GOOD | {"audio": "b.wav", "words": [WORD | {"start": 1.5}]}, "words[0]: start 1.5 and end 1.0 must be"),
    (GOOD | {"audio": "b.wav", "words": [WORD | {"end": 2.1}]}, "to the length of the audio (2.0)"),
    (GOOD | {"audio": "b.wav", "words": [WORD | {"start": 0.5}, WORD]}, "words[1]: start 0.0 and end 1.0"),
    (GOOD | {"audio": "b.wav", "utterances": [WORD]}, "utterances[0]: 'text' is missing"),
    (GOOD | {"audio": "b.wav", "utterances": [WORD | {"end": 2.1}]}, "utterances[0]: start 0.0 and end 2.1 must be"),
    (GOOD, "id 'a.wav' was already given at"),
]


@pytest.mark.parametrize(("line", "message"), MALFORMED, ids=[message[:40] for _, message in MALFORMED])
def test_a_malformed_line_is_named(line: bytes | dict[str, object], message: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(message)) as caught:
        read_lines(GOOD, b"", line)  # the empty line counts
    assert "manifest.jsonl:3: " in str(caught.value)


def test_a_file_that_is_not_audio_has_no_length() -> None:
    with pytest.raises(CorpusError, match=r"manifest\.jsonl:1: not audio that FFmpeg reads: .*a\.wav"):
        read_lines({"audio": "a.wav", "language": None, "text": None})


def test_a_header_with_an_absurd_length_is_refused(tmp_path: Path) -> None:
    flac = bytearray((FIXTURES / "en" / "01-slt.flac").read_bytes())
    flac[21] |= 0x0F  # the number of samples, 36 bits
    flac[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(flac)
    (tmp_path / "manifest.jsonl").write_text('{"audio": "a.flac", "language": "en", "text": null}')
    with pytest.raises(CorpusError, match=r":1: the header of .*a\.flac' says [0-9.]+e\+06 s, and 1e\+06"):
        read_corpus(tmp_path)


def test_a_file_without_audio_has_no_length(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nTwo words.\n")
    (tmp_path / "manifest.jsonl").write_text('{"audio": "a.srt", "language": "en", "text": null}')
    with pytest.raises(CorpusError, match=r"manifest\.jsonl:1: the length of .*a\.srt' is unknown: no audio in it"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("367-130732-0000 X\n367-130732-0001\n", "trans.txt:2: expected 'ID TEXT', got '367-130732-0001'"),
        ("367-130732-0000 X\n367-130732-0009 Y\n", "trans.txt:2: no such audio file"),
        ("367-130732-0000 X\n367-130732-0000 X\n", "trans.txt:2: id '367-130732-0000' was already given at"),
    ],
)
def test_a_malformed_transcript_is_named(tmp_path: Path, lines: str, message: str) -> None:
    librispeech(tmp_path, lines, "367-130732-0000")
    with pytest.raises(CorpusError, match=re.escape(message)):
        read_corpus(tmp_path)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ITEM_KEYS = st.sampled_from(["word", "text", "start", "end", "id"])
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ITEM_KEYS, inner, max_size=3), max_leaves=4
)
KEYS = [*GOOD, "translation", "words", "utterances", "tags", "voice", "source", "licence", "note"]


@LENIENT
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3), st.sets(st.sampled_from(list(GOOD)), max_size=2))
def test_any_json_is_read_or_refused(changes: dict[str, object], missing: set[str]) -> None:
    row = {key: value for key, value in (GOOD | changes).items() if key not in missing}
    try:
        (clip,) = read_lines(row)
    except CorpusError as error:
        assert "manifest.jsonl:1: " in str(error)  # noqa: PT017  a row may as well be right
        return
    same = {"audio": clip.id, "text": clip.text, "language": clip.language, "seconds": clip.seconds}
    assert same == {key: row[key] for key in same}
    for item in (*clip.words, *clip.segments):
        assert 0 <= item.start <= item.end <= clip.seconds + 1e-3
    assert len(clip.words) == len(row.get("words", ()))


@LENIENT
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(line: bytes) -> None:
    with pytest.raises(CorpusError, match=r"manifest\.jsonl:\d+: |no corpus here"):
        read_lines(line)


times = st.lists(st.floats(0, 100), min_size=2, max_size=12).map(sorted)


@LENIENT
@given(times, st.text(max_size=20), st.floats(0, 50))
def test_times_and_text_come_back_as_written(bounds: list[float], text: str, rest: float) -> None:
    pairs = list(zip(bounds[::2], bounds[1::2], strict=False))
    rows = [{"word": text, "text": text, "start": start, "end": end} for start, end in pairs]
    seconds = bounds[-1] + rest
    (clip,) = read_lines(GOOD | {"seconds": seconds, "text": text, "words": rows, "utterances": rows})
    assert clip.words == tuple(Word(text, *pair) for pair in pairs)
    assert clip.segments == tuple(Segment(text, *pair) for pair in pairs)
    assert (clip.text, clip.seconds) == (text, seconds)
