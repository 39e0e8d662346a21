"""Files of one format that are not what they claim to be: each is a CheckpointError, and nothing in them runs."""

from __future__ import annotations

import dataclasses
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import load_checkpoint
from maxwhisper_impl.weights.huggingface import hf_name
from tests.parity.broken_checkpoints import Runs, refused, rewrite
from tests.parity.small_checkpoints import DIMS, save, small

# .pt


def test_a_pickle_that_runs_code_does_not_run(tmp_path: Path) -> None:
    import torch

    torch.save(
        {"dims": dataclasses.asdict(DIMS), "model_state_dict": {}, "x": Runs(tmp_path / "ran")}, tmp_path / "zip.pt"
    )
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
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


# Hugging Face


def _text(folder: Path, change: Callable[[str], str]) -> Path:
    """Change the header of model.safetensors as text."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    text = change(content[8 : 8 + length].decode()).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return folder


def _header(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the header of model.safetensors as JSON."""

    def changed(text: str) -> str:
        header = json.loads(text)
        change(header)
        return json.dumps(header)

    return _text(folder, changed)


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


def test_a_safetensors_header_that_names_a_tensor_twice(tmp_path: Path) -> None:
    """With two equal entries nothing else is wrong."""

    def twice(text: str) -> str:
        return f'{{"{NORM}": {json.dumps(json.loads(text)[NORM])}, {text[1:]}'

    refused(_text(save(small(), tmp_path, "huggingface"), twice), "model.safetensors", f"names given twice: ['{NORM}']")


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


# .npz


def test_npz_that_numpy_could_read_but_we_must_not(tmp_path: Path) -> None:
    path = save(small(), tmp_path, "npz")
    arrays = dict(np.load(path))
    np.savez_compressed(path, **arrays)
    refused(path, "it is compressed")
    np.savez(path, **arrays | {"decoder.ln.bias": np.array([Runs(tmp_path / "ran")] * 12)}, allow_pickle=True)
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


@pytest.mark.parametrize("n_vocab", [DIMS.n_vocab, 1000])
def test_a_byte_of_an_npz_that_its_checksum_does_not_cover(n_vocab: int, tmp_path: Path) -> None:
    """The last of a tensor: zipfile reads 4 KiB ahead, so a small one is checked with its header, a large one later."""
    checkpoint = small(dims=dataclasses.replace(DIMS, n_vocab=n_vocab))
    path = save(checkpoint, tmp_path, "npz")
    content, tensor = bytearray(path.read_bytes()), checkpoint.tensors["decoder.token_embedding.weight"].tobytes()
    at = content.find(tensor)
    assert at > 0
    content[at + len(tensor) - 1] ^= 1
    path.write_bytes(content)
    refused(path, "CRC")
