"""whisper.cpp on the CPU, in float16, by the extension module of pywhispercpp.

Its bindings run the encoder alone, and not the decoder: the steps of a window are timed by whisper.cpp's own clock,
which leaves out the encoder. What it counts to the encoder, the keys and values of the window, it gets for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.systems import converted
from maxwhisper_impl.whisper_cpp import WhisperCppModel
from tests.perf.peers import Cuts, Setting, Shared

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

TIMED = re.compile(r"(\w+) time = *([\d.]+) ms(?: / *(\d+) runs)?")
DECODER = ("sample", "decode", "batchd", "prompt")
"""Its names for the parts of a decoding: a token alone is "decode", a few of a prompt are "batchd"."""


class Cpp(Shared):
    def __init__(self, checkpoint: Checkpoint, dtype: str, setting: Setting) -> None:
        import _pywhispercpp

        if dtype != "float16":
            raise MaxWhisperError(f"whisper.cpp is here in float16, not in {dtype}")
        self.library = _pywhispercpp
        file = converted(checkpoint.source, "model.ggml")
        self.model = WhisperCppModel(_pywhispercpp, str(file), setting.threads)
        self.setting = setting
        self.decoding = 0.0
        """seconds in the decoder so far, for as many steps as were asked for"""

    def _options(self, condition_on_previous_text: bool) -> Any:
        self.model.threads = self.setting.threads
        return self.model.options("en", "transcribe", condition_on_previous_text)

    def features(self, mel: np.ndarray) -> np.ndarray:
        """The mel itself: what the encoder makes of it stays inside."""
        if len(mel) != 1:
            raise ValueError("whisper.cpp's bindings take one window at a time")
        return np.ascontiguousarray(mel[0])

    def encode(self, mel: np.ndarray) -> None:
        window = self.features(mel)
        self.model.run("whisper_set_mel", window.ravel(), window.shape[1], window.shape[0])
        self.model.run("whisper_encode", 0, self.setting.threads)

    def decode(self, features: np.ndarray, steps: int) -> list[list[int]]:
        """Fewer tokens where it comes to an end, which only a slow callback could forbid. Its clock makes up for it."""
        library, context = self.library, self.model.context
        self.model.run("whisper_set_mel", features.ravel(), features.shape[1], features.shape[0])
        options = self._options(False)
        options.no_timestamps = options.single_segment = True
        options.max_tokens = steps - 1  # it ends behind the one that goes beyond
        library.whisper_reset_timings(context)
        self.model.run("whisper_full", options, np.zeros(0, np.float32), 0)
        tokens = [t for i in range(library.whisper_full_n_segments(context)) for t in self.model.tokens(i, 1 << 30)]
        seconds, runs = decoder_seconds(self._timings())
        self.decoding += seconds * steps / runs
        return [tokens]

    def _timings(self) -> str:
        said: list[str] = []
        self.library.whisper_log_set(lambda _level, text: said.append(text))
        try:
            self.library.whisper_print_timings(self.model.context)
        finally:
            self.library.whisper_log_set(None)  # a function that is still there when Python ends would crash it
        return "".join(said)

    def read(self, audio: np.ndarray) -> str:
        self.model.run("whisper_full", self._options(True), audio, audio.size)
        return "".join(segment.text for segment in self.model.segments())

    def read_in_batches(self, audio: np.ndarray, cuts: Cuts) -> str:
        """Its `whisper_full_parallel`: the recording in as many parts as there are workers, wherever that cuts it."""
        self.model.run("whisper_full_parallel", self._options(False), audio, audio.size, self.setting.workers)
        return "".join(segment.text for segment in self.model.segments())

    def clock(self, case: str) -> Callable[[], float]:
        return (lambda: self.decoding) if case == "step" else super().clock(case)


def decoder_seconds(timings: str) -> tuple[float, int]:
    """Of what `whisper_print_timings` says: seconds in the decoder, and the tokens that came of them."""
    found = {name: (float(took), int(runs or 0)) for name, took, runs in TIMED.findall(timings)}
    if missing := [name for name in DECODER if name not in found]:
        raise MaxWhisperError(f"whisper.cpp's timings lack {', '.join(missing)}: {timings[:300]!r}")
    tokens = found["decode"][1] + 1  # the first one comes of the prompt
    if tokens < 2:
        raise MaxWhisperError(f"whisper.cpp decoded nothing: {timings[:300]!r}")
    return sum(found[name][0] for name in DECODER) / 1e3, tokens
