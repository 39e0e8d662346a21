"""Jobs that write the same files again and again, until they are killed: by turns two versions of the same names.

    python -m tests.robustness.victims NAME FOLDER

writes each version whole once, into FOLDER/wanted/VERSION. Then it does each line of its input in a child of its own,
into FOLDER/got/files: the JSON object {"rounds": N, "stderr": FILE}. The child prints its number when it is about to
write, and when it is gone, the parent prints its exit status.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
from max.graph import DeviceRef

from maxwhisper_impl import cli, commands, comparison_view, graphs
from maxwhisper_impl.compare import Comparison, Row
from maxwhisper_impl.results import Result
from maxwhisper_impl.samples import Sample
from maxwhisper_impl.systems import SystemSpec, Transcript
from maxwhisper_impl.weights import convert, random_checkpoint, save_checkpoint
from tests.parity.small_checkpoints import DIMS, SUFFIXES

VERSIONS = ("a", "b")
LARGE = replace(DIMS, n_audio_ctx=1500, n_text_ctx=800, n_audio_state=96, n_text_state=96)
"""2 MB, so that writing takes its time"""
Write = Callable[[str, Path], None]
"""(version, folder): write that version's files into the folder"""


def result(version: str) -> Result:
    segments: Any = [
        {"id": n, "seek": 0, "start": n / 2, "end": n / 2 + 0.4, "text": f" {version} {n}", "tokens": [n],
         "temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0}
        for n in range(500 if version == "a" else 700)
    ]  # fmt: skip
    return {"text": "".join(s["text"] for s in segments), "segments": segments, "language": "en"}


class Said:
    """Takes the place of the loaded model."""

    dims = commands.SIZES["tiny.en"]

    def __init__(self, version: str) -> None:
        self.version = version

    def transcribe(self, file: str, **options: Any) -> Result:
        return result(self.version)


def write_transcripts(version: str, folder: Path) -> None:
    """By the command, of a file that is there."""
    commands._load = lambda options: Said(version)
    arguments = ["transcribe", __file__, "--model", "tiny.en", "--verbose", "False", "-o", str(folder)]
    assert commands.transcribe(cli._parser().parse_args(arguments)) == 0


def comparison(version: str) -> Comparison:
    seconds = 1.0 if version == "a" else 3.0
    transcripts = {"a.wav": Transcript(version * 100_000, list(range(3000)), [(0.0, 1.0, version)])}
    row = Row(SystemSpec("maxwhisper", "tiny.en"), [seconds], 60.0, 1.0, 1.0, 1, transcripts, None, None, None)
    return Comparison([Sample("a.wav", np.zeros(16000, np.float32), "en", None)], 1, 1, [row])


def write_comparison(version: str, folder: Path) -> None:
    made = comparison(version)
    comparison_view.now = lambda: "then"  # the same bytes whenever they are written
    for _ in range(20):  # the picture takes long to draw: a kill would seldom meet a file on its way
        comparison_view.write_json(folder / "out.json", made)
    comparison_view.write_plot(folder / "out.png", made)


class Compiles:
    """Takes the place of MAX's session and of what it compiles: an artifact of 4 MB."""

    def __init__(self, version: str) -> None:
        self.version = version

    def compile(self, *_: Any, **__: Any) -> Compiles:
        return self

    def export_mef(self, path: Path) -> None:
        with path.open("wb") as file:
            for _ in range(64):
                file.write(self.version.encode() * (1 << 16))


class NoGraphs:
    module = library = type("Nothing", (), {"library_paths": lambda self: []})()
    device = DeviceRef.CPU()


def write_artifact(version: str, folder: Path) -> None:
    graphs.compile_graphs(Compiles(version), NoGraphs(), lambda _: None, folder / "graph.mef")  # type: ignore[arg-type]


def write_checkpoint(format: str) -> Write:
    """A folder of files is not replaced: each has a name of its own."""
    numbers = count()

    def write(version: str, folder: Path) -> None:
        source = folder.parent.parent / f"source-{version}.npz"
        if not source.exists():
            save_checkpoint(random_checkpoint(LARGE, seed=ord(version)), source)
        out = f"model{SUFFIXES[format]}" if SUFFIXES[format] else f"model-{version}-{os.getpid()}-{next(numbers)}"
        convert(source, folder / out, format=format)

    return write


WRITERS: dict[str, Write] = {
    "transcripts": write_transcripts,
    "comparison": write_comparison,
    "artifact": write_artifact,
    **{format: write_checkpoint(format) for format in ("pt", "npz", "huggingface", "ctranslate2")},
}


def child(write: Write, folder: Path, rounds: int, stderr: str) -> int:
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)

    def job() -> int:
        print(os.getpid(), flush=True)
        for number, version in enumerate(cycle(VERSIONS), start=1):
            write(version, folder)
            if number == rounds:
                return 0
        return 1

    return cli.run(job)


def main(name: str, root: str) -> None:
    write, wanted, got = WRITERS[name], Path(root, "wanted"), Path(root, "got", "files")
    for version in VERSIONS:
        (wanted / version).mkdir(parents=True)
        write(version, wanted / version)
    got.mkdir(parents=True)
    for line in sys.stdin:
        asked = json.loads(line)
        number = os.fork()
        if not number:
            status = 70
            try:
                status = child(write, got, **asked)
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
