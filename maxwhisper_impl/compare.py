"""All systems on the same audio in one run: `compare` gives the rows, `comparison_view` shows them.

Per model, every system is started in its own process, gets the weights, loads (and compiles) and warms up on a window.
Then all take turns, A B C, C B A, …, so that a slow spell of the machine meets all of them; each comes to rest before
the next one starts. Medians are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from .audio import N_SAMPLES
from .decoding.options import verify_count
from .errors import OptionError
from .machine import commit
from .scoring import agreement, word_errors
from .systems import ORACLE, Pinned, SystemSpec, Transcript, label, parse_system
from .threads import verify_threads
from .worker import SystemFailed, Worker

if TYPE_CHECKING:
    from .samples import Sample

Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """What one system did with one model's weights. Times are seconds of wall clock, rates fractions (0.06 for 6 %)."""

    spec: SystemSpec
    rounds: list[float]
    """seconds of each round, over all files"""
    audio_seconds: float
    load_seconds: float
    """importing, reading the weights, and compiling or fetching the compiled graphs"""
    warm_up_seconds: float
    peak_memory: int
    """bytes, of the system's whole process"""
    transcripts: dict[str, Transcript]
    speedup: float | None
    """openai-whisper's seconds over this system's; None where openai-whisper did not run"""
    wer: float | None
    """None where no file has a transcript"""
    agreement: float | None
    """with openai-whisper's tokens; None where it did not run"""

    @property
    def seconds(self) -> float:
        return median(self.rounds)

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of work for a second of audio."""
        return self.seconds / self.audio_seconds

    @property
    def text(self) -> str:
        return "\n".join(transcript.text.strip() for transcript in self.transcripts.values())


@dataclass(frozen=True)
class Failure:
    """A system that did not get through, and why."""

    spec: SystemSpec
    reason: str


@dataclass
class Comparison:
    samples: list[Sample]
    threads: int
    rounds: int
    rows: list[Row] = field(default_factory=list[Row])
    failures: list[Failure] = field(default_factory=list[Failure])
    commit: str | None = field(default_factory=lambda: commit(Path(__file__).parent))
    """as the run began: it may take long, and a checkout may move on meanwhile"""

    @property
    def audio_seconds(self) -> float:
        return sum(sample.seconds for sample in self.samples)


@dataclass
class _Run:
    """A system under way."""

    worker: Worker
    load_seconds: float
    warm_up_seconds: float = 0.0
    rounds: list[float] = field(default_factory=list[float])
    transcripts: dict[str, Transcript] = field(default_factory=dict[str, Transcript])
    peak_memory: int = 0


def compare(
    samples: Sequence[Sample],
    models: Sequence[str],
    systems: Sequence[str],
    *,
    device: str = "cpu",
    threads: int = 1,
    rounds: int = 3,
    say: Say = print,
) -> Comparison:
    """Run `systems` ("name" or "name:dtype") with every one of `models` on all samples; `say` gets a line per step."""
    verify_count("rounds", rounds, None)
    verify_threads(threads)
    if not sum(len(sample.audio) for sample in samples):
        raise OptionError("there is no audio to compare on: every file is empty")
    parsed = [parse_system(name) for name in systems]
    result = Comparison(list(samples), threads, rounds)
    for model in models:
        specs = [SystemSpec(system, model, device, dtype, threads) for system, dtype in parsed]
        runs = _start(specs, result, say)
        try:
            _take_turns(runs, result, say)
            for run in runs:
                run.peak_memory = _peak(run)
        finally:
            for run in runs:
                run.worker.close()
        result.rows += _rows([run for run in runs if len(run.rounds) == rounds], result)
    return result


def _start(specs: Sequence[SystemSpec], result: Comparison, say: Say) -> list[_Run]:
    """Load and warm up one system after the other, each alone on the machine; those that fail go to `failures`."""
    runs: list[_Run] = []
    for spec in specs:
        worker = Worker(spec)
        try:
            runs.append(_started(worker, result.samples, say))
        except BaseException as error:
            worker.close()
            if not isinstance(error, SystemFailed):
                for run in runs:
                    run.worker.close()
                raise
            _failed(spec, error, result, say)
    return runs


def _started(worker: Worker, samples: Sequence[Sample], say: Say) -> _Run:
    name = label(worker.spec)
    say(f"{name}: weights")
    worker.prepare()
    say(f"{name}: loading")
    run = _Run(worker, worker.load(lambda message: say(f"{name}: {message}")).seconds)
    longest = max(samples, key=lambda sample: len(sample.audio))
    say(f"{name}: loaded in {run.load_seconds:.1f} s; warming up")
    _, run.warm_up_seconds = worker.transcribe(longest.audio[:N_SAMPLES], pinned(longest))
    worker.rest()
    return run


def _take_turns(runs: list[_Run], result: Comparison, say: Say) -> None:
    for number in range(result.rounds):
        for run in runs if number % 2 == 0 else runs[::-1]:
            if len(run.rounds) < number:  # failed in an earlier round
                continue
            name = f"round {number + 1} of {result.rounds} · {label(run.worker.spec)}"
            say(name)
            try:
                _one_round(run, result.samples)
                say(f"{name}: {run.rounds[-1]:.2f} s")
            except SystemFailed as error:
                _failed(run.worker.spec, error, result, say)


def _one_round(run: _Run, samples: Sequence[Sample]) -> None:
    total = 0.0
    for sample in samples:
        transcript, seconds = run.worker.transcribe(sample.audio, pinned(sample))
        known = run.transcripts.setdefault(sample.id, transcript)
        if known != transcript:
            raise SystemFailed(f"{sample.id}: not the transcript of the first round, from the same audio and options")
        total += seconds
    run.worker.rest()
    run.rounds.append(total)


def _peak(run: _Run) -> int:
    try:
        return run.worker.peak_memory()
    except SystemFailed:  # its row is lost already
        return 0


def _rows(runs: Sequence[_Run], result: Comparison) -> list[Row]:
    oracle = next((run for run in runs if (run.worker.spec.system, run.worker.spec.dtype) == (ORACLE, "float32")), None)
    return [
        Row(
            spec=run.worker.spec,
            rounds=run.rounds,
            audio_seconds=result.audio_seconds,
            load_seconds=run.load_seconds,
            warm_up_seconds=run.warm_up_seconds,
            peak_memory=run.peak_memory,
            transcripts=run.transcripts,
            speedup=median(oracle.rounds) / median(run.rounds) if oracle else None,
            wer=_wer(run, result.samples),
            agreement=agreement(_tokens(run), _tokens(oracle)) if oracle else None,
        )
        for run in runs
    ]


def _wer(run: _Run, samples: Sequence[Sample]) -> float | None:
    known = [sample for sample in samples if sample.text is not None]
    pairs = [(sample.text or "", run.transcripts[sample.id].text, sample.language) for sample in known]
    counted = word_errors(pairs)
    return counted.rate if counted.words else None


def _tokens(run: _Run) -> list[int]:
    return [token for transcript in run.transcripts.values() for token in transcript.tokens]


def _failed(spec: SystemSpec, error: SystemFailed, result: Comparison, say: Say) -> None:
    result.failures.append(Failure(spec, str(error)))
    say(f"{label(spec)}: FAILED: {error}")


def pinned(sample: Sample) -> Pinned:
    """The options that every system gets for the sample."""
    return Pinned(language=sample.language)
