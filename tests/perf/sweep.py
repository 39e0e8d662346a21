"""Finds the best setting of each system for each case, and keeps it in `settings.json`.

    python -m tests.perf.sweep [--only SYSTEM[:DTYPE]] [--case CASE] [--model NAME] [--corpus DIR] [--anyway]

Each candidate (threads from 1 to the machine's cores; for faster-whisper and whisper.cpp workers too; for batches their
size) is warmed up, then they take turns; what counts is the least time, of what takes long the only one. A reading is
swept over its first minute, a reading in batches whole: first threads and workers at batches of 8, then the size at the
best of them. Where two are equally fast within 1 % the one with fewer threads is taken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maxwhisper_impl.audio import SAMPLE_RATE, load_audio
from maxwhisper_impl.corpus import default_corpora, read_corpus
from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.machine import now, versions
from maxwhisper_impl.status import StatusLine, complain
from maxwhisper_impl.tables import print_whole
from maxwhisper_impl.threads import available_cpus, until_idle
from tests.perf.cases import Inputs, cuts_of, timed, window_of, windows_of
from tests.perf.peers import CASES, CONFIGURATIONS, OURS, Configuration, Contestant, Setting, able, find, load
from tests.perf.recording import PACKAGES
from tests.perf.settings import CALM, FILE, Best, put

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

MODELS = ("tiny.en", "base", "random-small")
WITHOUT_WORDS = ("reading", "batched")
"""Cases that say nothing with random weights."""
STEPS = 48
SIZES = (1, 2, 4, 8, 16)
USUAL = 8
"""The batch at which threads are compared."""
ROUNDS, SECONDS = 5, 10.0
"""Rounds of all candidates at most, and seconds after which no other one (beyond the second) begins."""
MINUTE = 60 * SAMPLE_RATE
ALIKE = 1.01
SHARE_OUT = {"faster-whisper": ("batch", "batched"), "whisper.cpp": ("batched",)}
"""Cases in which workers of one system can share the windows."""
SIZED = ("faster-whisper", "transformers", OURS)
"""Systems whose batches have a size."""


def settings_of(system: str, case: str, cores: int) -> list[Setting]:
    """Candidates for threads and workers, those with fewer threads first."""
    batch = USUAL if case == "batched" and system in SIZED else 1
    if system == OURS:
        return [Setting(cores, batch=batch)]
    workers = range(1, cores + 1) if case in SHARE_OUT.get(system, ()) else (1,)
    pairs = [(threads, count) for count in workers for threads in range(1, cores // count + 1)]
    return [Setting(threads, count, batch) for threads, count in sorted(pairs, key=lambda pair: pair[0] * pair[1])]


def sizes_of(system: str, case: str, best: Setting) -> list[Setting]:
    """Candidates for the batch's size, at the best threads and workers; none where there is no such choice."""
    if case != "batched" or system not in SIZED:
        return []
    return [Setting(best.threads, best.workers, size) for size in SIZES]


def fastest_of(found: dict[Setting, float]) -> Setting:
    """Of settings by their seconds: the first one, as candidates go, that is as fast as the fastest within 1 %."""
    least = min(found.values())
    return next(setting for setting, seconds in found.items() if seconds <= ALIKE * least)


def compare(calls: dict[Setting, tuple[Callable[[], Any], Callable[[], float]]]) -> dict[Setting, float]:
    """The least seconds of each (call, clock), in turns; what takes SECONDS by itself is not called again."""
    found = {setting: clocked(*each) for setting, each in calls.items()}
    quick = [setting for setting, seconds in found.items() if seconds <= SECONDS]
    found |= dict.fromkeys(quick, float("inf"))  # that was their warm-up
    begin = time.perf_counter()
    for number in range(ROUNDS):
        if number > 1 and time.perf_counter() - begin > SECONDS:
            break
        for setting in quick:
            until_idle()
            found[setting] = min(found[setting], clocked(*calls[setting]))
    return found


