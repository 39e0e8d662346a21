"""whisper.cpp's files as we write them, read back by their description; its own reading is in `test_whisper_cpp.py`."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from maxwhisper_impl import cli
from maxwhisper_impl.audio import mel_filters
from maxwhisper_impl.dims import SIZES, ModelDimensions
from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import Checkpoint, load_checkpoint, random_checkpoint, save_checkpoint
from maxwhisper_impl.weights.ggml import is_ggml
from tests.parity.small_checkpoints import DIMS

ENGLISH = replace(DIMS, n_vocab=SIZES["tiny.en"].n_vocab, n_mels=80)
HEADER = (
    "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer", "n_text_ctx", "n_text_state",
    "n_text_head", "n_text_layer", "n_mels",
)  # fmt: skip


@dataclass(frozen=True)
class Parsed:
    dims: ModelDimensions
    kind: int
    filters: np.ndarray
    words: list[bytes]
    tensors: dict[str, np.ndarray]


def parse(path: Path) -> Parsed:
    """All of the file, to its last byte."""
    file = io.BytesIO(path.read_bytes())

    def ints(count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", file.read(4 * count))

    assert ints(1) == (0x67676D6C,)
    dims = ModelDimensions(**dict(zip(HEADER, ints(10), strict=True)))
    (kind,) = ints(1)
    bands, bins = ints(2)
    filters = np.frombuffer(file.read(4 * bands * bins), "<f4").reshape(bands, bins)
    words = [file.read(*ints(1)) for _ in range(*ints(1))]
    tensors: dict[str, np.ndarray] = {}
    while start := file.read(12):
        n_dims, length, code = struct.unpack("<3i", start)
        shape = ints(n_dims)[::-1]
        name, dtype = file.read(length).decode(), np.dtype(["<f4", "<f2"][code])
        tensors[name] = np.frombuffer(file.read(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)
    return Parsed(dims, kind, filters, words, tensors)


def written(checkpoint: Checkpoint, folder: Path) -> Parsed:
    save_checkpoint(checkpoint, folder / "model.ggml")
    return parse(folder / "model.ggml")


def test_every_number_is_there(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(ENGLISH, seed=5)
    got = written(checkpoint, tmp_path)
    assert (got.dims, got.kind) == (ENGLISH, 1)
    assert np.array_equal(got.filters, mel_filters(80))
    assert got.tensors.keys() == checkpoint.tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        conv_bias = name in ("encoder.conv1.bias", "encoder.conv2.bias")
        added = tensor.ndim == 1 or name in ("encoder.positional_embedding", "decoder.positional_embedding")
        assert got.tensors[name].shape == ((*tensor.shape, 1) if conv_bias else tensor.shape), name
        assert got.tensors[name].dtype == (np.float32 if added else np.float16), name
        assert np.array_equal(got.tensors[name].reshape(tensor.shape), tensor), name


@pytest.mark.parametrize(("name", "count", "last"), [("tiny.en", 50256, b" gazed"), ("tiny", 50257, b"")])
def test_words_are_the_vocabularys(name: str, count: int, last: bytes, tmp_path: Path) -> None:
    from whisper.tokenizer import get_tokenizer

    words = written(random_checkpoint(replace(ENGLISH, n_vocab=SIZES[name].n_vocab), seed=5), tmp_path).words
    theirs = get_tokenizer(name == "tiny").encoding
    assert len(words) == count == theirs.encode_single_token("<|endoftext|>")
    assert all(theirs.decode_single_token_bytes(token) == word for token, word in enumerate(words) if word)
    assert words[-1] == last


def test_float32_is_rounded_and_what_float16_has_not_is_an_error(tmp_path: Path) -> None:
    name = "decoder.blocks.1.mlp.0.weight"
    checkpoint = random_checkpoint(ENGLISH, seed=5)
    values = checkpoint.tensors[name].astype(np.float32) + np.float32(2**-20)
    got = written(replace(checkpoint, tensors=checkpoint.tensors | {name: values}), tmp_path).tensors[name]
    assert np.array_equal(got, values.astype(np.float16))
    values[3, 3] = 1e6
    with pytest.raises(CheckpointError, match=f"{name} holds values beyond float16"):
        save_checkpoint(replace(checkpoint, tensors=checkpoint.tensors | {name: values}), tmp_path / "other.ggml")
    assert [path.name for path in tmp_path.iterdir()] == ["model.ggml"]


@pytest.mark.parametrize(
    ("dims", "message"),
    [(replace(ENGLISH, n_vocab=29), "openai has none of 29 tokens"), (replace(ENGLISH, n_mels=5), "n_mels=5")],
)
def test_what_the_file_cannot_hold_is_an_error(dims: ModelDimensions, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(random_checkpoint(dims, seed=5), tmp_path / "model.ggml")
    assert not list(tmp_path.iterdir())


def test_convert_writes_and_nothing_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "a.npz", tmp_path / "ggml-model.bin"
    save_checkpoint(random_checkpoint(ENGLISH, seed=5), source)
    assert cli.main(["convert", str(source), str(out), "--format", "ggml"]) == 0
    assert parse(out).dims == ENGLISH
    with pytest.raises(CheckpointError, match=r"whisper\.cpp's files are only written"):
        load_checkpoint(out)
    assert cli.main(["convert", str(source), str(tmp_path / "b.ggml"), "--format", "npz"]) == 2
    assert cli.main(["convert", str(out), str(tmp_path / "c.npz")]) == 1
    assert "only written" in capsys.readouterr().err


def test_what_cannot_be_read_is_no_ggml(tmp_path: Path) -> None:
    assert not is_ggml(tmp_path / "none")
    assert not is_ggml(tmp_path)
