"""The verdict is what the files say: one red figure of any of them turns it, and is named first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl.report import read_runs
from maxwhisper_impl.report.verdict import Statement, headline, statements
from tests.report import runs
from tests.report.runs import changed


def said(folder: Path, **files: dict[str, Any]) -> list[Statement]:
    return statements(read_runs(runs.write(folder, **files)))


SUITE = {"suite": runs.SUITE}
PROVEN = ("1,234 tests passed on tiny.en, none failed, 7 skipped: 23 encoder layer outputs, 75 utterances and "
          "1,000 words. No layer's error uses more than 60 % of its limit (logits, tiny.en).")  # fmt: skip
RACES = runs.SUITE["ratios"]
BENCHMARKS = runs.benchmarks(1, 2.0)
NEWEST = "The newest benchmarks of A Processor, 2 cores, 2026-11-01 10:28 UTC,"
RED = [{"test": "tests/parity/test_mel.py::test_mel[tiny.en]", "message": "mel: max_abs 1 > 0.0001\nmore"}]
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "suite": (SUITE, "passed", f"{PROVEN} 1 of 2 speed ratios says nothing: the machine was too noisy."),
    "one red test": ({"suite": changed(runs.SUITE, outcomes={"passed": 9, "failed": 1}, exit_status=1, failures=RED)},
                     "failed", "1 of 10 tests of the suite failed on tiny.en."),
    "mostly noise": ({"suite": changed(runs.SUITE, ratios=[*RACES, RACES[1]])}, "passed",
                     f"{PROVEN} 2 of 3 speed ratios say nothing: the machine was too noisy."),
    "an error": ({"suite": changed(runs.SUITE, outcomes={"passed": 9, "error": 2})}, "failed", "2 of 11 tests of"),
    "nothing ran": ({"suite": changed(runs.SUITE, outcomes={"skipped": 5}, exit_status=5)}, "failed",
                    "The suite proved nothing: no test passed"),
    "interrupted": ({"suite": changed(runs.SUITE, exit_status=2)}, "failed", "The suite was interrupted after 1,234"),
    "broken off": ({"suite": changed(runs.SUITE, exit_status=3)}, "failed", "The suite ended with pytest's exit"),
    "compare": ({"c": runs.COMPARISON}, "passed", "tiny.en in float32: token for token what openai-whisper writes, "
                "at 2.50× the speed of openai-whisper and 1.25× the speed of faster-whisper."),
    "another text": ({"c": changed(runs.COMPARISON, rows__0__agreement=0.99999)}, "failed",
                     "tiny.en in float32: 99.99 % of the tokens are those of openai-whisper"),
    "another text in int8": ({"c": changed(runs.COMPARISON, rows__0__agreement=0.9, rows__0__dtype="int8")},
                             "measured", "tiny.en in int8: 90.00 % of the tokens are those of openai-whisper, at 2.50× "
                             "the speed of openai-whisper in float32 and"),
    "a near race": ({"c": changed(runs.COMPARISON, rows__2__round_seconds=[10.0, 8.8, 11.0])}, "passed",
                    "tiny.en in float32: token for token what openai-whisper writes, at 2.50× the speed of "
                    "openai-whisper and 1.25× the speed of faster-whisper (their rounds overlap)."),
    "no oracle": ({"c": changed(runs.COMPARISON, rows=[runs.row("maxwhisper", 8.0, "a", agreement=None)])},
                  "measured", "tiny.en in float32: there is no text of openai-whisper to compare with."),
    "a system failed": ({"c": changed(runs.COMPARISON, failures=[{"system": "faster-whisper", "model": "/x/base",
                                                                 "dtype": "int8", "reason": "out of memory"}])},
                        "failed", "base · faster-whisper (int8) did not get through the comparison: out of memory"),
    "teeth": ({"t": runs.TEETH}, "passed", "The suite caught 2 seeded faults, each where it was put."),
    "a fault survived": ({"t": changed(runs.TEETH, faults__1__caught=False, faults__1__first_red=None)}, "failed",
                         "Of 2 seeded faults, 1 survived."),
    "a fault was caught elsewhere": ({"t": changed(runs.TEETH, faults__0__at_right_place=False)}, "failed",
                                     "Of 2 seeded faults, 1 was caught elsewhere."),
    "fuzz": ({"f": runs.FUZZ}, "passed", "25,000 hostile inputs in 60 minutes (seed 7) ended in a text"),
    "a crash": ({"f": changed(runs.FUZZ, targets__1__failures=["SIGSEGV"])}, "failed", "1 failure on 25,000 hostile"),
    "soak": ({"s": runs.SOAK}, "passed", "60 minutes of one process, 4 rounds: memory grew by 0.40 %, 2.00 % more is "
             "the most; the text was the same in all of them."),
    "a leak": ({"s": changed(runs.SOAK, growth=0.021)}, "failed",
               "60 minutes of one process, 4 rounds: memory grew by 2.10 %"),
    "memory given back": ({"s": changed(runs.SOAK, growth=-0.2139)}, "passed",
               "60 minutes of one process, 4 rounds: memory fell by 21.39 %"),
    "a leak by itself": ({"s": {k: v for k, v in runs.SOAK.items() if k != "growth"}}, "failed", "60 minutes"),
    "another text at the end": ({"s": changed(runs.SOAK, same_text=False)}, "failed", "60 minutes of one process"),
    "one round": ({"s": changed(runs.SOAK, memory=[5e8], rounds=1, growth=None)}, "failed",
                  "60 minutes of one process, 1 round: too few to compare memory"),
    "roofline": ({"r": runs.ROOFLINE}, "measured", "The stages reach 60 % (tiny.en decoder step) to 80 %"),
    "beyond the roof": ({"r": changed(runs.ROOFLINE, stages__0__share=1.001)}, "measured", "The stages reach 60 % "
                        "(tiny.en decoder step) to 101 % (tiny.en encoder) of what the machine can do. More than"),
    "benchmarks": ({"b": changed(BENCHMARKS, gate="passed")}, "passed", f"{NEWEST} are no slower than those before."),
    "slower benchmarks": ({"b": changed(BENCHMARKS, gate="regressed")}, "failed", f"{NEWEST} are slower than those"),
    "accepted ones": ({"b": changed(BENCHMARKS, gate="regressed", accepted="a new kernel")}, "measured",
                      f"{NEWEST} are slower than those before, which was accepted: a new kernel."),
    "first benchmarks": ({"b": changed(BENCHMARKS, gate="no verdict")}, "measured", f"{NEWEST} say nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_statements(case: str, tmp_path: Path) -> None:
    files, state, text = CASES[case]
    first = said(tmp_path, **files)[0]
    assert (first.state, first.text[: len(text)]) == (state, text)


def test_what_failed_is_named_first_with_its_lines(tmp_path: Path) -> None:
    red = changed(runs.SUITE, outcomes={"passed": 9, "failed": 1}, exit_status=1, failures=RED)
    got = said(tmp_path, teeth=runs.TEETH, compare=runs.COMPARISON, suite=red)
    assert [statement.state for statement in got] == ["failed", "passed", "passed"]
    assert got[0].details == ("tests/parity/test_mel.py::test_mel[tiny.en]: mel: max_abs 1 > 0.0001",)
    assert headline(got) == ("failed", "1 of 3 verdicts failed.")


def test_the_newest_benchmarks_count_and_only_if_they_were_judged(tmp_path: Path) -> None:
    judged = {name: changed(runs.benchmarks(day, 2.0), gate=gate) for name, day, gate in
              (("a", 3, "passed"), ("b", 1, "regressed"), ("c", 2, "regressed"))}  # fmt: skip
    assert [(s.state, s.source.name) for s in said(tmp_path, **judged)] == [("passed", "a.json")]
    assert said(tmp_path, a=runs.benchmarks(1, 2.0)) == []


def test_headlines(tmp_path: Path) -> None:
    assert headline(said(tmp_path, teeth=runs.TEETH)) == ("passed", "Everything that was judged has passed.")
    assert headline(said(tmp_path, roofline=runs.ROOFLINE))[0] == "measured"
    assert headline([])[0] == "measured"
