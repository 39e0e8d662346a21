"""The sizes of a Whisper model: what a checkpoint says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelDimensions:
    """Dimensions under openai-whisper's names (`whisper/model.py`)."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def is_multilingual(self) -> bool:
        return self.n_vocab >= 51865

    @property
    def num_languages(self) -> int:
        return self.n_vocab - 51765 - int(self.is_multilingual)


def _dims(state: int, heads: int, layers: int, *, vocab: int = 51865, mels: int = 80,
          text_layers: int | None = None) -> ModelDimensions:
    return ModelDimensions(mels, 1500, state, heads, layers, vocab, 448, state, heads, text_layers or layers)


_MULTILINGUAL = {
    "tiny": _dims(384, 6, 4),
    "base": _dims(512, 8, 6),
    "small": _dims(768, 12, 12),
    "medium": _dims(1024, 16, 24),
    "large-v1": _dims(1280, 20, 32),
    "large-v2": _dims(1280, 20, 32),
    "large-v3": _dims(1280, 20, 32, vocab=51866, mels=128),
    "large-v3-turbo": _dims(1280, 20, 32, vocab=51866, mels=128, text_layers=4),
}
_ENGLISH = {
    "tiny.en": _dims(384, 6, 4, vocab=51864),
    "base.en": _dims(512, 8, 6, vocab=51864),
    "small.en": _dims(768, 12, 12, vocab=51864),
    "medium.en": _dims(1024, 16, 24, vocab=51864),
}

SIZES: dict[str, ModelDimensions] = {
    **_MULTILINGUAL,
    **_ENGLISH,
    "large": _MULTILINGUAL["large-v3"],
    "turbo": _MULTILINGUAL["large-v3-turbo"],
}
"""Dimensions of every official model by openai-whisper's name."""
