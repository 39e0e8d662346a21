"""Log-mel frames: openai-whisper's, but nearer to float64; windows of long audio are parts of the same frames."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maxwhisper_impl import audio
from maxwhisper_impl.audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, LogMel, log_mel_spectrogram
from maxwhisper_impl.errors import OptionError
from tests import compare
from tests.parity import media

ROUNDING = 4 * float(np.spacing(np.float32(2)))
"""Log-mel values lie within ±2: float32 can hold them, and the four steps that make them, no better than this."""


def oracle_mel(samples: np.ndarray, n_mels: int, padding: int) -> np.ndarray:
    import torch
    import whisper.audio

    return whisper.audio.log_mel_spectrogram(torch.tensor(samples), n_mels, padding).numpy()


def float64_mel(samples: np.ndarray, n_mels: int, padding: int) -> np.ndarray:
    """openai-whisper's definition, written out in float64: [n_mels, (n_samples + padding) // HOP_LENGTH]."""
    import whisper.audio

    signal = np.pad(samples.astype(np.float64), (0, padding))
    n_frames = len(signal) // 160
    if not n_frames:
        return np.zeros((n_mels, 0))
    signal = np.pad(signal, 200, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.stack([signal[160 * t : 160 * t + 400] for t in range(n_frames)])
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    filters = whisper.audio.mel_filters("cpu", n_mels).double().numpy()
    log = np.log10(np.maximum(filters @ power.T, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


@pytest.fixture(scope="module")
def speech(clips) -> dict[str, np.ndarray]:
    """Samples of one clip for every language and kind of file, and of the longest clip."""
    chosen = {(clip.language, clip.audio.suffix): clip for clip in clips}
    longest = max(clips, key=lambda clip: clip.seconds)
    return {clip.id: audio.load_audio(clip.audio) for clip in (*chosen.values(), longest)}


@pytest.mark.parametrize("n_mels", [80, 128])
def test_mel_of_speech_is_the_oracles(speech, n_mels):
    for name, samples in speech.items():
        got = log_mel_spectrogram(samples, n_mels, N_SAMPLES)
        assert got.dtype == np.float32
        compare.assert_tensor(f"mel of {name}", got, oracle_mel(samples, n_mels, N_SAMPLES), "mel")


@pytest.mark.parametrize("n_mels", [80, 128])
def test_mel_of_speech_is_nearer_to_float64_than_the_oracles(speech, n_mels):
    for name, samples in speech.items():
        samples = samples[:N_SAMPLES]
        want = float64_mel(samples, n_mels, N_SAMPLES)
        ours = np.abs(log_mel_spectrogram(samples, n_mels, N_SAMPLES) - want).max()
        theirs = np.abs(oracle_mel(samples, n_mels, N_SAMPLES) - want).max()
        assert ours <= theirs, f"{name}: {ours:.3g} from float64, the oracle {theirs:.3g}"


@pytest.mark.parametrize("n_mels", [80, 128])
def test_file_is_read_and_its_mel_made_without_padding(tmp_path, n_mels):
    path, samples = tmp_path / "noise.wav", media.noise(1.3)
    path.write_bytes(media.wav(samples))
    want = oracle_mel(samples.astype(np.float32) / 32768, n_mels, 0)
    compare.assert_tensor("mel of a file", log_mel_spectrogram(str(path), n_mels), want, "mel")


SIGNALS = {
    "silence": lambda n, rng: np.zeros(n),
    "noise": lambda n, rng: rng.normal(size=n) * 0.1,
    "faint noise": lambda n, rng: rng.normal(size=n) * 1e-5,
    "clipping": lambda n, rng: np.clip(rng.normal(size=n) * 10, -1, 1),
    "constant": lambda n, rng: np.full(n, 0.5),
    "tone": lambda n, rng: 0.8 * np.sin(2 * np.pi * rng.uniform(20, 7900) * np.arange(n) / SAMPLE_RATE),
    "click": lambda n, rng: np.eye(1, n, rng.integers(max(n, 1)))[0] if n else np.zeros(0),
    "square wave": lambda n, rng: np.sign(np.sin(2 * np.pi * 97 * np.arange(n) / SAMPLE_RATE)),
    "noise after silence": lambda n, rng: rng.normal(size=n) * 0.1 * (np.arange(n) > n // 2),
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(SIGNALS)),
    n=st.integers(0, 3 * HOP_LENGTH) | st.integers(0, 100_000),
    padding=st.sampled_from([0, 1, 39, 40, 41, 160, 199, 200, 201, 480]) | st.integers(0, 5000),
    n_mels=st.sampled_from([80, 128]),
    seed=st.integers(0, 99),
)
@example(kind="noise", n=0, padding=0, n_mels=80, seed=0)
@example(kind="noise", n=1, padding=0, n_mels=80, seed=0)
@example(kind="noise", n=1, padding=159, n_mels=80, seed=0)
@example(kind="noise", n=160, padding=0, n_mels=80, seed=0)  # shorter than half a window: reflected more than once
@example(kind="noise", n=200, padding=0, n_mels=80, seed=0)
@example(kind="noise", n=201, padding=0, n_mels=80, seed=0)
@example(kind="click", n=64000, padding=0, n_mels=80, seed=0)  # whole blocks
@example(kind="silence", n=1000, padding=N_SAMPLES, n_mels=128, seed=0)
def test_mel_of_any_signal_is_float64s(kind, n, padding, n_mels, seed):
    samples = SIGNALS[kind](n, np.random.default_rng(seed)).astype(np.float32)
    got, want = log_mel_spectrogram(samples, n_mels, padding), float64_mel(samples, n_mels, padding)
    assert got.dtype == np.float32
    assert got.shape == want.shape == (n_mels, (n + padding) // HOP_LENGTH)
    error = np.abs(got - want)
    assert error.max(initial=0) <= ROUNDING, f"{error.max():.3g} at mel, frame {np.argwhere(error == error.max())[0]}"


def test_float64_definition_is_the_oracles():
    """The yardstick of the test above, held to the oracle itself where the oracle is accurate: on noise."""
    samples = media.noise(2).astype(np.float32) / 32768
    for n_mels in (80, 128):
        want = oracle_mel(samples, n_mels, 1000)
        compare.assert_tensor("float64 definition", float64_mel(samples, n_mels, 1000), want, "mel")


def test_silence_is_minus_one_and_a_half():
    assert (log_mel_spectrogram(np.zeros(16000, np.float32)) == -1.5).all()


def test_mel_filters_are_the_oracles_and_other_numbers_of_mels_an_error():
    import whisper.audio

    for n_mels in (80, 128):
        assert np.array_equal(audio.mel_filters(n_mels), whisper.audio.mel_filters("cpu", n_mels).numpy())
    with pytest.raises(OptionError, match="80 or 128"):
        audio.mel_filters(64)


@pytest.mark.parametrize("n", [0, 1, 159, 160, 319, 16000, 479_999, 480_000, 500_001])
def test_content_frames_are_counted_as_the_oracle_counts_them(n):
    samples = np.zeros(n, np.float32)
    assert LogMel(samples, 80).n_frames == oracle_mel(samples, 80, N_SAMPLES).shape[1] - N_FRAMES


@pytest.mark.parametrize("n_mels", [80, 128])
def test_windows_of_long_speech_are_the_oracles(speech, n_mels):
    from whisper.audio import pad_or_trim

    name, samples = max(speech.items(), key=lambda item: len(item[1]))
    whole, mel = oracle_mel(samples, n_mels, N_SAMPLES), LogMel(samples, n_mels)
    assert mel.n_frames == whole.shape[1] - N_FRAMES > 2 * N_FRAMES
    for seek in range(0, mel.n_frames, 2741):
        size = min(N_FRAMES, mel.n_frames - seek)
        want = pad_or_trim(whole[:, seek : seek + size], N_FRAMES)
        compare.assert_tensor(f"window at frame {seek} of {name}", mel.window(seek, size), want, "mel")


def quiet_then_loud(seconds: int) -> np.ndarray:
    samples = media.noise(seconds).astype(np.float32) / 32768 * 1e-4
    samples[-SAMPLE_RATE // 2 :] *= 1e4
    return samples


def test_every_window_is_clamped_against_the_loudest_frame_of_all():
    samples = quiet_then_loud(40)
    mel = LogMel(samples, 80)
    first, last = mel.window(0), mel.window(mel.n_frames - 100)
    assert first.min() == pytest.approx(last.max() - 8 / 4)
    assert first.min() > LogMel(samples[:N_SAMPLES], 80).window(0).min() + 0.1
    compare.assert_tensor("window before a loud end", first, oracle_mel(samples, 80, N_SAMPLES)[:, :N_FRAMES], "mel")


_LONG = quiet_then_loud(47)
_WHOLE = {n_mels: log_mel_spectrogram(_LONG, n_mels, N_SAMPLES) for n_mels in (80, 128)}


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    n_mels=st.sampled_from([80, 128]),
    kept=st.sampled_from([1, 2, 9, 150]),
)
def test_windows_are_bit_equal_to_their_part_of_the_whole(data, n_mels, kept):
    """In any order, of any size, whether or not their blocks were kept from the first pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "_KEPT_BLOCKS", kept)
        mel, whole = LogMel(_LONG, n_mels), _WHOLE[n_mels]
        for _ in range(3):
            seek = data.draw(st.integers(0, whole.shape[1]))
            size = data.draw(st.sampled_from([1, 1500, N_FRAMES]) | st.integers(0, N_FRAMES))
            got, want = mel.window(seek, size), audio.pad_or_trim(whole[:, seek : seek + size], N_FRAMES)
            assert got.shape == (n_mels, N_FRAMES)
            differs = np.argwhere(got != want)
            assert not len(differs), f"window({seek}, {size}) differs at mel, frame {differs[0]}"


def peak_of_log_mel(seconds: int) -> int:
    """Bytes that LogMel holds at most, beyond the audio, while every fourth window is read."""
    samples = np.tile(media.noise(20).astype(np.float32) / 32768, seconds // 20)
    tracemalloc.start()
    try:
        mel = LogMel(samples, 128)
        for seek in range(0, mel.n_frames, 4 * N_FRAMES):
            mel.window(seek)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_hour_needs_no_more_memory_than_a_quarter():
    quarter, hour = peak_of_log_mel(900), peak_of_log_mel(3600)
    in_flight = audio._AT_ONCE * audio._BLOCK * 128 * 4  # how many blocks are at the peak is chance
    assert hour < quarter + in_flight, f"{hour / 1e6:.1f} MB beyond an hour, {quarter / 1e6:.1f} beyond a quarter"
    assert hour < 50e6, f"{hour / 1e6:.1f} MB beyond the audio"
