"""whisper.cpp reads our file and hears with it what openai-whisper hears.

Both are given a window with silence behind the speech: openai-whisper's `decode` as `log_mel_spectrogram` makes it of
padded audio, whisper.cpp always. (openai-whisper's `transcribe` has zeros there, so its texts may differ at the end.)
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl.audio import load_audio
from maxwhisper_impl.errors import MaxWhisperError, OptionError
from maxwhisper_impl.systems import Pinned, SystemSpec, WhisperCpp
from maxwhisper_impl.weights import Checkpoint, save_checkpoint
from maxwhisper_impl.whisper_cpp import WhisperCppModel
from tests.implementations import Decoded
from tests.parity.small_checkpoints import ROOT

if TYPE_CHECKING:
    from tests.adapters.openai import OpenAI

library = pytest.importorskip("_pywhispercpp", reason="whisper.cpp is not installed; pip install pywhispercpp")

CLIP = ROOT / "fixtures" / "en" / "01-slt.flac"
THREADS = 1
"""more of them wait for each other in vain on a busy machine"""


@pytest.fixture(scope="module")
def file(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ggml") / "model.ggml"
    save_checkpoint(checkpoint, path)
    return path


def system(file: Path, device: str = "cpu") -> WhisperCpp:
    made = WhisperCpp(SystemSpec("whisper.cpp", "any", device=device, dtype="float16", threads=THREADS))
    made.file = file
    made.load()
    return made


class Failing:
    """whisper.cpp that cannot transcribe."""

    def __getattr__(self, name: str) -> Any:
        return getattr(library, name)

    def whisper_full(self, *_: Any) -> int:
        return -6


def test_a_failure_is_an_error(file: Path) -> None:
    model = system(file).model
    model.library = Failing()
    with pytest.raises(MaxWhisperError, match="failed with status -6"):
        model.transcribe(np.zeros(16000, np.float32), language="en", task="transcribe", condition_on_previous_text=True)


def test_it_loads_the_dims(file: Path, checkpoint: Checkpoint) -> None:
    context = system(file).model.context
    dims = checkpoint.dims
    for name in ("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer", "n_text_ctx",
                 "n_text_state", "n_text_head", "n_text_layer", "n_mels"):  # fmt: skip
        assert getattr(library, f"whisper_model_{name}")(context) == getattr(dims, name), name
    assert library.whisper_model_ftype(context) == 1
    assert library.whisper_is_multilingual(context) == dims.is_multilingual


@pytest.fixture(scope="module")
def original(checkpoint: Checkpoint, oracle: OpenAI) -> Decoded:
    if checkpoint.source.name.startswith("random-"):
        pytest.skip("float16 says other words with random weights: many are as likely as the best")
    return oracle.decode(oracle.mel(load_audio(CLIP))[None], language="en", temperature=0.0)[0]


@pytest.mark.first_checkpoint
def test_it_hears_the_tokens_of_the_original(file: Path, original: Decoded) -> None:
    got = system(file).transcribe(load_audio(CLIP), Pinned(language="en"))
    assert got.tokens == original.tokens
    assert got.text.strip() == original.text
    assert [(start, end) for start, end, _ in got.segments] == [
        (0.0, pytest.approx(0.02 * (original.tokens[-1] - original.tokens[0])))
    ]


@pytest.mark.first_checkpoint
def test_a_wrong_tensor_would_show(checkpoint: Checkpoint, original: Decoded, tmp_path: Path) -> None:
    """Transposed: its shape is right, so that nothing but the words can tell."""
    name = "encoder.blocks.0.attn.value.weight"
    turned = np.ascontiguousarray(checkpoint.tensors[name].T)
    save_checkpoint(replace(checkpoint, tensors=checkpoint.tensors | {name: turned}), tmp_path / "wrong.ggml")
    with pytest.raises(AssertionError):
        test_it_hears_the_tokens_of_the_original(tmp_path / "wrong.ggml", original)


@pytest.mark.first_checkpoint
def test_it_ends_in_silence(file: Path, checkpoint: Checkpoint) -> None:
    """Neither a log nor a crash on the way out, which Python functions that are still its callbacks would cause."""
    code = (
        "import sys, numpy as np; from maxwhisper_impl.systems import *\n"
        "made = WhisperCpp(SystemSpec('whisper.cpp', 'any', dtype='float16')); made.file = sys.argv[1]; made.load()\n"
        "made.transcribe(np.zeros(1600, np.float32), Pinned(language='en'))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, file], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.first_checkpoint
def test_what_it_cannot_do_is_an_error(file: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    cut = tmp_path / "cut.ggml"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(MaxWhisperError, match=r"whisper\.cpp cannot load .*cut\.ggml: "):
        system(cut)
    with pytest.raises(MaxWhisperError, match="no device 'cuda'"):
        system(file, "cuda")
    with pytest.raises(OptionError, match="no language 'xx'"):
        system(file).model.options("xx", "transcribe", True)


@pytest.mark.first_checkpoint
def test_options_are_pinned(file: Path, checkpoint: Checkpoint) -> None:
    model: WhisperCppModel = system(file).model
    options = model.options("fr", "translate", True)
    want: dict[str, Any] = {
        "language": "fr", "translate": True, "n_threads": THREADS, "temperature": 0, "temperature_inc": 0,
        "greedy": {"best_of": 1}, "strategy": int(library.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY),
        "no_context": True, "suppress_blank": True, "suppress_nst": True, "no_timestamps": False, "vad": False,
        "single_segment": False, "token_timestamps": False, "max_initial_ts": 1, "logprob_thold": -1,
        "initial_prompt": "", "audio_ctx": 0, "max_len": 0, "max_tokens": 0, "detect_language": False,
        "print_progress": False, "print_realtime": False, "print_special": False, "print_timestamps": False,
    }  # fmt: skip
    got = {name: getattr(options, name) for name in want}
    assert got | {"strategy": int(got["strategy"])} == want
    assert options.no_speech_thold == pytest.approx(0.6)
    assert options.n_max_text_ctx > model.library.whisper_n_text_ctx(model.context), "windows see the text before them"
    assert model.options("en", "transcribe", False).n_max_text_ctx == 0
    assert model.options(None, "transcribe", True).language == "", "it is detected"


class Told:
    """Stands in for the library: what it hands out is what it was told."""

    def __init__(self, segments: list[tuple[int, int, list[int]]]) -> None:
        self.segments = segments

    def whisper_token_beg(self, _: Any) -> int:
        return 100

    def whisper_token_eot(self, _: Any) -> int:
        return 90

    def whisper_full_n_segments(self, _: Any) -> int:
        return len(self.segments)

    def whisper_full_n_tokens(self, _: Any, index: int) -> int:
        return len(self.segments[index][2])

    def whisper_full_get_token_id(self, _: Any, index: int, token: int) -> int:
        return self.segments[index][2][token]

    def whisper_full_get_segment_t0(self, _: Any, index: int) -> int:
        return self.segments[index][0]

    def whisper_full_get_segment_t1(self, _: Any, index: int) -> int:
        return self.segments[index][1]

    def whisper_full_get_segment_text(self, _: Any, index: int) -> bytes:
        return b" caf\xc3\xa9 \xff"


def test_timestamps_that_it_leaves_out_are_put_back() -> None:
    """Two windows, the second from 6 s on; the end of text and other special tokens are left out."""
    model = object.__new__(WhisperCppModel)
    told = [(0, 200, [100, 1, 200]), (400, 600, [2, 3, 400]), (602, 700, [101, 4, 90, 95])]
    model.library, model.context = Told(told), None
    segments = model.segments()
    assert [segment.tokens for segment in segments] == [[100, 1, 200], [300, 2, 3, 400], [101, 4]]
    assert [(segment.start, segment.end) for segment in segments] == [(0, 2), (4, 6), (6.02, 7)]
    assert segments[0].text == " café �"
