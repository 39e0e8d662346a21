"""Fuzzed audio: every container damaged, header fields that lie, odd arrays; a sane waveform or one AudioError."""

from __future__ import annotations

import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from maxwhisper_impl.audio import N_FRAMES, SAMPLE_RATE, LogMel, load_audio
from tests.fuzz import damage, sounds
from tests.fuzz.arrays import odd_array
from tests.fuzz.case import Case, demand, part_of

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 100_000
"""samples at most that a byte of a file may turn into: a FLAC frame of silence at 1 kHz is 65535 * 16 in 14 bytes"""
SECONDS = 0.4
RATES = (4000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000)


class Audio:
    name = "audio"
    share = 0.25
    seconds = 120.0
    memory = 384 << 20

    def prepare(self, folder: Path) -> None:
        self.sound = sounds.hum(SECONDS)
        self.seeds = sounds.all_codecs(self.sound)
        silence = sounds.encoded(np.zeros(10 * SAMPLE_RATE), "mp3", "libmp3lame", SAMPLE_RATE)
        self.silence = silence[:-1000]
        real = [*(ROOT / "fixtures" / "formats").iterdir(), ROOT / "fixtures" / "en" / "01-slt.flac"]
        self.real = {path.name: path.read_bytes() for path in sorted(real)}
        load_audio(self.seeds["flac"])
        LogMel(np.zeros(10, np.float32), 80)

    def run(self, case: Case) -> str:
        audio = part_of(self.kinds(), case)(case)
        demand(isinstance(audio, np.ndarray) and audio.dtype == np.float32 and audio.ndim == 1, f"gave {audio!r:.80}")
        demand(np.isfinite(audio).all(), "gave samples that are not finite")
        if case.chance(0.02) and len(audio) < 100 * SAMPLE_RATE:
            mel = LogMel(audio, case.one_of((80, 128)))
            demand(np.isfinite(mel.window(0)).all(), "gave a mel that is not finite")
            demand(
                mel.n_frames * 160 <= len(audio) < mel.n_frames * 160 + 160, f"{mel.n_frames} frames of {len(audio)}"
            )
            demand(mel.window(0).shape == (len(mel.window(0)), N_FRAMES), "gave a window of another size")
        return "text" if len(audio) else "empty"

    def kinds(self) -> list[tuple[float, Any]]:
        return [
            (50, self.damaged_file), (4, self.damaged_recording), (9, self.shuffled_container), (10, self.lying_header),
            (8, self.whole_file), (4, self.whole_container), (3, self.two_files), (3, self.strange_floats),
            (4, self.random_bytes), (10, self.array), (0.03, self.hours_of_silence),
        ]  # fmt: skip

    def damaged_file(self, case: Case) -> np.ndarray:
        return self.read(case, damage.damaged(case.random, self.seeds[self.any_seed(case)]))

    def damaged_recording(self, case: Case) -> np.ndarray:
        name = case.one_of(list(self.real))
        case.note(name)
        return self.read(case, damage.damaged(case.random, self.real[name], 8))

    def shuffled_container(self, case: Case) -> np.ndarray:
        name = self.any_seed(case)
        data = self.seeds[name]
        split = {
            "wav": damage.riff_chunks, "m4a": damage.boxes, "ogg": lambda d: damage.pages(d, b"OggS"),
            "mp3": lambda d: damage.pages(d, b"\xff\xf3"), "flac": lambda d: damage.pages(d, b"\xff\xf8"),
            "aac": lambda d: damage.pages(d, b"\xff\xf1"), "ts": lambda d: _pieces(d, 188),
        }  # fmt: skip
        cut = split.get(name.split(".")[-1], lambda d: _pieces(d, 64))
        return self.read(case, damage.shuffled(case.random, cut(data)))

    def lying_header(self, case: Case) -> np.ndarray:
        """A WAV file whose fields say anything."""
        data = case.random.randbytes(case.random.randint(0, 3000))
        any_number = lambda *usual: case.one_of((*usual, *damage.EXTREMES))  # noqa: E731
        rate, channels = any_number(*RATES, 1, 999, 10**7, 2 * 10**9), any_number(1, 2, 6, 8, 9) % 2**16
        bits, tag = any_number(8, 16, 24, 32, 64) % 2**16, any_number(1, 3, 6, 7, 17, 0xFFFE) % 2**16
        size = case.one_of((None, len(data) // 2, *damage.EXTREMES))
        chunk = case.one_of((b"LIST", b"fact", b"JUNK", b"data", b"id3 ", b"fmt "))
        body = case.random.randbytes(case.random.randint(0, 40))
        claimed = case.one_of((len(body), *damage.EXTREMES)) % 2**32
        chunks = [chunk + struct.pack("<I", claimed) + body] if case.chance(0.5) else []
        case.note(f"rate {rate}, channels {channels}, bits {bits}, tag {tag}, size {size}, chunks {chunks}")
        return self.read(case, sounds.wav(data, rate, channels, bits, tag, size=size, chunks=chunks))

    def whole_file(self, case: Case) -> np.ndarray:
        """Any rate, sample format and number of channels: the sound has to be there."""
        rate, form, channels = (
            case.one_of(RATES),
            case.one_of(list(sounds.FORMS)),
            case.one_of((1, 2, 3, 4, 5, 6, 7, 8)),
        )
        case.note(f"rate {rate}, {form}, channels {channels}")
        samples = np.repeat(sounds.hum(SECONDS, rate)[:, None], channels, axis=1)
        tag, bits = sounds.FORMS[form]
        return self.heard(self.read(case, sounds.wav(sounds.quantised(samples, form), rate, channels, bits, tag)))

    def whole_container(self, case: Case) -> np.ndarray:
        name = self.any_seed(case)
        audio = self.read(case, self.seeds[name])
        if name in sounds.LOSSLESS:
            want = np.round(self.sound * 32768) / 32768
            demand(len(audio) == len(want), f"gave {len(audio)} samples of {len(want)}")
            demand(np.abs(audio - want).max() < 2 / 32768, "gave other samples")
        return self.heard(audio)

    def two_files(self, case: Case) -> np.ndarray:
        name = self.any_seed(case)
        first = self.seeds[name]
        second = self.seeds[self.any_seed(case) if case.chance(0.5) else name]
        audio = self.read(case, first + case.one_of((b"", bytes(1000), b"junk" * 9)) + second)
        demand(len(audio) < 3.5 * len(self.sound), f"gave {len(audio)} samples of two times {len(self.sound)}")
        return audio

    def strange_floats(self, case: Case) -> np.ndarray:
        samples = sounds.hum(SECONDS).astype(case.one_of((np.float32, np.float64)))
        strange = (np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-40, 1e308)
        for _ in range(case.one_of((1, 1, 10, 1000))):
            with np.errstate(over="ignore"):
                samples[case.random.randrange(len(samples))] = case.one_of(strange)
        bits = 8 * samples.itemsize
        audio = self.read(case, sounds.wav(samples.tobytes(), bits=bits, tag=3))
        demand(len(audio) == len(samples), f"gave {len(audio)} samples of {len(samples)}")
        return audio

    def random_bytes(self, case: Case) -> np.ndarray:
        magic = (b"", b"", b"RIFF", b"OggS", b"fLaC", b"ID3\x04", b"\xff\xfb\x90", b"\x00\x00\x00\x1cftypM4A ",
                 b"\x1aE\xdf\xa3",
                 b"#!AMR\n", b"caff\x00\x01", b"FORM", b".snd", b"wvpk", b"#EXTM3U\n",
                 b"ffconcat version 1.0\n")  # fmt: skip
        body = case.random.randbytes(case.one_of((0, 1, 10, 100, 2000)))
        if case.chance(0.2):  # what names other files must not read them
            body = b"file '/etc/passwd'\nfile 'x.wav'\nhttp://127.0.0.1:9/x\n" * 3
        return self.read(case, case.one_of(magic) + body)

    def array(self, case: Case) -> np.ndarray:
        return load_audio(odd_array(case))

    def hours_of_silence(self, case: Case) -> np.ndarray:
        hours = case.one_of((1, 1, 2))
        samples = hours * 3600 * SAMPLE_RATE
        case.allowance = 3 * 4 * samples
        if case.chance(0.5):
            audio = load_audio(case.write("hours.mp3", self.silence * 360 * hours))
            demand(abs(len(audio) / samples - 1) < 0.05, f"gave {len(audio) / SAMPLE_RATE} s of {hours} h")
        else:
            path = case.write("hours.wav", sounds.wav(b"", size=2 * samples))
            os.truncate(path, path.stat().st_size + 2 * samples)
            audio = load_audio(path)
            demand(len(audio) == samples, f"gave {len(audio)} samples of {samples}")
        demand(not audio.any(), "heard something in silence")
        return audio

    def any_seed(self, case: Case) -> str:
        name = case.one_of(list(self.seeds))
        case.note(name)
        return name

    def heard(self, audio: np.ndarray) -> np.ndarray:
        """The sound that all seeds hold, with the delay that a codec adds."""
        demand(0.95 < len(audio) / len(self.sound) < 1.5, f"gave {len(audio)} samples, the sound has {len(self.sound)}")
        alike = sounds.likeness(audio, self.sound[2000:5000])
        demand(alike > 0.9, f"is not the sound: correlation {alike:.2f}")
        return audio

    def read(self, case: Case, data: bytes) -> np.ndarray:
        path = case.write(f"audio{case.one_of(('', '.wav', '.mp3', '.ogg', '.txt'))}", data)
        way = case.one_of(("path", "name", "bytes", "view", "file", "memory", "pipe", "stdin"))
        case.note(f"{len(data)} bytes as {way}")
        audio = load_given(path, data, way)
        limit = LONGEST * len(data)
        demand(len(audio) <= limit, f"gave {len(audio)} samples of {len(data)} bytes")
        demand(np.abs(audio).max(initial=0) <= 1, "gave samples beyond full scale")
        return audio


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


class Pipe(io.RawIOBase):
    """Bytes that can be read once, in pieces, and not be sought in."""

    def __init__(self, data: bytes):
        self.rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any) -> int:
        return self.rest.readinto(memoryview(buffer)[:1000])


def load_given(path: Path, data: bytes, way: str) -> np.ndarray:
    """The audio in a file, given in one of the ways that `load_audio` takes."""
    if way == "file":
        with path.open("rb") as file:
            return load_audio(file)
    if way == "stdin":
        usual, sys.stdin = sys.stdin, io.TextIOWrapper(io.BufferedReader(Pipe(data)))
        try:
            return load_audio("-")
        finally:
            sys.stdin = usual
    sources = {
        "path": lambda: path, "name": lambda: str(path), "bytes": lambda: data, "view": lambda: memoryview(data),
        "memory": lambda: io.BytesIO(data), "pipe": lambda: Pipe(data),
    }  # fmt: skip
    return load_audio(sources[way]())
