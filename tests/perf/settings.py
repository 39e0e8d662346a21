"""The best setting of each system for each case, as `python -m tests.perf.sweep` found it on this kind of machine.

`settings.json` has an entry for each kind of machine, by fingerprint: its facts, and a row for each configuration,
checkpoint and case. A setting that nobody has measured is no setting: what is missing is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.files import write_whole
from maxwhisper_impl.machine import fingerprint, machine
from tests.perf.peers import OURS, Configuration, Setting

FILE = Path(__file__).with_name("settings.json")
CALM = 0.25
"""Of a machine that others use more of, nothing is kept: on a busy one a single thread looks fastest."""
COMMAND = "make sweep"


class SettingsError(MaxWhisperError):
    """No setting is known, or the file is none."""


@dataclass(frozen=True)
class Best:
    """The fastest of the settings that were tried."""

    system: str
    dtype: str
    checkpoint: str
    case: str
    threads: int
    workers: int
    batch: int
    seconds: float
    """the least time of the case with it; of a reading the first minute alone"""
    tried: int
    """settings"""
    busy: float
    """share of the machine that others used just before, 1 where they left no idle CPU"""
    made: str

    @property
    def configuration(self) -> Configuration:
        return Configuration(self.system, self.dtype)

    @property
    def setting(self) -> Setting:
        return Setting(self.threads, self.workers, self.batch)

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.system, self.dtype, self.checkpoint, self.case


class Settings:
    """Those of one kind of machine."""

    def __init__(self, rows: Iterable[Best]) -> None:
        self.rows = {row.key: row for row in rows}

    def best(self, which: Configuration, checkpoint: str, case: str) -> Best:
        """SettingsError, which names the command that finds one, where there is none."""
        try:
            return self.rows[which.system, which.dtype, checkpoint, case]
        except KeyError:
            arguments = f'"--only {which} --model {checkpoint}"'
            raise SettingsError(
                f"{FILE.name} has no setting of {which} for {case} with {checkpoint}: {COMMAND} ARGS={arguments}"
            ) from None

    def our_dtype(self, checkpoint: str, case: str, among: Iterable[str]) -> str:
        """The fastest of ours."""
        rows = [self.best(Configuration(OURS, dtype), checkpoint, case) for dtype in among]
        return min(rows, key=lambda row: row.seconds).dtype

    def near(self, which: Configuration, checkpoint: str, case: str, among: Iterable[Configuration]) -> float:
        """How many times as long it took as the fastest of the others."""
        least = min(self.best(each, checkpoint, case).seconds for each in among)
        return self.best(which, checkpoint, case).seconds / least


def load_settings(file: Path = FILE, kind: str | None = None) -> Settings:
    """Those of this kind of machine, or of the fingerprint `kind`; SettingsError where nobody has measured there."""
    kind = kind or fingerprint()
    machines = _machines(file)
    if kind not in machines:
        raise SettingsError(f"{file.name} knows no machine of this kind ({kind}): {COMMAND}")
    try:
        return Settings(Best(**row) for row in machines[kind]["rows"])
    except (KeyError, TypeError) as error:
        raise SettingsError(f"{file}: not what the sweep writes: {error}; {COMMAND} writes it") from error


def _machines(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))["machines"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{file}: not what the sweep writes: {error}; {COMMAND} writes it") from error


def put(rows: Iterable[Best], versions: dict[str, str | None], file: Path = FILE) -> None:
    """Into the file, in place of those with the same key on this kind of machine; written whole or not at all."""
    machines = _machines(file)
    about = machine()
    kind = about["fingerprint"]
    known = Settings(Best(**row) for row in machines.get(kind, {"rows": []})["rows"])
    known.rows |= {row.key: row for row in rows}
    ordered = [asdict(known.rows[key]) for key in sorted(known.rows)]
    machines[kind] = {"machine": about, "versions": versions, "rows": ordered}
    # a line for each row, so that a change of one is a change of one line
    text = json.dumps({"machines": machines}, indent=1)
    for row in (row for each in machines.values() for row in each["rows"]):
        text = text.replace(_spread(row), json.dumps(row))
    write_whole(file, (text + "\n").encode())


def _spread(row: dict[str, Any]) -> str:
    """A row as `json.dumps` indents it in its place."""
    return json.dumps(row, indent=1).replace("\n", "\n    ")
