"""Speech with its transcripts: a folder of audio -> Clips.

Two layouts are read, and one folder may hold both:

- `manifest.jsonl` at the top of the folder, one JSON object a line. Required: `audio` (path relative to the folder),
  `language` (code, or null) and `text` (or null where nobody has written it down; "" where nothing is said). Optional:
  `seconds` (else the file is asked), `translation` (into English), `words` ([{word, start, end}]), `utterances`
  ([{text, start, end, id?}]), `tags` ([str]), `voice`, `source`, `licence`, `note`. Other keys are ignored.
- LibriSpeech's (https://www.openslr.org/12): `speaker/chapter/*.flac` beside a `*.trans.txt` of lines "ID TEXT".
"""

import json
import os
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CorpusError

MANIFEST = "manifest.jsonl"
TRANSCRIPTS = "*.trans.txt"
ROUNDING = 1e-3  # manifests give times to the millisecond
MAX_SECONDS = 1e6  # eleven days; more is a slip of units


@dataclass(frozen=True)
class Word:
    """One spoken word; `start` and `end` in seconds."""

    word: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """One utterance of a longer clip; `start` and `end` in seconds."""

    text: str
    start: float
    end: float
    id: str | None = None


@dataclass(frozen=True)
class Clip:
    """One audio file and what is known of it.

    `id` is unique in its corpus: the audio's path as the manifest gives it, or LibriSpeech's utterance id. `language`
    is None where there is no speech. `text` is the exact transcript, None where it is unknown, "" where nothing is
    said. `words` and `segments` are in order of time, and empty where they are unknown. Clips of LibriSpeech's layout
    have the tag "librispeech".
    """

    id: str
    audio: Path
    seconds: float
    language: str | None
    text: str | None
    translation: str | None = None
    words: tuple[Word, ...] = ()
    segments: tuple[Segment, ...] = ()
    tags: frozenset[str] = frozenset()
    voice: str | None = None
    source: str | None = None
    licence: str | None = None
    note: str | None = None


def default_corpora() -> list[Path]:
    """The folders that are there of: the project's own `fixtures/`, and `../shared/speech` beside the project."""
    root = Path(__file__).resolve().parent.parent
    return [folder for folder in (root / "fixtures", root.parent / "shared" / "speech") if folder.is_dir()]


