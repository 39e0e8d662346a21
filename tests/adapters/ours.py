"""The package under test behind the suite's Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from maxwhisper_impl.audio import N_SAMPLES, log_mel_spectrogram, pad_or_trim
from tests.implementations import Decoded

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint
    from maxwhisper_impl.whisper import Whisper


class Ours:
    """`whisper` is the package's own model; `runtime` its encoder and cached decoder."""

    capabilities = frozenset({"encode", "logits", "decode", "detect_language", "transcribe", "words", "taps", "cache",
                              "options", "sampling", "live", "batched", "repetition"})

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", dtype: str = "float32"):
        from maxwhisper_impl.whisper import load_model

        self.dims = checkpoint.dims
        self.whisper: Whisper = load_model(checkpoint.source, device=device, dtype=dtype)
        self.runtime = self.whisper.runtime

    def mel(self, audio: np.ndarray) -> np.ndarray:
        return log_mel_spectrogram(pad_or_trim(audio), self.dims.n_mels)

    def long_mel(self, audio: np.ndarray) -> np.ndarray:
        return log_mel_spectrogram(audio, self.dims.n_mels, padding=N_SAMPLES)

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return np.asarray(self.whisper.encode(mel))

    def logits(self, tokens: np.ndarray, features: np.ndarray) -> np.ndarray:
        return np.asarray(self.whisper.logits(tokens, features))

    def decode(self, mel: np.ndarray, **options: Any) -> list[Decoded]:
        from maxwhisper_impl.decoding import DecodingOptions

        results = self.whisper.decode(mel, DecodingOptions(**options))
        return [Decoded(list(r.tokens), r.text, r.language, r.avg_logprob, r.no_speech_prob) for r in results]

    def detect_language(self, mel: np.ndarray) -> list[dict[str, float]]:
        return list(self.whisper.detect_language(mel)[1])

    def transcribe(self, audio: np.ndarray, **options: Any) -> Mapping[str, Any]:
        return self.whisper.transcribe(audio, **options)

    def taps(self, mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        taps = self.runtime.taps(mel.astype(np.float32), tokens.astype(np.int32))
        conv1 = taps["encoder.conv1"]
        if conv1.shape[1] == mel.shape[-1] + 2:  # conv2's zero padding is part of what conv1 puts out
            assert not conv1[:, [0, -1]].any(), "the frames beside conv1's output are not zero"
            taps["encoder.conv1"] = conv1[:, 1:-1]
        return taps