def clocked(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def busy(seconds: float = 1.0) -> float:
    """Share of all CPUs that is used while this process rests; what the hypervisor takes is used, too."""
    until_idle()
    before = _ticks()
    time.sleep(seconds)
    idle, total = (after - then for after, then in zip(_ticks(), before, strict=True))
    return 1 - idle / total


def _ticks() -> tuple[int, int]:
    """(idle, all) of /proc/stat: of user, nice, system, idle, iowait, irq, softirq, steal."""
    ticks = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


class Sweep:
    """Of one checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, name: str, audio: np.ndarray, say: Callable[[str], object], anyway: bool = False
    ) -> None:
        self.checkpoint, self.name, self.say, self.anyway = checkpoint, name, say, anyway
        n_mels = checkpoint.dims.n_mels
        cuts = cuts_of(audio, n_mels)
        window, windows = window_of(audio, n_mels), windows_of(audio, cuts, n_mels)
        self.inputs = Inputs(window, windows, audio, cuts, STEPS, STEPS)
        self.minute = Inputs(window, windows, audio[:MINUTE], [], STEPS, STEPS)

    def run(self, which: Configuration, cases: Sequence[str]) -> list[Best]:
        made = load(which, self.checkpoint, settings_of(which.system, "encode", available_cpus())[-1])
        wanted = [case for case in cases if which in able(case)]
        if self.name.startswith("random-"):
            wanted = [case for case in wanted if case not in WITHOUT_WORDS]
        return [self._case(which, case, made) for case in wanted]

    def _case(self, which: Configuration, case: str, made: Contestant) -> Best:
        others = busy()
        if others > CALM and not self.anyway:
            raise MaxWhisperError(
                f"others use {others:.0%} of this machine: no setting looks best now that is; sweep while it is calm, "
                "or give --anyway and keep what it says to yourself"
            )
        found = self._seconds(which, case, made, settings_of(which.system, case, available_cpus()))
        best = fastest_of(found)
        tried = len(found)
        if sizes := sizes_of(which.system, case, best):
            found = self._seconds(which, case, made, sizes)
            best, tried = fastest_of(found), tried + len(sizes)
        return Best(
            which.system, which.dtype, self.name, case, best.threads, best.workers, best.batch,
            float(f"{found[best]:.4g}"), tried, round(others, 2), now(),
        )  # fmt: skip

    def _seconds(
        self, which: Configuration, case: str, made: Contestant, candidates: Iterable[Setting]
    ) -> dict[Setting, float]:
        inputs = self.minute if case == "reading" else self.inputs
        calls: dict[Setting, tuple[Callable[[], Any], Callable[[], float]]] = {}
        for setting in candidates:
            self.say(f"{self.name} {case}: {which} with {setting}")
            system = made.at(setting)
            calls[setting] = (timed(case, system, inputs), system.clock(case))
        return compare(calls)


def show(rows: Sequence[Best]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title="the best setting of each, of those that were tried")
    for column in ("model", "case", "system", "dtype", "best", "time", "tried", "others"):
        table.add_column(column, justify="right" if column in ("time", "tried", "others") else "left")
    for row in sorted(rows, key=lambda row: (row.checkpoint, CASES.index(row.case), row.seconds)):
        told = (row.checkpoint, row.case, row.system, row.dtype, str(row.setting), f"{row.seconds * 1e3:.1f} ms")
        table.add_row(*told, str(row.tried), f"{row.busy:.0%}")
    print_whole(table)


def longest(corpus: Path | None) -> np.ndarray:
    """The longest English file, float32 at 16 kHz."""
    folders = [corpus] if corpus else default_corpora()
    clips = [clip for folder in folders for clip in read_corpus(folder) if clip.language == "en"]
    return load_audio(max(clips, key=lambda clip: clip.seconds).audio)


def checkpoint_of(name: str) -> Checkpoint:
    from maxwhisper_impl.weights import load_checkpoint
    from tests.random_weights import RANDOM, random_weights

    return load_checkpoint(random_weights(RANDOM[name]) if name in RANDOM else name, download=False)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.perf.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="SYSTEM[:DTYPE]", help="repeatable (default: all)")
    parser.add_argument("--case", action="append", choices=CASES, help="repeatable (default: all)")
    parser.add_argument("--model", action="append", help=f"repeatable (default: {', '.join(MODELS)})")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="speech instead of the default corpora")
    parser.add_argument("--anyway", action="store_true", help="on a busy machine, too")
    parser.add_argument("--out", type=Path, default=FILE, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        chosen = [each for name in options.only or () for each in find(name)]
    except ValueError as error:
        parser.error(str(error))
    options.configurations = chosen or list(CONFIGURATIONS)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    from tests import baselines

    rows: list[Best] = []
    try:
        with tempfile.TemporaryDirectory() as folder, StatusLine() as say:
            baselines.use_cache_folder(Path(folder))  # of random weights
            audio = longest(options.corpus)
            for name in options.model or MODELS:
                sweep = Sweep(checkpoint_of(name), name, audio, say, options.anyway)
                for which in options.configurations:
                    found = sweep.run(which, options.case or CASES)
                    put(found, versions(PACKAGES), options.out)  # what a killed sweep has found is kept
                    rows += found
    except MaxWhisperError as error:
        complain(str(error))
        return 1
    show(rows)
    print(f"kept in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
