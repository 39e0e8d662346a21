"""What a measurement was made on: the machine, the commit, the versions. Every run file carries them."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def processor() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


@cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's lines; empty where the system has no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


@cache
def gpus() -> tuple[str, ...]:
    """Names of the CUDA GPUs, asked of the driver itself so that no framework has to be imported."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()

    def named(number: int) -> str:  # which is a device's handle too
        return "unknown" if driver.cuDeviceGetName(name, len(name), number) else name.value.decode()

    return tuple(map(named, range(count.value)))


def machine() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpus": list(gpus()),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "fingerprint": fingerprint(),
    }


def fingerprint() -> str:
    """12 hex digits; equal where times may be compared: the same processor, its features, as many cores, the GPUs."""
    known = _cpuinfo()
    names = ("vendor_id", "cpu family", "model", "model name", "flags", "Features")
    parts = [platform.machine(), os.cpu_count(), *(known.get(name) for name in names), *gpus()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Of Python and the packages; None for one that is not installed as a package."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in sorted(packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def now() -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit(folder: Path) -> str | None:
    """The checkout's commit, with "+" behind it where files have changed since; None outside a checkout."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def run_file(kind: str, folder: Path, packages: Iterable[str]) -> dict[str, Any]:
    """What every run file begins with; `folder` is the checkout that was measured."""
    about = {"made": now(), "commit": commit(folder), "machine": machine(), "versions": versions(packages)}
    return {"kind": kind, **about}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
