"""Transcripts side by side: each beside what was said, and cut where the speech was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .kinds import Audio, Comparison, Row, Segment, Transcript
from .words import WITHOUT_SPACES, Mark, aligned, units


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
        texts["reference"] = _Text(units(said, language), ["what was said"], ["the corpus' transcript"])
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
    against = ", ".join(first.names) or "nothing"
    return SideBySide(audio, starts, columns, "" if language in WITHOUT_SPACES else " ", against)


def _cuts(reference: Sequence[str], timed: Transcript | None, language: str) -> tuple[list[float | None], list[int]]:
    """When each row starts, and at which word of the reference, by the segments of a system that gives times."""
    if timed is None:
        return [None], [0]
    segments = [segment for segment in timed.segments if segment.text.strip()]
    words = _words(timed, language)
    place = [mark.at for mark in aligned(reference, words, language) if mark.kind != "missing"]
    starts: list[float | None] = []
    cuts: list[int] = []
    position = 0
    for segment in segments:
        cut = place[position] if position < len(place) else len(reference)
        if not cuts or cut > cuts[-1]:
            starts.append(segment.start)
            cuts.append(cut)
        position += len(units(segment.text, language))
    return (starts, [0, *cuts[1:]]) if cuts else ([None], [0])


def _cells(marks: Sequence[Mark], cuts: Sequence[int]) -> list[list[Mark]]:
    cells: list[list[Mark]] = [[] for _ in cuts]
    for mark in marks:
        cells[max(0, bisect_right(cuts, mark.at) - 1)].append(mark)
    return cells


def _words(transcript: Transcript, language: str) -> list[str]:
    segments: Sequence[Segment] = [segment for segment in transcript.segments if segment.text.strip()]
    if not segments:
        return units(transcript.text, language)
    return [word for segment in segments for word in units(segment.text, language)]
