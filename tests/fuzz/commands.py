"""Fuzzed command lines, in process: the right text, or error lines and a status; models and systems are scripted."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from maxwhisper_impl import cli
from maxwhisper_impl.systems import Transcript
from maxwhisper_impl.worker import SystemFailed, Timed
from tests.fuzz import grammar, sounds
from tests.fuzz.case import Case, demand
from tests.fuzz.scripted import SENTENCE, save_models, take_the_place_of_max

ALLOWED = re.compile(r"maxwhisper: warning: |\[ *\d+ s\] |.*frames/s|loading |\s*\d+%\|")
"""what may be on stderr besides errors: warnings, progress"""
HARMLESS = {
    "model", "output_dir", "output_format", "verbose", "threads", "best_of", "beam_size", "initial_prompt",
    "carry_initial_prompt",
    "condition_on_previous_text", "word_timestamps", "highlight_words", "max_line_width", "max_line_count",
    "max_words_per_line",
    "prepend_punctuations", "append_punctuations", "task", "fp16", "hotwords", "length_penalty", "language",
    "keep_best_fallback",
}  # fmt: skip
"""flags with which the text stays that of the script"""
MOST = 2.0
"""seconds of raw speech on standard input"""


class Commands:
    name = "commands"
    share = 0.18
    seconds = 30.0
    memory = 512 << 20

    def prepare(self, folder: Path) -> None:
        take_the_place_of_max()
        no_network()
        import maxwhisper_impl.compare as comparison

        comparison.Worker = Told  # type: ignore[misc,assignment]
        self.parser = cli._parser()
        self.models = save_models(folder)
        self.sound = sounds.hum(MOST)
        self.files = {
            "speech.wav": sounds.wav(sounds.quantised(self.sound, "s16")),
            "b.flac": sounds.all_codecs(self.sound)["flac"],
            "empty.wav": sounds.wav(b""), "nothing.mp3": b"", "text.txt": b"words", "cut.flac": b"fLaC" + bytes(50),
        }  # fmt: skip
        self.run_it(["transcribe", "--help"], b"")

    def run(self, case: Case) -> str:
        commands = grammar.subcommands(self.parser)
        name = case.one_of(("transcribe", "transcribe", "transcribe", *commands))
        arguments = grammar.argv(case, commands[name], self.pool(case), sense=case.one_of((1.0, 0.95, 0.8)))
        arguments = [argument.replace("\0", "") for argument in [name, *arguments]]
        if name != "convert" and not any(argument.startswith("--mo") for argument in arguments) and case.chance(0.9):
            arguments += ["--model", str(case.one_of(list(self.models.values())))]  # the default's weights are not here
        if case.chance(0.02):
            arguments = arguments[1:]
        stdin = case.one_of(
            (
                b"",
                b"\0" * 9999,
                (self.sound * 32767).astype("<i2").tobytes(),
                self.files["speech.wav"],
                case.random.randbytes(99),
            )
        )
        case.note(repr(arguments), len(stdin))
        status, out, errors = self.run_it(arguments, stdin)
        case.note(status, out[-500:], errors[-2000:])
        self.judge(status, errors)
        if status:
            return "refused"
        if name == "transcribe" and not {"--help", "-h", "--version"} & set(arguments):
            return self.transcripts(case, commands[name], arguments)
        return "text"

    def pool(self, case: Case) -> grammar.Pool:
        """Files in the case's folder; what is written goes to the folder that the command runs in."""
        for file, content in self.files.items():
            case.write(file, content)
        (case.given / "folder").mkdir()
        shutil.copy(case.given / "b.flac", case.given / "folder" / "c.flac")
        (case.given / "bare").mkdir()
        shutil.copy(self.models["tiny.en"], case.given / "model.npz")
        here = str(case.given)
        audio = [
            f"{here}/{name}" for name in ("speech.wav",) * 6 + ("b.flac", "folder", *self.files, "bare", "no such.wav")
        ]
        models = [str(path) for path in self.models.values()]
        return {
            "audio": [*audio, "-"], "model": [*models * 3, "turbo", "large", f"{here}/speech.wav", f"{here}/bare",
                                              "enormous"],
            "model_dir": [here, "nowhere"], "device": ["cpu", "cpu", "cuda", "tpu", "cuda:9"], "dtype": ["float32",
                                                                                                         "float64"],
            "output_dir": [".", "out", f"{here}/text.txt", "a/b/c"], "language": ["en", "English", "de", "xx"],
            "source": [*models, f"{here}/model.npz", f"{here}/speech.wav"], "target": ["a.pt", "b.npz", "c", here,
                                                                                       "d/e.npz"],
            "systems": ["maxwhisper", "maxwhisper,openai-whisper", "faster-whisper:int8",
                        "maxwhisper,faster-whisper:int8"],
            "reference": [f"{here}/text.txt", f"{here}/b.flac", "none"], "json": ["a.json", "no/a.json", here],
            "plot": ["a.png", "a.svg", "a.x"],
            "suppress_tokens": ["-1", "", "1,2"], "clip_timestamps": ["0", "0.5,1", "1"], "rounds": ["1", "2"],
            "threads": ["0", "1", "2"],
        }  # fmt: skip

    def run_it(self, arguments: list[str], stdin: bytes) -> tuple[int, str, str]:
        """(exit status, what was printed, what was said on stderr) of the command in this process."""
        usual, out, errors = sys.stdin, _Stream(), _Stream()
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin)))  # type: ignore[arg-type]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                status = cli.main(arguments)
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1
        finally:
            sys.stdin = usual
        return status, out.text, errors.text

    def judge(self, status: int, errors: str) -> None:
        lines = [line for line in re.split("[\r\n]+", errors) if line.strip()]
        wrong = [line for line in lines if line.startswith("maxwhisper: error: ")]
        other = [line for line in lines if line not in wrong and not ALLOWED.match(line)]
        demand(status in (0, 1, 2), f"exit status {status}")
        demand(not other, f"said on stderr: {other[:3]}")
        failed = wrong or [line for line in lines if ": FAILED: " in line]  # a system's row of the comparison
        demand(bool(failed) == bool(status), f"exit status {status} and the error lines {wrong}")
        demand(status != 2 or len(wrong) == 1, f"{len(wrong)} error lines")
        demand(len(wrong) == len(set(wrong)), "the same error twice")

    def transcripts(self, case: Case, parser: Any, arguments: list[str]) -> str:
        """Every file that was written is whole, and says the sentence where no flag changes it."""
        options = vars(parser.parse_args(arguments[1:]))
        given = {name for name, value in options.items() if value != parser.get_default(name)} - {"audio"}
        written = [
            path
            for path in case.folder.rglob("*.*")
            if path.suffix in (".json", ".txt", ".srt") and path.name != "text.txt"
        ]
        said = []
        for path in written:
            if path.suffix == ".json" and path.parent != case.given:
                said.append(json.loads(path.read_text())["text"].strip())
        demand(options["live"] or not set(said) - {"", SENTENCE.strip()} or given - HARMLESS, f"said {said}")
        spoken = [name for name in options["audio"] if name.endswith(("speech.wav", "b.flac"))]
        if given <= HARMLESS and spoken and options["output_format"] in ("json", "all") and "-" not in options["audio"]:
            demand(SENTENCE.strip() in said, f"the sentence is not in {said}")
        return "text" if any(said) or not written else "empty"


