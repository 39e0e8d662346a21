"""Audio file -> float32 samples at 16 kHz -> log-mel frames, as `whisper/audio.py` defines them."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO, TextIOBase
from itertools import chain
from typing import Any, BinaryIO

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.error import EOFError as DecoderEmpty
from av.error import FFmpegError
from av.stream import Disposition
from numpy.lib.stride_tricks import sliding_window_view

from .assets import asset
from .errors import AudioError, OptionError
from .threads import available_cpus

SAMPLE_RATE = 16000
N_FFT = 400
HOP_LENGTH = 160
CHUNK_LENGTH = 30  # seconds in a window
N_SAMPLES = CHUNK_LENGTH * SAMPLE_RATE  # 480 000 samples in a window
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3 000 mel frames in a window
N_SAMPLES_PER_TOKEN = HOP_LENGTH * 2  # the encoder's second convolution has stride 2
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH  # 10 ms a frame
TOKENS_PER_SECOND = SAMPLE_RATE // N_SAMPLES_PER_TOKEN  # 20 ms an encoder position or timestamp

AudioSource = str | os.PathLike[str] | bytes | BinaryIO | np.ndarray

_RATES = range(1_000, 10_000_001)  # Hz; beyond, a broken header costs the resampler minutes or gigabytes
_FULL_SCALE = 1000.0  # floats larger than this are integers that nobody divided


def load_audio(source: AudioSource) -> np.ndarray:
    """Samples of `source`, float32 [n_samples], mono at 16 kHz, full scale ±1.

    `source` is a file that FFmpeg reads (path, URL, "-" for stdin, binary file object, the file's bytes; of a video the
    best audio stream) or an array: 1-D at 16 kHz, float32, float64 or int16. The samples of a file are those of
    `ffmpeg -ac 1 -ar 16000 -f s16le`, divided by 32768; damaged packets are skipped, as there.
    Raises AudioError if there is no audio in it, or more than two thirds of it are damaged.
    """
    if hasattr(source, "__array__"):
        return _checked_array(source)
    name, file = _opened(source)
    try:
        with av.open(file, metadata_errors="ignore") as container:
            stream = _best_stream(container, name)
            return _to_float(_resampled(_frames(container, stream, name), name))
    except AudioError:
        raise
    except (FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be read as audio: {_reason(error)}") from error


def _opened(source: Any) -> tuple[str, Any]:
    """(what to call the source in messages, what PyAV shall open)"""
    if isinstance(source, bytes | bytearray | memoryview):
        return _not_empty(f"audio of {len(source)} bytes", len(source)), BytesIO(source)
    if isinstance(source, TextIOBase):
        raise AudioError("the audio file object reads text; open it in mode 'rb'")
    if hasattr(source, "read"):
        return str(getattr(source, "name", "the file object")), source
    if not isinstance(source, str | os.PathLike):
        raise AudioError(f"audio must be a path, bytes, a binary file object or an array, not {type(source).__name__}")
    name = os.fsdecode(source)
    if name == "-":
        return "standard input", sys.stdin.buffer
    if "://" in name:
        return name, name
    if not os.path.exists(name):
        raise AudioError(f"{name} does not exist")
    if os.path.isdir(name):
        raise AudioError(f"{name} is a directory; give the files in it")
    if os.path.isfile(name):
        _not_empty(name, os.path.getsize(name))
    return name, f"file:{name}"  # else FFmpeg would read a protocol into a name with a colon


def _not_empty(name: str, size: int) -> str:
    if not size:
        raise AudioError(f"{name} is empty")
    return name


def _reason(error: BaseException | None) -> str:
    return getattr(error, "strerror", None) or str(error)


def _best_stream(container: Any, name: str) -> Any:
    """FFmpeg's choice: an audio stream marked as default, then the one with most channels, then the first."""
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not streams:
        kinds = ", ".join(stream.type for stream in container.streams) or "none"
        raise AudioError(f"{name} has no audio stream in a known codec (streams: {kinds})")
    return max(streams, key=lambda s: (bool(s.disposition & Disposition.default), s.channels))


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets, then None, which flushes the decoder."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except IndexError:  # a stream that turns up midway ends PyAV's iterator, not the file
            packets = container.demux(stream)
        except (StopIteration, FFmpegError):  # the end, or where the file is cut off: what was read stands
            yield None
            return


