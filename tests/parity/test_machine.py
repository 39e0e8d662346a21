"""What a process may use of its machine and says of it: CPUs, GPUs, memory, a system in a process of its own."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maxwhisper_impl import machine, threads, worker
from maxwhisper_impl.errors import OptionError
from maxwhisper_impl.systems import SYSTEMS, SystemSpec
from tests.parity.fake_systems import Fake


@pytest.mark.parametrize(("cpus", "rests"), [(0.2, True), (0.3, False)])
def test_a_process_that_does_not_come_to_rest_is_not_waited_for(
    cpus: float, rests: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "process_time", lambda: cpus * time.perf_counter())
    started = time.perf_counter()
    assert threads.until_idle(limit=0.2) == rests
    assert (time.perf_counter() - started < 0.2) == rests


def test_max_is_started_with_as_many_threads_as_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(threads, "_engine_threads", None)
    monkeypatch.setattr(threads, "available_cpus", lambda: kept[-1] if kept else 4)
    monkeypatch.setattr(threads, "limit_threads", kept.append)
    for count in (3, 3, None):
        threads.start_engine(count)
    assert kept == [3]
    with pytest.raises(OptionError, match="num_threads=2: MAX runs with 3 threads in this process"):
        threads.start_engine(2)


def test_a_system_that_cannot_keep_a_process_to_some_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    monkeypatch.setattr(threads, "available_cpus", lambda: 2)
    threads.limit_threads(2)
    with pytest.raises(OptionError, match="threads=1: this system cannot keep a process to fewer than its 2 CPUs"):
        threads.limit_threads(1)


def test_cpus_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a container or a batch job, say; all of them where the system does not tell."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7})
    assert threads.available_cpus() == 3
    with pytest.raises(OptionError, match="threads=4: give 1 to 3, the CPUs that this process may use"):
        threads.verify_threads(4)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert threads.available_cpus() == 64


def test_memory_is_remembered_when_it_is_given_back() -> None:
    code = ("from maxwhisper_impl.worker import peak_memory; before = peak_memory()\n"
            "block = b'x' * (200 << 20); del block; print(peak_memory() - before)")  # fmt: skip
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 190 << 20 < grown < 220 << 20


@pytest.mark.parametrize("status", [None, "Name:\tpython\n"], ids=["no /proc", "another /proc"])
def test_memory_where_the_system_keeps_no_peak(status: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what getrusage knows, which is the same but for what Linux counts late."""
    want = worker.peak_memory()
    monkeypatch.setattr(worker, "Path", lambda _: SimpleNamespace(read_text=lambda: told(status)))
    assert 0.9 * want < worker.peak_memory() < 100 * want  # more where a larger process started this one
    monkeypatch.setattr("sys.platform", "darwin")
    assert worker.peak_memory() < want, "bytes there, and not KiB"


def test_a_processor_that_the_system_says_nothing_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpuinfo", machine._cpuinfo.__wrapped__)
    monkeypatch.setattr(machine, "Path", lambda _: SimpleNamespace(read_text=lambda: told(None)))
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert machine.processor() == "arm"
    assert len(machine.fingerprint()) == 12


def test_times_are_compared_where_all_is_the_same_that_they_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"vendor_id": "A", "cpu family": "1", "model": "2", "model name": "A 1", "flags": "avx", "cpu MHz": "1000"}

    def fingerprint(**changes: str) -> str:
        monkeypatch.setattr(machine, "_cpuinfo", lambda: known | {k.replace("_", " "): v for k, v in changes.items()})
        return machine.fingerprint()

    same = fingerprint()
    assert fingerprint(cpu_MHz="2000") == same, "it sways"
    others = [fingerprint(**{name: "another"}) for name in ("cpu_family", "model", "model_name", "flags", "Features")]
    monkeypatch.setattr(os, "cpu_count", lambda: 1000)
    others.append(fingerprint())
    monkeypatch.setattr(platform, "machine", lambda: "another")
    others.append(fingerprint())
    assert len({same, *others}) == 8


def test_a_commit_whose_files_have_changed_says_so(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@x")
        done = subprocess.run(["git", "-C", tmp_path, *who, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    head = git("rev-parse", "HEAD")
    (tmp_path / "untracked").touch()
    assert machine.commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert machine.commit(tmp_path) == head + "+"


def test_memory_is_all_that_is_built_in() -> None:
    """Of which some was never ours: what the system says is free sways."""
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    assert machine.machine()["memory"] == pytest.approx(int(total.split()[1]) * 1024, rel=1e-3)


def test_moments_are_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        said = datetime.fromisoformat(machine.now())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert said.utcoffset() == timedelta(0)
    assert abs((datetime.now(UTC) - said).total_seconds()) < 60


def test_what_a_run_file_begins_with(tmp_path: Path) -> None:
    """Also outside a checkout, with packages that are not there."""
    found = machine.run_file("fuzz", tmp_path, ["pytest", "maxwhisper-no-such-package"])
    assert list(found) == ["kind", "made", "commit", "machine", "versions"]
    assert (found["kind"], found["commit"]) == ("fuzz", None)
    assert found["versions"] == {"python": platform.python_version(), "maxwhisper-no-such-package": None,
                                 "pytest": pytest.__version__}  # fmt: skip


def told(text: str | None) -> str:
    if text is None:
        raise FileNotFoundError
    return text


@pytest.mark.parametrize(
    ("fails", "names"),
    [
        ({}, ("GPU 0", "GPU 1", "GPU 2")),
        ({"cuInit"}, ()),
        ({"cuDeviceGetCount"}, ()),
        ({"cuDeviceGetName"}, ("unknown", "unknown", "unknown")),
        (None, ()),
    ],
)
def test_gpus_are_those_that_the_driver_names(fails: Any, names: tuple[str, ...], monkeypatch: Any) -> None:
    """None where it fails, or there is no driver; and times of another GPU are not compared with."""
    def driver(library: str) -> Any:
        assert library == "libcuda.so.1"
        if fails is None:
            raise OSError
        return SimpleNamespace(cuInit=lambda flags: int("cuInit" in fails), cuDeviceGetCount=counted,
                               cuDeviceGetName=named)  # fmt: skip

    def counted(place: Any) -> int:
        place._obj.value = 3
        return int("cuDeviceGetCount" in fails)

    def named(buffer: Any, size: int, number: int) -> int:
        assert size >= 32
        buffer.value = f"GPU {number}".encode()
        return int("cuDeviceGetName" in fails)

    monkeypatch.setattr(ctypes, "CDLL", driver)
    monkeypatch.setattr(machine, "gpus", machine.gpus.__wrapped__)
    assert machine.gpus() == names
    assert machine.machine()["gpus"] == list(names)
    with_gpus = machine.fingerprint()
    monkeypatch.setattr(machine, "gpus", tuple)
    assert (machine.fingerprint() == with_gpus) == (not names)


def test_progress_that_nobody_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYSTEMS, "maxwhisper", Fake)
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"maxwhisper": {}}))
    monkeypatch.delattr("__main__.__file__", raising=False)  # or the worker would import pytest first
    system = worker.Worker(SystemSpec("maxwhisper", str(script)))
    try:
        assert system.load().seconds >= 0
    finally:
        system.close()
