"""What the run files say, in sentences: each has passed, failed, or is a figure that nothing was promised of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from . import figures
from .kinds import Benchmarks, Comparison, Fuzz, Roofline, Row, Soak, Suite, Teeth
from .layers import layer_map
from .read import Source, of_kind
from .speed import OURS, machine_name, model_name

FLAT = 0.02
"""by which a soak's memory may grow"""
ORACLE = "openai-whisper"
State = Literal["passed", "failed", "measured"]


@dataclass(frozen=True)
class Statement:
    state: State
    text: str
    source: Source
    section: str
    """where the figures are"""
    details: tuple[str, ...] = ()


def statements(sources: Sequence[Source]) -> list[Statement]:
    """What failed comes first."""
    said = [
        *(suite_statement(*pair) for pair in of_kind(sources, Suite)),
        *(s for pair in of_kind(sources, Comparison) for s in comparison_statements(*pair)),
        *(teeth_statement(*pair) for pair in of_kind(sources, Teeth)),
        *(fuzz_statement(*pair) for pair in of_kind(sources, Fuzz)),
        *(soak_statement(*pair) for pair in of_kind(sources, Soak)),
        *(roofline_statement(*pair) for pair in of_kind(sources, Roofline)),
        *history_statements(of_kind(sources, Benchmarks)),
    ]
    return sorted(said, key=lambda statement: statement.state != "failed")


def headline(said: Sequence[Statement]) -> tuple[State, str]:
    judged = [statement for statement in said if statement.state != "measured"]
    red = [statement for statement in judged if statement.state == "failed"]
    if not judged:
        return "measured", "These are measurements; nothing was judged."
    if red:
        return "failed", f"{len(red)} of {figures.things(len(judged), 'verdict')} failed."
    return "passed", "Everything that was judged has passed."


def suite_statement(source: Source, run: Suite) -> Statement:
    red = sum(run.outcomes.get(how, 0) for how in ("failed", "error"))
    passed = run.outcomes.get("passed", 0)
    checkpoints = list(dict.fromkeys(m.checkpoint for m in run.margins if m.checkpoint))
    on = f" on {figures.listed(checkpoints)}" if checkpoints else ""
    counted = [f"{n:,} {what}" for family in run.families.values() for what, n in family.counts.items()]
    if run.exit_status == 2:
        text = f"The suite was interrupted after {figures.things(passed + red, 'test')}: of the rest nothing is known."
    elif red:
        text = f"{red:,} of {figures.things(passed + red, 'test')} of the suite failed{on}."
    elif not passed:
        text = f"The suite proved nothing: no test passed (pytest's exit status was {run.exit_status})."
    elif run.exit_status:
        text = f"The suite ended with pytest's exit status {run.exit_status}."
    else:
        skipped = f", {run.outcomes['skipped']:,} skipped" if run.outcomes.get("skipped") else ""
        text = f"{figures.things(passed, 'test')} passed{on}, none failed{skipped}"
        text += (f": {figures.listed(counted)}." if counted else ".") + _nearest_layer(run) + _invalid_ratios(run)
    good = bool(passed) and not red and not run.exit_status
    details = tuple(f"{test.test}: {test.message.partition(chr(10))[0][:300]}" for test in run.failures)
    return Statement("passed" if good else "failed", text, source, "limits", details)


def _nearest_layer(run: Suite) -> str:
    found = layer_map(run)
    if found is None:
        return ""
    nearest = max(found.margins, key=lambda margin: margin.share)
    where = f"{nearest.name}, {nearest.checkpoint}"
    return f" No layer's error uses more than {figures.share(nearest.share)} % of its limit ({where})."


def _invalid_ratios(run: Suite) -> str:
    invalid = sum(not race.valid for race in run.ratios)
    of = f"{invalid} of {figures.things(len(run.ratios), 'speed ratio')}"
    return f" {of} {'says' if invalid == 1 else 'say'} nothing: the machine was too noisy." if invalid else ""


def comparison_statements(source: Source, run: Comparison) -> Iterator[Statement]:
    for failure in run.failures:
        name = f"{model_name(failure.model)} · {failure.system} ({failure.dtype})"
        yield Statement("failed", f"{name} did not get through the comparison: {failure.reason}", source, "speed")
    for row in run.rows:
        if row.system == OURS:
            peers = [r for r in run.rows if r.model == row.model and r.system != OURS and r.device == row.device]
            yield _ours(source, row, peers)


