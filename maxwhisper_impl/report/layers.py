"""The margins of a suite's run: those of layers as a map, block by block and by checkpoint; the others as a list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from .kinds import Margin, Suite

BLOCK = re.compile(r"(encoder|decoder)\.blocks\.(\d+)(.*)")
ORDER = (
    "mel", "encoder.conv1", "encoder.conv2", "encoder.blocks", "encoder.ln_post", "decoder.embedding",
    "decoder.blocks", "logits",
)  # fmt: skip
"""as a window flows through the model"""
PARTS = {
    ".attn.query+key+value": "queries, keys, values",
    ".attn.out.input": "attended values",
    ".cross_attn_ln.input": "residual before cross-attention",
    ".cross_attn.query": "cross-attention queries",
    ".cross_attn.out.input": "cross-attended values",
    ".mlp_ln.input": "residual before the MLP",
    ".mlp.1": "MLP behind GELU",
    "": "output",
}
METRICS = {"rel_l2": "relative L2", "max_abs": "largest difference", "kl": "KL divergence", "absolute": "difference"}


@dataclass
class Cell:
    """One value of one checkpoint: the margins that were measured on it."""

    margins: list[Margin] = field(default_factory=list[Margin])
    span: int = 1

    @property
    def share(self) -> float:
        return max(margin.share for margin in self.margins)


@dataclass(frozen=True)
class Line:
    """A value in every block of every checkpoint; None where it was not measured."""

    stage: str
    label: str
    cells: list[Cell | None]


@dataclass(frozen=True)
class Map:
    checkpoints: list[tuple[str, int]]
    """name and number of blocks, which is how many columns it takes"""
    lines: list[Line]

    @property
    def blocks(self) -> list[int]:
        return [block for _, width in self.checkpoints for block in range(width)]

    @property
    def margins(self) -> list[Margin]:
        return [margin for line in self.lines for cell in line.cells if cell for margin in cell.margins]


def layer_map(suite: Suite) -> Map | None:
    """None where no layer was compared."""
    found: dict[tuple[str, str], dict[str, dict[int, Cell]]] = {}
    widths: dict[str, int] = {}
    for margin in suite.margins:
        if (place := _place(margin)) and margin.checkpoint:
            stage, part, block = place
            line = found.setdefault((stage, part), {})
            line.setdefault(margin.checkpoint, {}).setdefault(block, Cell()).margins.append(margin)
            widths[margin.checkpoint] = max(widths.get(margin.checkpoint, 1), block + 1)
    if not any(stage != "mel" for stage, _ in found):
        return None
    lines = [
        Line(stage.partition(".")[0], _label(stage, part), _cells(found[stage, part], stage, widths))
        for stage, part in sorted(found, key=lambda place: ORDER.index(place[0]))
    ]
    return Map(list(widths.items()), lines)


def _place(margin: Margin) -> tuple[str, str, int] | None:
    """(stage, part of the block, block)"""
    if match := BLOCK.fullmatch(margin.name):
        return f"{match[1]}.blocks", match[3], int(match[2])
    key = margin.key.removeprefix("random.")
    if key == "mel" or margin.name == key:
        return (key, "", 0) if key in ORDER else None
    return None


def _label(stage: str, part: str) -> str:
    return PARTS.get(part, part.lstrip(".")) if stage.endswith("blocks") else stage.rpartition(".")[2]


def _cells(line: dict[str, dict[int, Cell]], stage: str, widths: dict[str, int]) -> list[Cell | None]:
    """One for each column, or one that spans its checkpoint's columns."""
    cells: list[Cell | None] = []
    for name, width in widths.items():
        row = line.get(name, {})
        if stage.endswith("blocks"):
            cells += [row.get(block) for block in range(width)]
        else:
            if 0 in row:
                row[0].span = width
            cells += [row.get(0), *([None] * (width - 1) if 0 not in row else [])]
    return cells


def other_margins(suite: Suite) -> list[Margin]:
    """Of what is no layer: the worst of each ledger row and checkpoint, nearest to its limit first."""
    return nearest(margin for margin in suite.margins if not _place(margin))


def nearest(margins: Iterable[Margin]) -> list[Margin]:
    worst: dict[tuple[str | None, str, str], Margin] = {}
    for margin in margins:
        where = (margin.checkpoint, margin.key, margin.metric)
        if where not in worst or worst[where].share < margin.share:
            worst[where] = margin
    return sorted(worst.values(), key=lambda margin: -margin.share)
