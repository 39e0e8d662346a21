"""The public model: a checkpoint ready to transcribe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .decoding import DecodingOptions, DecodingResult, DecodingTask, Runtime, detect_language
from .decoding.options import make_options
from .dims import ModelDimensions
from .errors import DeviceError, OptionError
from .live import LiveTranscription
from .results import Result
from .threads import verify_threads
from .transcribe import Progress, Transcription, start_transcription, transcribe
from .transcribe_options import make_transcribe_options


class Whisper:
    """A model on a device; the methods are openai-whisper's, on NumPy arrays."""

    def __init__(
        self,
        dims: ModelDimensions,
        runtime: Runtime,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        load: Callable[[str | Path], Whisper] | None = None,
    ):
        """`load`: how a model is loaded that is named as an assistant; by default onto the same device."""
        self.dims = dims
        self.runtime = runtime
        self.device = device
        self.dtype = dtype
        self._load = load or partial(load_model, device=device, dtype=dtype)
        self._assistants: dict[str | Path, Whisper] = {}

    @property
    def is_multilingual(self) -> bool:
        return self.dims.is_multilingual

    @property
    def alignment_heads(self) -> tuple[tuple[int, int], ...]:
        """(layer, head) of the cross-attention that word times are read from."""
        return tuple(self.runtime.alignment_heads)

    @property
    def num_languages(self) -> int:
        return self.dims.num_languages

    def transcribe(self, audio: Any, *, progress: Progress | None = None, **options: Any) -> Result:
        """{"text", "segments", "language"} of a recording; see `maxwhisper_impl.transcribe`."""
        return transcribe(self.runtime, audio, progress=progress, **self._with_assistant(options))

    def stream(self, audio: Any, *, progress: Progress | None = None, **options: Any) -> Transcription:
        """The same segment by segment: iterate over it; `text` and `language` say how far it is, `cancel` ends it."""
        return start_transcription(self.runtime, audio, progress=progress, **self._with_assistant(options))

    def _with_assistant(self, options: dict[str, Any]) -> dict[str, Any]:
        """An assistant that is named is loaded once, as this model was."""
        name = options.get("assistant")
        if not isinstance(name, (str, Path)):
            return options
        if name not in self._assistants:
            self._assistants[name] = self._load(name)
        return {**options, "assistant": self._assistants[name]}

    def live(self, *, step: float = 1.0, max_delay: float = 10.0, **options: Any) -> LiveTranscription:
        """Speech as it arrives: `feed` it chunks, or `run` it over a source of them; see `maxwhisper_impl.live`."""
        made = make_transcribe_options(self.dims, **options)
        return LiveTranscription(self.runtime, made, step=step, max_delay=max_delay)

    def decode(
        self, mel: np.ndarray, options: DecodingOptions | None = None, **changes: Any
    ) -> DecodingResult | list[DecodingResult]:
        """The text of windows of 30 s: `mel` float32 [n_mels, 3000] for one result, [windows, n_mels, 3000] for a list.

        Encoded features, [n_audio_ctx, n_audio_state] or a batch of them, are taken as well.
        """
        task = DecodingTask(self.runtime, make_options(options, **changes))
        features, single = self._features(mel)
        results = task.run(features)
        return results[0] if single else results

    def detect_language(self, mel: np.ndarray) -> tuple[Any, Any]:
        """Id of the likeliest language token and the probability of each language; one window or a batch of them."""
        features, single = self._features(mel)
        ids, probs = detect_language(self.runtime, features)
        return (ids[0], probs[0]) if single else (ids, probs)

    def encode(self, mel: np.ndarray) -> np.ndarray:
        """float32 [windows, n_audio_ctx, n_audio_state] of mel [windows, n_mels, 3000]; one window without it."""
        features, single = self._features(mel)
        array = np.asarray(features, dtype=np.float32)
        return array[0] if single else array

    def logits(self, tokens: np.ndarray, features: np.ndarray) -> np.ndarray:
        """float32 [rows, count, n_vocab] for ids [rows, count] and features [rows, n_audio_ctx, n_audio_state]."""
        tokens, features = _array(tokens, "token ids", "iu", 2), _array(features, "features", "fiu", 3)
        return self.runtime.start(features).step(tokens, at=range(tokens.shape[1]))

    def _features(self, mel: Any) -> tuple[Any, bool]:
        """A batch of features, and whether one single window was given."""
        array = _array(mel, "mel frames", "fiu", 2, 3)
        single = array.ndim == 2
        batch = array[None] if single else array
        encoded = batch.shape[-2:] == (self.dims.n_audio_ctx, self.dims.n_audio_state)
        return batch if encoded else self.runtime.encode(batch), single


def _array(given: Any, what: str, kinds: str, *ndim: int) -> np.ndarray:
    """Finite numbers of these kinds of dtype, in one of the numbers of dimensions; OptionError for anything else."""
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"{what} must be an array of numbers, not {type(given).__name__}: {error}") from error
    if array.dtype.kind not in kinds or array.ndim not in ndim or not array.size:
        wanted = "whole numbers" if kinds == "iu" else "numbers"
        found = f"{array.dtype} {list(array.shape)}"
        raise OptionError(f"{what} must be {wanted} in {' or '.join(map(str, ndim))} dimensions, not {found}")
    if not np.isfinite(array).all():
        raise OptionError(f"{what} hold {np.count_nonzero(~np.isfinite(array))} values that are NaN or infinite")
    return array


def _verify_strings(**given: Any) -> None:
    for name, value in given.items():
        if not isinstance(value, str):
            raise DeviceError(f"{name}={value!r:.100}: give a string, as in device='cpu', dtype='float32'")


def load_model(
    name_or_path: str | Path,
    device: str = "cpu",
    dtype: str = "float32",
    *,
    num_threads: int | None = None,
    download: bool = True,
    progress: Callable[..., object] | None = None,
) -> Whisper:
    """A model by name ("tiny.en", "base", "turbo", …) or from a checkpoint's path.

    CheckpointError if there is none; DeviceError if device or dtype are not there. `progress` is told what takes time.
    """
    from .runtime import MaxRuntime
    from .weights import load_checkpoint

    _verify_strings(device=device, dtype=dtype)
    if num_threads is not None:
        verify_threads(num_threads)
    checkpoint = load_checkpoint(name_or_path, download=download)
    runtime = MaxRuntime(checkpoint, device=device, dtype=dtype, num_threads=num_threads, progress=progress)

    def load(name: str | Path) -> Whisper:
        return load_model(name, device, dtype, num_threads=num_threads, download=download, progress=progress)

    return Whisper(checkpoint.dims, runtime, device=device, dtype=dtype, load=load)
