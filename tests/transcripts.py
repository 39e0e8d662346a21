"""What a system makes of the corpora's clips: windows in batches, long files one by one; peers' answers are kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.corpus import Clip
from tests import baselines
from tests.implementations import PINNED, Decoded, Implementation, Model

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

WINDOW_SECONDS = 30.0
BATCH = 8


class Transcripts:
    """One system with one checkpoint. `keep` stores the answers on disk; the model is loaded when one is missing."""

    def __init__(
        self,
        implementation: Implementation,
        checkpoint: Checkpoint,
        model: Callable[[], Model],
        *,
        keep: bool,
        on: str = "cpu float32",
    ):
        self.implementation, self.checkpoint, self._model, self._keep = implementation, checkpoint, model, keep
        self.on = on
        self._memory: dict[str, Any] = {}

    def windows(self, clips: Sequence[Clip], **options: Any) -> list[Decoded]:
        """The first 30 s of every clip as one window in its own language, greedy; `options` of openai's decode."""

        def compute(indices: list[int]) -> list[Any]:
            return [asdict(result) for result in self._decode([clips[i] for i in indices], options)]

        return [Decoded(**value) for value in self._answers("windows", clips, options, compute)]

    def transcribe(self, clips: Sequence[Clip], **options: Any) -> list[dict[str, Any]]:
        """Whole files through the system's own long-form loop, with the pinned options, in the clip's own language."""

        def compute(indices: list[int]) -> list[Any]:
            model = self._model()
            return [
                _plain(
                    model.transcribe(load_audio(clips[i].audio), language=self.language(clips[i]), **PINNED, **options)
                )
                for i in indices
            ]

        return self._answers("transcribe", clips, {**PINNED, **options}, compute)

    def language(self, clip: Clip) -> str:
        return (clip.language or "en") if self.checkpoint.dims.is_multilingual else "en"

    def _decode(self, clips: list[Clip], options: dict[str, Any]) -> list[Decoded]:
        model = self._model()
        results: dict[int, Decoded] = {}
        order = sorted(range(len(clips)), key=lambda i: (self.language(clips[i]), clips[i].seconds))
        for language, group in groupby(order, key=lambda i: self.language(clips[i])):
            members = list(group)
            for batch in (members[i : i + BATCH] for i in range(0, len(members), BATCH)):
                mel = np.stack([model.mel(load_audio(clips[i].audio)) for i in batch])
                features = model.encode(mel)
                decoded = model.decode(features, language=language, **options)
                if self.checkpoint.dims.is_multilingual:
                    decoded = [
                        replace(d, language_probs=p)
                        for d, p in zip(decoded, model.detect_language(features), strict=True)
                    ]
                results.update(zip(batch, decoded, strict=True))
        return [results[i] for i in range(len(clips))]

    def _answers(
        self, kind: str, clips: Sequence[Clip], options: dict[str, Any], compute: Callable[[list[int]], list[Any]]
    ) -> list[Any]:
        keys = [self._key(kind, clip, options) for clip in clips]
        missing = [i for i, key in enumerate(keys) if key not in self._memory]
        if missing:

            def ask(indices: list[int]) -> list[Any]:
                return compute([missing[i] for i in indices])

            wanted = [keys[i] for i in missing]
            values = baselines.cached(wanted, ask) if self._keep else ask(list(range(len(missing))))
            self._memory.update(zip(wanted, values, strict=True))
        return [self._memory[key] for key in keys]

    def _key(self, kind: str, clip: Clip, options: dict[str, Any]) -> str:
        return baselines.key(
            kind=kind,
            system=self.implementation.name,
            versions=self.implementation.versions(),
            weights=baselines.weights_hash(self.checkpoint),
            audio=baselines.file_hash(clip.audio),
            language=self.language(clip),
            options=options,
            on=self.on,
            source=self._source(),
        )

    def _source(self) -> str:
        adapter = (
            Path(inspect.getsourcefile(self.implementation.load) or "").parent
            / "adapters"
            / self.implementation.adapter
        )
        return baselines.source_hash(adapter, Path(__file__))


SEGMENT_FIELDS = (
    "id",
    "seek",
    "start",
    "end",
    "text",
    "tokens",
    "temperature",
    "avg_logprob",
    "compression_ratio",
    "no_speech_prob",
)


def is_window(clip: Clip) -> bool:
    return clip.seconds <= WINDOW_SECONDS


def _plain(result: Any) -> dict[str, Any]:
    """A transcription as plain JSON values: text, language, each segment's own fields, and its words if it has any."""
    segments = [
        {
            **{name: _number(segment[name]) for name in SEGMENT_FIELDS},
            "words": [{k: _number(v) for k, v in word.items()} for word in segment.get("words") or ()],
        }
        for segment in result["segments"]
    ]
    return {"text": result["text"], "language": result["language"], "segments": segments}


def _number(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [int(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value
