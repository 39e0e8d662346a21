"""Writing a file whole or not at all: a killed process leaves the old one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import MaxWhisperError


def write_whole(path: Path, content: bytes) -> None:
    """Replaces `path` in one step; MaxWhisperError where it cannot be written."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o666 & ~_umask())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise MaxWhisperError(f"{path}: cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
