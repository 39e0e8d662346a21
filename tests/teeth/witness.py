"""A pytest plugin that writes which tests were red, in their order: one JSON line each, then one with the totals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--witness", type=Path, required=True, help="where red tests are written to")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Witness(config.getoption("--witness")))


class _Witness:
    def __init__(self, path: Path):
        self.path = path
        self.passed = 0

    def _write(self, **line: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.passed and report.when == "call"
        if report.failed:
            self._write(red=report.nodeid, when=report.when)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(red=report.nodeid, when="collect")

    def pytest_sessionfinish(self) -> None:
        self._write(passed=self.passed)
