"""Files and arrays to samples: `maxwhisper_impl.audio.load_audio` and what goes with it."""

import io
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxwhisper_impl import audio
from tests.parity import media

CONSTANTS = ("SAMPLE_RATE", "N_FFT", "HOP_LENGTH", "CHUNK_LENGTH", "N_SAMPLES", "N_FRAMES", "N_SAMPLES_PER_TOKEN",
             "FRAMES_PER_SECOND", "TOKENS_PER_SECOND")  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_constant_is_the_oracles(name):
    import whisper.audio

    assert getattr(audio, name) == getattr(whisper.audio, name)


def test_speech_files_have_the_samples_that_faster_whisper_decodes(clips):
    """Clips of every suffix: another loop over the same FFmpeg libraries gives the same samples."""
    from faster_whisper import decode_audio

    suffixes = {clip.audio.suffix for clip in clips}
    assert suffixes
    for clip in (c for suffix in suffixes for c in [c for c in clips if c.audio.suffix == suffix][:6]):
        got, want = audio.load_audio(clip.audio), decode_audio(str(clip.audio))
        assert got.dtype == np.float32, clip.id
        assert got.shape == want.shape, clip.id
        assert np.array_equal(got, want), f"{clip.id}: sample {np.flatnonzero(got != want)[0]} differs"
        assert abs(len(got) / audio.SAMPLE_RATE - clip.seconds) < 0.1, clip.id


@pytest.mark.parametrize("name", media.LOSSLESS)
def test_lossless_file_at_16_khz_is_its_samples_over_32768(name):
    samples = media.noise(0.7)
    assert np.array_equal(audio.load_audio(media.encoded(name, samples)), samples.astype(np.float32) / 32768)


def _tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return 0.25 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def _int16(x: np.ndarray) -> np.ndarray:
    return np.round(x * 32768).astype(np.int16)


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_tone_keeps_its_pitch_level_and_place_at_every_rate(rate, channels):
    """Against the sine itself: no gain, no delay, no drift, and every channel counted once."""
    stored = _int16(_tone(rate))
    got = audio.load_audio(media.wav(stored if channels == 1 else np.repeat(stored[:, None], channels, 1), rate))
    want = _tone(audio.SAMPLE_RATE)
    assert len(got) == len(want)
    inner = slice(800, -800)  # the resampler rings at both ends
    error = np.abs(got[inner] - want[inner]).max()
    assert error < 0.002, f"off by {error:.4f} of 0.25: one sample of delay would be {np.abs(np.diff(want)).max():.4f}"


def test_stereo_is_the_mean_of_its_channels():
    left, right = media.noise(0.3, seed=1), media.noise(0.3, seed=2)
    got = audio.load_audio(media.wav(np.stack([left, right], 1))) * 32768
    assert np.abs(got - (left.astype(float) + right) / 2).max() <= 0.5
    assert not audio.load_audio(media.wav(np.stack([left, -left], 1))).any()


class Pipe(io.RawIOBase):
    """A binary stream that can only be read forwards."""

    def __init__(self, data: bytes) -> None:
        self.source = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self.source.readinto(buffer)


@pytest.mark.parametrize("kind", ["str", "Path", "open file", "bytes", "bytearray", "BytesIO", "pipe"])
def test_every_kind_of_source_gives_the_same_samples(kind, tmp_path):
    samples = media.noise(0.5)
    data, path = media.encoded("flac", samples), tmp_path / "speech.flac"
    path.write_bytes(data)
    want = samples.astype(np.float32) / 32768
    if kind == "open file":
        with path.open("rb") as file:
            assert np.array_equal(audio.load_audio(file), want)
        return
    source = {"str": str(path), "Path": path, "bytes": data, "bytearray": bytearray(data), "BytesIO": io.BytesIO(data),
              "pipe": Pipe(data)}[kind]  # fmt: skip
    assert np.array_equal(audio.load_audio(source), want)


