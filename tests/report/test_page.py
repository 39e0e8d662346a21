"""Every section says what its run file says, in words too; what comes from a file stays text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl.cli import main
from maxwhisper_impl.errors import OptionError
from maxwhisper_impl.report import make_page, page, read_runs
from tests.report import runs
from tests.report.markup import Page
from tests.report.runs import changed


def made(folder: Path, **files: dict[str, Any]) -> Page:
    return Page(make_page(read_runs(runs.write(folder, **files)), say=lambda step: None))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Of one file of every kind, and three of benchmarks."""
    return made(tmp_path_factory.mktemp("runs"))


SAID = {
    "": ["Everything that was judged has passed.", "A Processor, 2 cores, Linux-6.1", "max 26.7.0", "5fcff5a7c143"],
    "speed": ["60.0 s of audio, 2 threads", "tiny.en · maxwhisper 7.50× 6.82× to 8.33×",
              "tiny.en maxwhisper cpu float32 8.00 s 0.1333 2.50× 6.14 % 100.00 % 800 ms 500 MiB"],
    "races": ["encode tiny.en / openai-whisper 2.00× 1.90× to 2.20×",
              "decode tiny.en / faster-whisper 0.80× 0.70× to 0.90× invalid", "50.0 ms 100 ms"],
    "wer": ["librispeech tiny.en 1,000 6.10 % 61 6.10 % 61 6.30 % 63"],
    "limits": ["mel 50 %, max_abs 5e-05 of 0.0001", "conv1 25 %, rel_l2 6.8e-07 of 2.72e-06, max_abs 2e-06 of 2e-05",
               "queries, keys, values 10 %", "40 %", "ln_post <1 %", "logits 60 %", "clip 7: word 3, ' the'",
               "clip 9: step 4 is a near-tie"],
    "roofline": ["150.0 GFLOP/s in float32, 20.0 GB/s read", "tiny.en encoder float32 200 ms 120 0.500 compute 80 %",
                 "tiny.en decoder step float32 10.0 ms 10.0 12.0 memory 60 %"],
    "teeth": ["2 faults seeded", "encoder 1 1 1 31.5 s", "no scale in attention encoder tests/parity/test_encoder_lay"],
    "fuzz": ["60 minutes of hostile input, seed 7", "audio 20,000 9,000 1,000 10,000 0 300 MiB",
             "checkpoints 5,000 0 0 5,000 0 200 MiB", "4 rounds",
             "from 381 MiB to 480 MiB, and grew by 0.40 % once it was warm"],
    "history": ["A Processor, 2 cores · 3 runs", "2.20× 2.10× to 2.30× · +10.0 %", "03ff5a7c1430 with changes",
                "test_start", "2.00 s 1.90 s to 2.50 s · +0.0 %", "bench-1.json , bench-2.json , bench-3.json"],
    "transcripts": ["talk.flac 60.0 s, en", "not embedded: the file is not where", "what was said",
                    "maxwhisper, openai-whisper 0 other, 0 added, 0 missing · equal to the letter",
                    "The rice [other, instead of ice] was thick", "0:03 we walked across it We walked across it"],
    "sources": ["compare.json comparison 2026-11-24 10:28 UTC 5fcff5a7c143 A Processor, 2 cores, 8.00 GiB",
                "torch (none)", "bench-2.json benchmarks 2026-11-02 10:28 UTC 02ff5a7c1430"],
}  # fmt: skip


@pytest.mark.parametrize("section", SAID)
def test_sections(whole: Page, section: str) -> None:
    for said in SAID[section]:
        assert said in whole.text[section], whole.text[section]


@pytest.mark.parametrize("section", [s for s in page.SECTIONS if s.id != "history"], ids=lambda s: s.id)
def test_every_section_names_its_files_and_commit(whole: Page, section: page.Section) -> None:
    about = "commit 5fcff5a7c143 · 2026-11-24 10:28 UTC · A Processor, 2 cores"
    for kind in section.kinds:
        name = kind.__name__.lower().replace("comparison", "compare")
        assert f"From {name}.json · {about}" in whole.text[section.id]


def test_nothing_is_loaded_and_every_link_leads_somewhere(whole: Page) -> None:
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(whole.tags)
    assert whole.links
    for name, target in whole.links:
        assert name == "href", target
        assert target.startswith("#"), target
        assert target[1:] in whole.seen, target


def test_what_is_not_there_is_left_out_with_the_command_that_makes_it(tmp_path: Path) -> None:
    got = made(tmp_path, teeth=runs.TEETH)
    assert set(got.text) == {"", "teeth", "sources"}
    for section in page.SECTIONS:
        if section.id != "teeth":
            left_out = f"{section.title}: no run file with it was given; {section.command} makes one."
            assert left_out in got.text["sources"]
    assert "Teeth:" not in got.text["sources"]


