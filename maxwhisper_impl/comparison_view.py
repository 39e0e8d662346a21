"""What a comparison looks like: a table, a JSON file, a picture."""

from __future__ import annotations

import json
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import utf8, write_whole
from .machine import machine, now, versions
from .status import one_line
from .systems import SYSTEMS, Pinned, label
from .tables import print_whole

if TYPE_CHECKING:
    from rich.table import Table

    from .compare import Comparison, Row

COLUMNS = ("model", "system", "device", "dtype", "time", "RTF", "speed-up", "WER", "agreement", "load", "memory")


def print_table(comparison: Comparison) -> None:
    """The table on stdout, and what did not get through below it."""
    console = print_whole(table(comparison))
    for failure in comparison.failures:
        console.print(one_line(f"{label(failure.spec)} failed: {failure.reason}"), markup=False, style="red")


def table(comparison: Comparison) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rounds = "1 round" if comparison.rounds == 1 else f"median of {comparison.rounds} interleaved rounds"
    made = Table(
        box=SIMPLE_HEAD,
        title=f"{comparison.audio_seconds:.1f} s of audio · {comparison.threads} threads · greedy · {rounds}",
        caption="time: transcribing only · RTF: time / audio · speed-up: over openai-whisper ·\n"
        "WER: after Whisper's normaliser · agreement: tokens equal to openai-whisper's ·\n"
        "load: import, weights, graphs · memory: peak of the process",
        title_style="bold",
        caption_justify="left",
    )
    for column in COLUMNS:
        made.add_column(column, justify="left" if column in COLUMNS[:4] else "right", no_wrap=True)
    last = None
    for row in comparison.rows:
        if last not in (None, row.spec.model):
            made.add_section()
        last = row.spec.model
        made.add_row(*map(Text, cells(row)))  # brackets in a name are no markup
    return made


def cells(row: Row) -> tuple[str, ...]:
    """The row as it is shown, in the order of COLUMNS."""
    spec = row.spec
    return (
        Path(spec.model).name,
        spec.system,
        spec.device,
        spec.dtype,
        f"{row.seconds:.2f} s",
        f"{row.rtf:.4f}",
        "–" if row.speedup is None else f"{row.speedup:.2f}×",
        "–" if row.wer is None else f"{row.wer:.2%}".replace("%", " %"),
        # rounded down: 100 % stands for equal, and for nothing else
        "–" if row.agreement is None else f"{floor(row.agreement * 1e4) / 100:.2f} %",
        f"{row.load_seconds:.1f} s",
        f"{row.peak_memory / 2**20:.0f} MiB",
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """What `--json` writes; rates are fractions, memory is in bytes, all times are seconds."""
    return {
        "made": now(),
        "commit": comparison.commit,
        "audio_seconds": comparison.audio_seconds,
        "rows": [row_as_json(row) for row in comparison.rows],
        "failures": [
            {"system": f.spec.system, "model": f.spec.model, "dtype": f.spec.dtype, "reason": f.reason}
            for f in comparison.failures
        ],
        "audio": [
            {"file": sample.id, "seconds": sample.seconds, "language": sample.language, "reference": sample.text}
            for sample in comparison.samples
        ],
        "rounds": comparison.rounds,
        "threads": comparison.threads,
        "options": {
            "beam_size": 1,
            "temperature": 0,
            "condition_on_previous_text": Pinned().condition_on_previous_text,
            "vad_filter": False,
        },
        "versions": versions({name for row in comparison.rows for name in SYSTEMS[row.spec.system].packages}),
        "machine": machine(),
    }


def row_as_json(row: Row) -> dict[str, Any]:
    spec = row.spec
    return {
        "system": spec.system,
        "model": spec.model,
        "device": spec.device,
        "dtype": spec.dtype,
        "seconds": row.seconds,
        "rtf": row.rtf,
        "speedup": row.speedup,
        "wer": row.wer,
        "agreement": row.agreement,
        "text": row.text,
        "round_seconds": row.rounds,
        "load_seconds": row.load_seconds,
        "warm_up_seconds": row.warm_up_seconds,
        "peak_memory": row.peak_memory,
        "transcripts": {
            file: {
                "text": transcript.text,
                "tokens": transcript.tokens,
                "segments": [{"start": s, "end": e, "text": t} for s, e, t in transcript.segments],
            }
            for file, transcript in row.transcripts.items()
        },
    }


def write_json(path: Path, comparison: Comparison) -> None:
    """Whole or not at all."""
    write_whole(path, utf8(json.dumps(as_json(comparison), ensure_ascii=False, indent=1) + "\n"))


def write_plot(path: Path, comparison: Comparison) -> None:
    """A picture (PNG, SVG or PDF, by its name): a bar of speed for every row, with its WER."""
    from io import BytesIO

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {system: f"C{number}" for number, system in enumerate(SYSTEMS)}
    rows = comparison.rows[::-1]  # the first row on top
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.45 * len(rows)), layout="constrained")
    speeds = [1 / row.rtf for row in rows]
    bars = axes.barh(range(len(rows)), speeds, color=[colours[row.spec.system] for row in rows])
    axes.set_yticks(range(len(rows)), [label(row.spec) for row in rows])
    axes.bar_label(bars, [_bar_label(row) for row in rows], padding=4)
    axes.set_xlim(0, max(speeds) * 1.3)
    axes.set_xlabel("seconds of audio transcribed in one second")
    axes.set_title(f"{comparison.audio_seconds:.0f} s of audio, {comparison.threads} threads, greedy")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix[1:] or "png", dpi=150)
    pyplot.close(figure)
    write_whole(path, buffer.getvalue())


def _bar_label(row: Row) -> str:
    wer = "" if row.wer is None else f" · WER {row.wer * 100:.1f} %"
    return f"{1 / row.rtf:.1f}×{wer}"
