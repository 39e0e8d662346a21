"""Options that make no sense are one OptionError each, before any work; what openai-whisper refuses, we refuse."""

from __future__ import annotations

from dataclasses import fields
from inspect import Parameter, signature
from typing import Any

import numpy as np
import pytest
import whisper
import whisper.decoding as oracle
from faster_whisper import WhisperModel

from maxwhisper_impl import DecodingOptions, DecodingResult, OptionError, Whisper
from maxwhisper_impl.decoding import DecodingTask
from maxwhisper_impl.decoding.filters import TimestampRules, make_plan
from maxwhisper_impl.decoding.options import make_options
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.transcribe_options import TranscribeOptions, clip_times, make_transcribe_options, seek_clips


class NoWork:
    """A runtime that may not be asked for anything."""

    def __init__(self, name: str):
        self.dims = SIZES[name]

    def encode(self, mel: np.ndarray) -> Any:
        raise AssertionError("the encoder ran before the options were checked")

    def start(self, features: Any, rows_per_window: int = 1) -> Any:
        raise AssertionError("the decoder ran before the options were checked")


def model(name: str) -> Whisper:
    return Whisper(SIZES[name], NoWork(name))


DECODING = [
    pytest.param({"beam_size": 2, "best_of": 3, "temperature": 1.0}, "beam_size=2 and best_of=3", id="both"),
    pytest.param({"best_of": 2}, "best_of=2 samples, but temperature=0 is greedy", id="best_of at temperature 0"),
    pytest.param({"patience": 1.0}, "patience=1.0 belongs to beam search", id="patience without beams"),
    pytest.param({"length_penalty": 1.5}, "length_penalty=1.5", id="length_penalty too large"),
    pytest.param({"length_penalty": -0.1}, "length_penalty=-0.1", id="length_penalty negative"),
    pytest.param({"beam_size": 2, "patience": 0.1}, "keeps no candidate", id="patience keeps nothing"),
]
"""refused by openai-whisper too"""

OURS = [
    pytest.param({"temperature": -0.5}, "temperature=-0.5", id="temperature negative"),
    pytest.param({"temperature": float("nan")}, "temperature=nan", id="temperature NaN"),
    pytest.param({"temperature": "hot"}, "temperature='hot'", id="temperature a word"),
    pytest.param({"beam_size": 0}, "beam_size=0", id="no beams"),
    pytest.param({"beam_size": 2.5}, "beam_size=2.5", id="half a beam"),
    pytest.param({"best_of": 0, "temperature": 1.0}, "best_of=0", id="best of none"),
    pytest.param({"sample_len": 0}, "sample_len=0", id="no tokens"),
    pytest.param({"sample_len": 449}, "sample_len=449: give a whole number from 1 to 448", id="more tokens than fit"),
    pytest.param({"max_initial_timestamp": -1.0}, "max_initial_timestamp=-1.0", id="first timestamp before the start"),
    pytest.param({"seed": -1}, "seed=-1", id="negative seed"),
    pytest.param({"suppress_tokens": "1,two"}, "suppress_tokens='1,two'", id="suppress_tokens not numbers"),
    pytest.param({"suppress_tokens": [60000]}, "suppress_tokens holds 60000", id="suppress_tokens out of range"),
    pytest.param({"suppress_tokens": [51865]}, "51865; ids lie between 0 and 51864", id="suppress_tokens just out"),
    pytest.param({"suppress_tokens": [-2]}, "suppress_tokens holds -2", id="suppress_tokens negative"),
    pytest.param({"prefix": [60000]}, "prefix holds the token 60000", id="prefix out of range"),
    pytest.param({"prompt": [51864, 51865]}, "prompt holds the token 51865; .* 0 and 51864", id="prompt just out"),
    pytest.param({"seed": [1, -1]}, "seed=", id="negative number in a seed"),
    pytest.param({"prefix": [11] * 448}, "prompt and prefix make 451 tokens of at most 448", id="prefix too long"),
    pytest.param({"prefix": "<|endoftext|>"}, "special token", id="prefix spells a special token"),
    pytest.param({"language": "elvish"}, "unknown language 'elvish'", id="unknown language"),
    pytest.param({"language": "cantonese"}, "not one of this model's 99", id="language of larger models"),
    pytest.param({"task": "summarise"}, "unknown task 'summarise'", id="unknown task"),
    pytest.param({"beamsize": 5}, "unknown .*option 'beamsize'; did you mean 'beam_size'", id="unknown option"),
    pytest.param({"colour": 5}, "unknown .*option 'colour'; there are", id="option of nothing"),
]

ENGLISH_ONLY = [
    pytest.param({"language": "de"}, "language='de' needs a multilingual model", id="German"),
    pytest.param({"task": "translate"}, "task='translate' needs a multilingual model", id="translate"),
    pytest.param({"task": "lang_id"}, "task='lang_id' needs a multilingual model", id="language identification"),
]


