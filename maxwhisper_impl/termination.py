"""SIGTERM as an exception, so that unfinished files are taken away and the last line says what happened."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from .status import complain

STATUS = 128 + signal.SIGTERM
GRACE = 2.0
"""seconds for the main thread to unwind; a service manager waits for 10 and more before it kills"""
END = b"\0"
"""no signal's number"""
SOON = 0.01
"""seconds until what was raised where nothing can be raised is raised again"""


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
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_raise_elsewhere, hook)
    try:
        yield
    except Exception as error:
        if ended := _behind(error):
            raise ended from None
        raise
    finally:
        sys.unraisablehook = hook
        left.set()
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.write(said, END)  # not the pipe's end, which a forked child would hold open
        watcher.join()
        os.close(said)
        os.close(heard)


def _raise(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: a second one must not stop the unwinding
    raise Terminated


def _raise_elsewhere(hook: Callable[[Any], object], swallowed: Any) -> None:
    """Destructors and callbacks of weak references, in which Python may run a handler, raise nothing."""
    if swallowed.exc_type is not Terminated:
        hook(swallowed)
        return
    signal.signal(signal.SIGTERM, _raise)
    again = threading.Timer(SOON, signal.pthread_kill, [threading.main_thread().ident, signal.SIGTERM])
    again.daemon = True
    again.start()


def _behind(error: BaseException | None) -> Terminated | None:
    """What was being unwound when the error was raised: PyTorch's writer of files raises one of its own then."""
    while error and not isinstance(error, Terminated):
        error = error.__context__
    return error


def _watch(heard: int, left: threading.Event) -> None:
    """Reads the numbers of signals as they arrive, until END."""
    while END not in (numbers := os.read(heard, 64)):
        if signal.SIGTERM in numbers and not left.wait(GRACE):
            complain("terminated")
            os._exit(STATUS)
