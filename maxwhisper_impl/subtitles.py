"""Words with times laid out in lines and subtitles, as openai-whisper does (`SubtitlesWriter`)."""

from __future__ import annotations

from collections.abc import Iterator

from .results import Segment, Word

LONG_PAUSE = 3.0
"""seconds between the starts of two words after which a subtitle ends, where segments need not be kept"""
_NO_LIMIT = 1000


def lay_out_words(
    segments: list[Segment],
    max_line_width: int | None,
    max_line_count: int | None,
    max_words_per_line: int | None,
) -> Iterator[list[Word]]:
    """The words of each subtitle; a line break is a "\\n" in front of a word.

    Segments are kept apart unless both line width and line count are limited.
    """
    layout = _Layout(max_line_width or _NO_LIMIT, max_line_count, max_line_count is None or max_line_width is None)
    layout.last = next((word["start"] for s in segments for word in s.get("words", [])), segments[0]["start"])
    for segment in segments:
        for number, word in enumerate(segment.get("words", [])):
            if complete := layout.add(word, first=number % (max_words_per_line or _NO_LIMIT) == 0):
                yield complete
    if layout.words:
        yield layout.words


class _Layout:
    """The subtitle that is being filled."""

    def __init__(self, max_width: int, max_lines: int | None, keep_segments: bool):
        self.max_width = max_width
        self.max_lines = max_lines
        self.keep_segments = keep_segments
        self.words: list[Word] = []
        self.line_width = 0
        self.lines = 1
        self.last = 0.0
        """start of the word before"""

    def add(self, word: Word, *, first: bool) -> list[Word] | None:
        """Add a copy of the word; returns the subtitle before it if it begins one. `first` of a segment or chunk."""
        word = word.copy()
        complete = None
        pause = not self.keep_segments and word["start"] - self.last > LONG_PAUSE
        new_segment = first and bool(self.words) and self.keep_segments
        fits = self.line_width + len(word["word"]) <= self.max_width
        if self.line_width > 0 and fits and not pause and not new_segment:
            self.line_width += len(word["word"])
        else:
            word["word"] = word["word"].strip()
            full = self.max_lines is not None and self.lines >= self.max_lines
            if new_segment or (self.words and self.max_lines is not None and (pause or full)):
                complete, self.words, self.lines = self.words, [], 1
            elif self.line_width > 0:
                self.lines += 1
                word["word"] = "\n" + word["word"]
            self.line_width = len(word["word"].strip())
        self.words.append(word)
        self.last = word["start"]
        return complete
