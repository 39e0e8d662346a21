"""Bars, maps and lines stand where their figures are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from maxwhisper_impl.report import figures, read_runs
from maxwhisper_impl.report.kinds import Benchmarks, Comparison, Suite
from maxwhisper_impl.report.layers import Map, layer_map, other_margins
from maxwhisper_impl.report.read import of_kind
from maxwhisper_impl.report.speed import Series, history, race_bars, speed_bars
from tests.report import runs
from tests.report.runs import changed, margin
from tests.report.test_page import made


@pytest.mark.parametrize(("part", "says"), [(0, "0"), (0.001, "<1"), (0.006, "1"), (0.994, "99"), (0.9999, "99"),
                                            (1, "100"), (1.0001, "101"), (1.38, "138"), (float("inf"), "∞")])
def test_whole_percents_are_all_or_nothing_only_where_they_are(part: float, says: str) -> None:
    assert figures.share(part) == says


def suite(*margins: dict[str, Any], **more: Any) -> Suite:
    return msgspec.convert(changed(runs.SUITE, margins=list(margins), **more), Suite)


def map_of(*margins: dict[str, Any]) -> Map:
    found = layer_map(suite(*margins))
    assert found is not None
    return found


def test_speed_bars_are_in_proportion() -> None:
    ours, oracle, peer = speed_bars(msgspec.convert(runs.COMPARISON, Comparison))
    assert (ours.ours, oracle.ours, peer.ours) == (True, False, False)
    assert ours.at / oracle.at == pytest.approx(2.5)
    assert (ours.value, ours.low, ours.high) == pytest.approx((7.5, 60 / 8.8, 60 / 7.2))
    assert ours.to == pytest.approx(100)
    assert 0 < oracle.from_ < oracle.at < oracle.to < 100


def test_a_race_that_is_lost_is_not_ours_and_an_invalid_one_says_so() -> None:
    won, lost = race_bars(suite())
    assert (won.ours, lost.ours) == (True, False)
    assert (won.note, lost.note) == ("", "invalid: the machine was too noisy")
    assert won.at == pytest.approx(100 * 2.0 / 2.2)


def test_an_invalid_race_is_not_won() -> None:
    assert [bar.ours for bar in race_bars(suite(ratios__0__valid=False))] == [False, False]


def test_layers_flow_and_blocks_stand_side_by_side() -> None:
    base = [margin(f"encoder.blocks.{i}{part}", "max_abs", 1, 4) | {"checkpoint": "base"} for part in (".mlp.1", "")
            for i in range(6)]  # fmt: skip
    found = map_of(margin("logits", "kl", 1, 2), *base, margin("encoder.conv2", "max_abs", 1, 2),
                   margin("decoder.embedding", "max_abs", 1, 2), margin("encoder.blocks.1", "max_abs", 3, 4),
                   margin("mel of a", "max_abs", 1, 10, "mel"))  # fmt: skip
    assert found.checkpoints == [("tiny.en", 2), ("base", 6)]
    assert found.blocks == [0, 1, 0, 1, 2, 3, 4, 5]
    assert [line.label for line in found.lines] == ["mel", "conv2", "MLP behind GELU", "output", "embedding", "logits"]
    output = found.lines[3].cells
    assert [cell and cell.share for cell in output] == [None, 0.75, *[0.25] * 6]
    for line in found.lines:
        assert sum(cell.span if cell else 1 for cell in line.cells) == 8, line


def test_a_cell_shows_the_worst_of_its_metrics(tmp_path: Path) -> None:
    broken = [margin("encoder.conv1", "rel_l2", 1e-7, 1e-6), margin("encoder.conv1", "max_abs", 3e-5, 2e-5),
              margin("encoder.ln_post", "rel_l2", None, 1e-6), margin("encoder.conv2", "rel_l2", 1.001e-6, 1e-6),
              margin("decoder.embedding", "rel_l2", 0, 1e-6)]  # fmt: skip
    text = made(tmp_path, suite=changed(runs.SUITE, margins=broken)).text["limits"]
    assert "conv1 ✕ 150 %, rel_l2 1e-07 of 1e-06, max_abs 3e-05 of 2e-05" in text
    assert "ln_post ✕ ∞ %, rel_l2 not finite of 1e-06" in text
    assert "conv2 ✕ 101 %" in text, "what is broken is never shown as 100 %"
    assert "embedding 0 %" in text


def test_rows_of_random_weights_are_layers_and_others_are_not() -> None:
    random = margin("logits", "rel_l2", 1, 2, "random.logits") | {"checkpoint": "random-128-mels"}
    rows = [margin("row 7", "rel_l2", 1, 2, "row.logits"), margin("row 8", "rel_l2", 2, 3, "row.logits"), random]
    assert [line.label for line in map_of(*rows).lines] == ["logits"]
    assert [m.name for m in other_margins(suite(*rows))] == ["row 8"]
    assert layer_map(suite(margin("mel of a", "max_abs", 1, 10, "mel"))) is None


def series(folder: Path, **files: dict[str, Any]) -> list[Series]:
    return history(of_kind(read_runs(runs.write(folder, **files)), Benchmarks))


def test_history_is_by_day_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    encode, start = series(tmp_path, c=runs.benchmarks(3, 2.2), a=runs.benchmarks(1, 2.0), b=runs.benchmarks(2, 1.5))
    assert [point.value for point in encode.points] == [2.0, 1.5, 2.2]
    assert [point.x for point in encode.points] == [2, 50, 98]
    assert encode.points[2].y < encode.points[0].y < encode.points[1].y, "the higher the figure, the higher the point"
    assert all(p.y_high < p.y < p.y_low for p in encode.points)
    assert encode.change == pytest.approx(0.1), "against the valid run alone"
    assert (encode.is_ratio, start.is_ratio) == (True, False)


def test_machines_and_dtypes_have_lines_of_their_own(tmp_path: Path) -> None:
    other = changed(runs.benchmarks(2, 1.5), machine_info={"processor": "Another", "cores": 1})
    int8 = changed(runs.benchmarks(3, 3.0), benchmarks__0__extra_info__dtype="int8",
                   benchmarks__0__extra_info__case="encode", benchmarks__0__extra_info__checkpoint="base")  # fmt: skip
    found = series(tmp_path, a=runs.benchmarks(1, 2.0), b=other, c=int8)
    assert [(line.label.partition("[")[0], line.machine, len(line.points)) for line in found] == [
        ("encode base int8 / openai-whisper", "A Processor, 2 cores", 1),
        ("test_start", "A Processor, 2 cores", 2),
        ("test_encode_smoke", "Another, 1 core", 1),
        ("test_start", "Another, 1 core", 1),
        ("test_encode_smoke", "A Processor, 2 cores", 1),
    ]
    assert found[0].points[0].x == 50
    assert found[0].change is None
