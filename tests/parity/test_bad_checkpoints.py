"""Files that are not what they should be: each is a CheckpointError that says so, never another exception."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import FORMATS, load_checkpoint, random_checkpoint
from maxwhisper_impl.weights.ct2_file import read_variables, write_variables
from maxwhisper_impl.weights.huggingface import hf_name
from tests.parity.small_checkpoints import DIMS, save, small, weights_file

Tensors = dict[str, np.ndarray]
# Four tensors under the names that each format gives them.
CT2_NAMES = {
    "decoder.ln.bias": "decoder/layer_norm/beta",
    "encoder.conv2.weight": "encoder/conv2/weight",
    "encoder.blocks.1.mlp.0.bias": "encoder/layer_1/ffn/linear_0/bias",
    "decoder.blocks.0.attn_ln.weight": "decoder/layer_0/self_attention/layer_norm/gamma",
}
NAMES: dict[str, Callable[[str], str]] = {
    "pt": str,
    "npz": str,
    "huggingface": hf_name,
    "ctranslate2": CT2_NAMES.__getitem__,
}


def rewrite(path: Path, format: str, change: Callable[[Tensors], object]) -> Path:
    """Change the tensors of a written checkpoint, under the file's own names, without any of our checks."""
    file = weights_file(path)
    if format == "pt":
        import torch

        content = torch.load(file)
        tensors = {name: tensor.numpy() for name, tensor in content["model_state_dict"].items()}
        change(tensors)
        content["model_state_dict"] = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
        torch.save(content, file)
    elif format == "huggingface":
        from safetensors.numpy import load_file, save_file

        change(tensors := load_file(file))
        save_file(tensors, file)
    elif format == "npz":
        change(tensors := dict(np.load(file)))
        np.savez(file, **tensors)
    else:
        tensors = read_variables(file)
        projection = tensors.pop("decoder/projection/weight")
        change(tensors)
        assert projection is not None
        aliases = {"decoder/projection/weight": "decoder/embeddings/weight"}
        write_variables(file, {name: [tensor] for name, tensor in tensors.items()}, aliases)
    return path


