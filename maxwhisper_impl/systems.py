"""The systems that `compare` puts side by side: one Protocol, one class each, one registry.

Every system gets the same weights, converted tensor for tensor into the format that it reads, and the same options:
greedy, temperature 0 without fallback, one language, no voice activity detection, as many threads as the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .errors import CheckpointError, MaxWhisperError, OptionError
from .whisper_cpp import WhisperCppModel

if TYPE_CHECKING:
    import numpy as np

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Pinned:
    """What is asked of all systems alike; everything else is fixed in their classes."""

    language: str | None = None
    """code of the language spoken; None: each system detects it. English-only models are asked for English"""
    task: str = "transcribe"
    condition_on_previous_text: bool = True


@dataclass(frozen=True)
class Transcript:
    """What a system made of an audio file."""

    text: str
    tokens: list[int]
    """of all segments in order, timestamps included"""
    segments: list[tuple[float, float, str]]
    """(start, end, text), times in seconds"""


@dataclass(frozen=True)
class SystemSpec:
    """Which system, on what; `dtype` is what it computes in (faster-whisper's name for it is compute_type)."""

    system: str
    model: str
    """a name or a path, as `load_model` takes it"""
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    """on the CPU; the process that the system runs in may use no more CPUs than that"""


def label(spec: SystemSpec) -> str:
    """How it is called in messages; a model given as a path by the path's last part."""
    return f"{Path(spec.model).name} · {spec.system}" + ("" if spec.dtype == "float32" else f":{spec.dtype}")


class System(Protocol):
    """A speech recogniser. `prepare`, `load`, `transcribe` are called in this order, the last one repeatedly."""

    packages: ClassVar[tuple[str, ...]]
    """distributions whose versions belong to its results"""
    dtypes: ClassVar[tuple[str, ...]]
    """the first one by default"""

    def __init__(self, spec: SystemSpec) -> None: ...

    def prepare(self) -> None:
        """Write the weights in the system's own format, once per machine. CheckpointError where they cannot be had."""
        ...

    def load(self, progress: Progress | None = None) -> None:
        """Import, read the weights, compile. MaxWhisperError where the system is not installed."""
        ...

    def transcribe(self, audio: np.ndarray, pinned: Pinned) -> Transcript:
        """`audio` is float32 [n_samples], mono, 16 kHz."""
        ...


class MaxWhisper:
    """This package."""

    packages: ClassVar[tuple[str, ...]] = ("maxwhisper", "max")
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16", "int8")

    def __init__(self, spec: SystemSpec) -> None:
        self.spec = spec
        self.source: Path | None = None
        self.model: Any = None

    def prepare(self) -> None:
        self.source = find_weights(self.spec.model)

    def load(self, progress: Progress | None = None) -> None:
        from .whisper import load_model

        spec = self.spec
        # threads: those of the process, see `threads`
        self.model = load_model(str(self.source), device=spec.device, dtype=spec.dtype, progress=progress)

    def transcribe(self, audio: np.ndarray, pinned: Pinned) -> Transcript:
        return _from_dict(self.model.transcribe(audio, **_openai_options(pinned, self.model.is_multilingual)))


class OpenAIWhisper:
    """openai-whisper on PyTorch: the oracle, and the one that the others' speed is measured by."""

    packages: ClassVar[tuple[str, ...]] = ("openai-whisper", "torch")
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float16")

    def __init__(self, spec: SystemSpec) -> None:
        self.spec = spec
        self.file: Path | None = None
        self.model: Any = None

    def prepare(self) -> None:
        source = find_weights(self.spec.model)
        self.file = source if source.suffix == ".pt" else converted(source, "model.pt")

    def load(self, progress: Progress | None = None) -> None:
        torch, whisper = _module("torch", "torch"), _module("whisper", "openai-whisper")
        torch.set_num_threads(self.spec.threads)
        self.model = whisper.load_model(str(self.file), device=self.spec.device)

    def transcribe(self, audio: np.ndarray, pinned: Pinned) -> Transcript:
        options = _openai_options(pinned, self.model.is_multilingual)
        return _from_dict(self.model.transcribe(audio, fp16=self.spec.dtype == "float16", **options))


class FasterWhisper:
    """faster-whisper on CTranslate2, in its sequential mode."""

    packages: ClassVar[tuple[str, ...]] = ("faster-whisper", "ctranslate2")
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16")

    def __init__(self, spec: SystemSpec) -> None:
        self.spec = spec
        self.folder: Path | None = None
        self.model: Any = None

    def prepare(self) -> None:
        source = find_weights(self.spec.model)
        self.folder = source if (source / "model.bin").is_file() else converted(source, "ctranslate2")

    def load(self, progress: Progress | None = None) -> None:
        spec = self.spec
        self.model = _module("faster_whisper", "faster-whisper").WhisperModel(
            str(self.folder),
            device=spec.device,
            compute_type=spec.dtype,
            cpu_threads=spec.threads,
            local_files_only=True,
        )

    def transcribe(self, audio: np.ndarray, pinned: Pinned) -> Transcript:
        segments, _ = self.model.transcribe(
            audio,
            language=_language(pinned, self.model.model.is_multilingual),
            task=pinned.task,
            condition_on_previous_text=pinned.condition_on_previous_text,
            beam_size=1,
            best_of=1,
            temperature=[0.0],
            vad_filter=False,
            word_timestamps=False,
        )
        return _from_segments(list(segments))  # a generator: the work is done here


class WhisperCpp:
    """whisper.cpp on the CPU. In float16: it aborts on float32 matrices (1.8.5, of pywhispercpp 1.5.1)."""

    packages: ClassVar[tuple[str, ...]] = ("pywhispercpp",)
    dtypes: ClassVar[tuple[str, ...]] = ("float16",)

    def __init__(self, spec: SystemSpec) -> None:
        self.spec = spec
        self.file: Path | None = None
        self.model: Any = None

    def prepare(self) -> None:
        self.file = converted(find_weights(self.spec.model), "model.ggml")

    def load(self, progress: Progress | None = None) -> None:
        library = _module("_pywhispercpp", "pywhispercpp")
        if self.spec.device != "cpu":
            raise MaxWhisperError(f"pywhispercpp has no device {self.spec.device!r}: its wheels compute on the CPU")
        self.model = WhisperCppModel(library, str(self.file), self.spec.threads)

    def transcribe(self, audio: np.ndarray, pinned: Pinned) -> Transcript:
        segments = self.model.transcribe(
            audio,
            language=_language(pinned, self.model.is_multilingual),
            task=pinned.task,
            condition_on_previous_text=pinned.condition_on_previous_text,
        )
        return _from_segments(segments)


SYSTEMS: dict[str, type[System]] = {
    "maxwhisper": MaxWhisper,
    "openai-whisper": OpenAIWhisper,
    "faster-whisper": FasterWhisper,
    "whisper.cpp": WhisperCpp,
}
ORACLE = "openai-whisper"


def parse_system(name: str) -> tuple[str, str]:
    """(system, dtype) of "faster-whisper:int8"; a name alone has its first dtype. OptionError for what is not there."""
    system, colon, dtype = str(name).partition(":")
    if system not in SYSTEMS:
        raise OptionError(f"unknown system {system!r}; there are {', '.join(SYSTEMS)}")
    dtypes = SYSTEMS[system].dtypes
    if colon and dtype not in dtypes:
        raise OptionError(f"{system} has no dtype {dtype!r}; there are {', '.join(dtypes)}")
    return system, dtype or dtypes[0]


def find_weights(model: str) -> Path:
    """Where the weights of `model` (a name or a path) lie on this machine; CheckpointError where nowhere."""
    from .weights import find_checkpoint

    return find_checkpoint(model)


def converted(source: Path, name: str) -> Path:
    """The weights at `source` in another format: `name` (a file, or the folder "ctranslate2") in the user's cache.

    The cache is keyed by content, so a checkpoint that changes under its name is converted anew.
    """
    from .weights import convert
    from .weights.hashes import cache_folder

    target = cache_folder() / "converted" / content_hash(source) / name
    if not target.exists():
        try:
            convert(source, target, format=None if target.suffix else name)  # whole or not there
        except CheckpointError:
            if not target.exists():  # another process may have been faster
                raise
    return target


def content_hash(source: Path) -> str:
    """SHA-256 over the names and hashes of a checkpoint's files."""
    from .weights.hashes import sha256

    files = sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else [source]
    lines = [f"{path.name if source.is_dir() else ''} {sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _language(pinned: Pinned, is_multilingual: bool) -> str | None:
    return pinned.language if is_multilingual else "en"


def _openai_options(pinned: Pinned, is_multilingual: bool) -> dict[str, Any]:
    return {
        "language": _language(pinned, is_multilingual),
        "task": pinned.task,
        "condition_on_previous_text": pinned.condition_on_previous_text,
        "temperature": 0.0,  # alone: no fallback to sampling
        "beam_size": None,
        "best_of": None,
        "word_timestamps": False,
        "verbose": None,  # prints nothing, no progress bar
    }


def _from_dict(result: dict[str, Any]) -> Transcript:
    segments = result["segments"]
    return Transcript(
        result["text"],
        [int(token) for segment in segments for token in segment["tokens"]],
        [(float(segment["start"]), float(segment["end"]), segment["text"]) for segment in segments],
    )


def _from_segments(segments: Sequence[Any]) -> Transcript:
    return Transcript(
        "".join(segment.text for segment in segments),
        [token for segment in segments for token in segment.tokens],
        [(segment.start, segment.end, segment.text) for segment in segments],
    )


def _module(name: str, distribution: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MaxWhisperError(f"{distribution} is not installed; pip install {distribution}") from error