def test_an_answer_takes_half_of_the_context_unless_told(oracle_model: Any) -> None:
    for told, tokens in ({}, 224), ({"sample_len": 5}, 5), ({"sample_len": 448}, 448):
        options = {"language": "en", **told}
        assert DecodingTask(NoWork("base"), make_options(**options)).sample_len == tokens
        assert oracle.DecodingTask(oracle_model, oracle.DecodingOptions(fp16=False, **options)).sample_len == tokens


@pytest.mark.parametrize(("options", "message"), [*DECODING, *OURS])
def test_decode_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model("base").decode(np.zeros((80, 3000), np.float32), **options)


@pytest.mark.parametrize(("options", "message"), ENGLISH_ONLY)
def test_decode_with_an_english_model_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model("tiny.en").decode(np.zeros((80, 3000), np.float32), **options)


def test_detect_language_with_an_english_model() -> None:
    whisper = model("tiny.en")
    with pytest.raises(OptionError, match="only English"):
        whisper.detect_language(np.zeros((1500, 384), np.float32))


@pytest.mark.parametrize(("options", "message"), DECODING)
def test_the_oracle_refuses_it_too(options: dict[str, Any], message: str, oracle_model: Any) -> None:
    with pytest.raises((ValueError, AssertionError)):
        oracle.DecodingTask(oracle_model, oracle.DecodingOptions(fp16=False, **options))


@pytest.fixture(scope="module")
def oracle_model() -> Any:
    """Of the smallest dims that openai-whisper's task reads."""
    import whisper

    return whisper.Whisper(whisper.ModelDimensions(80, 1500, 8, 1, 1, 51865, 448, 8, 1, 1))


TRANSCRIBE = [
    pytest.param({"patience": 1.0}, "patience=1.0 belongs to beam search", id="patience without beams"),
    pytest.param({"temperature": (0.0, -1.0)}, "temperature=-1.0", id="one temperature negative"),
    pytest.param({"temperature": ()}, "temperature is empty", id="no temperature"),
    pytest.param({"length_penalty": 2.0}, "length_penalty=2.0", id="length_penalty too large"),
    pytest.param({"no_speech_threshold": "high"}, "no_speech_threshold='high'", id="threshold a word"),
    pytest.param({"logprob_threshold": float("nan")}, "logprob_threshold=nan", id="threshold NaN"),
    pytest.param({"hallucination_silence_threshold": 2.0}, "needs word_timestamps=True", id="silence without words"),
    pytest.param({"assistant": len, "beam_size": 5}, "not beam_size=5; leave one", id="assistant and beams"),
    pytest.param({"assistant": len, "batch_size": 2}, "not batch_size=2; leave one", id="assistant in batches"),
    pytest.param({"assistant": len, "temperature": (0.2, 0.4)}, "helps at temperature 0, not", id="assistant, samples"),
    pytest.param({"assistant": len, "vad_filter": True}, "vad_filter=True leaves parts", id="assistant, speech alone"),
    pytest.param({"assistant": 7}, "assistant=7: give a model, its name, or a function", id="no assistant"),
    pytest.param({"batch_size": 2, "word_timestamps": True, "hallucination_silence_threshold": 2.0},
                 "looks back at the windows before, batch_size=2", id="silence in batches"),
    pytest.param({"word_timestamps": True, "append_punctuations": None}, "append_punctuations=None", id="no marks"),
    pytest.param({"word_timestamps": True, "sample_len": 444}, "give at most 443", id="too much text to time words"),
    pytest.param({"clip_timestamps": "0,ten"}, "clip_timestamps='0,ten'", id="clips not numbers"),
    pytest.param({"clip_timestamps": [0, -3.0]}, "clip_timestamps holds -3.0", id="clip before the start"),
    pytest.param({"clip_timestamps": "nan"}, "clip_timestamps holds nan", id="clip at NaN"),
    pytest.param({"clip_timestamps": "0,inf"}, "clip_timestamps holds inf", id="clip without end"),
    pytest.param({"prefix": [11] * 222}, "make 449 tokens of at most 448", id="prefix too long behind any prompt"),
    pytest.param({"prompt": "x"}, "give initial_prompt instead", id="prompt"),
    pytest.param({"initial_prompt": "<|endoftext|>"}, "special token", id="initial prompt spells a special token"),
    pytest.param({"carry_initial_prompt": True}, "needs an initial_prompt", id="nothing to carry"),
    pytest.param({"task": "lang_id"}, "use detect_language", id="lang_id"),
    pytest.param({"language": "elvish"}, "unknown language 'elvish'", id="unknown language"),
    pytest.param({"suppress_tokens": [60000]}, "suppress_tokens holds 60000", id="suppress_tokens out of range"),
    pytest.param({"condition_on_previous": False}, "did you mean 'condition_on_previous_text'", id="unknown option"),
]


@pytest.mark.parametrize(("options", "message"), TRANSCRIBE)
def test_transcribe_refuses(options: dict[str, Any], message: str) -> None:
    """Before the audio is opened: there is no such file."""
    with pytest.raises(OptionError, match=message):
        model("base").transcribe("no-such-file.wav", **options)


