"""Sources into HTML. Jinja escapes whatever comes from a file; the page has no script and asks for nothing outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..errors import OptionError
from ..files import utf8
from . import figures
from .kinds import Benchmarks, Comparison, Fuzz, Roofline, Run, Soak, Suite, Teeth
from .layers import layer_map, other_margins
from .read import Source, of_kind
from .sound import sounds
from .speed import history, model_name, race_bars, row_name, speed_bars, system_name
from .transcripts import side_by_side
from .verdict import headline, statements

LARGEST = 5_000_000
"""bytes of a page"""
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    kinds: tuple[type[Run], ...]
    command: str
    """what makes a run file that it shows"""
    has: Callable[[Any], bool] = bool


SECTIONS = (
    Section("speed", "Head to head", (Comparison,), "maxwhisper compare FILE --json compare.json"),
    Section("races", "Speed in the suite", (Suite,), "pytest -m perf --run-json suite.json",
            lambda run: bool(run.ratios)),
    Section("wer", "Word error rates", (Suite,), "pytest -m quality --run-json suite.json", lambda run: bool(run.wer)),
    Section("limits", "Errors against their limits", (Suite,), "pytest -m parity --run-json suite.json",
            lambda run: bool(run.margins)),
    Section("roofline", "Roofline", (Roofline,), "make roofline ARGS='--json build/roofline.json'"),
    Section("teeth", "Teeth", (Teeth,), "make teeth"),
    Section("fuzz", "Fuzzing and soak", (Fuzz, Soak), "make fuzz, make soak"),
    Section("history", "History", (Benchmarks,), "pytest -m perf --benchmark-json run.json"),
    Section("transcripts", "Transcripts", (Comparison,), "maxwhisper compare FILE --json compare.json"),
)  # fmt: skip


def make_page(sources: Sequence[Source], say: Callable[[str], object] = print) -> str:
    """HTML; `say` gets a line for each step that takes time. OptionError where it would be larger than 5 MB."""
    say("encoding the recordings")
    playable = {source: sounds(run.audio) for source, run in of_kind(sources, Comparison)}
    say("laying out the page")
    said = statements(sources)
    shown = {section: shown_in(section, sources) for section in SECTIONS}
    page = environment().get_template("page.html").render(
        sources=sources,
        statements=said,
        headline=headline(said),
        about=about(sources),
        sections={section: files for section, files in shown.items() if files},
        missing=[section for section, files in shown.items() if not files],
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        sounds=playable,
    )
    if (size := len(utf8(page))) > LARGEST:
        raise OptionError(
            f"the page would have {size / 1e6:.1f} MB, {LARGEST / 1e6:.0f} MB is the most: give fewer run files"
        )
    return page


def about(sources: Sequence[Source]) -> dict[str, list[str]]:
    """Machines, versions and commits of all run files, each once."""
    found: dict[str, list[str]] = {}
    for source in sources:
        for what, values in source.about.items():
            known = found.setdefault(what, [])
            known += [value for value in values if value not in known]
    return {what: values for what, values in found.items() if values}


def shown_in(section: Section, sources: Sequence[Source]) -> list[Source]:
    return [source for source in sources if isinstance(source.run, section.kinds) and section.has(source.run)]


def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    for names, functions in ((made.filters, figures.FILTERS), (made.globals, VIEWS)):
        names.update(cast("dict[str, Any]", {function.__name__: function for function in functions}))
    return made


def side_by_side_of(run: Comparison) -> Any:
    one_model = len({row.model for row in run.rows}) == 1
    return side_by_side(run, system_name if one_model else row_name)


def stages_of_faults(run: Teeth) -> dict[str, list[Any]]:
    """Faults by stage, in their order."""
    found: dict[str, list[Any]] = {}
    for fault in run.faults:
        found.setdefault(fault.stage, []).append(fault)
    return found


def wer_table(run: Suite) -> tuple[list[tuple[str, str]], list[tuple[tuple[str, str], dict[tuple[str, str], Any]]]]:
    """(system, dtype) of the columns; of the rows (group, checkpoint) and their cells by column."""
    columns = list(dict.fromkeys((row.system, row.dtype) for row in run.wer))
    rows: dict[tuple[str, str], dict[tuple[str, str], Any]] = {}
    for row in run.wer:
        rows.setdefault((row.group, row.checkpoint), {})[row.system, row.dtype] = row
    return columns, list(rows.items())


def outcome_names(run: Fuzz) -> list[str]:
    """Of all targets, in the order in which they are met."""
    return list(dict.fromkeys(name for target in run.targets for name in target.outcomes))


def lines_of(failure: Any) -> str:
    """Of a fuzzer's failure, whatever it is: a line for each thing that is known of it."""
    if not isinstance(failure, dict):
        return str(failure)
    return "\n".join(f"{name}: {value}" for name, value in cast("dict[str, Any]", failure).items())


def history_of(files: Sequence[Source]) -> list[Any]:
    return history(of_kind(files, Benchmarks))


VIEWS = (
    layer_map, other_margins, history_of, outcome_names, race_bars, speed_bars, side_by_side_of,
    stages_of_faults, wer_table, model_name, lines_of,
)  # fmt: skip
