"""A text beside another, word by word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from rapidfuzz.distance import LCSseq

from ..scoring import normalizer

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
    """what was said instead of an "other" one"""


def units(text: str, language: str) -> list[str]:
    return list("".join(text.split())) if language in WITHOUT_SPACES else text.split()


def aligned(reference: Sequence[str], words: Sequence[str], language: str) -> list[Mark]:
    """`words` with what each is beside `reference`, and what of the reference is missing among them.

    Compared is what Whisper's normaliser makes of each word, which may be nothing (um, a dash) or several (forty-two);
    what it makes nothing of is never a difference.
    """
    said, heard = _pieces(reference, language), _pieces(words, language)
    beside: dict[int, list[tuple[str, int]]] = {}  # of a word: what its pieces are, and at which word of the reference
    missing: dict[int, list[Mark]] = {}  # before a word
    for tag, source, target in _steps(said, heard):
        if tag == "missing":
            lost = _lost(reference, said, source, language)
            missing.setdefault(_behind(heard, target.start, len(words)), []).extend(lost)
        for offset, index in enumerate(target):
            at = _owner(said, source.start + (0 if tag == "added" else offset), len(reference))
            beside.setdefault(heard[index][1], []).append((tag, at))
    marks: list[Mark] = []
    for number, word in enumerate(words):
        marks += missing.get(number, [])
        at = marks[-1].at if marks else 0
        marks.append(_mark(word, beside.get(number, [("same", at)]), reference))
    return marks + missing.get(len(words), [])


Pieces = list[tuple[str, int]]
"""what the normaliser makes of words, each with the number of its word"""


def _pieces(words: Sequence[str], language: str) -> Pieces:
    return [(piece, number) for number, word in enumerate(words) for piece in _normal(word, language)]


def _steps(said: Pieces, heard: Pieces) -> Iterator[tuple[str, range, range]]:
    """(what, pieces said, pieces heard) with as many equal pieces as there can be; between them one stands for one."""
    source = target = 0
    matches = [step for step in LCSseq.opcodes([p for p, _ in said], [p for p, _ in heard]) if step.tag == "equal"]
    ends = [(step.src_start, step.src_end, step.dest_start, step.dest_end) for step in matches]
    for src, src_end, dest, dest_end in [*ends, (len(said), len(said), len(heard), len(heard))]:
        both = min(src - source, dest - target)
        yield "other", range(source, source + both), range(target, target + both)
        yield "missing", range(source + both, src), range(target + both, target + both)
        yield "added", range(source + both, source + both), range(target + both, dest)
        yield "same", range(src, src_end), range(dest, dest_end)
        source, target = src_end, dest_end


def _owner(pieces: Pieces, index: int, end: int) -> int:
    return pieces[index][1] if index < len(pieces) else end


def _behind(pieces: Pieces, index: int, end: int) -> int:
    """The word that `index` is the first piece of, or the one behind the word that it is within."""
    number = _owner(pieces, index, end)
    return number + 1 if 0 < index < len(pieces) and pieces[index - 1][1] == number else number


def _lost(reference: Sequence[str], said: Pieces, lost: range, language: str) -> list[Mark]:
    """A word of which every piece is lost as it was written; of another word the lost pieces."""
    marks: list[Mark] = []
    for number, pieces in groupby((said[index] for index in lost), key=lambda piece: piece[1]):
        found = tuple(piece for piece, _ in pieces)
        is_whole = found == _normal(reference[number], language)
        marks.append(Mark("missing", reference[number] if is_whole else " ".join(found), number))
    return marks


def _mark(word: str, pieces: Sequence[tuple[str, int]], reference: Sequence[str]) -> Mark:
    tags, at = {tag for tag, _ in pieces}, pieces[0][1]
    for kind in ("same", "added"):
        if tags == {kind}:
            return Mark(kind, word, at)
    instead = dict.fromkeys(place for tag, place in pieces if tag != "added")
    return Mark("other", word, at, " ".join(reference[place] for place in instead))


@cache
def _normal(word: str, language: str) -> tuple[str, ...]:
    return tuple(normalizer(language)(word).split())
