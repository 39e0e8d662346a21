"""Audio that the cases start from: short, and the same bytes on each run."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import av
import numpy as np

BIT_EXACT = {"fflags": "+bitexact"}
CODECS = {
    # name: (container, codec, sample rate)
    "wav": ("wav", "pcm_s16le", 16000),
    "flac": ("flac", "flac", 16000),
    "aiff": ("aiff", "pcm_s16be", 16000),
    "alac.m4a": ("ipod", "alac", 16000),
    "pcm.mka": ("matroska", "pcm_s16le", 16000),
    "caf": ("caf", "pcm_s16le", 16000),
    "au": ("au", "pcm_s16be", 16000),
    "mp3": ("mp3", "libmp3lame", 16000),
    "opus.ogg": ("ogg", "libopus", 48000),
    "aac.m4a": ("ipod", "aac", 16000),
    "aac.adts": ("adts", "aac", 16000),
    "opus.webm": ("webm", "libopus", 48000),
    "aac.ts": ("mpegts", "aac", 16000),
    "ac3": ("ac3", "ac3", 48000),
    "mp2": ("mp2", "mp2", 16000),
    "tta": ("tta", "tta", 16000),
    "wv": ("wv", "wavpack", 16000),
    "ulaw.wav": ("wav", "pcm_mulaw", 8000),
    "adpcm.wav": ("wav", "adpcm_ima_wav", 16000),
    "aac.flv": ("flv", "aac", 16000),
}
LOSSLESS = ("wav", "flac", "aiff", "alac.m4a", "pcm.mka", "caf", "au")
FORMS = {"u8": (1, 8), "s16": (1, 16), "s24": (1, 24), "s32": (1, 32), "flt": (3, 32), "dbl": (3, 64)}
"""sample formats of WAV files: (format tag, bits)"""


def hum(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """float64 [n] within ±0.5: a few tones below 1.5 kHz, so that any rate above 4 kHz holds them."""
    numbers = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = zip(numbers.uniform(100, 1500, 5), numbers.uniform(0, 6, 5), strict=True)
    return 0.1 * np.sum([np.sin(2 * np.pi * hertz * time + phase) for hertz, phase in tones], axis=0)


def encoded(samples: np.ndarray, container: str, codec: str, rate: int, layout: str = "mono") -> bytes:
    """float samples [n] or [n, channels] at `rate` through FFmpeg."""
    columns = samples.reshape(len(samples), -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(columns.T, np.float32), format="fltp", layout=layout)
    frame.sample_rate = rate
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=BIT_EXACT) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.flags |= 1 << 23  # bit exact: no version in the stream
        stream.codec_context.open(strict=False)
        size = stream.codec_context.frame_size or None
        shaped = av.AudioResampler(stream.codec_context.format.name, layout, rate, frame_size=size)
        for part in (*shaped.resample(frame), *shaped.resample(None)):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return out.getvalue()


def likeness(audio: np.ndarray, part: np.ndarray) -> float:
    """The correlation of `part` with the place in `audio` that is most like it."""
    if len(audio) < len(part):
        return 0.0
    products = np.correlate(audio.astype(np.float64), part, "valid")
    energy = np.convolve(np.square(audio, dtype=np.float64), np.ones(len(part)), "valid")
    return float((products / np.sqrt(np.maximum(energy, 1e-9) * np.square(part).sum())).max())


def all_codecs(samples: np.ndarray) -> dict[str, bytes]:
    """The same sound in every container; `samples` at 16 kHz, those of other rates get it resampled."""
    made = {}
    for name, (container, codec, rate) in CODECS.items():
        at = np.interp(np.arange(0, len(samples), 16000 / rate), np.arange(len(samples)), samples)
        made[name] = encoded(at, container, codec, rate)
    return made


def quantised(samples: np.ndarray, form: str) -> bytes:
    """Little endian samples of one of FORMS."""
    whole = np.clip(samples, -1, 1 - 2**-31)
    if form == "u8":
        return np.round(whole * 127 + 128).astype(np.uint8).tobytes()
    if form == "s24":
        wide = np.floor(whole * 2**23).astype("<i4").reshape(-1)
        return np.ascontiguousarray(wide.view(np.uint8).reshape(-1, 4)[:, :3]).tobytes()
    kinds = {"s16": ("<i2", 2**15), "s32": ("<i4", 2**31), "flt": ("<f4", 1), "dbl": ("<f8", 1)}
    dtype, scale = kinds[form]
    scaled = np.clip(np.round(whole * scale), -scale, scale - 1) if scale > 1 else samples
    return scaled.astype(dtype).tobytes()


def wav(
    data: bytes, rate: int = 16000, channels: int = 1, bits: int = 16, tag: int = 1, *,
    size: int | None = None, chunks: Sequence[bytes] = (),
) -> bytes:  # fmt: skip
    """A WAV file whose header claims what it is told; `size` of the data, by default the truth."""
    align = min(channels * bits // 8, 0xFFFF)
    form = struct.pack("<HHIIHH", tag, channels, rate % 2**32, rate * align % 2**32, align, bits)
    size = len(data) if size is None else size
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"".join(chunks)
    body += b"data" + struct.pack("<I", size % 2**32) + data
    return b"RIFF" + struct.pack("<I", len(body) % 2**32) + body
