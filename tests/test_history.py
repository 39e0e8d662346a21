"""What is recorded of a run, where it is kept and found again, and what `maxwhisper history` shows of it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.cli import main
from maxwhisper_impl.history import read_history, read_row, read_run
from maxwhisper_impl.machine import fingerprint
from tests.perf.recording import HISTORY, ROOT, newest, rounded
from tests.recorded import PEERS, SECONDS, Recorder
from tests.recorded import row as made_up

TIMED = """
def test_timed(benchmark):
    benchmark.extra_info.update(case="sum", checkpoint="none", peer="faster-whisper", dtype="float32", device="cpu",
        ratio=1.5, low=1.4, high=1.6, validity=1.0, valid=True, text_hash=None, wer=None, peer_rounds=[1e-3] * 6)
    benchmark.pedantic(lambda: sum(range(1000)), rounds=6)
"""


def timed(folder: Path, *options: str) -> str:
    """pytest with the recording plugin on one timed test, in a project of its own."""
    (folder / "test_timed.py").write_text(TIMED)
    command = [sys.executable, "-m", "pytest", "-p", "tests.perf.recording", "-p", "no:cacheprovider", "--rootdir",
               str(folder), "-c", "/dev/null", str(folder / "test_timed.py"), *options]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    timed(folder, "--benchmark-json", str(folder / "run.json"))
    return folder / "run.json"


def test_what_is_recorded(recorded: Path) -> None:
    run, data = read_run(recorded), json.loads(recorded.read_text())
    assert run.fingerprint == fingerprint()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert run.commit.rstrip("+") == (head.strip() or "unknown")
    assert set(run.versions) >= {"max", "maxwhisper", "torch", "openai-whisper", "faster-whisper", "ctranslate2"}
    (row,) = run.rows.values()
    assert len(row.ours) == len(row.peer) == 6
    assert row.seconds == pytest.approx(data["benchmarks"][0]["stats"]["median"], rel=1e-5)
    assert set(data["benchmarks"][0]) == {"name", "fullname", "group", "extra_info", "stats"}
    assert platform.node() not in recorded.read_text() or len(platform.node()) < 5
    assert recorded.stat().st_size < 4000


def test_runs_are_compared_across_runs(recorded: Path, tmp_path: Path) -> None:
    """`--benchmark-compare` finds the newest kept run of this kind of machine, and no other's."""
    from tests.perf.gate import keep

    history = tmp_path / "history"
    history.mkdir()
    storage = ("--benchmark-storage", f"file://{history}")
    assert "Can't compare" in timed(tmp_path, *storage, "--benchmark-compare")
    kept = keep(read_run(recorded), history, "passed")
    other = json.loads(kept.read_text())
    other["machine"]["fingerprint"] = other["machine_info"]["fingerprint"] = "ffffffffffff"
    (history / "2099_01-01T00-00-00Z_ffffffffffff_0000.json").write_text(json.dumps(other))
    printed = timed(tmp_path, *storage, "--benchmark-compare")
    assert f"Comparing against benchmarks from: {kept.name}" in printed
    assert "machine_info is different" not in printed
    assert printed.count("test_timed (") == 2  # now and then
    assert sorted(path.name for path in history.iterdir() if path.suffix == ".json")[0] == kept.name


def test_the_newest_run_of_this_kind_of_machine_is_compared_with(tmp_path: Path) -> None:
    here = fingerprint()
    assert newest(tmp_path) == f"*_{here}_*", "which finds none, and says so"
    for name in (f"2026_02-01_{here}_b", f"2026_01-01_{here}_a", "2026_03-01_ffffffffffff_c"):
        (tmp_path / f"{name}.json").touch()
    assert newest(tmp_path) == f"2026_02-01_{here}_b"


def test_a_run_leaves_nothing_in_the_checkout(tmp_path: Path) -> None:
    before = sorted(HISTORY.rglob("*"))
    timed(tmp_path)
    assert sorted(HISTORY.rglob("*")) == before
    assert not (ROOT / ".benchmarks/Linux-CPython-3.11-64bit").exists()


def test_the_committed_runs_are_whole() -> None:
    runs = read_history(HISTORY, pytest.fail)
    for run in runs:
        assert run.rows
        assert all(row.text_hash and row.wer is not None for row in run.rows.values() if "random" not in row.key.what)
        assert run.path.name.startswith(f"{run.made:%Y_%m-%dT%H-%M-%SZ}_{run.fingerprint}_")
        assert run.path.stat().st_size < 100_000


