"""Small media files made in memory, for the tests of what reads them."""

import io
import wave

import av
import numpy as np

CONTAINERS = {
    # name: (container, codec, sample rate); the first five are lossless at 16 bit
    "wav": ("wav", "pcm_s16le", 16000),
    "flac": ("flac", "flac", 16000),
    "aiff": ("aiff", "pcm_s16be", 16000),
    "alac.m4a": ("ipod", "alac", 16000),
    "pcm.mka": ("matroska", "pcm_s16le", 16000),
    "mp3": ("mp3", "libmp3lame", 16000),
    "opus.ogg": ("ogg", "libopus", 48000),
    "aac.m4a": ("ipod", "aac", 16000),
    "opus.webm": ("webm", "libopus", 48000),
    "aac.ts": ("mpegts", "aac", 16000),
}
LOSSLESS = tuple(CONTAINERS)[:5]


def noise(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """int16 [n_samples], a quarter of full scale."""
    return np.random.default_rng(seed).integers(-8192, 8192, int(seconds * rate), np.int16)


def wav(samples: np.ndarray, rate: int = 16000) -> bytes:
    """A WAV file of int16 samples, [n] or [n, channels], written without FFmpeg."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


def encoded(name: str, samples: np.ndarray, rate: int | None = None) -> bytes:
    """int16 mono samples at the container's own rate (or at `rate`) in one of CONTAINERS."""
    container, codec, usual = CONTAINERS[name]
    return muxed(container, [(codec, samples, rate or usual, False)])


def muxed(container: str, audio: list[tuple[str, np.ndarray, int, bool]], video: str | None = None) -> bytes:
    """A file with the audio streams (codec, int16 samples, [n] or [n, 2], rate, marked as default), behind a picture
    if asked."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        picture = file.add_stream(video, rate=10) if video else None
        if picture:
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
        layouts = ["mono" if samples.ndim == 1 else "stereo" for _, samples, *_ in audio]
        streams = [
            file.add_stream(codec, rate=rate, layout=layout)
            for layout, (codec, _, rate, _) in zip(layouts, audio, strict=True)
        ]
        for stream, (*_, default) in zip(streams, audio, strict=True):
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
        if picture:
            file.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), "yuv420p")))
            file.mux(picture.encode(None))
        for stream, layout, (_, samples, rate, _) in zip(streams, layouts, audio, strict=True):
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
            frame.sample_rate = rate
            codec = stream.codec_context
            codec.open(strict=False)
            shaped = av.AudioResampler(codec.format.name, layout, rate, frame_size=codec.frame_size or None)
            for part in (*shaped.resample(frame), *shaped.resample(None)):
                file.mux(stream.encode(part))
            file.mux(stream.encode(None))
    return out.getvalue()
