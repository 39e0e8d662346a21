"""A hundred clips of nothing: how often each system makes up words, and that ours with VAD never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl.audio import SAMPLE_RATE
from tests import record
from tests.implementations import IMPLEMENTATIONS, Model, checkpoint_name

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

KINDS = ("silence", "white noise", "brown noise", "tone", "chord", "clicks", "hum", "sweep", "bursts", "fading noise")
PER_KIND = 10


def clip(kind: str, number: int) -> np.ndarray:
    """float32 of 3 to 12 s, seeded."""
    rng = np.random.default_rng([KINDS.index(kind), number])
    n = int(rng.uniform(3, 12) * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    level, pitch, white = rng.uniform(0.01, 0.3), rng.uniform(80, 2000), rng.normal(0, 1, n)
    signal = {
        "silence": lambda: np.zeros(n),
        "white noise": lambda: white / 4,
        "brown noise": lambda: np.cumsum(white - white.mean()) / np.abs(np.cumsum(white - white.mean())).max(),
        "tone": lambda: np.sin(2 * np.pi * pitch * t),
        "chord": lambda: sum(np.sin(2 * np.pi * pitch * k * t) for k in (1, 1.25, 1.5)) / 3,
        "clicks": lambda: (np.arange(n) % int(rng.uniform(2000, 20000)) == 0).astype(float),
        "hum": lambda: sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 8)) / 3,
        "sweep": lambda: np.sin(2 * np.pi * (100 + pitch * t / t[-1]) * t),
        "bursts": lambda: white / 4 * (np.sin(2 * np.pi * rng.uniform(0.5, 3) * t) > 0.7),
        "fading noise": lambda: white / 4 * np.linspace(1, 0, n),
    }[kind]()
    return np.clip(level * signal, -1, 1).astype(np.float32)


@pytest.mark.slow
@pytest.mark.first_checkpoint
def test_no_text_is_made_up(checkpoint: Checkpoint, model: Model) -> None:
    """Default thresholds plus VAD."""
    clips = {(kind, i): clip(kind, i) for kind in KINDS for i in range(PER_KIND)}
    made_up = {
        name: text
        for name, audio in clips.items()
        for options in ({}, {"batch_size": 4})
        if (text := model.transcribe(audio, language="en", vad_filter=True, **options)["text"].strip())
    }
    assert not made_up
    record.count("clips of nothing", len(clips))


@pytest.mark.slow
@pytest.mark.first_checkpoint
def test_what_each_system_makes_up(checkpoint: Checkpoint, load: Callable[..., Model]) -> None:
    """Reported; without VAD ours makes up text no more often than the oracle."""
    counts: dict[str, int] = {}
    for name, options in {
        "maxwhisper_impl": {},
        "openai-whisper": {},
        "faster-whisper": {},
        "faster-whisper + VAD": {"vad_filter": True},
        "maxwhisper_impl + VAD": {"vad_filter": True},
    }.items():
        system: Any = load(IMPLEMENTATIONS[name.removesuffix(" + VAD")], checkpoint, "cpu", "float32")
        said = [
            system.transcribe(clip(kind, i), language="en", temperature=0.0, **options)
            for kind in KINDS
            for i in range(PER_KIND)
        ]
        counts[name] = sum(bool(result["text"].strip()) for result in said)
    total = len(KINDS) * PER_KIND
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    record.note(f"text in {total} clips of nothing, {checkpoint_name(checkpoint)}, temperature 0: {listed}")
    assert counts["maxwhisper_impl + VAD"] == 0
    assert counts["maxwhisper_impl"] <= counts["openai-whisper"]
