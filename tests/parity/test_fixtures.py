"""The project's own speech is what its manifest says: files, formats, lengths, texts and times."""

import hashlib
import re
from pathlib import Path

import av
import numpy as np
import pytest

from maxwhisper_impl.corpus import Clip, read_corpus

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CLIPS = read_corpus(FIXTURES)


def of(clips: list[Clip]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("clip", clips, ids=[clip.id for clip in clips])


def decoded(path: Path) -> tuple[np.ndarray, av.AudioStream]:
    """Samples [channels, n] as the file has them, and its stream."""
    with av.open(path) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
    samples = np.concatenate(frames, axis=1)
    channels = 1 if stream.format.is_planar else stream.channels
    return samples.reshape(-1, channels).T if channels > 1 else samples, stream


def test_the_fixtures_have_their_checksums() -> None:
    listed = dict(reversed(line.split("  ")) for line in (FIXTURES / "SHA256SUMS").read_text().splitlines())
    made = {path.relative_to(FIXTURES).as_posix() for path in (FIXTURES / "texts").iterdir()}
    assert set(listed) == {clip.id for clip in CLIPS} | made | {"manifest.jsonl"}
    found = {name: hashlib.sha256((FIXTURES / name).read_bytes()).hexdigest() for name in listed}
    assert found == listed, "changed since render.py made them"


def test_the_fixtures_hold_no_audio_that_the_manifest_lacks() -> None:
    audio = {path for path in FIXTURES.rglob("*") if path.suffix in (".flac", ".wav", ".mp3", ".ogg")}
    assert audio == {clip.audio for clip in CLIPS}


def test_the_fixtures_are_within_their_budget() -> None:
    assert sum(clip.audio.stat().st_size for clip in CLIPS) <= 12e6


def test_the_fixtures_hold_what_the_suite_counts_on() -> None:
    utterances = [clip for clip in CLIPS if "utterance" in clip.tags]
    english = [clip for clip in utterances if clip.language == "en"]
    assert len(english) >= 60
    assert {clip.voice for clip in english} == {"slt", "rms", "awb"}
    assert all(4 <= clip.seconds <= 12 for clip in english)
    for language in ("de", "es", "fr"):
        foreign = [clip for clip in utterances if clip.language == language]
        assert len(foreign) == 15
        assert all(clip.translation for clip in foreign)
    texts = [clip.text for clip in utterances]
    assert len(set(texts)) == len(texts)
    assert max(clip.seconds for clip in CLIPS if "long" in clip.tags) >= 161.5
    assert all(clip.seconds >= 8 for clip in CLIPS if "silence" in clip.tags)
    assert {tag for clip in CLIPS for tag in clip.tags} == {
        "utterance", "long", "gap", "no-speech", "silence", "noise", "tones", "format",
    }  # fmt: skip


@of(CLIPS)
def test_the_fixtures_have_the_format_and_length_the_manifest_says(clip: Clip) -> None:
    samples, stream = decoded(clip.audio)
    seconds = samples.shape[1] / stream.rate
    if "format" in clip.tags:
        assert seconds == pytest.approx(clip.seconds, abs=0.05), "lossy codecs pad their last frame"
    else:
        assert (stream.codec.name, stream.rate, stream.channels, stream.format.name) == ("flac", 16000, 1, "s16")
        assert seconds == pytest.approx(clip.seconds, abs=1 / 16000)


@of(CLIPS)
def test_the_fixtures_text_is_that_of_their_parts(clip: Clip) -> None:
    assert clip.text == " ".join(segment.text for segment in clip.segments)
    if clip.words:
        assert [word.word for word in clip.words] == re.findall(r"[\w'’-]+", clip.text or "")
    else:
        assert clip.language not in ("en",)


@of([clip for clip in CLIPS if clip.segments and "format" not in clip.tags])
def test_the_fixtures_are_quiet_outside_their_segments_and_loud_at_their_edges(clip: Clip) -> None:
    power = decoded(clip.audio)[0][0].astype(np.float64) ** 2
    edges = [(round(segment.start * 16000), round(segment.end * 16000)) for segment in clip.segments]
    spoken = np.zeros(len(power), bool)
    for start, end in edges:
        assert not spoken[start:end].any(), "segments overlap"
        spoken[start:end] = True
    loud = power[spoken].mean()
    assert power[~spoken].mean() < 5e-3 * loud  # 0.2 with times 50 ms off
    for start, end in edges:  # a segment that began too early or ended too late would begin or end in silence
        assert power[start : start + 3200].mean() > 5e-4 * loud
        assert power[end - 3200 : end].mean() > 5e-4 * loud
