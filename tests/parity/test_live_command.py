"""`maxwhisper transcribe --live -`: text as it becomes final, files in the end, whatever the end is."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from maxwhisper_impl import Whisper, cli, commands
from maxwhisper_impl.live import LiveTranscription
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


@pytest.mark.parametrize(("flags", "passes"), [([], 9), (["--step", "3"], 3), (["--step", "10"], 1)])
def test_it_looks_as_often_as_asked(
    flags: list[str], passes: int, hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine seconds of audio: every second, or as `--step` says."""
    monkeypatch.setattr(sys, "stdin", Pipe((audio(9.0) * 32768).astype("<i2").tobytes()))
    monkeypatch.setattr(commands, "CHUNK", 3200)
    assert cli.main(["transcribe", "--live", "-", "--model", "tiny.en", *flags]) == 0
    assert len(hearing.passes) in (passes, passes + 1)  # the end may be looked at once more


@pytest.mark.parametrize(("flags", "latest"), [([], 10.0), (["--max_delay", "4"], 4.0)])
def test_a_word_is_final_as_soon_as_asked(
    flags: list[str], latest: float, monkeypatch: pytest.MonkeyPatch, hearing: Hearing
) -> None:
    made: list[LiveTranscription] = []
    live = Whisper.live
    monkeypatch.setattr(Whisper, "live", lambda self, **given: made.append(live(self, **given)) or made[-1])
    monkeypatch.setattr(sys, "stdin", Pipe(b""))
    assert cli.main(["transcribe", "--live", "-", "--model", "tiny.en", *flags]) == 0
    assert made[0]._max_delay == latest * 16000


class Screen(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.isatty = lambda: terminal
        self.seen = ""

    def flush(self) -> None:
        """Whoever reads a pipe sees what was written before this."""
        self.seen = self.getvalue()


def test_a_terminal_shows_what_is_provisional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dimly behind the final text, at most to the end of the line, and erased before the next text."""
    monkeypatch.setenv("COLUMNS", "12")
    screen = Screen(terminal=True)
    show = LiveScreen(screen).show
    show(" one", " two three")
    show(" two", " three")
    assert screen.getvalue() == "\x1b[K one\x1b7\x1b[2m two th\x1b[0m\x1b8\x1b[K two\x1b7\x1b[2m th\x1b[0m\x1b8"


@pytest.mark.parametrize(("shown", "written"), [(True, " one two"), (False, ""), (None, "")])
def test_elsewhere_only_what_is_final(shown: bool | None, written: str) -> None:
    screen = Screen(terminal=False)
    show = LiveScreen(screen, shown).show
    show(" one", " two three")
    assert screen.seen == written[:4]
    show(" two")
    assert screen.seen == screen.getvalue() == written