def test_an_english_model_hears_one_language() -> None:
    with pytest.raises(OptionError, match="multilingual=True needs a multilingual model"):
        model("tiny.en").transcribe("no-such-file.wav", multilingual=True)


def test_words_of_an_english_model_need_less_room() -> None:
    """Its initial tokens are two fewer."""
    make_transcribe_options(SIZES["tiny.en"], word_timestamps=True, sample_len=445)
    with pytest.raises(OptionError, match="sample_len=446 leaves no room to time words; give at most 445"):
        make_transcribe_options(SIZES["tiny.en"], word_timestamps=True, sample_len=446)


def test_defaults_of_a_transcription_are_openais_and_faster_whispers() -> None:
    """Of what both of them have, openai-whisper's."""
    ours = {f.name: f.default for f in (*fields(DecodingOptions), *fields(TranscribeOptions))}
    openais, others = (
        {name: parameter.default for name, parameter in signature(transcribe).parameters.items()}
        for transcribe in (whisper.transcribe, WhisperModel.transcribe)
    )
    theirs = {name: default for name, default in openais.items() if default is not Parameter.empty}
    assert {name: ours[name] for name in theirs} == theirs
    added = ("repetition_penalty", "no_repeat_ngram_size", "hotwords", "vad_filter", "vad_parameters", "multilingual",
             "language_detection_threshold", "language_detection_segments")  # fmt: skip
    assert {name: ours[name] for name in added} == {name: others[name] for name in added}


def test_fields_are_openais() -> None:
    """Everything openai-whisper has, in its order; `seed` is ours, the others are faster-whisper's."""
    ours, theirs = fields(DecodingOptions), fields(oracle.DecodingOptions)
    added = {"seed", "repetition_penalty", "no_repeat_ngram_size", "hotwords"}
    assert [f.name for f in ours if f.name not in added] == [f.name for f in theirs]
    defaults = {f.name: f.default for f in theirs if f.name != "fp16"}
    assert {f.name: f.default for f in ours if f.name in defaults} == defaults
    assert [f.name for f in fields(DecodingResult)] == [f.name for f in fields(oracle.DecodingResult)]


def test_beams_at_temperature_0_and_samples_above() -> None:
    """Both may be given to transcribe: each temperature takes what is meant for it."""
    options = make_transcribe_options(SIZES["base"], beam_size=5, best_of=3, patience=2.0, temperature=(0, 0.4))
    cold, hot = (options.decoding_at(t) for t in options.temperatures)
    assert (cold.beam_size, cold.patience, cold.best_of) == (5, 2.0, None)
    assert (hot.beam_size, hot.patience, hot.best_of) == (None, None, 3)


@pytest.mark.parametrize("name", ["tiny.en", "base", "turbo"])
@pytest.mark.parametrize("given", ["-1", "-1,0,50", [5, 7], "", None])
def test_suppressed_ids_are_the_oracles(name: str, given: str | list[int] | None) -> None:
    dims, options = SIZES[name], {"suppress_tokens": given}
    of_a_window = make_options(language="en", **options)
    of_a_recording = make_transcribe_options(dims, language="en", **options).decoding_at(0.0)
    theirs = oracle.DecodingTask.__new__(oracle.DecodingTask)
    theirs.options = oracle.DecodingOptions(**options)
    theirs.tokenizer = oracle.get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages, language="en")
    for each in (of_a_window, of_a_recording):
        filters = DecodingTask(NoWork(name), each).filters
        ours = [f.ids.tolist() for f in filters if type(f).__name__ == "SuppressTokens"]
        assert ours == ([list(theirs._get_suppress_tokens())] if given else [])


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        ("0", [(0, 1000)]),
        ("", [(0, 1000)]),
        ([], [(0, 1000)]),
        ("2.5", [(250, 1000)]),
        ("1,2", [(100, 200)]),
        ("1,2,4.004,4.006,7", [(100, 200), (400, 401), (700, 1000)]),
        ([3.0, 99.0], [(300, 1000)]),
        ([50.0], [(5000, 1000)]),
    ],
)
def test_clips_in_frames(clips: Any, expected: list[tuple[int, int]]) -> None:
    """Of 10 s; the missing or too late end is the end of the recording."""
    assert seek_clips(clips, 1000) == expected
    assert len(clip_times(clips)) <= 2 * len(expected)


def test_a_first_timestamp_may_be_as_late_as_one_likes() -> None:
    """Beyond the window there is nothing; a number of any size is no overflow."""
    filters = DecodingTask(NoWork("base"), make_options(max_initial_timestamp=1e300)).filters
    rules = next(each for each in filters if isinstance(each, TimestampRules))
    plan = make_plan([rules], np.zeros((1, 0), int), SIZES["base"].n_vocab, rules.timestamp_begin)
    assert plan.time_to.tolist() == [rules.timestamp_begin + 1501]
