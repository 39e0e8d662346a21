"""The compared systems get the same weights, the same options and the same number of threads."""

from __future__ import annotations

import inspect
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.corpus import Clip
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.errors import CheckpointError, MaxWhisperError, OptionError
from maxwhisper_impl.systems import (
    SYSTEMS,
    FasterWhisper,
    MaxWhisper,
    OpenAIWhisper,
    Pinned,
    SystemSpec,
    WhisperCpp,
    converted,
    label,
    parse_system,
)
from maxwhisper_impl.weights import Checkpoint, load_checkpoint, random_checkpoint, save_checkpoint

PEERS = [OpenAIWhisper, FasterWhisper, WhisperCpp]
ASKED_BY_NAME = [MaxWhisper, OpenAIWhisper, FasterWhisper]
"""their options are arguments; whisper.cpp's are `test_whisper_cpp.py`'s"""
ENGLISH = Pinned(language="en")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the user's; torch and Hugging Face keep theirs elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small() -> Checkpoint:
    return random_checkpoint(replace(SIZES["tiny"], n_audio_layer=1, n_text_layer=2), seed=3)


@pytest.fixture
def pt_file(small: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(small, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def same(got: Checkpoint, want: Checkpoint) -> None:
    assert got.dims == want.dims
    assert got.tensors.keys() == want.tensors.keys()
    for name, tensor in want.tensors.items():
        assert np.array_equal(got.tensors[name], tensor), name


def test_openai_computes_with_the_checkpoints_values(checkpoint: Checkpoint, cache: Path) -> None:
    system = OpenAIWhisper(SystemSpec("openai-whisper", str(checkpoint.source)))
    system.prepare()
    system.load()
    state = system.model.state_dict()
    assert state.keys() == checkpoint.tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        assert np.array_equal(state[name].numpy(), tensor.astype(np.float32)), name


def test_faster_reads_a_ctranslate2_folder_unchanged(checkpoint: Checkpoint, cache: Path) -> None:
    system = FasterWhisper(SystemSpec("faster-whisper", str(checkpoint.source)))
    system.prepare()
    assert system.folder == checkpoint.source
    assert not (cache / "maxwhisper" / "converted").exists()


def test_faster_reads_a_folder_with_the_values_of_a_pt_file(small: Checkpoint, pt_file: Path, cache: Path) -> None:
    system = FasterWhisper(SystemSpec("faster-whisper", str(pt_file)))
    system.prepare()
    assert system.folder is not None
    same(load_checkpoint(system.folder), small)
    system.load()
    assert system.model.model.is_multilingual


def test_conversion_is_kept_by_content(pt_file: Path, cache: Path, small: Checkpoint, tmp_path: Path) -> None:
    first = converted(pt_file, "ctranslate2")
    stamp = (first / "model.bin").stat().st_mtime_ns
    assert converted(pt_file, "ctranslate2") == first
    assert (first / "model.bin").stat().st_mtime_ns == stamp, "not written twice"
    elsewhere = tmp_path / "elsewhere.pt"
    shutil.copy(pt_file, elsewhere)
    assert converted(elsewhere, "ctranslate2") == first, "the name does not count"

    tensors = dict(small.tensors) | {"decoder.ln.bias": small.tensors["decoder.ln.bias"] + np.float32(1)}
    save_checkpoint(replace(small, tensors=tensors), pt_file)
    second = converted(pt_file, "ctranslate2")
    assert second != first, "the same path with other values is another checkpoint"
    assert not np.array_equal(*(load_checkpoint(f).tensors["decoder.ln.bias"] for f in (first, second)))


def test_every_file_of_a_folder_counts(cache: Path, tmp_path: Path, small: Checkpoint) -> None:
    """Its tokenizer's and its alignment heads, say, which are not in the weights."""
    save_checkpoint(small, tmp_path / "folder", format="huggingface")
    first = converted(tmp_path / "folder", "model.npz")
    (tmp_path / "folder" / "generation_config.json").write_text('{"alignment_heads": [[1, 1]]}')
    second = converted(tmp_path / "folder", "model.npz")
    assert second != first
    assert load_checkpoint(second).alignment_heads == ((1, 1),)


def test_unwritable_cache_is_an_error(pt_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="cannot be written"):
        converted(pt_file, "ctranslate2")


@pytest.mark.parametrize("kind", SYSTEMS.values())
def test_weights_that_are_nowhere_are_an_error(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pt"):
        kind(SystemSpec("any", str(tmp_path / "gone.pt"))).prepare()


@pytest.mark.parametrize("kind", PEERS)
def test_a_peer_that_is_not_installed_is_named(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("maxwhisper_impl.systems.import_module", missing)
    with pytest.raises(MaxWhisperError, match="is not installed; pip install"):
        kind(SystemSpec("any", "tiny.en")).load()


def test_names_and_dtypes() -> None:
    assert parse_system("maxwhisper") == ("maxwhisper", "float32")
    assert parse_system("faster-whisper:int8") == ("faster-whisper", "int8")
    assert parse_system("whisper.cpp") == parse_system("whisper.cpp:float16") == ("whisper.cpp", "float16")
    assert label(SystemSpec("faster-whisper", "/some/where/tiny.en", dtype="int8")) == "tiny.en · faster-whisper:int8"
    with pytest.raises(OptionError, match="unknown system 'whisper'; there are maxwhisper"):
        parse_system("whisper")
    with pytest.raises(OptionError, match=r"openai-whisper has no dtype 'int8'; there are float32, float16"):
        parse_system("openai-whisper:int8")
    with pytest.raises(OptionError, match="no dtype ''"):
        parse_system("maxwhisper:")


class Recorder:
    """Stands in for a system's own model and keeps what it is asked."""

    def __init__(self, is_multilingual: bool = True) -> None:
        self.is_multilingual = is_multilingual
        self.model = self
        self.asked: dict[str, Any] = {}

    def transcribe(self, audio: np.ndarray, **options: Any) -> Any:
        self.asked = options
        result: dict[str, Any] = {"text": "", "segments": []}
        if "vad_filter" in options:
            return (), None
        return result if "verbose" in options else []


def asked(kind: Any, pinned: Pinned, *, is_multilingual: bool = True) -> dict[str, Any]:
    """The options that reach the system's model, its own defaults filled in."""
    system = kind(SystemSpec("any", "any"))
    system.model = Recorder(is_multilingual)
    system.transcribe(np.zeros(16000, np.float32), pinned)
    if kind is FasterWhisper:
        from faster_whisper import WhisperModel as peer
    elif kind is WhisperCpp:
        from maxwhisper_impl.whisper_cpp import WhisperCppModel as peer
    else:
        from whisper import Whisper as peer
    defaults = {name: parameter.default for name, parameter in inspect.signature(peer.transcribe).parameters.items()}
    return defaults | system.model.asked


LOADED: list[tuple[Any, str, dict[str, Any]]] = [
    (MaxWhisper, "int8", {"device": "cuda", "dtype": "int8", "progress": print}),
    (OpenAIWhisper, "float16", {"device": "cuda"}),
    (FasterWhisper, "int8", {"device": "cuda", "compute_type": "int8", "cpu_threads": 3, "local_files_only": True}),
]


@pytest.mark.parametrize(("kind", "dtype", "want"), LOADED)
def test_each_is_loaded_as_asked(kind: Any, dtype: str, want: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device, in the dtype and with the threads of the comparison."""
    asked: dict[str, Any] = {}
    threads: list[int] = []
    load = lambda path, **options: asked.update(options) or path  # noqa: E731
    module = SimpleNamespace(load_model=load, WhisperModel=load, set_num_threads=threads.append)
    monkeypatch.setattr("maxwhisper_impl.systems._module", lambda name, distribution: module)
    monkeypatch.setattr("maxwhisper_impl.whisper.load_model", load)
    system = kind(SystemSpec("any", "any", "cuda", dtype, threads=3))
    system.source = system.file = system.folder = Path("weights")
    system.load(print)
    assert (system.model, asked) == ("weights", want)
    assert threads == ([3] if kind is OpenAIWhisper else [])


@pytest.mark.parametrize(("dtype", "halves"), [("float32", False), ("float16", True)])
def test_openai_computes_in_halves_only_if_asked(dtype: str, halves: bool) -> None:
    system = OpenAIWhisper(SystemSpec("any", "any", dtype=dtype))
    system.model = Recorder()
    system.transcribe(np.zeros(16000, np.float32), ENGLISH)
    assert system.model.asked["fp16"] is halves


@pytest.mark.parametrize("kind", ASKED_BY_NAME)
def test_options_are_pinned(kind: Any) -> None:
    options = asked(kind, Pinned(language="fr", task="translate", condition_on_previous_text=False))
    assert (options["language"], options["task"], options["condition_on_previous_text"]) == ("fr", "translate", False)
    assert options["beam_size"] in (None, 1)
    assert options["best_of"] in (None, 1)
    assert options["temperature"] in (0.0, [0.0]), "no fallback"
    assert not options.get("fp16")
    assert not options.get("vad_filter")
    assert not options["word_timestamps"]


def test_thresholds_are_the_same() -> None:
    oracle, faster = asked(OpenAIWhisper, ENGLISH), asked(FasterWhisper, ENGLISH)
    assert oracle["compression_ratio_threshold"] == faster["compression_ratio_threshold"]
    assert oracle["logprob_threshold"] == faster["log_prob_threshold"]
    assert oracle["no_speech_threshold"] == faster["no_speech_threshold"]
    assert oracle["initial_prompt"] is faster["initial_prompt"] is None
    assert faster["repetition_penalty"] == 1
    assert faster["no_repeat_ngram_size"] == 0


@pytest.mark.parametrize("kind", SYSTEMS.values())
def test_english_models_are_asked_for_english(kind: Any) -> None:
    assert asked(kind, Pinned(language="de"), is_multilingual=False)["language"] == "en"
    assert asked(kind, Pinned(), is_multilingual=False)["language"] == "en"
    assert asked(kind, Pinned())["language"] is None


def test_threads_are_as_many_as_asked(checkpoint: Checkpoint, cache: Path) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            system = OpenAIWhisper(SystemSpec("openai-whisper", str(checkpoint.source), threads=threads))
            system.prepare()
            system.load()
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_another_process_may_convert_faster(cache: Path, pt_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is then taken; a failure of any other kind is one."""
    def beaten(source: Path, target: Path, format: str) -> None:
        if not lost:
            target.mkdir(parents=True)
        raise CheckpointError(f"{target}: cannot be written: Directory not empty")

    lost = False
    monkeypatch.setattr("maxwhisper_impl.weights.convert", beaten)
    assert converted(pt_file, "ctranslate2").is_dir()
    lost = True
    with pytest.raises(CheckpointError, match="cannot be written"):
        converted(pt_file, "huggingface")


def shortest(clips: list[Clip]) -> Clip:
    return min((c for c in clips if c.language == "en" and c.text and c.seconds > 2), key=lambda c: c.seconds)


@pytest.mark.first_checkpoint
def test_all_hear_the_same(checkpoint: Checkpoint, clips: list[Clip]) -> None:
    """From the user's own cache, as `compare` runs: graphs for an empty one take longer than all the rest."""
    from maxwhisper_impl.audio import load_audio

    audio = load_audio(shortest(clips).audio)
    heard = {}
    for kind in ASKED_BY_NAME:  # whisper.cpp has another last window
        name = kind.__name__
        system = kind(SystemSpec(name, str(checkpoint.source), threads=os.cpu_count() or 1))
        system.prepare()
        system.load()
        heard[name] = system.transcribe(audio, ENGLISH)
    oracle = heard["OpenAIWhisper"]
    assert oracle.text.strip()
    for name, transcript in heard.items():
        assert transcript.text.strip() == oracle.text.strip(), name
        assert transcript.tokens == oracle.tokens, name
        assert np.allclose([s[:2] for s in transcript.segments], [s[:2] for s in oracle.segments], atol=0.02), name
