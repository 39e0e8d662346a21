"""Which clips are scored together, and how well a system does on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.scoring import WordErrors, normalizer, word_errors
from tests.transcripts import Transcripts, is_window


def score(clips: Sequence[Clip], texts: Sequence[str]) -> WordErrors:
    """Errors of `texts` against what the clips say; ValueError without words to score against."""
    for clip in clips:
        if not normalizer(clip.language or "en")(clip.text or ""):
            raise ValueError(f"{clip.id} has no words to score against")
    pairs = [(clip.text or "", text, clip.language or "en") for clip, text in zip(clips, texts, strict=True)]
    if not pairs:
        raise ValueError("no words to score")
    return word_errors(pairs)


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


def texts(transcripts: Transcripts, group: Group, **options: Any) -> list[str]:
    """What a system makes of a group: windows without timestamps, or whole files. `options` of that system's."""
    if group.long:
        return [result["text"].strip() for result in transcripts.transcribe(group.clips, **options)]
    return [result.text for result in transcripts.windows(group.clips, without_timestamps=True, **options)]