@pytest.mark.parametrize("name", ["a:b.wav", "-x.wav", "100%d.wav", "日本 語.wav", "no_suffix", "wrong.mp3"])
def test_file_name_does_not_matter(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(media.wav(media.noise(0.1)))
    assert np.array_equal(audio.load_audio(name), media.noise(0.1).astype(np.float32) / 32768)


def test_a_named_pipe_is_read_to_its_end(tmp_path):
    """Whose size is 0, as an empty file's."""
    pipe, samples = tmp_path / "pipe", media.noise(0.5)
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(pipe.write_bytes, media.wav(samples))
        got = audio.load_audio(pipe)
        written.result()
    assert np.array_equal(got, samples.astype(np.float32) / 32768)


def test_an_address_is_fetched(tmp_path):
    samples = media.noise(0.5)
    (tmp_path / "a.flac").write_bytes(media.encoded("flac", samples))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            assert np.array_equal(audio.load_audio(f"{address}/a.flac"), samples.astype(np.float32) / 32768)
            with pytest.raises(audio.AudioError, match=f"{address}/b.flac cannot be read as audio: .*404"):
                audio.load_audio(f"{address}/b.flac")
        finally:
            server.shutdown()


def test_an_address_that_breaks_off_gives_what_came():
    """Half of what it promised."""
    samples = media.noise(4)
    data = media.wav(samples)

    class Broken(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            got = audio.load_audio(f"http://127.0.0.1:{server.server_port}/a.wav")
        finally:
            server.shutdown()
    assert len(samples) // 2 - 2048 <= len(got) <= len(samples) // 2
    assert np.array_equal(got, samples[: len(got)].astype(np.float32) / 32768)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        """Not on standard error."""


def test_dash_is_standard_input():
    script = "import sys; from maxwhisper_impl.audio import *; sys.stdout.buffer.write(load_audio('-').tobytes())"
    samples = media.noise(0.5)
    run = subprocess.run([sys.executable, "-c", script], input=media.wav(samples), capture_output=True, check=True)
    assert np.array_equal(np.frombuffer(run.stdout, np.float32), samples.astype(np.float32) / 32768)


def test_audio_of_a_video_is_found():
    heard = media.noise(0.5)
    film = media.muxed("matroska", [("pcm_s16le", heard, 16000, True)], video="mpeg4")
    assert np.array_equal(audio.load_audio(film), heard.astype(np.float32) / 32768)


@pytest.mark.parametrize(("defaults", "chosen"), [((False, True), 1), ((True, False), 0), ((True, True), 0)])
def test_of_several_audio_streams_the_default_is_read(defaults, chosen):
    voices = [media.noise(0.5, seed=1), media.noise(0.5, seed=2)]
    film = media.muxed("matroska", [("pcm_s16le", v, 16000, d) for v, d in zip(voices, defaults, strict=True)])
    assert np.array_equal(audio.load_audio(film), voices[chosen].astype(np.float32) / 32768)


@pytest.mark.parametrize(("default", "chosen"), [((False, False), 1), ((True, False), 0), ((True, True), 1)])
def test_of_streams_marked_alike_the_one_with_most_channels_is_read(default, chosen):
    """As by FFmpeg's command."""
    mono, stereo = media.noise(0.5, seed=1), np.repeat(media.noise(0.5, seed=2)[:, None], 2, 1)
    film = media.muxed("matroska", [("pcm_s16le", v, 16000, d) for v, d in zip((mono, stereo), default, strict=True)])
    want = (mono, stereo[:, 0])[chosen]
    assert np.array_equal(audio.load_audio(film), want.astype(np.float32) / 32768)


def test_a_title_in_another_encoding_does_not_matter():
    """As old tools write it: PyAV refuses the file unless it is told to look away."""
    samples = media.noise(0.3)
    data, title = media.wav(samples), "Größe".encode("latin-1") + b"\0"
    info = b"INFOINAM" + len(title).to_bytes(4, "little") + title
    data = data[:36] + b"LIST" + len(info).to_bytes(4, "little") + info + data[36:]
    with pytest.raises(UnicodeDecodeError):
        av.open(io.BytesIO(data))
    assert np.array_equal(audio.load_audio(data), samples.astype(np.float32) / 32768)


def test_stream_that_changes_its_rate_midway_is_read_to_the_end():
    first, second = (media.encoded("aac.ts", _int16(_tone(rate, 2)), rate) for rate in (48000, 16000))
    got, alone = audio.load_audio(first + second), [audio.load_audio(part) for part in (first, second)]
    assert abs(len(got) - sum(map(len, alone))) < 3000  # AAC's priming frame once or twice
    for place, part in (("start", got[4000:20000]), ("end", got[-20000:-4000])):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert spectrum.argmax() == 440, f"the tone at the {place} lies at {spectrum.argmax()} Hz"
        assert np.abs(part).max() == pytest.approx(0.25, abs=0.02), place


def test_stream_that_turns_up_midway_does_not_end_the_first():
    """Broadcasts do this. Stuffing and a pipe keep FFmpeg from seeing the second stream before it gets there."""
    voices = [("aac", media.noise(2, seed=seed), 16000, False) for seed in (1, 2)]
    one, two = media.muxed("mpegts", voices[:1]), media.muxed("mpegts", voices)
    stuffing = (b"\x47\x1f\xff\x10" + bytes(184)) * 32_000
    alone = audio.load_audio(Pipe(one))
    got = audio.load_audio(Pipe(one + stuffing + two))
    assert np.array_equal(got[: len(alone) - 2048], alone[:-2048])
    assert len(got) > 1.9 * len(alone)


def test_damaged_packet_is_skipped_and_the_rest_is_heard():
    samples = media.noise(2)
    data = bytearray(media.encoded("alac.m4a", samples))
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    got, want = audio.load_audio(bytes(data)), samples.astype(np.float32) / 32768
    assert len(want) - 2 * 4096 <= len(got) < len(want)
    assert np.array_equal(got[:12000], want[:12000])
    assert np.array_equal(got[-12000:], want[-12000:])


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "int16", "big-endian", "big-endian int16", "torch", "every second sample", "read-only"],
)
def test_array_is_taken_as_16_khz_samples(dtype):
    import torch

    want = media.noise(0.2).astype(np.float32) / 32768
    frozen = want.copy()
    frozen.flags.writeable = False
    source = {"float32": want, "float64": want.astype(np.float64), "int16": media.noise(0.2),
              "big-endian": want.astype(">f4"), "big-endian int16": media.noise(0.2).astype(">i2"),
              "torch": torch.from_numpy(want),
              "every second sample": np.repeat(want, 2)[::2], "read-only": frozen}[dtype]  # fmt: skip
    got = audio.load_audio(source)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert np.array_equal(got, want)


