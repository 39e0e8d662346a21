"""What is not audio gets an AudioError that says so; what is audio, but hardly any, gets a defined result."""

import io
import struct
from functools import partial

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maxwhisper_impl.audio import N_FRAMES, LogMel, load_audio, log_mel_spectrogram
from maxwhisper_impl.errors import AudioError, MaxWhisperError
from tests.parity import media

SPEECH = media.wav(media.noise(0.5))


def header(rate: int = 16000, channels: int = 1, bits: int = 16, size: int = 1000, data: bytes = bytes(1000)) -> bytes:
    """A WAV file whose header claims what it is told."""
    align = min(channels * bits // 8, 0xFFFF)
    form = struct.pack("<HHIIHH", 1, channels, rate, min(rate * align, 0xFFFFFFFF), align, bits)
    chunks = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(len(chunks) - len(data) + size, 0xFFFFFFFF)) + chunks


BAD_FILES = {
    "empty": (b"", "empty"),
    "text": (b"This is a sentence, and no audio at all.\n" * 50, "cannot be read as audio"),
    "zeros": (bytes(5000), "cannot be read as audio"),
    "only a RIFF tag": (b"RIFF", "cannot be read as audio"),
    "wav cut inside its header": (SPEECH[:30], "cannot be read as audio"),
    "mp4 cut before its index": (media.encoded("aac.m4a", media.noise(0.5))[:-500], "no audio stream"),
    "flac whose frames are all zeros": (media.encoded("flac", media.noise(0.5))[:200] + bytes(30000), "damaged"),
    "picture": (media.muxed("matroska", [], video="mpeg4"), "no audio stream"),
    "rate of 2 GHz": (header(rate=2_000_000_000), "2000000000 Hz"),
    "rate of 10 MHz and 1 Hz": (header(rate=10_000_001), "10000001 Hz"),
    "rate of 999 Hz": (header(rate=999), "999 Hz"),
    "rate of 1 Hz": (header(rate=1), "1 Hz"),
    "rate of 0 Hz": (header(rate=0), "cannot be read as audio"),
    "65535 channels": (header(channels=65535), "damaged"),
    "9 channels without names": (media.wav(np.ones((2000, 9), np.int16)), "9 channels"),
    "0 bits": (header(bits=0), "no audio stream in a known codec"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("given_as", ["file", "bytes"])
def test_bad_file_is_an_audio_error_that_names_it(kind, given_as, tmp_path):
    data, words = BAD_FILES[kind]
    path = tmp_path / "speech.wav"
    path.write_bytes(data)
    with pytest.raises(AudioError) as caught:
        load_audio(path if given_as == "file" else data)
    assert words in str(caught.value)
    assert (str(path) if given_as == "file" else f"{len(data)} bytes") in str(caught.value)


@pytest.mark.parametrize("bad", [8, 9])
def test_more_than_two_thirds_of_damage_are_too_much(bad):
    """Of twelve packets; what is left of fewer is heard."""
    data = bytearray(media.encoded("alac.m4a", media.noise(12 * 4096 / 16000)))
    with av.open(io.BytesIO(data)) as file:
        packets = [packet for packet in file.demux(audio=0) if packet.size]
        places = [slice(packet.pos, packet.pos + packet.size) for packet in packets]
    assert len(places) == 12
    for place in places[1 : 1 + bad]:
        data[place] = bytes(place.stop - place.start)
    if bad == 8:
        assert len(load_audio(bytes(data))) == 4 * 4096
    else:
        with pytest.raises(AudioError, match="is damaged: 9 packets cannot be decoded and 3 can"):
            load_audio(bytes(data))


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(AudioError, match=r"nowhere\.wav does not exist"):
        load_audio(tmp_path / "nowhere.wav")
    with pytest.raises(AudioError, match="is a directory"):
        load_audio(tmp_path)


@pytest.mark.parametrize("source", [None, 3, 0.5, [0.0, 0.1], {"audio": 1}], ids=str)
def test_source_of_another_type_is_named(source):
    with pytest.raises(AudioError, match=f"not {type(source).__name__}"):
        load_audio(source)


def test_text_file_object_is_an_audio_error():
    with pytest.raises(AudioError):
        load_audio(io.StringIO("not audio"))  # type: ignore[arg-type]


def test_file_object_that_fails_is_an_audio_error():
    class Broken(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise OSError("the disk is gone")

    with pytest.raises(AudioError, match="the disk is gone"):
        load_audio(Broken())


BAD_ARRAYS = {
    "int32": (np.zeros(100, np.int32), "int32"),
    "uint8": (np.zeros(100, np.uint8), "uint8"),
    "bool": (np.zeros(100, bool), "bool"),
    "complex": (np.zeros(100, np.complex64), "complex64"),
    "float16": (np.zeros(100, np.float16), "float16"),
    "strings": (np.array(["a", "b"]), "<U1"),
    "objects": (np.array([None, 1]), "object"),
    "scalar": (np.float32(0.5), "shape ()"),
    "stereo, channels first": (np.zeros((2, 100), np.float32), "audio.mean(0)"),
    "stereo, channels last": (np.zeros((100, 2), np.float32), "audio.mean(1)"),
    "one channel": (np.zeros((1, 100), np.float32), "shape (1, 100)"),
    "NaN": (np.array([0.0, 0.1, np.nan, np.nan], np.float32), "nan at sample 2"),
    "inf": (np.array([0.0, np.inf], np.float64), "inf at sample 1"),
    "-inf": (np.array([0.0, 1.0, -np.inf], np.float32), "-inf at sample 2"),
    "float64 beyond float32": (np.array([1e300]), "full scale"),
    "16-bit values below zero": (-np.abs(media.noise(0.1).astype(np.float32)), "audio reaches 819"),
    "16-bit values as floats": (media.noise(0.1).astype(np.float32), "divide 16-bit samples by 32768"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
@pytest.mark.parametrize("reader", [load_audio, log_mel_spectrogram, partial(LogMel, n_mels=80)])
def test_bad_array_is_an_audio_error_that_names_it(kind, reader):
    array, words = BAD_ARRAYS[kind]
    with pytest.raises(AudioError) as caught:
        reader(array)
    assert words in str(caught.value)


def test_audio_error_is_ours_and_a_value_error():
    assert issubclass(AudioError, MaxWhisperError)
    assert issubclass(AudioError, ValueError)


class Lazy:
    """An array that turns out to be none; PyTorch's tensors that need a gradient do this."""

    def __array__(self, *_, **__) -> np.ndarray:
        raise RuntimeError("call detach() first")


def test_array_that_cannot_be_made():
    with pytest.raises(AudioError, match=r"Lazy cannot be turned into an array: call detach\(\) first"):
        load_audio(Lazy())


HARDLY_ANY = {
    "wav without samples": (media.wav(media.noise(0)), 0),
    "wav with one sample": (media.wav(np.array([16384], np.int16)), 1),
    "array without samples": (np.zeros(0, np.float32), 0),
    "array with one sample": (np.full(1, 0.5, np.float32), 1),
    "int16 array without samples": (np.zeros(0, np.int16), 0),
}


@pytest.mark.parametrize("kind", HARDLY_ANY)
def test_hardly_any_audio_has_a_defined_result(kind):
    source, n = HARDLY_ANY[kind]
    audio = load_audio(source)
    assert audio.shape == (n,)
    assert audio.dtype == np.float32
    assert (audio == 0.5).all()
    assert log_mel_spectrogram(audio).shape == (80, 0)
    mel = LogMel(audio, 80)
    assert mel.n_frames == 0
    window = mel.window(0)
    assert window.shape == (80, N_FRAMES)
    assert np.isfinite(window).all()


def test_file_cut_in_the_middle_gives_what_is_there():
    want = media.noise(0.5).astype(np.float32) / 32768
    got = load_audio(SPEECH[: len(SPEECH) // 2])
    assert len(want) // 2 - 100 <= len(got) <= len(want) // 2
    assert np.array_equal(got, want[: len(got)])


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 2000], ids=hex)
def test_wav_that_promises_more_than_it_holds_gives_what_it_holds(size):
    samples = media.noise(0.1)
    got = load_audio(header(size=size, data=samples.tobytes()))
    want = samples[: size // 2].astype(np.float32) / 32768
    assert np.array_equal(got, want)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(_SMALL[draw(st.sampled_from(sorted(_SMALL)))])
    # half of the damage goes to the first bytes: headers are where readers fail
    places = st.integers(0, len(data) - 1) | st.integers(0, min(len(data) - 1, 100))
    for at, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=20)):
        data[at] ^= value
    if draw(st.booleans()):
        del data[draw(places) :]
    if draw(st.booleans()):
        at = draw(places)
        data[at:at] = draw(st.binary(max_size=40))
    return bytes(data)


_SMALL = {name: media.encoded(name, media.noise(0.2, media.CONTAINERS[name][2])) for name in media.CONTAINERS}


def samples_or_message(data: bytes) -> np.ndarray | str:
    try:
        return load_audio(data)
    except AudioError as error:
        return str(error)


def assert_samples_or_message(data: bytes) -> None:
    got = samples_or_message(data)
    if isinstance(got, str):
        assert got
    else:
        assert got.dtype == np.float32
        assert got.ndim == 1
        assert np.abs(got).max(initial=0) <= 1


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged_files())
def test_damaged_file_gives_samples_or_an_audio_error(data):
    assert_samples_or_message(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_arbitrary_bytes_give_samples_or_an_audio_error(data):
    assert_samples_or_message(data)