def refused(path: Path, *said: str) -> str:
    """The message of the CheckpointError that loading ends in; it holds the path and everything in `said`."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    for text in said:
        assert text in message, f"{text!r} is not in: {message}"
    return message


# --- tensors that do not fit the dims -------------------------------------------------------------------------------


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


# --- dims -----------------------------------------------------------------------------------------------------------

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


# --- .pt ------------------------------------------------------------------------------------------------------------


class _Runs:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_does_not_run(tmp_path: Path) -> None:
    import torch

    torch.save(
        {"dims": dataclasses.asdict(DIMS), "model_state_dict": {}, "x": _Runs(tmp_path / "ran")}, tmp_path / "zip.pt"
    )
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Runs(tmp_path / "ran")))
    for name in ("zip.pt", "plain.pt"):
        refused(tmp_path / name, "torch cannot load it as weights")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "zip.pt", weights_only=False)
    assert (tmp_path / "ran").exists(), "the pickle was harmless, the test proved nothing"


def test_pt_files_of_something_else(tmp_path: Path) -> None:
    import torch

    good = torch.load(save(small(), tmp_path, "pt"))
    state = good["model_state_dict"]
    sparse = torch.eye(12, dtype=torch.float16).to_sparse()
    for content, said in (
        (state, "dims is missing"),
        ([1, 2], "holds a list"),
        (good | {"model_state_dict": 7}, "model_state_dict is a int"),
        (good | {"model_state_dict": {3: torch.ones(1)}}, "model_state_dict is a dict"),
        (good | {"model_state_dict": state | {"decoder.ln.bias": [1.0]}}, "not plain tensors: decoder.ln.bias"),
        (good | {"model_state_dict": state | {"decoder.ln.bias": sparse}}, "not plain tensors: decoder.ln.bias"),
        (
            good | {"model_state_dict": state | {"decoder.ln.bias": torch.ones((), dtype=torch.float16)}},
            "is [], not [12]",
        ),
        (
            good | {"model_state_dict": state | {"decoder.ln.bias": torch.ones(12).double()}},
            "decoder.ln.bias is float64",
        ),
    ):
        torch.save(content, tmp_path / "bad.pt")
        refused(tmp_path / "bad.pt", said)


def test_a_tensor_blown_up_by_its_strides(tmp_path: Path) -> None:
    """One number shown as 16 million by 12: four bytes in the file, hundreds of megabytes when copied."""
    import torch

    good = torch.load(save(small(), tmp_path, "pt"))
    good["dims"]["n_vocab"] = 2**24
    good["model_state_dict"]["decoder.token_embedding.weight"] = torch.ones(1, 1).expand(2**24, 12)
    torch.save(good, tmp_path / "big.pt")
    refused(tmp_path / "big.pt", "its tensors claim", "the file has")


# --- Hugging Face ---------------------------------------------------------------------------------------------------


def _header(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the JSON header of model.safetensors."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return folder


NORM, NEXT = "model.decoder.layer_norm.bias", "model.decoder.layer_norm.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h[NORM].update(dtype="F4"), f"{NORM} is F4"),
        (lambda h: h[NORM].update(shape=[2**62, 2**62]), "which is not bytes"),
        (lambda h: h[NORM].update(shape=[-12]), f"{NORM} has the shape"),
        (lambda h: h[NORM].update(shape=[1] * 100 + [12]), f"{NORM} has the shape"),
        (lambda h: h[NORM].update(data_offsets=[0, 24]), "starts at byte"),
        (lambda h: h[NORM].update(data_offsets=h[NEXT]["data_offsets"]), "starts at byte"),
        (lambda h: h[NORM].pop("dtype"), f"{NORM} is described by"),
        (lambda h: h.update({NORM: 3}), f"{NORM} is described by 3"),
        (
            lambda h: h.update(more={"dtype": "F32", "shape": [1], "data_offsets": [10**12, 10**12 + 4]}),
            "starts at byte",
        ),
    ],
)
def test_safetensors_headers_that_contradict_the_file(change: Callable, said: str, tmp_path: Path) -> None:
    folder = _header(save(small(), tmp_path, "huggingface"), change)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert said in str(caught.value)
    assert str(folder / "model.safetensors") in str(caught.value)


@pytest.mark.parametrize("length", [2**64 - 1, 2**40, 0])
def test_a_header_length_that_cannot_be(length: int, tmp_path: Path) -> None:
    folder = save(small(), tmp_path, "huggingface")
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", length) + file.read_bytes()[8:])
    refused(folder, "model.safetensors")


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/etc/passwd", "lost.safetensors", "", "a" * 500, "\0", 3])
def test_an_index_that_leads_elsewhere(shard: Any, tmp_path: Path) -> None:
    folder = save(small(), tmp_path, "huggingface")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {hf_name(name): shard for name in small().tensors}}))
    refused(folder)


def test_an_index_that_disagrees_with_its_shards(tmp_path: Path) -> None:
    folder = save(small(), tmp_path, "huggingface")
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = folder / "model.safetensors.index.json"
    whole = {hf_name(name): "a.safetensors" for name in small().tensors}
    for weight_map, said in (
        (whole | {"model.more": "a.safetensors"}, "not in the shards: model.more"),
        ({name: file for name, file in whole.items() if name != NORM}, f"{NORM} is not where the index has it"),
        ([], "weight_map must give"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        refused(folder, said)


def test_an_untied_projection(tmp_path: Path) -> None:
    folder = save(small(), tmp_path, "huggingface")
    rewrite(folder, "huggingface", lambda t: t.update({"proj_out.weight": t["model.decoder.embed_tokens.weight"] + 1}))
    refused(folder, "proj_out.weight differs from model.decoder.embed_tokens.weight")


# --- .npz -----------------------------------------------------------------------------------------------------------


def test_npz_that_numpy_could_read_but_we_must_not(tmp_path: Path) -> None:
    path = save(small(), tmp_path, "npz")
    arrays = dict(np.load(path))
    np.savez_compressed(path, **arrays)
    refused(path, "it is compressed")
    np.savez(path, **arrays | {"decoder.ln.bias": np.array([_Runs(tmp_path / "ran")] * 12)}, allow_pickle=True)
    refused(path, "decoder.ln.bias", "not a .npy header")
    assert not (tmp_path / "ran").exists()
    np.savez(path, **arrays | {"encoder.conv2.weight": np.asfortranarray(arrays["encoder.conv2.weight"])})
    refused(path, "not a .npy header")


def test_npz_members_given_twice_or_of_the_wrong_length(tmp_path: Path) -> None:
    path = save(small(), tmp_path, "npz")
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("decoder.ln.bias.npy", members["decoder.ln.bias.npy"])
    refused(path, "given twice")
    for wrong in (members["decoder.ln.bias.npy"][:-1], members["decoder.ln.bias.npy"] + b"\0", b"", b"\x93NUMPY"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (members | {"decoder.ln.bias.npy": wrong}).items():
                archive.writestr(name, content)
        refused(path, "decoder.ln.bias")


def test_a_byte_of_an_npz_that_its_checksum_does_not_cover(tmp_path: Path) -> None:
    path = save(small(), tmp_path, "npz")
    content = bytearray(path.read_bytes())
    at = content.find(small().tensors["encoder.conv2.weight"].tobytes())
    assert at > 0
    content[at] ^= 1
    path.write_bytes(content)
    refused(path, "CRC")


# --- not checkpoints at all -----------------------------------------------------------------------------------------


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
