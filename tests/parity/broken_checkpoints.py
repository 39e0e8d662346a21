"""Checkpoints broken on purpose, and the one error that each has to be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import load_checkpoint
from maxwhisper_impl.weights.ct2_file import read_variables, write_variables
from maxwhisper_impl.weights.huggingface import hf_name
from tests.parity.small_checkpoints import weights_file

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


class Runs:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)
