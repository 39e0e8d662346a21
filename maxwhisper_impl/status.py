"""What the user is told on stderr: errors, warnings, and what a long step is doing and for how long."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TextIO

QUIET = 1.0
"""seconds before a step is worth a line"""
TICK = 0.5
"""seconds between two looks at the clock"""
REPEAT = 10.0
"""seconds between two lines where they cannot be rewritten in place"""


def complain(message: object) -> None:
    print(f"maxwhisper: error: {one_line(message)}", file=sys.stderr)


def warn(message: object) -> None:
    print(f"maxwhisper: warning: {one_line(message)}", file=sys.stderr)


def one_line(message: object) -> str:
    """Without line breaks, and with what does not print, which file names may hold, spelled out."""
    text = " ".join(str(message).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class StatusLine:
    """Call it with the name of each step as it starts. On a terminal it is rewritten, elsewhere repeated now and then.

    Steps shorter than a second are not mentioned. Leaving the context ends the last step.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._rewrites = self._stream.isatty()
        self._lock = threading.Lock()
        self._step: str | None = None
        self._since = 0.0
        self._shown_at: float | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> StatusLine:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with self._lock:
            self._finish("" if kind is None else "stopped")

    def __call__(self, step: str) -> None:
        with self._lock:
            self._finish("")
            self._step, self._since, self._shown_at = one_line(step), time.monotonic(), None

    def _tick(self) -> None:
        while not self._done.wait(TICK):
            with self._lock:
                now = time.monotonic()
                if self._step is None or now - self._since < QUIET:
                    continue
                if self._rewrites or self._shown_at is None or now - self._shown_at >= REPEAT:
                    self._show(f"{self._step} … {now - self._since:.0f} s")
                    self._shown_at = now

    def _finish(self, how: str) -> None:
        """The last word on a step, if there was one before."""
        if self._step is not None and self._shown_at is not None:
            self._show(f"{self._step}: {how or 'done'} after {time.monotonic() - self._since:.0f} s", last=True)
        self._step = None

    def _show(self, line: str, last: bool = False) -> None:
        if self._rewrites:
            self._stream.write(f"\r\x1b[K{line}" + ("\n" if last else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


class LiveScreen:
    """Final text goes to the stream at once. On a terminal what seems to follow is shown dimly until it is known."""

    def __init__(self, stream: TextIO, shown: bool | None = True) -> None:
        self._stream = stream
        self._shown = bool(shown)
        self._hints = stream.isatty()
        self._column = 0

    def show(self, final: str, provisional: str = "") -> None:
        if not self._shown:
            return
        columns = shutil.get_terminal_size().columns
        self._stream.write(("\x1b[K" if self._hints else "") + final)
        self._column = (self._column + len(final)) % columns
        if self._hints and (hint := provisional[: columns - self._column - 1]):
            self._stream.write(f"\x1b7\x1b[2m{hint}\x1b[0m\x1b8")
        self._stream.flush()
