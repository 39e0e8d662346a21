"""SIGTERM as an exception, so that unfinished files are taken away and the last line says what happened."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from .status import complain

STATUS = 128 + signal.SIGTERM
GRACE = 2.0
"""seconds for the main thread to unwind; a service manager waits for 10 and more before it kills"""


class Terminated(BaseException):
    """The process was asked to end. Like KeyboardInterrupt it passes by whoever catches Exception."""


@contextmanager
def terminable() -> Generator[None]:
    """Within it SIGTERM raises Terminated in the main thread.

    Python runs handlers between two of its own instructions, and MAX compiles for half a minute without one. So a
    thread watches: if the context is not left within GRACE, the process says so and ends. Elsewhere than in the main
    thread, or where somebody handles SIGTERM already, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    heard, said = os.pipe()
    os.set_blocking(said, False)
    left = threading.Event()
    signal.signal(signal.SIGTERM, _raise)
    before = signal.set_wakeup_fd(said, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(heard, left), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(said)
        watcher.join()
        os.close(heard)


def _raise(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: a second one must not stop the unwinding
    raise Terminated


def _watch(heard: int, left: threading.Event) -> None:
    """Reads the numbers of signals as they arrive, until the pipe is closed."""
    while numbers := os.read(heard, 64):
        if signal.SIGTERM in numbers and not left.wait(GRACE):
            complain("terminated")
            os._exit(STATUS)
