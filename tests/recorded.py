"""Run files whose rounds are made up: of a known level, with noise within a run and between runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from maxwhisper_impl.history import Run, read_run
from maxwhisper_impl.machine import fingerprint
from tests.perf.ratio import ratio

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
PEERS = ("openai-whisper", "faster-whisper")
SECONDS = {"encode": 0.2, "decode 30 steps": 0.3}
VERSIONS = {"max": "1", "openai-whisper": "1", "torch": "1", "faster-whisper": "1", "ctranslate2": "1"}


@dataclass
class Recorder:
    """Writes runs into `folder`, a day apart; noise is in standard deviations of logarithms."""

    folder: Path
    seed: int = 0
    within: float = 0.02
    between: float = 0.005
    clock: float = 0.01
    """between runs, of both sides' times: it leaves ratios alone"""
    rounds: int = 30
    memory: float | None = None
    """seconds of reading memory; None: not recorded"""
    random: np.random.Generator = field(init=False)
    runs: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def run(self, slower: dict[str, float] | None = None, **changes: Any) -> Run:
        """`slower`: factors on our time, by case. `changes` overwrite what is at the top of the file."""
        factors = slower or {}
        rows = [self._row(case, peer, factors.get(case, 1.0)) for case in SECONDS for peer in PEERS]
        return self.write(rows, **changes)

    def write(self, rows: list[dict[str, Any]], **changes: Any) -> Run:
        self.runs += 1
        made = FIRST + timedelta(days=self.runs)
        data = {
            "made": made.isoformat(),
            "commit": f"{self.runs:040x}",
            "machine": {"processor": "made up", "cores": 2, "fingerprint": fingerprint()},
            "versions": dict(VERSIONS),
            "machine_info": {},
            "benchmarks": rows,
            **changes,
        }
        path = self.folder / f"{made:%Y_%m-%d}_{self.runs}.json"
        path.write_text(json.dumps(data))
        return read_run(path)

    def history(self, runs: int = 5) -> list[Run]:
        return [self.run() for _ in range(runs)]

    def _row(self, case: str, peer: str, slower: float) -> dict[str, Any]:
        clock = np.exp(self.random.normal(0, self.clock))
        ours = self.rounds_around(clock * slower * np.exp(self.random.normal(0, self.between)) * SECONDS[case])
        theirs = self.rounds_around(clock * 1.5 * SECONDS[case])
        told = {} if self.memory is None else {"memory_rounds": [self.memory] * 9}
        return row(case, peer, ours, theirs, **told)

    def rounds_around(self, seconds: float) -> list[float]:
        """Of one side, in seconds."""
        return (seconds * np.exp(self.random.normal(0, self.within, self.rounds))).tolist()


def row(case: str, peer: str, ours: list[float], theirs: list[float], **changes: Any) -> dict[str, Any]:
    """As pytest-benchmark and `race` write it; `changes` of what `race` says."""
    got = ratio(ours, theirs)
    told = {
        "case": case,
        "checkpoint": "tiny.en",
        "peer": peer,
        "dtype": "float32",
        "device": "cpu",
        "peer_rounds": theirs,
        "ratio": got.median,
        "low": got.low,
        "high": got.high,
        "validity": got.validity,
        "valid": got.valid,
        "text_hash": "0123456789abcdef",
        "wer": 0.0635,
        **changes,
    }
    name = f"test_{case.split()[0]}[{peer}-tiny.en]"
    stats = {"data": ours, "mean": float(np.mean(ours)), "rounds": len(ours)}
    return {"name": name, "fullname": f"tests/perf/test_speed.py::{name}", "extra_info": told, "stats": stats}
