"""Word error rate as OpenAI counts it: Whisper's normaliser, then all errors of a group of clips over all its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jiwer

from maxwhisper_impl.corpus import Clip
from tests.transcripts import Transcripts, is_window


@dataclass(frozen=True)
class Score:
    errors: int
    words: int

    @property
    def wer(self) -> float:
        return self.errors / self.words

    def __str__(self) -> str:
        return f"{self.wer:.2%}"


@cache
def normalizer(language: str) -> Any:
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    return EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()


def score(clips: Sequence[Clip], texts: Sequence[str]) -> Score:
    """Errors of `texts` (wrong, missing and added words) against the clips' own; ValueError without a reference."""
    errors = words = 0
    for clip, text in zip(clips, texts, strict=True):
        normal = normalizer(clip.language or "en")
        reference = normal(clip.text or "")
        if not reference:
            raise ValueError(f"{clip.id} has no words to score against")
        counted = jiwer.process_words(reference, normal(text))
        errors += counted.substitutions + counted.deletions + counted.insertions
        words += counted.hits + counted.substitutions + counted.deletions
    if not words:
        raise ValueError("no words to score")
    return Score(errors, words)


def agreement(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many texts are equal to the letter."""
    return sum(a == b for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Group:
    """Clips that are scored together: of one corpus, one language, all windows or all longer."""

    name: str
    clips: tuple[Clip, ...]
    long: bool


def groups(clips: Sequence[Clip]) -> list[Group]:
    """The scorable clips of the corpora by kind; a clip without transcript, or with digits to read out, is in none."""
    found: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.text and clip.language and not clip.audio.name.startswith("digits-"):
            found.setdefault(_name(clip), []).append(clip)
    return [Group(name, tuple(members), not is_window(members[0])) for name, members in found.items()]


def _name(clip: Clip) -> str:
    if "librispeech" in clip.tags:
        return "librispeech"
    if not is_window(clip):
        return clip.audio.stem
    folder = clip.audio.parent.name
    return folder if folder == clip.language else f"{folder} {clip.language}"


def texts(transcripts: Transcripts, group: Group) -> list[str]:
    """What a system makes of a group: windows without timestamps, or whole files."""
    if group.long:
        return [result["text"].strip() for result in transcripts.transcribe(group.clips)]
    return [result.text for result in transcripts.windows(group.clips, without_timestamps=True)]
