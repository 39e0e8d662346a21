"""Fuzzed options of the API: any value for any keyword of transcribe, decode, live, load_model, convert, compare."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from maxwhisper_impl import DecodingOptions, Whisper, get_writer, load_model
from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.transcribe_options import TranscribeOptions
from maxwhisper_impl.vad import VadOptions
from maxwhisper_impl.weights import convert
from tests.fuzz import sounds
from tests.fuzz.case import Case, demand, part_of
from tests.fuzz.result import check_result
from tests.fuzz.scripted import DIMS, SENTENCE, Scripted, save_models, take_the_place_of_max

SECONDS = 4.0
SENSIBLE: dict[str, Callable[[Case], Any]] = {
    "task": lambda c: c.one_of(("transcribe", "transcribe", "translate", "lang_id")),
    "language": lambda c: c.one_of(("en", "English", "de", "GERMAN", "yue", "xx", None)),
    "temperature": lambda c: c.one_of((0.0, 0, 0.5, 1.0, (0.0, 0.4), [0.2], (0, 0.2, 0.4, 0.6, 0.8, 1.0), 50.0)),
    "sample_len": lambda c: c.random.randint(1, 448),
    "best_of": lambda c: c.random.randint(1, 6),
    "beam_size": lambda c: c.random.randint(1, 6),
    "patience": lambda c: c.random.uniform(0, 3),
    "length_penalty": lambda c: c.random.random(),
    "prompt": lambda c: text_or_tokens(c),
    "prefix": lambda c: text_or_tokens(c),
    "hotwords": lambda c: text_or_tokens(c),
    "initial_prompt": lambda c: c.one_of((some_text(c), some_text(c), None)),
    "suppress_tokens": lambda c: c.one_of(("-1", "", "1,2,3", [5, 6], [-1, 7], None, (50256,), list(range(50000)))),
    "max_initial_timestamp": lambda c: c.one_of((None, 0, 0.02, 1.0, 29.0, 1e9)),
    "repetition_penalty": lambda c: c.random.uniform(0.1, 3),
    "no_repeat_ngram_size": lambda c: c.random.randint(0, 5),
    "seed": lambda c: c.one_of((0, 1, 2**64, None, [1, 2], (0,), [])),
    "verbose": lambda c: c.one_of((True, False, None)),
    "clip_timestamps": lambda c: c.one_of(
        ("0", "", [], [1.0], "0.5,1,2,3", [0, 0.5, 0.5, 0.5], "3,1", [1e9], (0.0, 99.0))
    ),
    "hallucination_silence_threshold": lambda c: c.one_of((None, 0.0, 0.1, 2.0)),
    "batch_size": lambda c: c.one_of((None, 1, 3, 16)),
    "assistant": lambda c: assistant(c),
    "vad_parameters": lambda c: vad_parameters(c),
    "prepend_punctuations": lambda c: c.one_of(("", ",", "\"'“¿([{-", some_text(c))),
    "append_punctuations": lambda c: c.one_of(("", ".", some_text(c))),
    "language_detection_segments": lambda c: c.random.randint(0, 5),
    "language_detection_threshold": lambda c: c.one_of((None, 0.0, 0.5, 1.0)),
}
HARMLESS = {
    "task", "language", "best_of", "beam_size", "length_penalty", "initial_prompt", "verbose", "seed", "hotwords",
    "word_timestamps", "prepend_punctuations", "append_punctuations", "condition_on_previous_text", "batch_size",
    "carry_initial_prompt", "fp16", "language_detection_segments", "multilingual", "keep_best_fallback",
}  # fmt: skip
"""with whatever value they are taken, the text stays that of the script"""
JUNK = (
    None, True, False, 0, 1, -1, 2, 448, 449, 10**6, 10**12, 2**63, 2**64, -(2**63), 0.0, -0.0, 0.5, -0.5, 1e-300,
    1e300, math.nan,
    math.inf, -math.inf, "", "x", "-1", "0", "en", "1e9", "<|endoftext|>", "\ud800", "a\0b", "é" * 2000, b"", b"en",
    [], (), {}, set(),
    [None], ["a"], [0.5], [-1], [10**9], [[1]], {"a": 1}, {1, 2}, range(5), np.float32(0.5), np.int64(3),
    np.float64(math.nan), np.bool_(1),
    np.zeros(3), np.zeros(0, np.int64), np.array("x"), object(), len, 1j, Path("x"), iter,
)  # fmt: skip


def anything(case: Case) -> Any:
    value = case.one_of(JUNK)
    return iter([1, 2]) if value is iter else value  # what can be read once must be new in each case


def assistant(case: Case) -> Any:
    """Another model, a function with the text, with something else, or with an error."""
    said = case.one_of((SENTENCE, "", some_text(case), [1, 2, 50257], list(range(500)), 5, [None], ["a"]))
    dims = DIMS[case.one_of(list(DIMS))]
    return case.one_of((Whisper(dims, Scripted(dims)), lambda start, end: said, lambda start: said))


def some_text(case: Case) -> str:
    words = (
        "hello",
        " world",
        "é",
        "日本語",
        "\n",
        "\t",
        "🎉",
        "\u202e",
        "<|",
        "|>",
        " ",
        "-->",
        "<|0.00|>",
        "\0",
        "A" * 300,
    )
    return "".join(case.one_of(words) for _ in range(case.random.choice((0, 1, 2, 5, 300))))


def text_or_tokens(case: Case) -> Any:
    return case.one_of(
        (some_text(case), [case.random.randrange(51864) for _ in range(case.one_of((0, 1, 5, 223, 448)))], None, ())
    )


def vad_parameters(case: Case) -> Any:
    names = case.random.sample([f.name for f in fields(VadOptions)], case.random.randint(0, 3))
    return {name: case.one_of((0, 0.5, 1, 30, 2000, *JUNK[:20])) for name in names}


def drawn(case: Case, names: list[str], junk: float = 0.1) -> dict[str, Any]:
    """Some of the keywords, each with a value that makes sense for it or with anything."""
    chosen = case.random.sample(names, min(len(names), case.one_of((0, 1, 1, 2, 2, 3, 4, 6, 10))))
    options: dict[str, Any] = {}
    for name in chosen:
        sensible = SENSIBLE.get(name, lambda c: c.one_of((True, False, 0.5, 1.0)))
        options[name] = anything(case) if case.chance(junk) else sensible(case)
    case.note(repr(options)[:3000])
    return options


class Options:
    name = "options"
    share = 0.2
    seconds = 30.0
    memory = 512 << 20

    def prepare(self, folder: Path) -> None:
        take_the_place_of_max()
        self.models = {name: Whisper(dims, Scripted(dims)) for name, dims in DIMS.items()}
        self.paths = save_models(folder)
        self.audio = sounds.hum(SECONDS).astype(np.float32)
        self.long = np.tile(self.audio, 18)
        own = [f.name for f in fields(TranscribeOptions) if f.name != "decoding"]
        self.decoding = [f.name for f in fields(DecodingOptions)]
        self.transcribing = [*own, *self.decoding]
        self.models["tiny.en"].transcribe(self.audio, vad_filter=True)

    def run(self, case: Case) -> str:
        kinds = [
            (40, self.transcribe), (20, self.decode), (20, self.live), (8, self.write), (6, self.load),
            (4, self.convert), (4, self.compare),
        ]  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            text = part_of(kinds, case)(case)
        return "text" if text else "empty"

    def model(self, case: Case) -> Whisper:
        name = case.one_of(list(self.models))
        case.note(name)
        return self.models[name]

    def transcribe(self, case: Case) -> str:
        model, options = self.model(case), drawn(case, self.transcribing)
        audio = case.pick((8, self.audio), (1, self.long), (1, self.audio[:0]), (1, self.audio[:100]))
        case.note(len(audio))
        reports: list[tuple[float, float]] = []
        if case.chance(0.5):
            result = model.transcribe(audio, progress=lambda done, of: reports.append((done, of)), **options)
        else:
            stream = model.stream(audio, **options)
            segments = list(stream)
            result = {"text": stream.text, "segments": segments, "language": stream.language}
        words, ruled = options.get("word_timestamps") is True, options.get("without_timestamps") is not True
        ordered = "clip_timestamps" not in options
        check_result(result, len(audio) / 16000, words=words, ruled=ruled, ordered=ordered)
        demand(all(0 <= done <= of for done, of in reports), f"progress: {reports}")
        if set(options) <= HARMLESS and audio is self.audio:
            demand(result["text"].strip() == SENTENCE.strip(), f"said {result['text']!r}")
        return result["text"]

    def decode(self, case: Case) -> str:
        model = self.model(case)
        options = drawn(case, self.decoding)
        windows = case.one_of((0, 1, 1, 2))
        mel = np.zeros((windows, 80, 3000) if windows else (80, 3000), np.float32)
        given = model.decode(mel, **options)
        results = given if windows else [given]
        demand(isinstance(results, list) and len(results) == max(windows, 1), f"gave {given!r:.99}")
        for result in results:
            demand(isinstance(result.text, str) and isinstance(result.tokens, list), f"gave {result!r:.99}")
            if options.get("task") == "lang_id":
                continue
            demand(math.isfinite(result.avg_logprob) and 0 <= result.no_speech_prob <= 1, f"gave {result!r:.999}")
            if set(options) <= HARMLESS | {"prompt"}:
                demand(result.text == SENTENCE.strip(), f"said {result.text!r}")
        return results[0].text

    def live(self, case: Case) -> str:
        model, options = self.model(case), drawn(case, self.transcribing)
        for name in ("step", "max_delay"):
            if case.chance(0.3):
                options[name] = case.one_of((0.1, 1.0, 5.0, 10.0, 20.0, *JUNK))
        case.note(repr(options)[:2000])
        live = model.live(**options)
        texts: list[Any] = []
        refused: list[MaxWhisperError] = []
        for chunk in self.chunks(case):
            try:
                texts += live.feed(chunk)
            except MaxWhisperError as error:  # that chunk is left out, and it goes on
                refused.append(error)
        texts.append(live.finish())
        demand("".join(text.final for text in texts) == live.text, "what was final is not the text")
        check_result(live.result, live.seconds)
        demand(all(isinstance(text.provisional, str) for text in texts), "a provisional text is no string")
        if refused and not texts[-1].seconds:
            raise refused[0]
        return live.text

    def chunks(self, case: Case) -> list[Any]:
        pcm = (self.audio * 32767).astype("<i2")
        odd = (
            b"",
            b"x",
            np.zeros(0, np.float32),
            np.zeros((2, 2), np.float32),
            np.full(5, np.nan),
            "text",
            None,
            5,
            [0.0],
            np.zeros(9, np.int64),
        )
        sizes = [case.random.randint(0, 40000) for _ in range(case.random.randint(0, 6))]
        good = [
            case.one_of(
                (self.audio[:size], pcm[:size], pcm[:size].tobytes()[1:], bytearray(pcm[:size]), np.zeros(size))
            )
            for size in sizes
        ]
        return [chunk if case.chance(0.9) else case.one_of(odd) for chunk in good]

    def write(self, case: Case) -> str:
        """Subtitle options on a result with words."""
        result = self.models["tiny.en"].transcribe(self.audio, word_timestamps=case.chance(0.7))
        names = ["max_line_width", "max_line_count", "max_words_per_line", "highlight_words"]
        sensible = (None, 0, 1, 2, 5, 40, True, False)
        lines = {
            name: case.one_of((*sensible, *sensible, *JUNK))
            for name in case.random.sample(names, case.random.randint(0, 4))
        }
        form = case.one_of(("txt", "vtt", "srt", "tsv", "json", "all", *JUNK))
        case.note(repr(lines), repr(form))
        get_writer(form, case.made)(result, "a.wav", **lines)
        said = (case.made / f"a.{'txt' if form == 'all' else form}").read_text()
        demand("lazy" in said, f"wrote {said!r:.200}")
        return said

    def load(self, case: Case) -> str:
        path = case.one_of((*self.paths.values(), *map(str, self.paths.values()), *JUNK, "tiny.en", "large", "no such"))
        names = ["device", "dtype", "num_threads", "progress"]
        options = {name: case.one_of(JUNK) for name in case.random.sample(names, case.one_of((0, 0, 1, 2)))}
        case.note(repr(path), repr(options))
        model = load_model(path, download=False, **options)
        return model.transcribe(self.audio)["text"]

    def convert(self, case: Case) -> str:
        source = case.one_of((*self.paths.values(), *JUNK))
        target = case.one_of(("a.pt", "a.npz", "folder", case.made / "b.npz", "x/y/z.pt", *JUNK))
        form = case.one_of((None, "pt", "npz", "huggingface", "ctranslate2", *JUNK))
        case.note(repr(source), repr(target), repr(form))
        convert(source, target, format=form)
        return "converted"

    def compare(self, case: Case) -> str:
        from maxwhisper_impl.compare import compare
        from maxwhisper_impl.samples import Sample

        sample = Sample("a", self.audio, None, None)
        options = {
            name: case.one_of(JUNK) for name in case.random.sample(["threads", "rounds"], case.random.randint(1, 2))
        }
        systems = case.one_of(
            (["maxwhisper:float99"], ["nothing"], [], ["maxwhisper", "faster-whisper:int3"], *JUNK[25:40])
        )
        case.note(repr(systems), repr(options))
        compare(
            [] if case.chance(0.5) else [sample],
            ["tiny.en"] if systems else [],
            systems,
            say=lambda line: None,
            **options,
        )
        return ""