def test_a_suite_without_measurements_has_no_empty_sections(tmp_path: Path) -> None:
    got = made(tmp_path, suite=changed(runs.SUITE, margins=[], wer=[], ratios=[]))
    assert set(got.text) == {"", "sources"}


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;{{ 7 * 7 }}</td></section>"


def test_what_comes_from_a_file_stays_text(tmp_path: Path) -> None:
    names = {"name": HOSTILE}
    got = made(
        tmp_path,
        compare=changed(runs.COMPARISON, rows__2=runs.row(HOSTILE, 3.0, HOSTILE), audio__0__reference=f"{HOSTILE} a",
                        failures=[{"system": HOSTILE, "model": HOSTILE, "dtype": HOSTILE, "reason": HOSTILE}],
                        machine__processor=HOSTILE, versions={HOSTILE: HOSTILE}, commit=HOSTILE),
        suite=changed(runs.SUITE, margins__1=names | runs.margin(HOSTILE, HOSTILE, 1, 2, HOSTILE), excuses=[HOSTILE],
                      outcomes={"failed": 1}, failures=[{"test": HOSTILE, "message": HOSTILE}],
                      wer__0__group=HOSTILE, ratios__0__case=HOSTILE, families__parity__counts={HOSTILE: 1}),
        teeth=changed(runs.TEETH, faults__0__name=HOSTILE, faults__0__first_red=HOSTILE, faults__0__stage=HOSTILE),
        fuzz=changed(runs.FUZZ, targets__0__name=HOSTILE, targets__0__failures=[HOSTILE, {HOSTILE: HOSTILE}],
                     targets__0__outcomes={HOSTILE: 3}),
        roofline=changed(runs.ROOFLINE, stages__0__stage=HOSTILE, stages__0__bound=HOSTILE),
        bench=changed(runs.benchmarks(1, 2.0), benchmarks__0__name=HOSTILE, benchmarks__0__extra_info__peer=HOSTILE),
    )  # fmt: skip
    assert not {"script", "img"} & set(got.tags)
    for section in ("speed", "races", "wer", "limits", "roofline", "teeth", "fuzz", "history", "sources"):
        assert HOSTILE in got.text[section], section
    assert "<script>alert(1)</script><img" in got.text["transcripts"]
    assert not any("49" in text for text in got.text.values() if HOSTILE not in text)


def test_what_lies_above_a_ceiling_says_so(tmp_path: Path) -> None:
    got = made(tmp_path, roofline=changed(runs.ROOFLINE, stages__0__share=1.38)).text["roofline"]
    assert "138 % above the ceiling" in got
    assert "More than 100 % cannot be: the ceilings were measured too low." in got
    assert "60 % above" not in got


def test_sizes_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"the page would have 5\.\d MB, 5 MB is the most: give fewer run files"):
        made(tmp_path, suite=changed(runs.SUITE, excuses=["a" * 5_100_000]))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    files = runs.write(tmp_path, teeth=runs.TEETH, soak=runs.SOAK)
    assert main(["report", "--from", files[0], "--from", files[1], "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: {out.stat().st_size / 1e6:.1f} MB\n"
    assert set(Page(out.read_text()).text) == {"", "teeth", "fuzz", "sources"}


def test_a_missing_package_is_one_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("maxwhisper_impl.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", "--from", "run.json"]) == 1
    said = capsys.readouterr().err
    assert said == "maxwhisper: error: jinja2 is not installed; pip install 'maxwhisper[peers]'\n"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "there is nothing to report: give run files, --from RUN.json …"),
        (["--from", "nowhere.json"], 1, "nowhere.json: cannot be read: No such file or directory"),
        (["--from", "teeth.json", "--out", "nowhere/page.html"], 2, "--out nowhere/page.html: there is no folder now"),
        (["--from", "teeth.json", "./teeth.json"], 2, "--from teeth.json: is given twice"),
    ],
)
def test_wrong_use_of_the_command(
    arguments: list[str], status: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    runs.write(tmp_path, teeth=runs.TEETH)
    assert main(["report", *arguments]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"maxwhisper: error: {says}")
    assert not (tmp_path / "report.html").exists()


def test_a_name_that_is_no_utf_8_is_spelled_out(tmp_path: Path) -> None:
    (file,) = runs.write(tmp_path, teeth=runs.TEETH)
    odd = Path(file).rename(tmp_path / "\udcff.json")
    assert main(["report", "--from", str(odd), "--out", str(tmp_path / "page.html")]) == 0
    assert "\\udcff.json" in (tmp_path / "page.html").read_text(encoding="utf-8")
