"""What each system does in a race: its input, made before the time is taken, and the call that is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from maxwhisper_impl.audio import HOP_LENGTH, N_SAMPLES, LogMel, log_mel_spectrogram, pad_or_trim
from maxwhisper_impl.batched import cut_at_silences
from tests.perf.peers import WINDOWS, Contestant, Cuts


@dataclass(frozen=True)
class Inputs:
    """Of one checkpoint's races; all systems get the same."""

    window: np.ndarray
    """mel, float32 [1, n_mels, 3000]"""
    windows: np.ndarray
    """[8, n_mels, 3000]"""
    audio: np.ndarray
    """float32 [n_samples] at 16 kHz"""
    cuts: Cuts
    steps: int
    """of decoding the window"""
    batch_steps: int
    """of decoding the windows"""

    def decoded(self, case: str) -> tuple[np.ndarray, int]:
        """Mel and steps of the cases "step" and "batch"."""
        return (self.window, self.steps) if case == "step" else (self.windows, self.batch_steps)


def windows_of(audio: np.ndarray, cuts: Cuts, n_mels: int) -> np.ndarray:
    """Mels [8, n_mels, 3000] of the first pieces, over again where there are fewer: cut elsewhere, in the middle of a
    word, one may say nothing, and ends a step that all are to make."""
    pieces = [log_mel_spectrogram(pad_or_trim(audio[start:end]), n_mels) for start, end in cuts[:WINDOWS]]
    return np.stack([pieces[i % len(pieces)] for i in range(WINDOWS)])


def window_of(audio: np.ndarray, n_mels: int) -> np.ndarray:
    """Mel [1, n_mels, 3000] of the first 30 s."""
    return log_mel_spectrogram(pad_or_trim(audio), n_mels)[None]


def cuts_of(audio: np.ndarray, n_mels: int) -> Cuts:
    """Where ours cuts a recording for its batches."""
    mel = LogMel(audio, n_mels, N_SAMPLES)
    frames = cut_at_silences(mel, 0, len(audio) // HOP_LENGTH)
    return [(start * HOP_LENGTH, end * HOP_LENGTH) for start, end in frames]


def timed(case: str, system: Contestant, inputs: Inputs) -> Callable[[], Any]:
    """The call that is timed, and whose answer is checked."""
    if case == "encode":
        return lambda: system.encode(inputs.window)
    if case in ("step", "batch"):
        mel, steps = inputs.decoded(case)
        features = system.features(mel)
        return lambda: system.decode(features, steps)
    if case == "reading":
        return lambda: system.read(inputs.audio)
    if case == "batched":
        return lambda: system.read_in_batches(inputs.audio, inputs.cuts)
    raise ValueError(f"no case {case!r}")
