"""`python -m tests.fuzz`: seeded faults from outside for a number of minutes, or one case again by its number."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from maxwhisper_impl import machine
from maxwhisper_impl.files import write_whole
from maxwhisper_impl.threads import available_cpus
from tests.fuzz.supervisor import Report, fuzz, make

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {
    "audio": "tests.fuzz.audio:Audio",
    "speech": "tests.fuzz.speech:Speech",
    "checkpoints": "tests.fuzz.checkpoints:Checkpoints",
    "options": "tests.fuzz.options:Options",
    "commands": "tests.fuzz.commands:Commands",
    "corpora": "tests.fuzz.corpora:Corpora",
}


def main() -> int:
    options = _options()
    names = options.target or list(TARGETS)
    workers = options.workers if options.case is None else 1
    shares = {name: make(TARGETS[name]).share for name in names}
    started, reports = time.monotonic(), list[Report]()
    folder = Path(tempfile.mkdtemp(prefix="maxwhisper-fuzz-"))
    try:
        with tqdm(total=round(options.minutes * 60), unit="s", disable=options.case is not None) as bar:
            for name in names:
                report = fuzz(
                    TARGETS[name], options.seed, seconds=60 * options.minutes * shares[name] / sum(shares.values()),
                    numbers=itertools.count() if options.case is None else [options.case],
                    workers=workers, folder=folder, kept=options.keep,
                    tick=lambda report: _show(bar, report, time.monotonic() - started),
                )  # fmt: skip
                reports.append(report)
    except KeyboardInterrupt:
        print("interrupted: what follows is of the targets that were done", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(reports))
    if options.json:
        content = as_json(reports, options.seed, (time.monotonic() - started) / 60)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.json, (json.dumps(content, indent=1) + "\n").encode())
    idle = [report.name for report in reports if not report.cases]
    for name in idle:
        print(f"error: {name}: no case ran, which says nothing", file=sys.stderr)
    return 1 if any(report.failures for report in reports) or len(reports) < len(names) or idle else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=2.0, help="for all targets together")
    add("--seed", type=int, default=0, help="another one makes other cases")
    add("--target", action="append", choices=tuple(TARGETS), help="only this one; repeatable")
    add("--case", type=int, metavar="N", help="this case alone, again")
    add("--workers", type=int, default=available_cpus(), metavar="N", help="processes at once")
    add("--keep", type=Path, default=ROOT / "build" / "fuzz", metavar="DIR", help="where failing input is kept")
    add("--json", type=Path, metavar="FILE", help="write the outcome")
    return parser.parse_args()


def _show(bar: Any, report: Report, elapsed: float) -> None:
    bar.set_description(report.name, refresh=False)
    bar.set_postfix(cases=report.cases, failed=len(report.failures), refresh=False)
    bar.update(max(0, min(int(elapsed), bar.total) - bar.n))


def table(reports: list[Report]) -> str:
    lines = [
        f"{'target':<12}{'cases':>9}{'a minute':>10}{'text':>9}{'empty':>8}{'refused':>9}{'failed':>8}{'memory':>10}"
    ]
    for r in reports:
        counts = [r.outcomes[name] for name in ("text", "empty", "refused")]
        rate = 60 * r.cases / max(r.seconds, 1e-9)
        lines.append(
            f"{r.name:<12}{r.cases:>9,}{rate:>10,.0f}{counts[0]:>9,}{counts[1]:>8,}{counts[2]:>9,}"
            f"{len(r.failures):>8,}{r.peak >> 20:>6} MiB"
        )
    for failure in (failure for report in reports for failure in report.failures):
        lines += [
            "",
            f"{failure.kind}: {failure.what.strip()}",
            f"  again: {failure.command}",
            f"  input: {failure.kept}",
        ]
    return "\n".join(lines)


def as_json(reports: list[Report], seed: int, minutes: float) -> dict[str, Any]:
    return {
        **machine.run_file("fuzz", ROOT, ("maxwhisper", "max", "av", "numpy", "torch")),
        "seed": seed,
        "minutes": round(minutes, 2),
        "targets": [
            {
                "name": r.name,
                "cases": r.cases,
                "seconds": round(r.seconds, 1),
                "outcomes": {name: r.outcomes[name] for name in ("text", "empty", "refused")},
                "failures": [{**vars(failure), "command": failure.command} for failure in r.failures],
                "peak_bytes": r.peak,
            }
            for r in reports
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
