"""Real speech through tiny.en: in other containers, at other rates, with more channels, damaged; the text is known."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from av.audio.resampler import AudioResampler

from maxwhisper_impl import load_audio, load_model
from maxwhisper_impl.audio import LogMel
from maxwhisper_impl.corpus import read_corpus
from maxwhisper_impl.scoring import word_errors
from tests.fuzz import damage, sounds
from tests.fuzz.arrays import Pretender
from tests.fuzz.audio import load_given
from tests.fuzz.case import Case, demand, part_of
from tests.fuzz.result import check_result

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ("en/25-slt.flac", "en/24-awb.flac", "en/61-slt.flac", "en/08-rms.flac")
ODD_SHAPES = (
    None, 5, "mel", [], [[1], [1, 2]], {}, np.zeros(0), np.zeros(80), np.zeros((80, 0)), np.zeros((0, 80, 3000),
                                                                                                  np.float32),
    np.zeros((1500, 384), np.float32), np.zeros((2, 1500, 384), np.float32), np.zeros((1, 1, 80, 3000)), np.array("x"),
    np.zeros((80, 3000), "O"),
    np.zeros((3000, 80), np.float32), np.zeros((128, 3000), np.float32), np.zeros((80, 3000), "M8[s]"),
    np.zeros((80, 3000), bool),
)  # fmt: skip
LOSSY = {"mp3", "mp2", "ac3", "opus.ogg", "opus.webm", "aac.m4a", "aac.adts", "aac.ts", "aac.flv"}
HARMLESS: tuple[dict[str, Any], ...] = (
    {}, {}, {"word_timestamps": True}, {"batch_size": 2}, {"verbose": True}, {"condition_on_previous_text": False},
    {"fp16": True},
    {"temperature": 0.0}, {"best_of": 3}, {"language": "English"}, {"word_timestamps": True, "batch_size": 1},
)  # fmt: skip
"""options of which none changes the text of a clip that fits a window"""
WRONG = 0.25
"""of the words, at most, after a codec that loses something"""


class Speech:
    name = "speech"
    share = 0.1
    seconds = 120.0
    memory = 768 << 20

    def prepare(self, folder: Path) -> None:
        known = {clip.id: clip for clip in read_corpus(ROOT / "fixtures")}
        self.model = load_model("tiny.en", download=False)
        self.files = {name: known[name].audio.read_bytes() for name in CLIPS}
        self.audio = {name: load_audio(data) for name, data in self.files.items()}
        self.texts = {name: self.transcribe(audio) for name, audio in self.audio.items()}
        for name, text in self.texts.items():
            assert word_errors([(known[name].text or "", text, "en")]).rate < 0.2, (name, text)

    def run(self, case: Case) -> str:
        name = case.one_of(CLIPS)
        case.note(name)
        kinds = [
            (4, self.lossless),
            (3, self.lossy),
            (2, self.rate),
            (3, self.damaged),
            (2, self.twice),
            (1, self.silence),
            (1, self.odd_mel),
        ]
        return "text" if part_of(kinds, case)(case, name) else "empty"

    def transcribe(self, audio: Any, **options: Any) -> str:
        with contextlib.redirect_stdout(io.StringIO()):
            result = self.model.transcribe(audio, beam_size=None, **options)
        check_result(result, len(audio) / 16000, words=bool(options.get("word_timestamps")))
        return result["text"]

    def given(self, case: Case, data: bytes) -> np.ndarray:
        way = case.one_of(("path", "bytes", "file", "pipe", "stdin"))
        case.note(f"{len(data)} bytes as {way}")
        return load_given(case.write("speech", data), data, way)

    def lossless(self, case: Case, name: str) -> str:
        """The same samples in another container, with more channels, as arrays; with options that change nothing."""
        samples = self.audio[name].astype(np.float64)
        how = case.one_of((*sounds.LOSSLESS, "channels", "int16", "float64", "original"))
        options = case.one_of(HARMLESS)
        case.note(how, options)
        if how == "channels":
            channels = case.random.randint(2, 8)
            data = sounds.quantised(np.repeat(samples[:, None], channels, axis=1), "s16")
            audio = self.given(case, sounds.wav(data, channels=channels))
            demand(
                sounds.likeness(audio[8000:], samples[10000:12000]) > 0.999,
                "the mix of equal channels is another sound",
            )
        elif how in ("int16", "float64"):
            audio = load_audio((samples * 32768).astype(np.int16) if how == "int16" else samples)
        elif how == "original":
            audio = self.given(case, self.files[name])
        else:
            container, codec, rate = sounds.CODECS[how]
            audio = self.given(case, sounds.encoded(samples, container, codec, rate))
        text = self.transcribe(audio, **options)
        if how == "channels":  # mixing may round, and 5.1 weighs its channels
            return self.near(text, name)
        demand(text == self.texts[name], f"said {text!r}, not {self.texts[name]!r}")
        return text

    def lossy(self, case: Case, name: str) -> str:
        codec = case.one_of(sorted(LOSSY))
        container, kind, rate = sounds.CODECS[codec]
        case.note(codec)
        return self.near(
            self.transcribe(self.given(case, sounds.encoded(self.resampled(name, rate), container, kind, rate))), name
        )

    def rate(self, case: Case, name: str) -> str:
        rate, form = (
            case.one_of((8000, 11025, 22050, 44100, 48000, 96000, 192000)),
            case.one_of(("s16", "s24", "s32", "flt")),
        )
        case.note(rate, form)
        tag, bits = sounds.FORMS[form]
        data = sounds.wav(sounds.quantised(self.resampled(name, rate), form), rate, bits=bits, tag=tag)
        return self.near(self.transcribe(self.given(case, data)), name)

    def damaged(self, case: Case, name: str) -> str:
        """Whatever is left of it is transcribed."""
        audio = self.given(case, damage.damaged(case.random, self.files[name], 6))
        demand(len(audio) < 30 * 60 * 16000, f"{len(audio)} samples")
        return self.transcribe(audio[: 60 * 16000], temperature=0.0)

    def twice(self, case: Case, name: str) -> str:
        """Two readings with a pause between them: both are there, near enough."""
        other = case.one_of(CLIPS)
        audio = np.concatenate([self.audio[name], np.zeros(8000, np.float32), self.audio[other]])
        text = self.transcribe(audio, condition_on_previous_text=False)
        return self.near(text, name, other)

    def silence(self, case: Case, name: str) -> str:
        audio = np.zeros(case.one_of((0, 1, 159, 160, 16000, 480000, 700000)), np.float32)
        return self.transcribe(audio, temperature=0.0)

    def odd_mel(self, case: Case, name: str) -> str:
        """What is decoded, encoded or asked for logits may be any array or none."""
        mel = LogMel(self.audio[name], 80).window(0)
        odd = case.one_of((
            *ODD_SHAPES, mel, mel[None], mel.tolist(), mel.astype(np.float64), mel.astype(np.float16), mel * 1e30,
            mel[:, ::-1],
            np.where(mel > 1, np.nan, mel), mel * np.inf, np.asfortranarray(mel), Pretender(mel),
            Pretender(ValueError("no")),
            self.model.encode(mel), mel[:79], mel[:, :2999], np.stack([mel, mel]), mel.astype(np.int32),
            mel.astype(complex),
        ))  # fmt: skip
        ask = case.one_of(("decode", "encode", "logits"))
        case.note(ask, type(odd), getattr(odd, "shape", None), getattr(odd, "dtype", None))
        with np.errstate(all="ignore"):
            if ask == "encode":
                demand(np.isfinite(self.model.encode(odd)).all(), "features that are not finite")
                return "encoded"
            if ask == "logits":
                tokens = case.one_of(([[50257]], [50257], [[]], [[10**6]], [[-1]], [[0] * 449], [[0], [1]], [["a"]],
                                      None, [[0.5]]))
                case.note(tokens)
                demand(np.isfinite(self.model.logits(tokens, odd)).all(), "logits that are not finite")
                return "logits"
            results = self.model.decode(odd)
        texts = [result.text for result in (results if isinstance(results, list) else [results])]
        if odd is mel:
            self.near(texts[0], name)
        return " ".join(texts)

    def near(self, text: str, *names: str) -> str:
        wrong = word_errors([(" ".join(self.texts[name] for name in names), text, "en")]).rate
        demand(
            wrong <= WRONG, f"{wrong:.0%} of the words are wrong: {text!r}, not {[self.texts[name] for name in names]}"
        )
        return text

    def resampled(self, name: str, rate: int) -> np.ndarray:
        from av import AudioFrame

        frame = AudioFrame.from_ndarray(self.audio[name][None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        shaper = AudioResampler("fltp", "mono", rate)
        parts = [part.to_ndarray()[0] for part in (*shaper.resample(frame), *shaper.resample(None))]
        return np.concatenate(parts).astype(np.float64)
