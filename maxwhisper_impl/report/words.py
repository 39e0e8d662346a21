"""Transcripts side by side: each aligned with the reference word by word, and cut where the speech was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from rapidfuzz.distance import Levenshtein

from ..scoring import normalizer
from .kinds import Audio, Comparison, Row, Segment, Transcript

WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}
"""languages that are compared letter by letter"""


@dataclass(frozen=True)
class Mark:
    """A word and what it is: "same", "other", "added" or "missing"."""

    kind: str
    text: str
    at: int
    """the word of the reference that it stands at"""
    instead: str = ""
    """the reference's word, of another one"""


@dataclass(frozen=True)
class Column:
    """One text; of all systems that wrote it to the letter."""

    names: list[str]
    notes: list[str]
    cells: list[list[Mark]]

    def marked(self, kind: str) -> int:
        return sum(mark.kind == kind for cell in self.cells for mark in cell)


@dataclass(frozen=True)
class SideBySide:
    audio: Audio
    starts: list[float | None]
    """of the rows, in seconds; None of a text without times"""
    columns: list[Column]
    joiner: str
    against: str
    """what the columns are aligned with"""


@dataclass
class _Text:
    words: list[str]
    names: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


def side_by_side(comparison: Comparison, named: Callable[[Row], str]) -> list[SideBySide]:
    """One for each file; `named` gives a row's heading."""
    files = {audio.file: audio for audio in comparison.audio}
    for row in comparison.rows:
        for file in row.transcripts:
            files.setdefault(file, Audio(file, 0.0))
    return [_aligned(audio, comparison.rows, named) for audio in files.values()]


def _aligned(audio: Audio, rows: Sequence[Row], named: Callable[[Row], str]) -> SideBySide:
    language = audio.language or "en"
    texts: dict[str, _Text] = {}
    said = audio.reference
    if said:
        texts["reference"] = _Text(_units(said, language), ["what was said"], ["the corpus' transcript"])
    timed: Transcript | None = None
    for row in rows:
        if transcript := row.transcripts.get(audio.file):
            text = texts.setdefault(transcript.text.strip(), _Text(_words(transcript, language)))
            text.names.append(named(row))
            timed = timed or (transcript if transcript.segments else None)
    first = next(iter(texts.values()), _Text([]))
    starts, cuts = _cuts(first.words, timed, language)
    columns = [
        Column(text.names, text.notes, _cells(aligned(first.words, text.words, language), cuts))
        for text in texts.values()
    ]
    against = "what was said" if said else listed_names(first.names)
    return SideBySide(audio, starts, columns, "" if language in WITHOUT_SPACES else " ", against)


def listed_names(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _cuts(reference: Sequence[str], timed: Transcript | None, language: str) -> tuple[list[float | None], list[int]]:
    """When each row starts, and at which word of the reference, by the segments of a system that gives times."""
    if timed is None:
        return [None], [0]
    segments = [segment for segment in timed.segments if segment.text.strip()]
    words = _words(timed, language)
    place = _places(aligned(reference, words, language), len(words))
    starts: list[float | None] = []
    cuts: list[int] = []
    position = 0
    for segment in segments:
        cut = place[position] if position < len(place) else len(reference)
        if not cuts or cut > cuts[-1]:
            starts.append(segment.start)
            cuts.append(cut)
        position += len(_units(segment.text, language))
    return (starts, [0, *cuts[1:]]) if cuts else ([None], [0])


def _places(marks: Sequence[Mark], n_words: int) -> list[int]:
    """The place in the reference of each word that was written."""
    places = [mark.at for mark in marks if mark.kind != "missing"]
    assert len(places) == n_words
    return places


def _cells(marks: Sequence[Mark], cuts: Sequence[int]) -> list[list[Mark]]:
    cells: list[list[Mark]] = [[] for _ in cuts]
    for mark in marks:
        cells[max(0, bisect_right(cuts, mark.at) - 1)].append(mark)
    return cells


def aligned(reference: Sequence[str], words: Sequence[str], language: str) -> list[Mark]:
    """`words` with what each is beside `reference`, and the reference's words that are missing among them.

    Two words are the same if Whisper's normaliser makes the same of both; what it makes nothing of (um, a dash) is
    never a difference.
    """
    mine, theirs = ([_key(word, language) for word in side] for side in (words, reference))
    kept, known = ([i for i, key in enumerate(keys) if key] for keys in (mine, theirs))
    marks: list[Mark] = []
    done = 0
    for step in Levenshtein.opcodes([theirs[i] for i in known], [mine[i] for i in kept]):
        for offset in range(max(step.src_end - step.src_start, step.dest_end - step.dest_start)):
            source, at = step.src_start + offset, step.dest_start + offset
            place = known[source] if source < len(known) else len(reference)
            if step.tag == "delete":
                marks.append(Mark("missing", reference[place], place))
                continue
            place = place if step.tag != "insert" else _at(known, step.src_start, len(reference))
            marks += [Mark("same", words[i], place) for i in range(done, kept[at])]
            done = kept[at] + 1
            kind = {"equal": "same", "replace": "other", "insert": "added"}[step.tag]
            marks.append(Mark(kind, words[kept[at]], place, reference[place] if kind == "other" else ""))
    return marks + [Mark("same", word, len(reference)) for word in words[done:]]


def _at(known: Sequence[int], index: int, end: int) -> int:
    return known[index] if index < len(known) else end


def _words(transcript: Transcript, language: str) -> list[str]:
    segments: Sequence[Segment] = [segment for segment in transcript.segments if segment.text.strip()]
    if not segments:
        return _units(transcript.text, language)
    return [word for segment in segments for word in _units(segment.text, language)]


def _units(text: str, language: str) -> list[str]:
    return list("".join(text.split())) if language in WITHOUT_SPACES else text.split()


@cache
def _key(word: str, language: str) -> str:
    return normalizer(language)(word).strip()