def shown(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = main(["history", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_rounds_of_several_calls() -> None:
    """Both sides' times are a call's: ours as pytest-benchmark has it is a round's."""
    told = made_up("mel 80", "faster-whisper", [0.2] * 4, [0.1] * 4, calls=10)
    found = read_row(told)
    assert found is not None
    assert found.ours == pytest.approx([0.02] * 4)
    assert found.peer == [0.1] * 4


def test_what_a_clock_says_is_kept() -> None:
    assert rounded(0.0123456789) == 0.01234568


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path)
    first, second = recorder.run(gate="passed"), recorder.run(commit=f"{2:040x}+", gate="regressed", accepted="exact")
    status, out, err = shown(capsys, "--from", tmp_path)
    assert (status, err) == (0, "")
    assert out.count("2026-01-0") == 2 * len(SECONDS) * len(PEERS)
    assert "passed" in out
    assert "regressed, accepted" in out
    assert "000000000+" in out
    for run in (first, second):
        for row in run.rows.values():
            line = next(x for x in out.splitlines() if f"{row.ratio:.2f}×" in x and f"{1e3 * row.seconds:.1f} ms" in x)
            assert row.key.what in line
            assert row.key.peer in line
            assert f"{row.low:.2f}–{row.high:.2f}" in line
            assert "6.35 %" in line
            assert ("invalid" in line) == (not row.valid)


def test_rows_are_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path)
    recorder.run()
    recorder.run(machine={"processor": "another", "fingerprint": "abcabcabcabc"})
    assert shown(capsys, "--from", tmp_path)[1].count("2026-01-0") == 4
    assert shown(capsys, "--from", tmp_path, "--case", "decode")[1].count("2026-01-0") == 2
    assert shown(capsys, "--from", tmp_path, "--case", "/ faster")[1].count("2026-01-0") == 2
    assert shown(capsys, "--from", tmp_path, "--machine", "abc")[1].count("2026-01-03") == 4
    assert shown(capsys, "--from", tmp_path, "--machine", "all")[1].count("2026-01-0") == 8


def test_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--from", tmp_path / "nowhere")[2].endswith("name the one that holds the recorded runs\n")
    assert "holds no recorded run; make perf-full records one" in shown(capsys, "--from", tmp_path)[2]
    Recorder(tmp_path).run(machine={"processor": "another", "fingerprint": "abcabcabcabc"})
    status, out, err = shown(capsys, "--from", tmp_path)
    assert (status, out) == (1, "")
    assert f"holds no run of this kind of machine ({fingerprint()}), but 1 of abcabcabcabc (another)" in err
    err = shown(capsys, "--from", tmp_path, "--machine", "all", "--case", "dekode")[2]
    assert "no recorded run has a case 'dekode'; there are encode tiny.en / openai-whisper, " in err
    assert shown(capsys, "--from", tmp_path, "--plot", "x.bmp")[0] == 2
    assert shown(capsys, "--from", tmp_path, "--json", tmp_path / "no/x.json")[0] == 2


def test_files_of_the_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path)
    runs = recorder.history(3)
    (tmp_path / "out").mkdir()
    table, picture = tmp_path / "out/rows.json", tmp_path / "out/lines.svg"
    assert shown(capsys, "--from", tmp_path, "--case", "encode", "--json", table, "--plot", picture)[0] == 0
    written = json.loads(table.read_text())
    assert [run["commit"] for run in written["runs"]] == [run.commit for run in runs]
    for run, read in zip(written["runs"], runs, strict=True):
        assert len(run["rows"]) == 2
        for row in run["rows"]:
            want = next(r for key, r in read.rows.items() if (key.case, key.peer) == (row["case"], row["peer"]))
            key = {"case": "encode", "checkpoint": "tiny.en", "peer": row["peer"], "dtype": "float32",
                   "device": "cpu", "peer_dtype": "float32"}  # fmt: skip
            names = ("seconds", "peer_seconds", "ratio", "low", "high", "validity", "valid", "text_hash", "wer")
            assert row == key | {name: getattr(want, name) for name in names}
    assert "<svg" in picture.read_text()
    assert runs[0].commit[:9] in picture.read_text().replace("<!-- ", "")


def test_a_picture_shows_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One point with its interval for each row and run, hollow where the A/A pair strayed."""
    from matplotlib.axes import Axes

    from maxwhisper_impl.history_view import write_plot

    runs = Recorder(tmp_path).history(3)
    drawn: list[tuple[float, float, float, bool]] = []
    monkeypatch.setattr(Axes, "errorbar", lambda self, x, y, yerr, mfc, **_: drawn.append(
        (y, y - yerr[0][0], y + yerr[1][0], mfc != "none")))  # fmt: skip
    write_plot(tmp_path / "lines.png", runs)
    rows = sorted((row.ratio, row.low, row.high, row.valid) for run in runs for row in run.rows.values())
    assert np.array(sorted(drawn)) == pytest.approx(np.array(rows))
    assert (tmp_path / "lines.png").read_bytes().startswith(b"\x89PNG")
