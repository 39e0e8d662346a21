"""A model is loaded as it was asked for: weights, device, kernels, threads, and its assistant like itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl import Whisper, load_model, runtime
from maxwhisper_impl.errors import DeviceError, OptionError
from maxwhisper_impl.runtime import MaxRuntime, open_device
from tests.fuzz.scripted import DIMS, SENTENCE, Scripted
from tests.parity.small_checkpoints import small

SECOND = np.zeros(16000, np.float32)
GREEDY: dict[str, Any] = {"language": "en", "temperature": 0.0}


class Asked:
    """What the weights and the runtime were asked for; the runtime says its sentence."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weights: list[Any] = []
        self.runtimes: list[Any] = []
        monkeypatch.setattr("maxwhisper_impl.weights.load_checkpoint", self.checkpoint)
        monkeypatch.setattr("maxwhisper_impl.runtime.MaxRuntime", self.runtime)

    def checkpoint(self, name: Any, *, download: bool = True) -> Any:
        self.weights.append((name, download))
        return SimpleNamespace(dims=DIMS["tiny.en"])

    def runtime(self, checkpoint: Any, **options: Any) -> Scripted:
        self.runtimes.append(options)
        return Scripted(checkpoint.dims)


def test_nothing_is_lost_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """An assistant that is named is loaded in the same way, once."""
    asked = Asked(monkeypatch)
    want = {"device": "cuda:1", "dtype": "int8", "num_threads": 1, "progress": print}
    model = load_model("this", "cuda:1", "int8", num_threads=1, download=False, progress=print)
    assert (asked.weights, asked.runtimes) == ([("this", False)], [want])
    assert (model.device, model.dtype) == ("cuda:1", "int8")
    for _ in range(2):
        model.transcribe(SECOND, assistant="that", **GREEDY)
    assert (asked.weights[1:], asked.runtimes[1:]) == ([("that", False)], [want])
    load_model("that")
    assert (asked.weights[2:], asked.runtimes[2:]) == (
        [("that", True)], [{"device": "cpu", "dtype": "float32", "num_threads": None, "progress": None}],
    )  # fmt: skip


def test_the_assistant_of_a_model_that_somebody_made_is_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    Whisper(DIMS["tiny.en"], Scripted(DIMS["tiny.en"]), device="cuda", dtype="bfloat16").transcribe(
        SECOND, assistant="that", **GREEDY
    )
    assert [(told["device"], told["dtype"]) for told in asked.runtimes] == [("cuda", "bfloat16")]


def test_one_window_gives_one_answer_and_a_batch_a_list() -> None:
    """Of one, too; what is encoded already is taken as well."""
    dims = DIMS["tiny"]
    model, mel = Whisper(dims, Scripted(dims)), np.zeros((80, 3000), np.float32)
    shape = (dims.n_audio_ctx, dims.n_audio_state)
    assert (model.encode(mel).shape, model.encode(mel[None]).shape) == (shape, (1, *shape))
    for single in (mel, np.zeros(shape, np.float32)):
        alone, (among,) = model.decode(single, language="en"), model.decode(single[None], language="en")
        assert alone.text == among.text == SENTENCE.strip()
        (one, likely), (ids, all_likely) = model.detect_language(single), model.detect_language(single[None])
        assert (np.shape(one), np.shape(ids), all_likely) == ((), (1,), [likely])


def test_live_speech_is_listened_to_as_the_command_does() -> None:
    model = Whisper(DIMS["tiny.en"], Scripted(DIMS["tiny.en"]))
    live, patient = model.live(), model.live(step=2.5, max_delay=20)
    assert (live._step, live._max_delay) == (16000, 160000)
    assert (patient._step, patient._max_delay) == (40000, 320000)


@pytest.mark.parametrize(("name", "number"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:2", None)])
def test_the_gpu_of_that_number_is_opened(name: str, number: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "accelerator_count", lambda: 2)
    monkeypatch.setattr(runtime, "Accelerator", lambda number: ("GPU", number))
    if number is None:
        with pytest.raises(DeviceError, match=f"device '{name}' was asked for, but MAX sees 2 GPUs"):
            open_device(name)
    else:
        assert open_device(name) == ("GPU", number)
    monkeypatch.setattr(runtime, "accelerator_count", lambda: 0)
    with pytest.raises(DeviceError, match=f"device '{name}' was asked for, but MAX sees 0 GPUs .*: use device cpu"):
        open_device(name)


class Chosen(Exception):
    """Before anything is prepared or compiled."""


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set says that it was chosen; a device is on the host if it is the CPU."""
    def choose(name: str, dtypes: Any) -> Any:
        def prepare(*_: Any) -> Any:
            raise Chosen(name)

        return SimpleNamespace(dtypes=dtypes, prepare=prepare)

    for name, kind in runtime.KERNELS.items():
        monkeypatch.setitem(runtime.KERNELS, name, choose(name, kind.dtypes))
    monkeypatch.setattr(runtime, "start_engine", lambda count: None)
    monkeypatch.setattr(runtime, "open_device", lambda name: SimpleNamespace(is_host=name == "cpu"))


@pytest.mark.parametrize(("device", "given", "taken"), [
    ("cpu", None, "fused"), ("cpu", "stock", "stock"), ("cpu", "gpu", "gpu"),
    ("cuda", None, "gpu"), ("cuda", "stock", "stock"),
])
def test_gpus_compute_with_what_keeps_float32(device: str, given: str | None, taken: str, kernels: None) -> None:
    with pytest.raises(Chosen, match=f"^{taken}$"):
        MaxRuntime(small(), device, kernels=given)


def test_gpus_have_neither_the_cpus_kernels_nor_its_dtypes(kernels: None) -> None:
    with pytest.raises(OptionError, match="kernels 'fused' are not for cuda"):
        MaxRuntime(small(), "cuda", kernels="fused")
    with pytest.raises(DeviceError, match="dtype 'int8' is not for the gpu kernels on cuda: choose dtype float32"):
        MaxRuntime(small(), "cuda", "int8")
