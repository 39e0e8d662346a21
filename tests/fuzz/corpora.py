"""Fuzzed manifests, LibriSpeech folders and references: clips that are true to their files, or one CorpusError."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maxwhisper_impl.corpus import MANIFEST, MAX_SECONDS, Clip, read_corpus
from maxwhisper_impl.samples import read_samples
from tests.fuzz import damage, forged, sounds
from tests.fuzz.case import Case, demand, part_of

ROOT = Path(__file__).resolve().parents[2]
KEYS = (
    "audio",
    "language",
    "text",
    "seconds",
    "translation",
    "words",
    "utterances",
    "tags",
    "voice",
    "source",
    "note",
    "other",
)
LINES = (
    "",
    " ",
    "ID",
    "1-2-3 ",
    " TEXT",
    "1-2-3 HELLO",
    "1-2-3 HELLO AGAIN",
    "../a HELLO",
    "a/b c",
    "\u2028x y",
    "é日本 x",
    "a" * 5000 + " x",
    "\0 x",
    "1-2-4\tX",
)


class Corpora:
    name = "corpora"
    share = 0.06
    seconds = 30.0
    memory = 128 << 20

    def prepare(self, folder: Path) -> None:
        self.sound = sounds.wav(sounds.quantised(sounds.hum(0.5), "s16"))
        self.flac = sounds.all_codecs(sounds.hum(0.5))["flac"]
        self.real = (ROOT / "fixtures" / MANIFEST).read_bytes().splitlines()
        self.rows = [
            {"audio": "a.wav", "language": "en", "text": "hello there", "seconds": 0.5},
            {"audio": "b.flac", "language": None, "text": ""},
            {"audio": "sub/c.flac", "language": "de", "text": None, "words": [{"word": "x", "start": 0.1, "end": 0.2}],
             "utterances": [{"text": "x", "start": 0, "end": 0.5, "id": "u"}], "tags": ["t"], "seconds": 0.5},
        ]  # fmt: skip

    def run(self, case: Case) -> str:
        folder = case.given / "corpus"
        chapter = folder / "1" / "2"
        chapter.mkdir(parents=True)
        (folder / "sub").mkdir()
        for name, data in (("a.wav", self.sound), ("b.flac", self.flac), ("sub/c.flac", self.flac)):
            (folder / name).write_bytes(data)
        for name in ("1-2-3", "1-2-4"):
            (chapter / f"{name}.flac").write_bytes(self.flac)
        kinds: list[tuple[float, Callable[..., Any]]] = [
            (6, self.rows_changed), (3, self.bytes_damaged), (3, self.librispeech), (2, self.real_rows), (2,
                                                                                                          self.audio_damaged),
            (1, self.strange_files), (1, self.whole),
        ]  # fmt: skip
        harm = part_of(kinds, case)
        harm(case, folder, chapter)
        if case.chance(0.3):
            return self.sample(case, folder, damaged=harm == self.audio_damaged)
        clips = read_corpus(folder)
        demand(clips, "a corpus without clips")
        demand(len({clip.id for clip in clips}) == len(clips), "an id comes twice")
        for clip in clips:
            self.check(clip)
        if harm == self.whole:
            demand(
                [clip.id for clip in clips] == ["a.wav", "b.flac", "sub/c.flac", "1-2-3"],
                f"gave {[clip.id for clip in clips]}",
            )
            demand(clips[3].text == "HELLO" and clips[0].text == "hello there", "gave other texts")
        return "text" if any(clip.text for clip in clips) else "empty"

    def check(self, clip: Clip) -> None:
        demand(clip.audio.is_file(), f"{clip.audio} is no file")
        demand(0 <= clip.seconds <= MAX_SECONDS, f"{clip.seconds} seconds")
        demand(clip.text is None or isinstance(clip.text, str), "the text is no string")
        for timed in (*clip.words, *clip.segments):
            demand(0 <= timed.start <= timed.end <= clip.seconds + 0.01, f"{timed} in {clip.seconds} s")

    def sample(self, case: Case, folder: Path, *, damaged: bool) -> str:
        """As `compare FILE --reference TEXT` reads it: the corpus that the file lies in may be broken."""
        audio = str(folder / case.one_of(("a.wav", "b.flac", "1/2/1-2-3.flac", "sub/c.flac")))
        reference = None
        if case.chance(0.4):
            content = case.one_of(
                (b"said so", b"", b"\xff\xfe", "\ufeffé".encode(), bytes(10), case.random.randbytes(50))
            )
            reference = str(
                case.write("reference.txt", content)
                if case.chance(0.8)
                else case.given / case.one_of(("none", "corpus"))
            )
        said: list[str] = []
        sample = read_samples([audio], reference=reference, say=said.append)[0]
        demand(damaged or len(sample.audio) == 8000, f"{len(sample.audio)} samples")
        if reference is not None:
            written = Path(reference).read_bytes().decode("utf-8").removeprefix("\ufeff")
            demand(sample.text == written, f"the reference became {sample.text!r}")
        return "text" if sample.text else "empty"

    def write(self, folder: Path, chapter: Path, rows: list[Any] | None = None) -> None:
        lines = [json.dumps(row) for row in (self.rows if rows is None else rows)]
        (folder / MANIFEST).write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        (chapter / "1-2.trans.txt").write_text("1-2-3 HELLO\n")

    def whole(self, case: Case, folder: Path, chapter: Path) -> None:
        self.write(folder, chapter)

    def rows_changed(self, case: Case, folder: Path, chapter: Path) -> None:
        rows: list[Any] = json.loads(json.dumps(self.rows))
        for _ in range(case.random.randint(1, 3)):
            row = case.one_of(rows)
            if not isinstance(row, dict) or case.chance(0.1):
                rows[rows.index(row)] = forged.value(case)
                continue
            row[case.one_of(KEYS)] = self.field(case)
            if case.chance(0.2):
                row.pop(case.one_of(sorted(row)))
        case.note(repr(rows)[:3000])
        self.write(folder, chapter, rows)

    def field(self, case: Case) -> Any:
        numbers = (0, 0.1, 0.25, 0.5, 0.6, -1, 1e6, 1e7, 1e400, float("nan"), 10**400, True, None, "0.1")
        times = [
            {"word": "x", "text": "x", "start": case.one_of(numbers), "end": case.one_of(numbers)}
            for _ in range(case.random.randint(1, 3))
        ]
        names = (
            "../corpus/a.wav",
            "/dev/zero",
            "/dev/null",
            "/proc/self/mem",
            "a.wav",
            "",
            ".",
            "x\0y",
            "\ud800",
            "A.WAV",
            "a" * 5000,
            "http://x/a.wav",
        )
        return case.one_of(
            (times, times, case.one_of(names), case.one_of(names), case.one_of(numbers), forged.value(case))
        )

    def bytes_damaged(self, case: Case, folder: Path, chapter: Path) -> None:
        self.write(folder, chapter)
        path = case.one_of((folder / MANIFEST, folder / MANIFEST, chapter / "1-2.trans.txt"))
        path.write_bytes(damage.damaged(case.random, path.read_bytes()))

    def librispeech(self, case: Case, folder: Path, chapter: Path) -> None:
        lines = [case.one_of(LINES) for _ in range(case.random.randint(0, 4))]
        case.note(repr(lines))
        for name in case.random.sample(["1-2.trans.txt", "x.trans.txt", " .trans.txt"], case.random.randint(1, 2)):
            encoding = case.one_of(("utf-8", "utf-8", "utf-16", "utf-8-sig"))
            (chapter / name).write_bytes("\n".join(lines).encode(encoding, "surrogatepass"))

    def real_rows(self, case: Case, folder: Path, chapter: Path) -> None:
        """The project's own manifest, damaged."""
        lines = case.random.sample(self.real, 3)
        (folder / MANIFEST).write_bytes(damage.damaged(case.random, b"\n".join(lines)))

    def audio_damaged(self, case: Case, folder: Path, chapter: Path) -> None:
        self.write(folder, chapter)
        path = case.one_of((folder / "b.flac", chapter / "1-2-3.flac"))
        path.write_bytes(damage.damaged(case.random, path.read_bytes()))

    def strange_files(self, case: Case, folder: Path, chapter: Path) -> None:
        how = case.one_of(
            (
                "manifest is a folder",
                "transcript is a folder",
                "circle",
                "lost",
                "loop of folders",
                "nothing",
                "odd name",
            )
        )
        case.note(how)
        self.write(folder, chapter)
        manifest, transcript = folder / MANIFEST, chapter / "1-2.trans.txt"
        if how in ("manifest is a folder", "transcript is a folder"):
            path = manifest if how.startswith("manifest") else transcript
            path.unlink()
            path.mkdir()
        elif how in ("circle", "lost"):
            path = case.one_of((manifest, transcript, folder / "a.wav"))
            path.unlink()
            path.symlink_to(path.name if how == "circle" else "nowhere")
        elif how == "loop of folders":
            (chapter / "up").symlink_to(folder)
        elif how == "odd name":
            os.rename(os.fsencode(transcript), os.fsencode(chapter) + b"/\xff\n.trans.txt")
        else:
            manifest.unlink()
            transcript.unlink()
