"""A transcript as txt, vtt, srt, tsv or json: byte for byte what openai-whisper writes (`whisper/utils.py`)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from .errors import MaxWhisperError, OptionError
from .files import write_whole
from .results import Result, Word
from .subtitles import lay_out_words

Cue = tuple[str, str, str]
"""start, end and text of one subtitle"""

LINE_OPTIONS = ("max_line_width", "max_line_count", "highlight_words", "max_words_per_line")
"""of subtitles of results with word times"""


def format_timestamp(seconds: float, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """"01:02.345", with hours in front where there are any; ValueError for a negative time."""
    if seconds < 0:
        raise ValueError(f"timestamps are not negative: {seconds}")
    total = round(seconds * 1000.0)
    hours, rest = divmod(total, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    whole, milliseconds = divmod(rest, 1000)
    front = f"{hours:02d}:" if always_include_hours or hours > 0 else ""
    return f"{front}{minutes:02d}:{whole:02d}{decimal_marker}{milliseconds:03d}"


def write_txt(result: Result, file: TextIO) -> None:
    """One line a segment."""
    for segment in result["segments"]:
        print(segment["text"].strip(), file=file)


def write_tsv(result: Result, file: TextIO) -> None:
    """Start and end in whole milliseconds and text, tab-separated, under a header."""
    print("start", "end", "text", sep="\t", file=file)
    for segment in result["segments"]:
        text = segment["text"].strip().replace("\t", " ")
        print(round(1000 * segment["start"]), round(1000 * segment["end"]), text, sep="\t", file=file)


def write_json(result: Result, file: TextIO) -> None:
    json.dump(result, file)


def write_vtt(result: Result, file: TextIO, **lines: Any) -> None:
    print("WEBVTT\n", file=file)
    for start, end, text in cues(result, format_timestamp, **lines):
        print(f"{start} --> {end}\n{text}\n", file=file)


def write_srt(result: Result, file: TextIO, **lines: Any) -> None:
    def stamp(seconds: float) -> str:
        return format_timestamp(seconds, always_include_hours=True, decimal_marker=",")

    for number, (start, end, text) in enumerate(cues(result, stamp, **lines), start=1):
        print(f"{number}\n{start} --> {end}\n{text}\n", file=file)


def cues(
    result: Result,
    stamp: Callable[[float], str],
    *,
    highlight_words: bool = False,
    max_line_width: int | None = None,
    max_line_count: int | None = None,
    max_words_per_line: int | None = None,
) -> Iterator[Cue]:
    """One for each segment; with word times as many as the line options make of them."""
    segments = result["segments"]
    # a segment that was cleared has "words" even where no others have
    if not segments or not all("words" in segment for segment in segments):
        for segment in segments:
            yield stamp(segment["start"]), stamp(segment["end"]), segment["text"].strip().replace("-->", "->")
        return
    for words in lay_out_words(segments, max_line_width, max_line_count, max_words_per_line):
        if highlight_words:
            yield from _highlighted(words, stamp)
        else:
            yield stamp(words[0]["start"]), stamp(words[-1]["end"]), "".join(word["word"] for word in words)


def _highlighted(words: list[Word], stamp: Callable[[float], str]) -> Iterator[Cue]:
    """One cue for each word, in which it is underlined, and one for each pause between two."""
    texts = [word["word"] for word in words]
    last = stamp(words[0]["start"])
    for number, word in enumerate(words):
        start, end = stamp(word["start"]), stamp(word["end"])
        if last != start:
            yield last, start, "".join(texts)
        underlined = re.sub(r"^(\s*)(.*)$", r"\1<u>\2</u>", texts[number])
        yield start, end, "".join([*texts[:number], underlined, *texts[number + 1 :]])
        last = end


_PLAIN = {"txt": write_txt, "tsv": write_tsv, "json": write_json}
_SUBTITLES = {"vtt": write_vtt, "srt": write_srt}
FORMATS = ("txt", "vtt", "srt", "tsv", "json")


def write_result(result: Result, file: TextIO, output_format: str, **lines: Any) -> None:
    """`result` of a transcription into an open text file. `lines`: LINE_OPTIONS, which only subtitles heed."""
    if unknown := [name for name in lines if name not in LINE_OPTIONS]:
        raise OptionError(f"unknown option {unknown[0]!r} of a writer; there are {', '.join(LINE_OPTIONS)}")
    if output_format in _SUBTITLES:
        _SUBTITLES[output_format](result, file, **lines)
    elif output_format in _PLAIN:
        _PLAIN[output_format](result, file)
    else:
        raise OptionError(f"unknown output format {output_format!r}; there are {', '.join(FORMATS)} and all")


def get_writer(output_format: str, output_dir: str | Path) -> Callable[..., None]:
    """A function (result, audio_path, **LINE_OPTIONS) that writes `output_dir/<stem of audio_path>.<format>`.

    "all" writes every format; OptionError for one that is unknown. A file is written whole or not at all; for those
    that cannot be, MaxWhisperError is raised when the others are there.
    """
    chosen = FORMATS if output_format == "all" else (output_format,)
    if output_format not in (*FORMATS, "all"):
        raise OptionError(f"unknown output format {output_format!r}; there are {', '.join(FORMATS)} and all")

    def write(result: Result, audio_path: str | Path, **lines: Any) -> None:
        stem = Path(audio_path).name.removesuffix(Path(audio_path).suffix)
        failed: list[str] = []
        for name in chosen:
            text = StringIO()
            write_result(result, text, name, **lines)
            try:
                write_whole(Path(output_dir) / f"{stem}.{name}", text.getvalue().encode())
            except MaxWhisperError as error:
                failed.append(str(error))
        if failed:
            raise MaxWhisperError("; ".join(failed))

    return write
