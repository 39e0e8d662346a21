"""A page's recordings: whole where there is room, else their beginning, and never another recording."""

from __future__ import annotations

import wave
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.report import sound
from maxwhisper_impl.report.kinds import Audio
from maxwhisper_impl.report.sound import sounds


def tone(path: Path, seconds: float) -> str:
    samples = 8000 * np.sin(np.arange(round(16000 * seconds)) * 2 * np.pi * 440 / 16000)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return str(path)


def decoded(uri: str | None) -> np.ndarray:
    head, _, data = (uri or "").partition(",")
    assert head == "data:audio/mpeg;base64"
    return load_audio(b64decode(data))


def test_a_recording_is_embedded_whole(tmp_path: Path) -> None:
    file = tone(tmp_path / "a.wav", 5)
    got = sounds([Audio(file, 5.0)])[file]
    assert got.note == "all 5 s, MP3 at 32 kbit/s"
    heard, want = decoded(got.uri), load_audio(file)
    assert abs(len(heard) - len(want)) < 2000
    spectrum = np.abs(np.fft.rfft(heard[16000:32000]))
    assert spectrum.argmax() == 440
    assert np.abs(heard).max() == pytest.approx(8000 / 32768, rel=0.1)


@pytest.mark.parametrize(
    ("room", "note"),
    [
        (88_000, "all 8 s, MP3 at 32 kbit/s"),
        (68_000, "all 8 s, MP3 at 24 kbit/s"),
        (46_000, "all 8 s, MP3 at 16 kbit/s"),
        (30_000, "the first 5 s of 8 s, MP3 at 16 kbit/s"),
    ],
)
def test_as_much_as_there_is_room_for(room: int, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "ROOM", room)
    files = [tone(tmp_path / name, 8) for name in ("a.wav", "b.wav")]
    got = sounds([Audio(file, 8.0) for file in files])
    assert {s.note for s in got.values()} == {note}
    assert sum(len(s.uri or "") for s in got.values()) <= sound.ROOM + 100


def test_what_cannot_be_played_says_why(tmp_path: Path) -> None:
    file, gone, text = tone(tmp_path / "a.wav", 5), str(tmp_path / "gone.wav"), tmp_path / "text.wav"
    text.write_text("no audio")
    got = sounds([Audio(file, 7.0), Audio(gone, 5.0), Audio(str(text), 5.0)])
    assert {s.uri for s in got.values()} == {None}
    assert got[file].note == "not embedded: the file has 5.0 s, and the comparison heard 7.0 s"
    assert got[gone].note.startswith("not embedded: the file is not where the comparison found it")
    assert got[str(text)].note.startswith("not embedded: ")


def test_no_recordings() -> None:
    assert sounds([]) == {}
