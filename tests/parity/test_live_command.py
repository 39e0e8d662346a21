"""`maxwhisper transcribe --live -`: text as it becomes final, files in the end, whatever the end is."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from maxwhisper_impl import Whisper, cli, commands
from maxwhisper_impl.status import LiveScreen
from tests.parity.fake_speech import Hearing, Raw, audio


class Pipe(io.BytesIO):
    """Standard input: what it gives, and what happens then."""

    def __init__(self, given: bytes, then: BaseException | None = None) -> None:
        super().__init__(given)
        self.buffer, self.then = self, then

    def read1(self, size: int | None = -1) -> bytes:
        data = super().read1(size)
        if not data and self.then:
            raise self.then
        return data


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hearing:
    hearing = Hearing(sentence=4)
    monkeypatch.setattr("maxwhisper_impl.live.LogMel", Raw)
    monkeypatch.setattr(commands, "_load", lambda options: Whisper(hearing.dims, hearing))
    monkeypatch.chdir(tmp_path)
    return hearing


ENDS = [(None, 0, ""), (KeyboardInterrupt(), 0, ""), (OSError(5, "gone"), 1, "maxwhisper: error: standard input: gone")]


@pytest.mark.parametrize(("then", "status", "error"), ENDS, ids=["ends", "interrupted", "fails"])
@pytest.mark.parametrize("verbose", ["True", "False"])
def test_everything_heard_is_printed_and_written(
    then: BaseException | None, status: int, error: str, verbose: str, hearing: Hearing, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    heard = (audio(9.0) * 32768).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", Pipe(heard, then))
    assert cli.main(["transcribe", "--live", "-", "--model", "tiny.en", "--verbose", verbose, "-f", "txt"]) == status
    out, err = capsys.readouterr()
    assert out == (hearing.said(9.0) + "\n" if verbose == "True" else "")
    assert err.strip() == error
    assert (tmp_path / "stdin.txt").read_text().split() == hearing.said(9.0).split()


class Screen(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.isatty = lambda: terminal


def test_a_terminal_shows_what_is_provisional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dimly behind the final text, at most to the end of the line, and erased before the next text."""
    monkeypatch.setenv("COLUMNS", "12")
    screen = Screen(terminal=True)
    show = LiveScreen(screen).show
    show(" one", " two three")
    show(" two")
    assert screen.getvalue() == "\x1b[K one\x1b7\x1b[2m two th\x1b[0m\x1b8\x1b[K two"


@pytest.mark.parametrize(("shown", "written"), [(True, " one two"), (False, ""), (None, "")])
def test_elsewhere_only_what_is_final(shown: bool | None, written: str) -> None:
    screen = Screen(terminal=False)
    show = LiveScreen(screen, shown).show
    show(" one", " two three")
    show(" two")
    assert screen.getvalue() == written
