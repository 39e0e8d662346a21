"""The audio that `compare` runs on, with what the corpus it lies in knows of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .audio import SAMPLE_RATE, load_audio
from .corpus import Clip, default_corpora, read_corpus
from .errors import CorpusError, OptionError

if TYPE_CHECKING:
    import numpy as np

NEAR = 3
"""folders above a file in which its corpus' manifest is looked for"""


@dataclass(frozen=True)
class Sample:
    """A file to transcribe; `audio` is float32 [n_samples] at 16 kHz, `text` its transcript where there is one."""

    id: str
    audio: np.ndarray
    language: str | None
    text: str | None

    @property
    def seconds(self) -> float:
        return len(self.audio) / SAMPLE_RATE


def read_samples(
    files: Sequence[str],
    *,
    language: str | None = None,
    reference: str | None = None,
    say: Callable[[str], None] = print,
) -> list[Sample]:
    """The files with what is known of them; without files, the default clip. AudioError, CorpusError, OptionError.

    `language` goes before what a corpus says, and the text in the file `reference` before its transcript.
    """
    if len(set(files)) != len(files):
        raise OptionError("a file is given twice")
    if reference is not None and len(files) != 1:
        raise OptionError(f"a reference is the transcript of one file, and {len(files)} are given")
    known = {file: clip_of(Path(file), say) for file in files}
    if not files:
        clip = default_clip()
        known = {str(clip.audio): clip}
    samples: list[Sample] = []
    for file, clip in known.items():
        text = _read_text(reference) if reference is not None else clip and clip.text
        samples.append(Sample(file, load_audio(file), language or (clip and clip.language), text))
    return samples


def default_clip() -> Clip:
    """The longest recording with a transcript in `../shared/speech` where that is, or else in `fixtures/`."""
    for folder in reversed(default_corpora()):
        if clips := [clip for clip in read_corpus(folder) if clip.text]:
            return max(clips, key=lambda clip: clip.seconds)
    raise OptionError("no audio is given, and there are no fixtures beside the package; name a file")


def clip_of(file: Path, say: Callable[[str], None]) -> Clip | None:
    """The file's row in the corpus that it lies in, if it lies in one."""
    path = Path(os.path.realpath(file))  # unlike Path.resolve, it does not raise where links lead in a circle
    for folder in path.parents[:NEAR]:
        is_chapter = folder == path.parent and any(folder.glob("*.trans.txt"))
        if not is_chapter and not (folder / "manifest.jsonl").is_file():
            continue
        try:
            clips = read_corpus(folder)
        except CorpusError as error:
            say(f"{file}: no transcript from {folder}: {error}")
            continue
        for clip in clips:
            if clip.audio.resolve() == path:
                return clip
    return None


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")  # editors on Windows write the mark
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: the reference cannot be read: {error}") from error
