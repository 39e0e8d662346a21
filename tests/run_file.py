"""What a run of the suite leaves behind: lines at its end, and with `--run-json` a file for `maxwhisper report`."""

from __future__ import annotations

import json
import time
from collections import Counter
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.files import write_whole
from maxwhisper_impl.machine import commit, machine, now, versions
from tests import record
from tests.implementations import IMPLEMENTATIONS
from tests.record import Family, Margin, family_of

run = record.run
"""this run's, while tests of comparators put another in its place"""

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"numpy", "pytest", "pytest-benchmark"}
RACE = ("peer", "peer_seconds", "low", "high", "validity", "valid")
MESSAGE = 2000
"""characters of what a failed test said that are kept"""

_started = pytest.StashKey[float]()
_commit = pytest.StashKey[str | None]()
"""as the run began: it may take long, and a checkout may move on meanwhile"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("whisper").addoption("--run-json", metavar="PATH", help="write what `maxwhisper report` shows")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_started] = time.monotonic()
    path = config.getoption("--run-json")
    config.stash[_commit] = commit(ROOT) if path else None
    if path and not Path(path).absolute().parent.is_dir():
        raise pytest.UsageError(f"--run-json {path}: there is no folder {Path(path).parent}")


@pytest.hookimpl(tryfirst=True)  # fixtures compare too
def pytest_runtest_setup(item: pytest.Item) -> None:
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    run.start(family_of(item.path), parameters.get("checkpoint"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if outcome := outcome_of(report):
        run.end(family_of(Path(report.nodeid.partition("::")[0])), outcome)
    if report.failed:
        run.red.append({"test": report.nodeid, "message": _message(report)})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Keeps the ratio of a race whatever its verdict: `race` tells pytest-benchmark of it."""
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    if call.when == "call" and benchmark is not None and "ratio" in benchmark.extra_info:
        told = benchmark.extra_info
        case = " ".join(str(told[name]) for name in ("case", "checkpoint") if name in told) or item.name
        row = {"case": case, "seconds": benchmark.stats.stats.median, "median": told["ratio"]}
        row |= {name: told[name] for name in RACE}
        if "peer_dtype" in told:  # a race of configurations: both dtypes tell it from others
            row |= {"case": f"{case} {told['dtype']}", "peer": f"{told['peer']}:{told['peer_dtype']}"}
        run.ratios.append(row)
    return (yield)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        run.end(family_of(Path(report.nodeid)), "error")
        run.red.append({"test": report.nodeid, "message": _message(report)})


def outcome_of(report: pytest.TestReport) -> str | None:
    """Pytest's word for how a test ended; None for a phase of it that says nothing."""
    expected = hasattr(report, "wasxfail")
    if report.when != "call":
        return "error" if report.failed else "skipped" if report.skipped else None
    if report.skipped:
        return "xfailed" if expected else "skipped"
    return "xpassed" if report.passed and expected else report.outcome


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else report.longreprtext)[:MESSAGE]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Also behind failures and interruptions."""
    path = session.config.getoption("--run-json")
    if not path or session.config.getoption("collectonly"):
        return
    try:
        text = json.dumps(as_json(session), ensure_ascii=False, indent=1, allow_nan=False, default=_plain)
        write_whole(Path(path), (text + "\n").encode())
    except MaxWhisperError as error:
        pytest.exit(f"--run-json {error}", returncode=pytest.ExitCode.INTERNAL_ERROR)


def _plain(value: object) -> object:
    """What NumPy calculated."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in a run file")


def as_json(session: pytest.Session) -> dict[str, Any]:
    """Rates are fractions, times seconds; a value that is not finite is null."""
    config, families = session.config, run.families
    option = config.getoption
    return {
        "kind": "suite",
        "made": now(),
        "commit": config.stash[_commit],
        "machine": machine(),
        "versions": versions(PACKAGES.union(*(i.packages for i in IMPLEMENTATIONS.values()))),
        "arguments": list(config.invocation_params.args),
        "implementation": option("--impl"),
        "oracle": option("--oracle"),
        "device": option("--device"),
        "dtype": option("--dtype"),
        "exit_status": int(session.exitstatus),
        "seconds": time.monotonic() - config.stash[_started],
        "outcomes": sum((family.outcomes for family in families.values()), Counter[str]()),
        "families": {name: _family(family) for name, family in families.items()},
        "margins": [_margin(margin) for margin in run.margins.values()],
        "wer": list(run.wer.values()),
        "ratios": run.ratios,
        "excuses": run.excuses,
        "notes": run.notes,
        "failures": run.red,
    }


def _family(family: Family) -> dict[str, Any]:
    worst = _margin(family.worst) if family.worst else None
    return {"outcomes": family.outcomes, "counts": family.counts, "worst": worst}


def _margin(margin: Margin) -> dict[str, Any]:
    value = margin.value if isfinite(margin.value) else None
    return {**vars(margin), "value": value}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    write = terminalreporter.write_line
    red = len(run.red)
    if run.families:
        failed = record.counted(red, "failures")
        terminalreporter.section(f"what was compared, beside {failed}" if red else "what was proven")
    for name, family in run.families.items():
        write(f"{name}: {family.line()}")
    for line in run.notes:
        write(line)
    if run.excuses:
        terminalreporter.section("excused: " + record.counted(len(run.excuses), "near-ties"))
    for text in run.excuses:
        write(text)
    if path := config.getoption("--run-json"):
        write(f"run file: {path}")
