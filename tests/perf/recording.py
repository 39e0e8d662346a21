"""What pytest-benchmark writes: where, about what machine, and with what was timed. A plugin of conftest.py.

`--benchmark-json RUN.json` writes a run file; `python -m tests.perf.gate RUN.json --keep` puts it into the history,
where `--benchmark-compare` finds the newest one of this kind of machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl import history
from maxwhisper_impl.machine import commit, fingerprint, machine, now, versions
from maxwhisper_impl.systems import SYSTEMS
from maxwhisper_impl.threads import available_cpus
from tests.perf.fastest import as_json, choose

ROOT = Path(__file__).resolve().parents[2]
HISTORY = ROOT / history.FOLDER
PACKAGES = {
    "numpy", "pytest-benchmark", *(name for system in SYSTEMS.values() for name in system.packages),
    *(name for names in history.OTHERS.values() for name in names),
}  # fmt: skip
DIGITS = 7
"""of a round's time: a clock says no more"""


@pytest.hookimpl(tryfirst=True)  # before pytest-benchmark opens its storage
def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if option.benchmark_storage == "file://./.benchmarks":
        option.benchmark_storage = f"file://{HISTORY}"
    if option.benchmark_compare is True:
        option.benchmark_compare = newest(Path(option.benchmark_storage.removeprefix("file://")))


def newest(folder: Path) -> str:
    """What `--benchmark-compare` without a value stands for: the last run of this kind of machine, as a file name."""
    runs = sorted(folder.glob(f"*_{fingerprint()}_*.json"))
    return runs[-1].stem if runs else f"*_{fingerprint()}_*"


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Names no host, and only what two machines of one kind have in common, so that their runs compare in silence."""
    about = machine()
    machine_info.clear()
    machine_info.update({name: about[name] for name in ("processor", "cores", "gpus", "fingerprint") if about[name]})


def pytest_benchmark_update_json(benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """The facts that every run file has, and of each benchmark what its figures can be computed from again."""
    output_json["made"] = now()
    output_json["commit"] = commit(ROOT)
    output_json["machine"] = machine()
    output_json["threads"] = available_cpus()
    output_json["versions"] = versions(PACKAGES)
    kept = output_json["commit_info"]
    output_json["commit_info"] = {name: kept[name] for name in ("id", "time", "dirty") if name in kept}
    for written, benchmark in zip(output_json["benchmarks"], benchmarks, strict=True):
        for name in ("params", "param", "options"):
            written.pop(name, None)
        stats = written["stats"]
        stats["data"] = [rounded(x) for x in benchmark.stats.data]
        for name, value in stats.items():
            stats[name] = rounded(value) if isinstance(value, float) else value
    rows = [row for row in map(history.read_row, output_json["benchmarks"]) if row is not None]
    output_json["fastest"] = [as_json(each) for each in choose(rows)]


def rounded(seconds: float) -> float:
    return float(f"{seconds:.{DIGITS}g}")