class _Stream(io.TextIOWrapper):
    """A stream of bytes with text on top, as a terminal is."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined]


class Told:
    """In the place of `compare`'s worker process: a system that says the same, or fails, by its threads and name."""

    def __init__(self, spec: Any):
        self.spec = spec

    def prepare(self) -> Timed:
        if not os.path.exists(self.spec.model):
            raise SystemFailed(f"there is no {self.spec.model}")
        return Timed(None, 0.1)

    def load(self, progress: Any = None) -> Timed:
        if progress:
            progress("compiling")
        return Timed(None, 0.2)

    def transcribe(self, audio: np.ndarray, pinned: Any) -> tuple[Transcript, float]:
        if self.spec.dtype == "int8":
            raise SystemFailed("the process ended while in transcribe, exit code -11")
        return Transcript(SENTENCE, [1, 2, 3], [(0.0, 1.5, SENTENCE)]), 0.1

    def rest(self) -> None:
        pass

    def peak_memory(self) -> int:
        return 1 << 20

    def close(self) -> None:
        pass


def no_network() -> None:
    """Every connection that this process tries to make fails as on a machine without a network."""
    import socket

    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(101, "Network is unreachable")

    socket.socket.connect = refuse  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = lambda *_, **__: refuse(None, None)  # type: ignore[assignment,arg-type]
