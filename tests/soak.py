"""The same work round after round on one model: memory stays where it was, and the text what it was.

    python -m tests.soak [--minutes N] [--json OUT] [--model NAME|PATH]

Each round transcribes real clips in sequence, with word times, in batches and live, in an order of its own. Before the
first one the decoder is run in: what MAX's allocator comes to keep is no growth. Exit status 1 where memory or text
changed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from maxwhisper_impl import machine
from maxwhisper_impl.files import write_whole

if TYPE_CHECKING:
    from maxwhisper_impl.whisper import Whisper

ROOT = Path(__file__).parents[1]
WARM_UP = 5
"""Rounds until every buffer has had its largest size."""
ENDS = 3
"""Rounds at least at either end of the others, whose medians are compared."""
FLAT = 0.02
"""How much more memory the last rounds may take than the first ones."""
RUN_IN = 100_000
"""Steps before the first round. MAX allocates by tcmalloc, which keeps freed pieces of up to 256 KiB, such as a row of
logits, for each CPU and between them: with no more in use 35 MiB come together in 90,000 steps, and no more then."""
SECONDS = 60
"""of the longest recording that are used"""

Jobs = Mapping[str, Callable[[], str]]
"""What a round does, by name; each gives its text."""


def resident() -> int:
    """Bytes of this process that are in memory now, without what libc has free."""
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # glibc has it, musl does not
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Soak:
    """What was seen: memory behind each round, the text of each job in the first round, and where it changed."""

    memory: list[int] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float | None:
        """Of the last rounds over the first ones behind the warm-up, a fraction; None for too few rounds."""
        ends = self._ends()
        return None if ends is None else ends[1] / ends[0] - 1

    def _ends(self) -> tuple[float, float] | None:
        """Memory in the first and the last quarter of the rounds behind the warm-up: single rounds sway by 2 %."""
        settled = self.memory[WARM_UP:]
        count = max(ENDS, len(settled) // 4)
        return None if len(settled) < 2 * ENDS else (median(settled[:count]), median(settled[-count:]))

    def faults(self) -> list[str]:
        """What is wrong, a line each."""
        faults = list(self.changes)
        ends = self._ends()
        if ends is None:
            faults.append(f"{len(self.memory)} rounds are too few: {WARM_UP + 2 * ENDS} are needed to compare memory")
        elif (growth := ends[1] / ends[0] - 1) > FLAT:
            first, last = (end / 2**20 for end in ends)
            faults.append(f"memory grew from {first:.1f} to {last:.1f} MiB, {growth:+.1%}: at most {FLAT:+.0%}")
        return faults

    def play(self, jobs: Jobs) -> None:
        """One round of all jobs, in any order: the same one in the same round of every soak."""
        order = sorted(jobs)
        random.Random(len(self.memory)).shuffle(order)
        for name in order:
            text = jobs[name]()
            if text != self.texts.setdefault(name, text):
                number = len(self.memory) + 1
                self.changes.append(f"{name}: in round {number} {text!r}, in the first one {self.texts[name]!r}")
        gc.collect()
        self.memory.append(resident())


def run_in(model: Whisper, steps: int = RUN_IN) -> None:
    """One and the same step, over and over."""
    mel = np.zeros((1, model.dims.n_mels, 2 * model.dims.n_audio_ctx), np.float32)
    state = model.runtime.start(model.runtime.encode(mel))
    for _ in range(steps):
        state.step(np.zeros((1, 1), np.int32))
        state.rewind(0)


def soak(jobs: Jobs, seconds: float, say: Callable[[str], object]) -> Soak:
    """Rounds until the time is over, as many at least as it takes to judge; `say` gets a line for each."""
    seen, start = Soak(), time.monotonic()
    while (passed := time.monotonic() - start) < seconds or len(seen.memory) < WARM_UP + 2 * ENDS:
        seen.play(jobs)
        rest = max(0.0, seconds - (time.monotonic() - start))
        say(f"round {len(seen.memory)}: {seen.memory[-1] / 2**20:.1f} MiB, {_percent(seen.growth)} since the warm-up, "
            f"{len(seen.changes)} changed texts, {(time.monotonic() - start) - passed:.0f} s; {rest / 60:.0f} min left")
    return seen


def _percent(growth: float | None) -> str:
    return "–" if growth is None else f"{growth:+.2%}"


def speech(model: Whisper) -> Jobs:
    """Of the default corpora's English the shortest clip, the longest of a window, and a minute of the longest."""
    from maxwhisper_impl.audio import SAMPLE_RATE, load_audio
    from maxwhisper_impl.corpus import default_corpora, read_corpus

    clips = [clip for folder in default_corpora() for clip in read_corpus(folder) if clip.language == "en"]
    spoken = sorted((c for c in clips if c.text and c.seconds < 30), key=lambda c: (c.seconds, c.id))
    short, window = (load_audio(clip.audio) for clip in (spoken[0], spoken[-1]))
    long = load_audio(max(clips, key=lambda clip: clip.seconds).audio)[: SECONDS * SAMPLE_RATE]
    pinned: dict[str, Any] = {"language": "en", "temperature": 0.0}

    def live() -> str:
        heard = model.live(step=4.0, **pinned)
        for start in range(0, len(window), SAMPLE_RATE // 2):
            heard.feed(window[start : start + SAMPLE_RATE // 2])
        heard.finish()
        return heard.text

    def words() -> str:
        segments = model.transcribe(window, word_timestamps=True, **pinned)["segments"]
        return " ".join(f"{word['word']}@{word['end']}" for segment in segments for word in segment.get("words", []))

    return {
        "sequential": lambda: model.transcribe(long, **pinned)["text"],
        "short": lambda: model.transcribe(short, **pinned)["text"],
        "beams": lambda: model.transcribe(short, beam_size=5, **pinned)["text"],
        "batched": lambda: model.transcribe(long, batch_size=3, **pinned)["text"],
        "words": words,
        "live": live,
    }


def as_json(seen: Soak, minutes: float) -> dict[str, Any]:
    """The run file."""
    return {
        **machine.run_file("soak", ROOT, ("maxwhisper", "max", "numpy")),
        "minutes": minutes,
        "rounds": len(seen.memory),
        "memory": seen.memory,
        "growth": seen.growth,
        "same_text": not seen.changes,
    }


def main() -> int:
    from maxwhisper_impl import load_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--model", default="tiny.en", metavar="NAME|PATH")
    asked = parser.parse_args()
    start = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - start:5.0f} s] {line}", file=sys.stderr, flush=True)

    model = load_model(asked.model, download=False, progress=say)
    say(f"running in: {RUN_IN} steps")
    run_in(model)
    seen = soak(speech(model), asked.minutes * 60, say)
    if asked.json:
        write_whole(asked.json, (json.dumps(as_json(seen, (time.monotonic() - start) / 60), indent=1) + "\n").encode())
    for fault in seen.faults():
        print(f"soak: {fault}", file=sys.stderr)
    print(f"{len(seen.memory)} rounds, memory {_percent(seen.growth)}, {len(seen.changes)} changed texts")
    return 1 if seen.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
