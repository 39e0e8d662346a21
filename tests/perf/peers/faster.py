"""faster-whisper on CTranslate2: its sequential mode, and its `BatchedInferencePipeline` on cuts that it is given.

With several workers windows are shared out to as many Python threads, as its documentation has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

import ctranslate2
import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens

from maxwhisper_impl.audio import SAMPLE_RATE
from tests.adapters.ct2 import ctranslate2_folder
from tests.perf.peers import Cuts, Setting

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

GREEDY: dict[str, Any] = {"language": "en", "beam_size": 1, "best_of": 1, "temperature": 0.0}


class Faster:
    """`dtype` is its compute_type."""

    def __init__(self, checkpoint: Checkpoint, dtype: str, setting: Setting) -> None:
        self.checkpoint, self.dtype, self.setting = checkpoint, dtype, setting
        self.engine = WhisperModel(
            str(ctranslate2_folder(checkpoint)), device="cpu", compute_type=dtype,
            cpu_threads=setting.threads, num_workers=setting.workers, local_files_only=True,
        )  # fmt: skip
        self.pool = ThreadPoolExecutor(setting.workers)
        multilingual = self.engine.model.is_multilingual
        self.tokenizer = Tokenizer(self.engine.hf_tokenizer, multilingual, task="transcribe", language="en")
        self.prompt = self.engine.get_prompt(self.tokenizer, [], without_timestamps=True)
        self.suppressed = [*get_suppressed_tokens(self.tokenizer, [-1]), self.tokenizer.eot]

    def at(self, setting: Setting) -> Self:
        """Another engine, except for a batch size: threads are made when it is loaded."""
        if (setting.threads, setting.workers) != (self.setting.threads, self.setting.workers):
            return type(self)(self.checkpoint, self.dtype, setting)
        self.setting = setting
        return self

    def _shares(self, windows: Sequence[Any]) -> list[Any]:
        """One for each worker, in order; none is empty."""
        cuts = np.linspace(0, len(windows), min(self.setting.workers, len(windows)) + 1).astype(int)
        return [windows[start:end] for start, end in pairwise(cuts)]

    def features(self, mel: np.ndarray) -> list[ctranslate2.StorageView]:
        views = [ctranslate2.StorageView.from_array(np.ascontiguousarray(part)) for part in self._shares(mel)]
        return list(self.pool.map(self.engine.model.encode, views))

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return np.concatenate([np.array(part) for part in self.features(mel)])

    def decode(self, features: list[ctranslate2.StorageView], steps: int) -> list[list[int]]:
        results = self.pool.map(lambda part: self._generate(part, steps), features)
        return [result.sequences_ids[0] for part in results for result in part]

    def _generate(self, features: ctranslate2.StorageView, steps: int) -> list[Any]:
        return self.engine.model.generate(
            features,
            [self.prompt] * features.shape[0],
            beam_size=1,
            max_length=max(len(self.prompt), steps) + steps,  # CTranslate2 gives half of it to new tokens at most
            suppress_blank=True,
            suppress_tokens=self.suppressed,
        )

    def read(self, audio: np.ndarray) -> str:
        segments, _ = self.engine.transcribe(audio, condition_on_previous_text=True, **GREEDY)
        return "".join(segment.text for segment in segments)

    def read_in_batches(self, audio: np.ndarray, cuts: Cuts) -> str:
        """Its own cutting needs a voice activity detector; the cuts cost it nothing."""
        clips = [{"start": start / SAMPLE_RATE, "end": end / SAMPLE_RATE} for start, end in cuts]
        return "".join(self.pool.map(lambda part: self._read(audio, part), self._shares(clips)))

    def _read(self, audio: np.ndarray, clips: list[dict[str, float]]) -> str:
        pipeline = BatchedInferencePipeline(self.engine)
        options: dict[str, Any] = {**GREEDY, "batch_size": self.setting.batch, "clip_timestamps": clips}
        segments, _ = pipeline.transcribe(audio, **options)
        return "".join(segment.text for segment in segments)

    def clock(self, case: str) -> Callable[[], float]:
        return perf_counter
