"""How near each stage comes to what this machine can do.

    python -m tests.perf.roofline [--model tiny.en] [--dtype int8] [--threads N] [--json OUT]

measures the machine's ceilings, then each stage's time (the best of its rounds), and prints the least time that the
ceilings allow over the time taken. A layer's time is that of the whole graph less that of one without layers, divided
by their number; a step's is that of rows which have said some tokens already.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maxwhisper_impl.audio import N_SAMPLES, LogMel
from maxwhisper_impl.dims import SIZES, ModelDimensions
from maxwhisper_impl.files import write_whole
from maxwhisper_impl.machine import run_file
from maxwhisper_impl.status import StatusLine
from maxwhisper_impl.threads import available_cpus, start_engine
from tests.perf import work
from tests.perf.ceilings import Ceilings, best, measure
from tests.perf.work import Work

if TYPE_CHECKING:
    from maxwhisper_impl.runtime import Features, MaxRuntime

PROMPT, PAST, BATCH = 8, 64, 8
"""Tokens of a prompt; tokens in the cache of a step; windows of a batch."""


@dataclass(frozen=True)
class Stage:
    model: str
    stage: str
    dtype: str
    seconds: float
    flops: float
    bytes: float
    bound: str
    """"arithmetic" or "memory": what the least time is made of"""
    share: float
    """the least time that the machine's ceilings allow, over the time taken"""


def shallow(dims: ModelDimensions) -> ModelDimensions:
    """The same model without layers."""
    return replace(dims, n_audio_layer=0, n_text_layer=0)


def runtime(dims: ModelDimensions, dtype: str, say: Any) -> MaxRuntime:
    """With random weights: a time does not depend on them."""
    from maxwhisper_impl.runtime import MaxRuntime
    from maxwhisper_impl.weights import random_checkpoint

    return MaxRuntime(random_checkpoint(dims, 1), dtype=dtype, progress=say)


def step_seconds(model: MaxRuntime, features: Features, tokens: int, past: int) -> float:
    """Of `tokens` in each row behind `past` others; the state is put back before each call."""
    state = model.start(features)
    rows = len(features)
    if past:
        state.step(np.zeros((rows, past), np.int32))
    new = np.ones((rows, tokens), np.int32)

    def step() -> None:
        state.length = past
        state.step(new)

    return best(step)


def stages(name: str, dims: ModelDimensions, dtype: str, say: Any) -> Iterator[tuple[str, float, Work]]:
    """(stage, seconds, work) of one model."""
    audio = np.random.default_rng(0).standard_normal(N_SAMPLES).astype(np.float32) * np.float32(0.1)
    yield "mel", best(lambda: LogMel(audio, dims.n_mels, 0).window(0)), work.mel(dims)
    deep, flat = (runtime(each, dtype, say) for each in (dims, shallow(dims)))
    say(f"{name} in {dtype}: timing")
    mel = np.zeros((BATCH, dims.n_mels, 2 * dims.n_audio_ctx), np.float32)
    whole, without = (best(lambda: model.encode(mel[:1])) for model in (deep, flat))  # noqa: B023
    yield "convolutions", without, work.stem(dims, dtype)
    yield "encoder layer", (whole - without) / dims.n_audio_layer, work.encoder_layer(dims, dtype)
    yield "encoder", whole, work.stem(dims, dtype) + work.encoder_layer(dims, dtype) * dims.n_audio_layer
    one = deep.encode(mel[:1])
    yield "cross keys and values", best(lambda: deep._cross.execute(one.buffer)), work.cross(dims, dtype)
    cases = ("prompt", 1, PROMPT, 0), ("step", 1, 1, PAST), (f"step × {BATCH}", BATCH, 1, PAST)
    for stage, rows, tokens, past in cases:
        features = [model.encode(mel[:rows]) for model in (deep, flat)]
        whole, without = (step_seconds(m, f, tokens, past) for m, f in zip((deep, flat), features, strict=True))
        layer = work.decoder_layer(dims, tokens, past, rows, windows=rows, dtype=dtype)
        if stage != "prompt":
            yield f"{stage}: layer", (whole - without) / dims.n_text_layer, layer
            yield f"{stage}: logits", without, work.logits(dims, rows, dtype)
        yield stage, whole, layer * dims.n_text_layer + work.logits(dims, rows, dtype)


def measured(name: str, dtype: str, ceilings: Ceilings, say: Any) -> list[Stage]:
    found: list[Stage] = []
    for stage, seconds, todo in stages(name, SIZES[name], dtype, say):
        least, bound = todo.seconds(ceilings)
        found.append(Stage(name, stage, dtype, seconds, todo.flops, todo.read, bound, least / seconds))
    return found


def show(ceilings: Ceilings, found: list[Stage]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    rates = [f"float32 {ceilings.fp32_gflops:.0f} GFLOP/s"]
    rates += [f"bfloat16 {ceilings.bf16_gflops:.0f} GFLOP/s"] if ceilings.bf16_gflops else []
    rates += [f"int8 {ceilings.int8_gops:.0f} GOP/s"] if ceilings.int8_gops else []
    table = Table(box=SIMPLE_HEAD, title=" · ".join([*rates, f"reading {ceilings.read_gbs:.0f} GB/s"]))
    for column in ("model", "dtype", "stage", "time", "GFLOP/s", "GB/s", "bound by", "share of it"):
        words = column in ("model", "dtype", "stage", "bound by")
        table.add_column(column, justify="left" if words else "right")
    for row in found:
        rates = f"{row.flops / row.seconds / 1e9:.1f}", f"{row.bytes / row.seconds / 1e9:.1f}"
        taken = f"{row.seconds * 1e3:.2f} ms"
        table.add_row(row.model, row.dtype, row.stage, taken, *rates, row.bound, f"{row.share:.0%}")
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.roofline", description=__doc__)
    parser.add_argument("--model", action="append", choices=SIZES, help="repeatable (default: tiny.en and base)")
    parser.add_argument("--dtype", action="append", choices=work.STORED, help="repeatable (default: all three)")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    start_engine(options.threads)
    with StatusLine() as say:
        say("measuring the machine")
        ceilings = measure(options.threads)
        names, dtypes = options.model or ("tiny.en", "base"), options.dtype or work.STORED
        pairs = [(name, dtype) for name in names for dtype in dtypes]
        found = [stage for name, dtype in pairs for stage in measured(name, dtype, ceilings, say)]
    show(ceilings, found)
    if options.json:
        facts = {
            **run_file("roofline", Path.cwd(), ("max", "maxwhisper", "torch")), "threads": options.threads,
            "ceilings": asdict(ceilings), "stages": [asdict(stage) for stage in found],
        }
        write_whole(options.json, json.dumps(facts, indent=1).encode())


if __name__ == "__main__":
    main()
