"""SHA-256 of files, remembered in the user's cache, so that a warm start does not hash every weight again."""

import hashlib
import json
import os
from pathlib import Path

from ..errors import MaxWhisperError
from ..files import write_whole


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/maxwhisper`, by default `~/.cache/maxwhisper`."""
    return Path(os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache", "maxwhisper")


def _identity(path: Path) -> list[int]:
    """Changes whenever the content does: nobody sets a file's ctime, the system does at every change."""
    state = path.stat()
    return [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def sha256(path: Path) -> str:
    """Hex digest of a file; hashed again unless this same file, unchanged, has been hashed before."""
    path = path.resolve()
    note = cache_folder() / "hashes" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    before = _identity(path)
    try:
        known = json.loads(note.read_bytes())
        if isinstance(known, dict) and known.get("identity") == before and known.get("path") == str(path):
            return str(known.get("sha256"))
    except (OSError, ValueError):
        pass  # nothing known, or unreadable: hash
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if _identity(path) == before:
        _remember(note, {"path": str(path), "identity": before, "sha256": digest})
    return digest


def _remember(note: Path, known: dict[str, object]) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps(known).encode())
    except (MaxWhisperError, OSError):
        pass  # a cache that cannot be written costs time, not correctness