def _frames(container: Any, stream: Any, name: str) -> Iterator[Any]:
    """Decoded frames; a packet that cannot be decoded is skipped."""
    good = bad = 0
    damage = None
    for packet in _packets(container, stream):
        try:
            frames = stream.codec_context.decode(packet)
        except DecoderEmpty:  # flushed twice
            continue
        except FFmpegError as error:
            bad += 1
            damage = error
            continue
        good += len(frames)
        yield from frames
    if bad > 2 * good:
        raise AudioError(f"{name} is damaged: {bad} packets cannot be decoded and {good} can ({_reason(damage)})")
    if not good and (stream.duration or 0) > 0:
        raise AudioError(f"{name} is damaged: nothing can be decoded of {float(stream.duration * stream.time_base)} s")


def _resampled(frames: Iterator[Any], name: str) -> Iterator[memoryview]:
    """int16 mono 16 kHz samples. A stream that changes its format midway gets a new resampler, as in FFmpeg's command,
    which loses what the old one still holds (a millisecond or two)."""
    resampler, form = None, ("", "", 0)
    for frame in chain(frames, [None]):
        if frame is not None:
            frame.pts = None  # gaps in the timestamps are not filled with silence
            if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):
                if form[2] not in _RATES:
                    raise AudioError(f"{name} claims a sample rate of {form[2]} Hz; 1 kHz to 10 MHz can be resampled")
                resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        try:
            yield from (out.to_ndarray().data for out in resampler.resample(frame)) if resampler else ()
        except FFmpegError as error:
            raise AudioError(f"{name}: {form[1]} at {form[2]} Hz cannot be mixed to mono; mix it first") from error


def _to_float(samples: Iterator[memoryview]) -> np.ndarray:
    """float32 of int16 samples, gathered in blocks and freed block by block, so that a long file exists once."""
    blocks = [bytearray()]
    for part in samples:
        blocks[-1] += part
        if len(blocks[-1]) > 1 << 20:
            blocks.append(bytearray())
    audio = np.empty(sum(map(len, blocks)) // 2, np.float32)
    end = len(audio)
    while blocks:
        block = np.frombuffer(blocks.pop(), np.int16)
        np.multiply(block, np.float32(1 / 32768), out=audio[end - len(block) : end])
        end -= len(block)
    return audio


def _checked_array(source: Any) -> np.ndarray:
    try:
        array = np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"{type(source).__name__} cannot be turned into an array: {error}") from error
    if array.ndim != 1:
        axis = int(np.argmin(array.shape)) if array.ndim else 0
        raise AudioError(f"audio has shape {array.shape}, not [n_samples]; mix the channels, e.g. audio.mean({axis})")
    if array.dtype.name == "int16":
        return array.astype(np.float32) / 32768
    if array.dtype.name not in ("float32", "float64"):
        raise AudioError(f"audio has dtype {array.dtype}; give float32 or float64 within ±1, or int16")
    # min and max carry a NaN, without a temporary as long as the audio
    low, high = (array.min(), array.max()) if array.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise AudioError(f"audio is {array[first]} at sample {first}; replace it, e.g. by np.nan_to_num(audio)")
    if (peak := max(-low, high)) > _FULL_SCALE:
        raise AudioError(f"audio reaches {peak:.6g}, full scale is ±1; divide 16-bit samples by 32768")
    return np.ascontiguousarray(array, np.float32)


def pad_or_trim(array: np.ndarray, length: int = N_SAMPLES, *, axis: int = -1) -> np.ndarray:
    """`array` cut, or filled with zeros at the end, to `length` along `axis`."""
    part = [slice(None)] * array.ndim
    part[axis] = slice(length)
    kept = array[tuple(part)]
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, length - kept.shape[axis])
    return np.pad(kept, widths)


@cache
def mel_filters(n_mels: int) -> np.ndarray:
    """float32 [n_mels, N_FFT // 2 + 1]: librosa's Slaney bank, from openai-whisper's `mel_filters.npz`."""
    with np.load(asset("mel_filters.npz"), allow_pickle=False) as bank:
        if f"mel_{n_mels}" not in bank:
            raise OptionError(f"no mel filters for n_mels={n_mels}; Whisper models have 80 or 128")
        return bank[f"mel_{n_mels}"]


def log_mel_spectrogram(audio: AudioSource, n_mels: int = 80, padding: int = 0) -> np.ndarray:
    """float32 [n_mels, (n_samples + padding) // HOP_LENGTH] of `audio` followed by `padding` zeros.

    Hann window, centred frames with reflected ends and the last frame dropped, power, Slaney mel, log10 of at least
    1e-10, clamped to 8 below the maximum of the whole input, (x + 4) / 4. Audio shorter than half a window is
    reflected as often as it takes; less than a hop of it has no frames.
    """
    mel = LogMel(audio, n_mels, padding)
    return mel.frames(0, mel.n_total)


