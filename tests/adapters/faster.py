"""faster-whisper behind the suite's Protocol: windows and files; it shows no layers and no logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens

from tests.adapters.ct2 import ctranslate2_folder
from tests.implementations import Decoded

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

RENAMED = {"logprob_threshold": "log_prob_threshold"}
DROPPED = ("fp16", "verbose")


class Faster:
    """`engine` is faster-whisper's own model."""

    capabilities = frozenset({"encode", "decode", "detect_language", "transcribe", "words"})

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", dtype: str = "float32", threads: int = 2):
        self.dims = checkpoint.dims
        folder = ctranslate2_folder(checkpoint)
        self.engine = WhisperModel(str(folder), device=device, compute_type=dtype, cpu_threads=threads)

    def mel(self, audio: np.ndarray) -> np.ndarray:
        return pad_or_trim(self.engine.feature_extractor(audio[:480000], padding=480000)[:, :3000])

    def long_mel(self, audio: np.ndarray) -> np.ndarray:
        return self.engine.feature_extractor(audio, padding=480000)

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return np.array(self.engine.encode(np.ascontiguousarray(mel, np.float32)))

    def logits(self, tokens: np.ndarray, features: np.ndarray) -> np.ndarray:
        raise NotImplementedError("faster-whisper gives no logits")

    def taps(self, mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        raise NotImplementedError("faster-whisper gives no layers")

    def _tokenizer(self, language: str | None, task: str) -> Tokenizer:
        multilingual = self.engine.model.is_multilingual
        return Tokenizer(self.engine.hf_tokenizer, multilingual, task=task, language=language or "en")

    def decode(
        self,
        mel: np.ndarray,
        *,
        language: str | None = None,
        task: str = "transcribe",
        without_timestamps: bool = False,
        **options: Any,
    ) -> list[Decoded]:
        """Greedy, unless `beam_size` is given."""
        if unknown := set(options) - {"beam_size", "temperature"} or options.get("temperature"):
            raise NotImplementedError(f"the adapter does not pass on {unknown}")
        if mel.shape[-2:] == (self.dims.n_audio_ctx, self.dims.n_audio_state):
            features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel, np.float32))
        else:
            features = self.engine.encode(np.ascontiguousarray(mel, np.float32))
        languages = [language] * len(mel)
        if language is None:
            languages = (
                [max(p, key=p.__getitem__) for p in self.detect_language(mel)]
                if self.dims.is_multilingual
                else ["en"] * len(mel)
            )
        tokenizers = [self._tokenizer(code, task) for code in languages]
        results = self.engine.model.generate(
            features,
            [self.engine.get_prompt(t, [], without_timestamps) for t in tokenizers],
            max_length=448,
            beam_size=options.get("beam_size") or 1,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(tokenizers[0], [-1]),
            max_initial_timestamp_index=50,
        )
        decoded = []
        for result, tokenizer, code in zip(results, tokenizers, languages, strict=True):
            tokens = result.sequences_ids[0]
            logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)  # scores are divided by the length
            decoded.append(Decoded(tokens, tokenizer.decode(tokens).strip(), code, logprob, result.no_speech_prob))
        return decoded

    def detect_language(self, mel: np.ndarray) -> list[dict[str, float]]:
        results = self.engine.model.detect_language(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(mel, np.float32))
        )
        return [{token[2:-2]: probability for token, probability in row} for row in results]

    def transcribe(self, audio: np.ndarray, **options: Any) -> Mapping[str, Any]:
        renamed = {RENAMED.get(k, k): v for k, v in options.items() if k not in DROPPED}
        segments, info = self.engine.transcribe(audio, **{"beam_size": 1, **renamed})
        listed = [
            {
                "id": s.id,
                "seek": s.seek,
                "start": s.start,
                "end": s.end,
                "text": s.text,
                "tokens": s.tokens,
                "temperature": s.temperature,
                "avg_logprob": s.avg_logprob,
                "no_speech_prob": s.no_speech_prob,
                "compression_ratio": s.compression_ratio,
                "words": [
                    {"word": w.word, "start": w.start, "end": w.end, "probability": w.probability}
                    for w in s.words or ()
                ],
            }
            for s in segments
        ]
        return {"text": "".join(s["text"] for s in listed), "segments": listed, "language": info.language}