def read_corpus(folder: str | Path) -> list[Clip]:
    """All clips of `folder`: its manifest's in their order, then LibriSpeech's by id.

    Raises CorpusError, with file and line, where there is no corpus, a line is malformed, an audio file is missing or
    an id comes twice. Audio is not opened unless its length has to be asked.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder")
    manifest = folder / MANIFEST
    transcripts = sorted(folder.rglob(TRANSCRIPTS))
    clips: dict[str, Clip] = {}
    seen_at: dict[str, str] = {}
    for where, clip in _all_clips(folder, [manifest] if manifest.is_file() else [], transcripts):
        if clip.id in clips:
            raise CorpusError(f"{where}: id {clip.id!r} was already given at {seen_at[clip.id]}")
        clips[clip.id], seen_at[clip.id] = clip, where
    if not clips:
        raise CorpusError(
            f"{folder}: no corpus here; it needs a {MANIFEST}, or LibriSpeech's layout (speaker/chapter/*.flac "
            f"with a {TRANSCRIPTS}), with at least one clip"
        )
    return list(clips.values())


def _all_clips(folder: Path, manifests: list[Path], transcripts: list[Path]) -> Iterator[tuple[str, Clip]]:
    for path in manifests:
        for where, line in _lines(path):
            yield where, _manifest_clip(where, line, folder)
    for path in transcripts:
        for where, line in _lines(path):
            yield where, _librispeech_clip(where, line, path.parent)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error
    # as bytes: str.splitlines also splits at U+2028 and others that JSON strings may hold
    for number, line in enumerate(content.splitlines(), start=1):
        where = f"{path}:{number}"
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise CorpusError(f"{where}: not UTF-8: {error}") from error
        if text:
            yield where, text


def _manifest_clip(where: str, line: str, folder: Path) -> Clip:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: not JSON: {error}") from error
    row = _Row(where, value)
    name = row.string("audio")
    audio = _audio(where, folder / name)
    seconds = row.number("seconds") if "seconds" in row.values else _seconds(where, audio)
    return Clip(
        id=name,
        audio=audio,
        seconds=seconds,
        language=row.nullable("language"),
        text=row.nullable("text"),
        translation=row.optional("translation"),
        words=tuple(Word(item.string("word"), *times) for item, times in row.timed("words", seconds)),
        segments=tuple(
            Segment(item.string("text"), *times, id=item.optional("id"))
            for item, times in row.timed("utterances", seconds)
        ),
        tags=row.strings("tags"),
        voice=row.optional("voice"),
        source=row.optional("source"),
        licence=row.optional("licence"),
        note=row.optional("note"),
    )


def _librispeech_clip(where: str, line: str, folder: Path) -> Clip:
    name, _, text = line.partition(" ")
    if not text:
        raise CorpusError(f"{where}: expected 'ID TEXT', got {line!r}")
    audio = _audio(where, folder / f"{name}.flac")
    seconds = _seconds(where, audio)
    return Clip(name, audio, seconds, "en", text.strip(), tags=frozenset({"librispeech"}), voice=name.partition("-")[0])


def _audio(where: str, path: Path) -> Path:
    if not os.path.isfile(path):  # unlike Path.is_file, False too for names no file system takes
        raise CorpusError(f"{where}: no such audio file: {str(path)!r}")
    return path


def _seconds(where: str, path: Path) -> float:
    import av  # here, because a manifest with lengths needs no decoder
    from av.error import FFmpegError

    try:
        with av.open(path) as container:
            duration = container.duration if container.streams.audio else None
    except FFmpegError as error:
        raise CorpusError(f"{where}: not audio that FFmpeg reads: {str(path)!r}: {error.strerror}") from error
    if duration is None:
        raise CorpusError(f"{where}: the length of {str(path)!r} is unknown: no audio in it, or its header lacks it")
    seconds = duration / av.time_base
    if not 0 <= seconds <= MAX_SECONDS:
        raise CorpusError(f"{where}: the header of {str(path)!r} says {seconds:g} s, and {MAX_SECONDS:g} s is the most")
    return seconds


class _Row:
    """One JSON object of a manifest, read key by key; every complaint says where it stands and what was found."""

    def __init__(self, where: str, value: object) -> None:
        if not isinstance(value, dict):
            raise CorpusError(f"{where}: expected a JSON object, got {reprlib.repr(value)}")
        self.where = where
        self.values: dict[str, Any] = value

    def string(self, key: str) -> str:
        value = self.nullable(key)
        if value is None:
            raise self._wrong(key, "a string")
        return value

    def nullable(self, key: str) -> str | None:
        if key not in self.values:
            raise CorpusError(f"{self.where}: {key!r} is missing; the line has {sorted(self.values)}")
        return self.optional(key)

    def optional(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "a string or null")
        return value

    def strings(self, key: str) -> frozenset[str]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of strings")
        return frozenset(value)

    def number(self, key: str) -> float:
        value = self.values.get(key)
        # bool is an int to Python, and its JSON parser takes NaN and Infinity
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
            raise self._wrong(key, f"seconds, a number from 0 to {MAX_SECONDS:g}")
        return float(value)

    def timed(self, key: str, seconds: float) -> Iterator[tuple["_Row", tuple[float, float]]]:
        """The objects of the list `key` with their (start, end), which must be in order and within the audio."""
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        earliest = 0.0
        for index, element in enumerate(value):
            item = _Row(f"{self.where}: {key}[{index}]", element)
            start, end = item.number("start"), item.number("end")
            if not earliest <= start <= end <= seconds + ROUNDING:
                raise CorpusError(
                    f"{item.where}: start {start} and end {end} must be in order, "
                    f"from the start before it ({earliest}) to the length of the audio ({seconds})"
                )
            earliest = start
            yield item, (start, end)

    def _wrong(self, key: str, wanted: str) -> CorpusError:
        return CorpusError(f"{self.where}: {key!r} must be {wanted}, got {reprlib.repr(self.values.get(key))}")
