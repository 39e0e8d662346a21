"""Where another implementation is known to differ from the oracle, each reviewed and with its reason.

A test that is named here must fail: when the difference is gone, its line has to go too. What an implementation cannot
do at all is no difference; it is missing from the adapter's `capabilities`, and the tests that need it are skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    implementation: str
    test: str
    """"file.py::name[parameters]", where * stands for anything: all that match must fail"""
    reason: str

    def matches(self, nodeid: str) -> bool:
        pattern = re.escape(self.test).replace(r"\*", ".*")
        return re.fullmatch(f"(.*/)?{pattern}", nodeid) is not None


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "faster-whisper",
        "test_greedy.py::test_segments_are_numbered[*]",
        "its segments are numbered from 1, openai-whisper's from 0",
    ),
)


def known_difference(implementation: str, nodeid: str) -> Difference | None:
    """The line of a test, if it has one."""
    return next((d for d in DIFFERENCES if d.implementation == implementation and d.matches(nodeid)), None)