class LogMel:
    """The log-mel frames of `audio` and the 30 s of silence behind it, as far as they are asked for.

    A first pass finds the maximum that every frame is clamped against. It keeps ten minutes of mel power; what lies
    beyond is computed again on demand, in the same blocks, so a window is bit-equal to its part of the whole.
    """

    def __init__(self, audio: AudioSource, n_mels: int, padding: int = N_SAMPLES) -> None:
        self._audio = load_audio(audio)
        self._filters = mel_filters(n_mels)
        self._n_signal = len(self._audio) + padding
        self.n_total = self._n_signal // HOP_LENGTH
        self.n_frames = self.n_total - padding // HOP_LENGTH
        # Past the last frame that touches the audio every power is exactly zero.
        self._n_heard = min(self.n_total, -(-(len(self._audio) + N_FFT // 2) // HOP_LENGTH))
        self._blocks: list[np.ndarray] = []
        self._loudest = np.float32(0)
        for index, block in enumerate(self._all_blocks(-(-self._n_heard // _BLOCK))):
            if index < _KEPT_BLOCKS:
                self._blocks.append(block)
            self._loudest = max(self._loudest, block.max())

    def _all_blocks(self, count: int) -> Iterator[np.ndarray]:
        """The first `count` blocks, a few at a time, side by side: NumPy lets other threads run while it computes."""
        with ThreadPoolExecutor(available_cpus()) as pool:
            for first in range(0, count, _AT_ONCE):
                yield from pool.map(self._block, range(first, min(first + _AT_ONCE, count)))

    def window(self, seek: int, size: int = N_FRAMES) -> np.ndarray:
        """float32 [n_mels, N_FRAMES]: frames `seek` to `seek + size`, then zeros; 0 <= seek <= n_total."""
        return pad_or_trim(self.frames(seek, min(seek + min(size, N_FRAMES), self.n_total)), N_FRAMES)

    def frames(self, start: int, stop: int) -> np.ndarray:
        """float32 [n_mels, stop - start] log-mel of frames 0 <= start <= stop <= n_total."""
        log = np.full((len(self._filters), stop - start), self._log(np.float32(0)), np.float32)
        for index in range(start // _BLOCK, -(-min(stop, self._n_heard) // _BLOCK)):
            at = index * _BLOCK
            block = self._block(index)[:, max(start - at, 0) : stop - at]
            log[:, max(at - start, 0) :][:, : block.shape[1]] = self._log(block)
        return log

    def _log(self, power: np.ndarray | np.float32) -> np.ndarray:
        """float64 of mel power, so that silence is -1.5 to the last bit in float32."""
        log = np.log10(np.maximum(power, _QUIETEST, dtype=np.float64))
        floor = np.log10(np.maximum(self._loudest, _QUIETEST, dtype=np.float64)) - 8
        return (np.maximum(log, floor) + 4) / 4

    def _block(self, index: int) -> np.ndarray:
        """Mel power, float32 [n_mels, <= _BLOCK], of the block's frames that touch the audio."""
        if index < len(self._blocks):
            return self._blocks[index]
        first, n = index * _BLOCK, min(_BLOCK, self._n_heard - index * _BLOCK)
        rows = -(-n // _ROWS) * _ROWS
        samples = self._samples(first * HOP_LENGTH - N_FFT // 2, rows * HOP_LENGTH + N_FFT - HOP_LENGTH)
        # float64 costs no time here and leaves errors a hundred times smaller than a float32 FFT's.
        spectrum = np.fft.rfft(sliding_window_view(samples, N_FFT)[::HOP_LENGTH] * _HANN)
        power = (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32)
        mel = power.reshape(-1, _ROWS, power.shape[1]) @ self._filters.T
        return np.ascontiguousarray(mel.reshape(rows, -1)[:n].T)

    def _samples(self, start: int, n: int) -> np.ndarray:
        """`n` samples from `start` of the zero-padded signal, which is reflected beyond both of its ends."""
        samples = np.zeros(n, np.float32)
        inside = self._audio[max(start, 0) : start + n]
        samples[max(-start, 0) :][: len(inside)] = inside
        beyond = np.r_[start : min(start + n, 0), max(start, self._n_signal) : start + n]
        period = max(2 * (self._n_signal - 1), 1)
        mirrored = np.abs(beyond) % period
        mirrored = np.minimum(mirrored, period - mirrored)
        heard = mirrored < len(self._audio)
        samples[beyond[heard] - start] = self._audio[mirrored[heard]]
        return samples


_BLOCK = 400  # frames computed together, a multiple of _ROWS
_ROWS = 8  # frames in one product: small enough that BLAS keeps to this thread; its others spin when cores are busy
_AT_ONCE = 16  # blocks that may wait for the ones before them: 2 MB with 80 mels
_KEPT_BLOCKS = 150  # ten minutes: 19 MB with 80 mels
_QUIETEST = 1e-10
_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)  # periodic
