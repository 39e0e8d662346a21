"""Run files: which kind each is, and that it holds what its kind demands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from ..errors import OptionError, RunFileError
from .kinds import Benchmarks, Comparison, Fuzz, Machine, Roofline, Run, Soak, Suite, Teeth

KINDS: dict[str, type[Run]] = {"suite": Suite, "teeth": Teeth, "fuzz": Fuzz, "soak": Soak, "roofline": Roofline}
"""by what stands under "kind" """
UNMARKED: dict[str, type[Run]] = {"rows": Comparison, "benchmarks": Benchmarks}
"""by a key that a file without "kind" has"""
NEAR = 20
"""bytes of what is wrong that a message shows on either side"""

AnyRun = TypeVar("AnyRun", bound=Run)


@dataclass(frozen=True, eq=False)
class Source:
    """A run file, by its name, and what it holds."""

    name: str
    run: Run

    @property
    def commit(self) -> str:
        """Twelve digits, and whether files had been changed; "" where nobody noted it."""
        known = self.run.commit
        if known is None and isinstance(self.run, Benchmarks) and self.run.commit_info.id:
            known = self.run.commit_info.id + ("+" if self.run.commit_info.dirty else "")
        return f"{known[:12]}{' with changes' if known.endswith('+') else ''}" if known else ""

    @property
    def made(self) -> str:
        """Day and minute in UTC; "" where nobody noted it."""
        known = self.run.made or (self.run.datetime if isinstance(self.run, Benchmarks) else "")
        return known[:16].replace("T", " ") + " UTC" if known else ""

    @property
    def about(self) -> dict[str, list[str]]:
        """What it was measured on, under "machine", "versions" and "commit"; empty lists where nobody noted it."""
        machine = self.machine
        parts = [machine.processor, f"{machine.cores} cores" if machine.cores else "", machine.platform]
        versions = [f"{name} {version}" for name, version in self.run.versions.items() if version]
        named = ", ".join(part for part in parts if part)
        about = {"machine": [named], "versions": versions, "commit": [self.commit]}
        return {what: [value for value in values if value] for what, values in about.items()}

    @property
    def machine(self) -> Machine:
        if self.run.machine is None and isinstance(self.run, Benchmarks):
            info = self.run.machine_info
            cores = info.cores if info.cores is not None else info.cpu.count
            return Machine(info.cpu.brand_raw or info.processor, cores=cores, fingerprint=info.fingerprint)
        return self.run.machine or Machine()


def read_runs(files: Sequence[str]) -> list[Source]:
    """All of them, in the order given. RunFileError names the file and what is wrong; OptionError: none, or twice."""
    if not files:
        raise OptionError(
            "there is nothing to report: give run files, --from RUN.json …, of `maxwhisper compare --json`, "
            "`pytest --run-json`, `make teeth` and so on; `make report` makes some and the page"
        )
    paths = [Path(file) for file in files]
    for path in paths:
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise OptionError(f"--from {path}: is given twice")
    names = [path.name for path in paths]
    return [Source(path.name if names.count(path.name) == 1 else str(path), read_run(path)) for path in paths]


def read_run(path: Path) -> Run:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RunFileError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        run = msgspec.json.decode(text, type=_kind(path, text))
        _check_time(run)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, RunFileError):
            raise
        raise RunFileError(f"{path}: {_reason(text, error)}") from error
    return run


def _kind(path: Path, text: bytes) -> type[Run]:
    keys = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    if "kind" in keys:
        kind = msgspec.json.decode(keys["kind"])
        if isinstance(kind, str) and kind in KINDS:
            return KINDS[kind]
        raise RunFileError(f"{path}: its kind is {kind!r:.60}; there are {', '.join(KINDS)}")
    for key, kind in UNMARKED.items():
        if key in keys:
            return kind
    raise RunFileError(
        f'{path}: is no run file: it has none of "kind", "rows" (of `maxwhisper compare --json`) and "benchmarks" '
        f"(of pytest-benchmark), but {', '.join(map(repr, list(keys)[:8])) or 'nothing'}"
    )


def _check_time(run: Run) -> None:
    for time in (run.made, run.datetime if isinstance(run, Benchmarks) else None):
        if time is not None:
            datetime.fromisoformat(time)


def _reason(text: bytes, error: Exception) -> str:
    """msgspec's, and for malformed JSON what stands at the place that it names."""
    if isinstance(error, msgspec.ValidationError):
        return str(error)
    _, found, digits = str(error).partition("(byte ")
    if not found:
        return f"not JSON: {error}" if isinstance(error, msgspec.DecodeError) else str(error)
    at = int(digits.rstrip(")"))
    return f"not JSON: {error}, at {text[max(0, at - NEAR) : at + NEAR].decode(errors='replace')!r}"


def of_kind(sources: Sequence[Source], kind: type[AnyRun]) -> list[tuple[Source, AnyRun]]:
    return [(source, source.run) for source in sources if isinstance(source.run, kind)]
