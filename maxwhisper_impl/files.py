"""Writing a file whole or not at all: a killed process leaves the old one, and perhaps a hidden draft beside it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .errors import MaxWhisperError


def utf8(text: str) -> bytes:
    """What a file's name has that is no UTF-8 is spelled out, as \\udcff, which JSON reads as what it was."""
    return text.encode("utf-8", "backslashreplace")


def write_whole(path: Path, content: bytes) -> None:
    """Replaces `path` in one step, or what it links to; MaxWhisperError where it cannot be written."""
    try:
        target = Path(os.path.realpath(path))  # unlike Path.resolve, it does not raise where links lead in a circle
        if target.exists() and not target.is_file():
            target.write_bytes(content)  # a device or a pipe is written to, not replaced
            return
        draft = target.with_name(f".{secrets.token_hex(8)}.unfinished")
        try:
            with open(draft, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or a power cut could leave the name without the bytes
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise MaxWhisperError(f"{path}: cannot be written: {error.strerror}") from error
    except ValueError as error:  # a name that no file can have
        raise MaxWhisperError(f"{str(path)!r:.200} cannot be written: {error}") from error
