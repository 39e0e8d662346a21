"""Small run files of every kind, as their makers write them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

MACHINE = {
    "platform": "Linux-6.1", "processor": "A Processor", "cores": 2, "memory": 8 << 30, "fingerprint": "0123456789ab",
}  # fmt: skip
ABOUT = {
    "made": "2026-11-24T10:28:59+00:00",
    "commit": "5fcff5a7c1430eb8249d1c479de3de2e5e6ea7b6",
    "machine": MACHINE,
    "versions": {"python": "3.11.7", "max": "26.7.0", "torch": None},
}


def margin(name: str, metric: str, value: float | None, limit: float, key: str | None = None) -> dict[str, Any]:
    return {"checkpoint": "tiny.en", "name": name, "metric": metric, "value": value, "limit": limit, "key": key or name}


def wer(system: str, errors: int, group: str = "librispeech") -> dict[str, Any]:
    return {"group": group, "system": system, "checkpoint": "tiny.en", "dtype": "float32", "words": 1000,
            "errors": errors, "wer": errors / 1000}  # fmt: skip


BLOCK = "encoder.blocks.{}.attn.query+key+value"
SUITE: dict[str, Any] = {
    "kind": "suite",
    **ABOUT,
    "implementation": "maxwhisper_impl",
    "oracle": "openai-whisper",
    "device": "cpu",
    "dtype": "float32",
    "exit_status": 0,
    "seconds": 123.4,
    "outcomes": {"passed": 1234, "skipped": 7},
    "families": {
        "parity": {
            "outcomes": {"passed": 1200},
            "counts": {"encoder layer outputs": 23, "utterances": 75},
            "worst": margin("logits", "kl", 9e-10, 1.5e-9),
        },
        "quality": {"outcomes": {"passed": 34}, "counts": {"words": 1000}, "worst": None},
    },
    "margins": [
        margin("mel of 01.flac", "max_abs", 5e-5, 1e-4, "mel"),
        margin("encoder.conv1", "rel_l2", 6.8e-7, 2.72e-6),
        margin("encoder.conv1", "max_abs", 2e-6, 2e-5),
        *(margin(BLOCK.format(i), "rel_l2", (i + 1) * 1e-6, 1e-5, BLOCK.replace(".{}", "")) for i in range(4)),
        margin("encoder.ln_post", "rel_l2", 1e-9, 1.4e-5),
        margin("logits", "kl", 9e-10, 1.5e-9),
        margin("clip 7: word 3, ' the'", "seconds", 0.02, 0.02, "word_time"),
    ],
    "wer": [wer("maxwhisper_impl", 61), wer("openai-whisper", 61), wer("faster-whisper", 63)],
    "ratios": [
        {"case": "encode tiny.en", "peer": "openai-whisper", "seconds": 0.05, "peer_seconds": 0.1, "median": 2.0,
         "low": 1.9, "high": 2.2, "validity": 1.001, "valid": True, "blocks": 4},
        {"case": "decode tiny.en", "peer": "faster-whisper", "seconds": 0.05, "peer_seconds": 0.04, "median": 0.8,
         "low": 0.7, "high": 0.9, "validity": 1.1, "valid": False, "blocks": 4},
    ],
    "excuses": ["clip 9: step 4 is a near-tie"],
    "notes": [],
    "failures": [],
}  # fmt: skip


def row(system: str, seconds: float, text: str, dtype: str = "float32", **more: Any) -> dict[str, Any]:
    halves = text.split(". ")
    segments = [{"start": 3.0 * i, "end": 3.0 * i + 3, "text": f" {half}"} for i, half in enumerate(halves)]
    return {
        "system": system, "model": "tiny.en", "device": "cpu", "dtype": dtype, "seconds": seconds, "rtf": seconds / 60,
        "speedup": 20 / seconds, "wer": 0.0614, "agreement": 1.0, "text": text,
        "round_seconds": [seconds, seconds * 1.1, seconds * 0.9], "load_seconds": 0.8, "warm_up_seconds": 0.5,
        "peak_memory": 500 << 20,
        "transcripts": {"talk.flac": {"text": f" {text}", "tokens": [], "segments": segments}},
        **more,
    }  # fmt: skip


COMPARISON: dict[str, Any] = {
    **ABOUT,
    "audio_seconds": 60.0,
    "rows": [
        row("maxwhisper", 8.0, "The ice was thick. We walked across it"),
        row("openai-whisper", 20.0, "The ice was thick. We walked across it"),
        row("faster-whisper", 10.0, "The rice was thick. We walked it now"),
    ],
    "failures": [],
    "audio": [
        {"file": "talk.flac", "seconds": 60.0, "language": "en", "reference": "the ice was thick we walked across it"}
    ],
    "rounds": 3,
    "threads": 2,
}
TEETH: dict[str, Any] = {
    "kind": "teeth",
    **ABOUT,
    "faults": [
        {"name": "no scale in attention", "stage": "encoder", "caught": True, "at_right_place": True,
         "first_red": "tests/parity/test_encoder_layers.py::test_layer[tiny.en-encoder.blocks.0]",
         "expected": "*encoder.blocks.0*", "seconds": 31.5},
        {"name": "cache row off by one", "stage": "cache", "caught": True, "at_right_place": True,
         "first_red": "tests/parity/test_cache.py::test_steps", "expected": "*test_cache*", "seconds": 12.0},
    ],
    "seconds": 43.5,
}  # fmt: skip
FUZZ: dict[str, Any] = {
    "kind": "fuzz",
    **ABOUT,
    "seed": 7,
    "minutes": 60,
    "targets": [
        {"name": "audio", "cases": 20000, "outcomes": {"text": 9000, "empty": 1000, "refused": 10000}, "failures": [],
         "peak_bytes": 300 << 20},
        {"name": "checkpoints", "cases": 5000, "outcomes": {"text": 0, "refused": 5000}, "failures": [],
         "peak_bytes": 200 << 20},
    ],
}  # fmt: skip
SOAK: dict[str, Any] = {
    "kind": "soak", **ABOUT, "minutes": 60, "rounds": 4, "memory": [400e6, 501e6, 502e6, 503e6], "growth": 0.004,
    "same_text": True,
}  # fmt: skip
ROOFLINE: dict[str, Any] = {
    "kind": "roofline",
    **ABOUT,
    "ceilings": {"fp32_gflops": 150.0, "bf16_gflops": None, "int8_gops": None, "read_gbs": 20.0},
    "stages": [
        {"model": "tiny.en", "stage": "encoder", "dtype": "float32", "seconds": 0.2, "flops": 24e9, "bytes": 1e8,
         "bound": "compute", "share": 0.8},
        {"model": "tiny.en", "stage": "decoder step", "dtype": "float32", "seconds": 0.01, "flops": 1e8, "bytes": 1.2e8,
         "bound": "memory", "share": 0.6},
    ],
}  # fmt: skip


def benchmarks(day: int, ratio: float) -> dict[str, Any]:
    """pytest-benchmark's file of a day."""
    return {
        "machine_info": {"cpu": {"brand_raw": "A Processor", "count": 2}},
        "commit_info": {"id": f"{day:02d}ff5a7c1430eb8249d1c479de3de2e5e6ea7b6", "dirty": day == 3},
        "datetime": f"2026-11-{day:02d}T10:28:59.123456+00:00",
        "version": "5.3.1",
        "benchmarks": [
            {"name": "test_encode_smoke[tiny.en-openai-whisper]", "fullname": "…",
             "stats": {"median": 0.05 / ratio, "min": 0.049 / ratio, "max": 0.06 / ratio, "rounds": 4},
             "extra_info": {"peer": "openai-whisper", "ratio": ratio, "low": ratio - 0.1, "high": ratio + 0.1,
                            "valid": day != 2}},
            {"name": "test_start", "fullname": "…", "extra_info": {},
             "stats": {"median": 2.0, "min": 1.9, "max": 2.5, "rounds": 4}},
        ],
    }  # fmt: skip


ALL: dict[str, dict[str, Any]] = {
    "suite.json": SUITE, "compare.json": COMPARISON, "teeth.json": TEETH, "fuzz.json": FUZZ, "soak.json": SOAK,
    "roofline.json": ROOFLINE, "bench-1.json": benchmarks(1, 2.0), "bench-2.json": benchmarks(2, 1.5),
    "bench-3.json": benchmarks(3, 2.2),
}  # fmt: skip


def write(folder: Path, **files: dict[str, Any]) -> list[str]:
    """By name without ".json"; all of ALL where none is given."""
    chosen = {f"{name}.json": content for name, content in files.items()} or ALL
    for name, content in chosen.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return [str(folder / name) for name in chosen]


def changed(run: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A copy; __ in a name goes down: rows__0__seconds=1."""
    made: Any = copy.deepcopy(run)
    for path, value in values.items():
        *above, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        place = made
        for key in above:
            place = place[key]
        place[last] = value
    return made
