"""Tensors and dims that are not what they should be: each is a CheckpointError that says so, in every format."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import FORMATS, load_checkpoint, random_checkpoint
from tests.parity.broken_checkpoints import CT2_NAMES, NAMES, Tensors, refused, rewrite
from tests.parity.small_checkpoints import save, small


@pytest.mark.parametrize("format", FORMATS)
def test_every_tensor_that_does_not_fit_is_listed_in_one_error(format: str, tmp_path: Path) -> None:
    bias, conv, mlp, norm = (NAMES[format](name) for name in CT2_NAMES)

    def change(tensors: Tensors) -> None:
        del tensors[bias]
        tensors["some.adapter"] = np.ones((2, 2), np.float16)
        tensors[conv] = np.ascontiguousarray(tensors[conv].transpose(2, 0, 1))
        tensors[mlp][7] = np.nan
        tensors[norm] = tensors[norm].astype(np.int32)

    path = rewrite(save(small(), tmp_path, format), format, change)
    refused(
        path,
        f"missing (1): {bias}\n",
        "extra (1): some.adapter\n",
        f"misshapen (1): {conv} is [3, 12, 12], not [12, 12, 3]\n",
        f"neither float16 nor float32 (1): {norm} is int32\n",
        f"with NaN or infinite values (1): {mlp}",
    )


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_found(format: str, dtype: str, value: float, tmp_path: Path) -> None:
    name = NAMES[format]("encoder.conv2.weight")

    def change(tensors: Tensors) -> None:
        tensors[name][-1, -1, -1] = value

    refused(rewrite(save(small(dtype), tmp_path, format), format, change), f"with NaN or infinite values (1): {name}")


@pytest.mark.parametrize("format", FORMATS)
def test_the_largest_and_smallest_values_are_no_fault(format: str, tmp_path: Path) -> None:
    name = NAMES[format]("encoder.conv2.weight")
    extremes = np.array([65504, -65504, 2**-24, -0.0], np.float16)

    def change(tensors: Tensors) -> None:
        tensors[name].reshape(-1)[:4] = extremes

    path = rewrite(save(small(), tmp_path, format), format, change)
    assert load_checkpoint(path).tensors["encoder.conv2.weight"].tobytes().startswith(extremes.tobytes())


@pytest.mark.parametrize("format", FORMATS)
def test_a_layer_that_is_missing_is_listed(format: str, tmp_path: Path) -> None:
    mark = {
        "pt": "encoder.blocks.1.",
        "npz": "encoder.blocks.1.",
        "huggingface": "encoder.layers.1.",
        "ctranslate2": "encoder/layer_1/",
    }

    def change(tensors: Tensors) -> None:
        for name in [name for name in tensors if mark[format] in name]:
            del tensors[name]

    message = refused(rewrite(save(small(), tmp_path, format), format, change), "missing (")
    assert message.count(mark[format]) == (12 if format == "ctranslate2" else 15)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("heads", [[[2, 0]], [[0, 3]], [[-1, 0]], [[0]], [0], [[0, 0.5]], 7])
def test_alignment_heads_that_the_model_lacks(format: str, heads: Any, tmp_path: Path) -> None:
    path = save(small(), tmp_path, format)
    if format == "pt":
        import torch

        torch.save(torch.load(path) | {"alignment_heads": heads}, path)
    elif format == "npz":
        rewrite(path, format, lambda tensors: tensors.update(alignment_heads=np.array(heads)))
    else:
        config = path / ("config.json" if format == "ctranslate2" else "generation_config.json")
        config.write_text(json.dumps(json.loads(config.read_text()) | {"alignment_heads": heads}))
    refused(path, "alignment_heads", "not a [layer, head] of 2 decoder layers with 3 heads")


BAD_DIMS: list[tuple[dict[str, Any], str]] = [
    ({"n_mels": None}, "n_mels is None"),
    ({"n_mels": 5.0}, "n_mels is 5.0"),
    ({"n_mels": True}, "n_mels is True"),
    ({"n_vocab": -29}, "n_vocab is -29"),
    ({"n_text_ctx": 0}, "n_text_ctx is 0"),
    ({"n_audio_layer": 10**9}, "n_audio_layer is 1000000000, not a whole number from 1 to 1024"),
    ({"n_audio_head": 5}, "5 heads do not divide a state of 12"),
    ({"n_text_state": 24}, "n_audio_state is 12, n_text_state 24"),
    ({"n_vocab": 2**24}, "is [29, 12], not [16777216, 12]"),
    ({"n_text_layer": 1000}, "more"),
]


@pytest.mark.parametrize(("change", "said"), BAD_DIMS)
def test_dims_of_a_pt(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    import torch

    path = save(small(), tmp_path, "pt")
    content = torch.load(path)
    torch.save(content | {"dims": content["dims"] | change}, path)
    refused(path, said)


def test_dims_missing_and_unknown(tmp_path: Path) -> None:
    import torch

    path = save(small(), tmp_path, "pt")
    content = torch.load(path)
    del content["dims"]["n_mels"]
    torch.save(content | {"dims": content["dims"] | {"n_layers": 3}}, path)
    refused(path, "n_mels is missing", "n_layers is unknown")
    npz = rewrite(save(small(), tmp_path, "npz"), "npz", lambda tensors: tensors.pop("dims.n_mels"))
    refused(npz, "n_mels is missing")
    folder = save(small(), tmp_path, "huggingface")
    config = json.loads((folder / "config.json").read_text())
    for key, said in (("d_model", "n_audio_state is missing; n_text_state is missing"), ("model_type", "'whisper'")):
        (folder / "config.json").write_text(json.dumps({name: v for name, v in config.items() if name != key}))
        refused(folder, said)


@pytest.mark.parametrize(
    ("key", "value"),
    [("encoder_ffn_dim", 47), ("decoder_ffn_dim", 12), ("activation_function", "gelu_new"), ("scale_embedding", True),
     ("model_type", "bart"), ("d_model", "12"), ("vocab_size", 2**70)],
)  # fmt: skip
def test_a_hugging_face_config_of_another_model(key: str, value: Any, tmp_path: Path) -> None:
    folder = save(small(), tmp_path, "huggingface")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    refused(folder, "config.json", str(value))


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, content in (
        ("empty", b""),
        ("empty.pt", b""),
        ("empty.npz", b""),
        ("text.pt", b"hello"),
        ("text", b"hello"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name)
    refused(tmp_path / "folder", "no Whisper checkpoint; known are", "model.bin")
    refused(tmp_path / "text", "no Whisper checkpoint; known are")
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("words.txt", "hello")
    refused(tmp_path / "archive", "no Whisper checkpoint; known are")
    for name in ("model.bin", "model.safetensors"):
        (tmp_path / "folder" / name).write_bytes(b"")
        refused(tmp_path / "folder")
    with pytest.raises(CheckpointError, match="the names are tiny"):
        load_checkpoint(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_may_not_be_read(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(small(), tmp_path, format)

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FORMATS[format], "read", denied)
    refused(path, "cannot be read", "Permission denied")


def test_an_unusual_size_loads_when_it_is_whole(tmp_path: Path) -> None:
    """The checks refuse defects, not dims: 128 mels, another vocabulary, unequal depths."""
    dims = dataclasses.replace(SIZES["turbo"], n_audio_state=20, n_audio_layer=5, n_text_state=20, n_vocab=997)
    for format in FORMATS:
        assert load_checkpoint(save(random_checkpoint(dims, 0), tmp_path, format)).dims == dims
