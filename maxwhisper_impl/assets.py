"""The files that the `openai-whisper` wheel carries, found without importing it (that would import torch)."""

from importlib.util import find_spec
from pathlib import Path


def asset(name: str) -> Path:
    """Path of `whisper/assets/<name>`. Raises FileNotFoundError that says what to install."""
    spec = find_spec("whisper")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, "assets", name)).is_file():
            return path
    raise FileNotFoundError(f"whisper/assets/{name} is not installed; it comes with `pip install openai-whisper`")
