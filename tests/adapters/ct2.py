"""A CTranslate2 folder with a checkpoint's weights, for faster-whisper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint


def ctranslate2_folder(checkpoint: Checkpoint) -> Path:
    """The checkpoint's own folder if it is one, else a converted copy that is written once per machine."""
    from maxwhisper_impl.systems import converted

    source = checkpoint.source
    return source if (source / "model.bin").is_file() else converted(source, "ctranslate2")