def test_floats_beyond_full_scale_are_taken_as_they_are():
    """Decoders, mixers and resamplers overshoot; the mel has no limit."""
    loud = np.array([0.5, 1.2, -3.5, 40.0], np.float32)
    assert np.array_equal(audio.load_audio(loud), loud)


def test_float32_array_is_not_copied():
    samples = media.noise(0.1).astype(np.float32) / 32768
    assert audio.load_audio(samples) is samples


def test_ten_minutes_exist_in_one_copy():
    data = media.wav(np.tile(media.noise(10), 60))
    n = 600 * audio.SAMPLE_RATE
    audio.load_audio(data[:64000])  # what is imported and cached once
    tracemalloc.start()
    try:
        got = audio.load_audio(io.BytesIO(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(got) == n
    # FFmpeg's file object hands the bytes through; int16 while reading (2) and the result (4).
    assert peak < 7 * n, f"{peak / n:.1f} bytes a sample at the peak, where the result has 4 and the oracle needs 12"


@given(shape=st.lists(st.integers(0, 6), min_size=1, max_size=3), length=st.integers(0, 8), data=st.data())
def test_pad_or_trim_is_the_oracles(shape, length, data):
    from whisper.audio import pad_or_trim

    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    array = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    got, want = audio.pad_or_trim(array, length, axis=axis), pad_or_trim(array, length, axis=axis)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    assert np.array_equal(got, want)


def test_pad_or_trim_makes_a_window_by_default():
    assert audio.pad_or_trim(np.ones(10, np.float32)).shape == (audio.N_SAMPLES,)
    assert audio.pad_or_trim(np.ones(audio.N_SAMPLES + 5, np.float32)).shape == (audio.N_SAMPLES,)
