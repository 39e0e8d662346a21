"""The status line: rewritten on a terminal, a few lines elsewhere, silent about what is quick; and what is printed."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from whisper.tokenizer import LANGUAGES

from maxwhisper_impl import Whisper
from maxwhisper_impl.status import StatusLine
from tests.fuzz.scripted import DIMS, SENTENCE, Scripted


class Screen(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal
        self.seen = ""
        """by whoever reads along"""

    def isatty(self) -> bool:
        return self.is_terminal

    def flush(self) -> None:
        self.seen = self.getvalue()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Runs the status line's clock ten times as fast."""
    for name, seconds in {"QUIET": 0.1, "TICK": 0.02, "REPEAT": 0.2}.items():
        monkeypatch.setattr(f"maxwhisper_impl.status.{name}", seconds)
    return time.sleep


def test_status_is_rewritten_on_a_terminal(hurried: Callable[[float], None]) -> None:
    screen = Screen(is_terminal=True)
    with StatusLine(screen) as status:
        status("compiling")
        hurried(0.4)
        status("short")
    lines = screen.getvalue().split("\n")
    assert lines[0].startswith("\r\x1b[Kcompiling … 0 s\r\x1b[K")
    assert lines[0].endswith("compiling: done after 0 s")
    assert lines[1:] == [""], "what was over at once is not mentioned"


def test_status_is_a_few_lines_elsewhere(hurried: Callable[[float], None]) -> None:
    screen = Screen(is_terminal=False)
    with contextlib.suppress(KeyError), StatusLine(screen) as status:
        status("compiling")
        hurried(0.7)
        assert screen.seen.startswith("compiling … ")
        raise KeyError
    *repeated, last = screen.getvalue().splitlines()
    assert 2 <= len(repeated) <= 4
    assert set(repeated) == {"compiling … 0 s", "compiling … 1 s"} or set(repeated) == {"compiling … 0 s"}
    assert last == "compiling: stopped after 1 s"


def test_a_quick_step_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maxwhisper_impl.status.QUIET", 60)
    monkeypatch.setattr("maxwhisper_impl.status.TICK", 0.01)
    screen = Screen(is_terminal=True)
    with StatusLine(screen) as status:
        status("loading")
        time.sleep(0.2)
    assert screen.getvalue() == ""


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("verbose", [True, False, None])
def test_what_a_transcription_prints(batch_size: int | None, verbose: bool | None,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """In openai-whisper's words; what it says with False is beside the progress bar."""
    model = Whisper(DIMS["tiny"], Scripted(DIMS["tiny"]))  # type: ignore[arg-type]
    got = model.transcribe(np.zeros(2 * 16000, np.float32), verbose=verbose, batch_size=batch_size)
    detected = f"Detected language: {LANGUAGES[got['language']].title()}"
    lines = {None: [], False: [detected], True: [
        "Detecting language using up to the first 30 seconds. Use `--language` to specify the language",
        detected,
        f"[00:00.000 --> 00:01.500] {SENTENCE}",
    ]}  # fmt: skip
    assert capsys.readouterr().out.splitlines() == lines[verbose]