def _ours(source: Source, row: Row, peers: Sequence[Row]) -> Statement:
    name = f"{model_name(row.model)} in {row.dtype}"
    speed = f", at {figures.listed([_speed(row, peer) for peer in peers])}" if peers else ""
    if row.agreement is None:
        return Statement("measured", f"{name}: there is no text of {ORACLE} to compare with{speed}.", source, "speed")
    if row.agreement == 1:
        return Statement("passed", f"{name}: token for token what {ORACLE} writes{speed}.", source, "speed")
    text = f"{name}: {figures.equal(row.agreement)} of the tokens are those of {ORACLE}{speed}."
    return Statement("failed" if row.dtype == "float32" else "measured", text, source, "speed")


def _speed(row: Row, peer: Row) -> str:
    ours, theirs = row.round_seconds, peer.round_seconds
    dtype = "" if peer.dtype == row.dtype else f" in {peer.dtype}"
    unsure = " (their rounds overlap)" if max(ours) >= min(theirs) and max(theirs) >= min(ours) else ""
    return f"{figures.times(peer.seconds / row.seconds)} the speed of {peer.system}{dtype}{unsure}"


def teeth_statement(source: Source, run: Teeth) -> Statement:
    alive = [fault for fault in run.faults if not fault.caught]
    far = [fault for fault in run.faults if fault.caught and not fault.at_right_place]
    total = figures.things(len(run.faults), "seeded fault")
    if not alive and not far:
        return Statement("passed", f"The suite caught {total}, each where it was put.", source, "teeth")
    were = "was" if len(far) == 1 else "were"
    parts = ([f"{len(alive)} survived"] if alive else []) + ([f"{len(far)} {were} caught elsewhere"] if far else [])
    details = tuple(
        [f"{fault.name} ({fault.stage}) survived" for fault in alive]
        + [f"{fault.name} ({fault.stage}) was caught by {fault.first_red}" for fault in far]
    )
    return Statement("failed", f"Of {total}, {figures.listed(parts)}.", source, "teeth", details)


def fuzz_statement(source: Source, run: Fuzz) -> Statement:
    cases, bad = sum(target.cases for target in run.targets), sum(len(target.failures) for target in run.targets)
    what = f"{figures.things(cases, 'hostile input')} in {figures.minutes(run.minutes)} (seed {run.seed})"
    if bad or not cases:
        text = f"{figures.things(bad, 'failure')} on {what}."
        return Statement("failed", text, source, "fuzz")
    text = f"{what} ended in a text, a defined empty result or one clear error."
    return Statement("passed", text, source, "fuzz")


def soak_statement(source: Source, run: Soak) -> Statement:
    good = run.same_text and run.grown is not None and run.grown <= FLAT
    if run.grown is None:
        memory = "too few to compare memory"
    else:
        memory = f"memory {figures.growth(run.grown)}, {figures.percent(FLAT)} more is the most"
    text = (
        f"{figures.minutes(run.minutes)} of one process, {figures.things(run.rounds, 'round')}: {memory}; "
        f"the text was {'the same in all of them' if run.same_text else 'NOT always the same'}."
    )
    return Statement("passed" if good else "failed", text, source, "fuzz")


def roofline_statement(source: Source, run: Roofline) -> Statement:
    best, worst = (pick(run.stages, key=lambda stage: stage.share) for pick in (max, min))
    text = (
        f"The stages reach {figures.share(worst.share)} % ({worst.model} {worst.stage}) to "
        f"{figures.share(best.share)} % ({best.model} {best.stage}) of what the machine can do."
    )
    text += " More than 100 % cannot be: the ceilings were measured too low." if best.share > 1 else ""
    return Statement("measured", text, source, "roofline")


def history_statements(runs: Sequence[tuple[Source, Benchmarks]]) -> Iterator[Statement]:
    """What the gate said of the newest run of each kind of machine; nothing where it was not asked."""
    newest = {machine_name(source): (source, run) for source, run in sorted(runs, key=lambda pair: pair[0].made)}
    for machine, (source, run) in newest.items():
        of = f"The newest benchmarks of {machine}, {source.made},"
        if run.gate == "passed":
            yield Statement("passed", f"{of} are no slower than those before.", source, "history")
        elif run.gate == "regressed" and run.accepted:
            text = f"{of} are slower than those before, which was accepted: {run.accepted}."
            yield Statement("measured", text, source, "history")
        elif run.gate == "regressed":
            yield Statement("failed", f"{of} are slower than those before.", source, "history")
        elif run.gate is not None:
            yield Statement("measured", f"{of} say nothing beside those before: {run.gate}.", source, "history")
