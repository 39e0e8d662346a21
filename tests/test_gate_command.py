"""The gate as a command: what it prints, keeps and exits with; a run file that is none is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maxwhisper_impl.errors import HistoryError
from maxwhisper_impl.history import Run, read_history, read_run
from tests.perf import gate
from tests.perf.verdicts import SLOWER, judge
from tests.recorded import PEERS, SECONDS, Recorder, row


def run_gate(run: Run, folder: Path, *options: str) -> int:
    return gate.main([str(run.path), "--history", str(folder), *options])


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recorder, Path]:
    """A recorder of new runs, and the folder of a history of five."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    for name in ("history", "new"):
        (tmp_path / name).mkdir()
    recorder = Recorder(tmp_path / "history")
    recorder.history()
    recorder.folder = tmp_path / "new"
    return recorder, tmp_path / "history"


def test_the_command_passes_and_keeps(two: tuple[Recorder, Path], capsys: pytest.CaptureFixture[str]) -> None:
    recorder, history = two
    new = recorder.run()
    assert run_gate(new, history) == 0
    assert len(list(history.iterdir())) == 5
    assert run_gate(new, history, "--keep") == 0
    printed = capsys.readouterr()
    assert "passed: 8 of 8 figures judged, 0 slower" in printed.out
    assert not printed.err
    kept = read_history(history, pytest.fail)[-1]
    assert (kept.gate, kept.rows, kept.commit) == ("passed", new.rows, new.commit)
    assert kept.path.name == f"2026_01-07T00-00-00Z_{new.fingerprint}_000000000000.json"


def test_the_command_fails_and_says_why(
    two: tuple[Recorder, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, history = two
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    new = recorder.run({"encode": 1.3})
    assert run_gate(new, history, "--keep") == 1
    printed, summary = capsys.readouterr(), (tmp_path / "summary.md").read_text()
    for finding in judge(new, read_history(history, pytest.fail)[:5]):
        named = str(finding)
        assert (named in printed.err) == (finding.verdict == SLOWER) == (f"- **{named}**" in summary)
        before, now = finding.shown(finding.before), finding.shown(finding.now)
        row_of = f"| {finding.key.what} | {finding.key.against} | {finding.figure} |"
        assert f"{row_of} {before} | {now} | {finding.slower:+.1%} | [" in summary
    assert summary.count("\n| ") == 2 + 4 * len(SECONDS)
    assert read_history(history, pytest.fail)[-1].gate == "regressed"
    again = recorder.run({"encode": 1.3})
    assert run_gate(again, history, "--accept", "twice as exact", "--tests", str(tmp_path / "tests.txt")) == 0
    assert not (tmp_path / "tests.txt").exists()
    assert read_history(history, pytest.fail)[-1].accepted == "twice as exact"


@pytest.mark.parametrize(("second", "status", "kept"), [(1.0, 0, "passed"), (1.3, 1, "regressed")])
def test_what_is_slower_is_measured_again(
    two: tuple[Recorder, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    second: float,
    status: int,
    kept: str,
) -> None:
    recorder, history = two
    tests = tmp_path / "tests.txt"
    new = recorder.run({"encode": 1.3})
    assert run_gate(new, history, "--keep", "--tests", str(tests)) == gate.MEASURE_AGAIN == 3
    timed = [f"tests/perf/test_speed.py::test_encode[{peer}-tiny.en]" for peer in PEERS]
    assert tests.read_text().splitlines() == timed
    assert len(list(history.iterdir())) == 5
    capsys.readouterr()
    again = recorder.run({"encode": second})
    assert run_gate(new, history, "--keep", "--again", str(again.path)) == status
    printed = capsys.readouterr()
    assert ("slower when measured again" in printed.out.replace("\n", " ")) == (status == 0)
    assert ("encode" in printed.err) == (status == 1)
    newest = read_history(history, pytest.fail)[-1]
    assert (newest.rows, newest.gate) == (new.rows, kept)


def test_what_is_not_slower_is_not_measured_again(two: tuple[Recorder, Path], tmp_path: Path) -> None:
    recorder, history = two
    assert run_gate(recorder.run(), history, "--keep", "--tests", str(tmp_path / "tests.txt")) == 0
    assert not (tmp_path / "tests.txt").exists()
    assert len(list(history.iterdir())) == 6


def test_no_history_is_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = Recorder(tmp_path).run({"encode": 9.0})
    (tmp_path / "none").mkdir()
    assert run_gate(new, tmp_path / "none") == 0
    assert "no verdict: 0 of 8 figures judged" in capsys.readouterr().out


def test_broken_files(two: tuple[Recorder, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken run cannot be judged; a broken file in the history is named and left out."""
    recorder, history = two
    new = recorder.run()
    half = history / "2026_01-01_half.json"
    half.write_text(new.path.read_text()[:-100])
    assert run_gate(new, history) == 0
    assert f"warning: {half}: not a recorded run" in capsys.readouterr().err
    assert gate.main([str(half)]) == 2
    assert gate.main([str(tmp_path / "nothing.json")]) == 2
    assert run_gate(new, tmp_path / "nowhere") == 2
    assert capsys.readouterr().err.count("maxwhisper: error: ") == 3


def test_a_run_file_is_read_strictly(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    whole = json.loads(recorder.run().path.read_text())
    for change in ("commit", "made", "machine", "versions", "benchmarks"):
        broken = recorder.folder / "broken.json"
        broken.write_text(json.dumps({name: value for name, value in whole.items() if name != change}))
        with pytest.raises(HistoryError, match=f"'{change}' is missing"):
            read_run(broken)
    for name, value in {"valid": "False", "peer_rounds": [0.1], "ratio": None, "case": None}.items():
        data = json.loads(json.dumps(whole))
        data["benchmarks"][0]["extra_info"][name] = value
        if value is None:
            del data["benchmarks"][0]["extra_info"][name]
        broken.write_text(json.dumps(data))
        with pytest.raises(HistoryError, match=r"broken\.json: not a recorded run"):
            read_run(broken)


@pytest.mark.parametrize("first", ["smoke", "full"])
def test_of_two_measurements_of_a_row_the_full_one_counts(tmp_path: Path, first: str) -> None:
    told = {"smoke": [0.1] * 4, "full": [0.2] * 40}
    order = [first, *(name for name in told if name != first)]
    run = Recorder(tmp_path).write([row("encode", "faster-whisper", told[name], told[name]) for name in order])
    assert [each.ours for each in run.rows.values()] == [told["full"]]


def test_runs_that_are_being_written_are_none_and_folders_are_looked_into(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    first, second = recorder.history(2)
    (tmp_path / "nightly").mkdir()
    second.path.rename(tmp_path / "nightly" / "a.json")
    (tmp_path / ".draft.json").write_text(first.path.read_text())
    assert [run.commit for run in read_history(tmp_path, pytest.fail)] == [first.commit, second.commit]
