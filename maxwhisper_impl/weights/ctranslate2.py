"""CTranslate2 directories, what faster-whisper's users have: `model.bin` and `config.json`, float16 or float32.

Names and fusions: `ctranslate2/converters/transformers.py` (WhisperLoader); query, key and value are one matrix there.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..dims import ModelDimensions
from ..errors import CheckpointError
from .checkpoint import Checkpoint, Shapes, check_tensors, expected_shapes, read_alignment_heads, read_dims
from .ct2_file import read_variables, write_variables
from .files import read_json, write_json
from .vocabulary import ct2_config, write_tokenizer_files

HEAD_DIM = 64
PROJECTION, EMBEDDING = "decoder/projection/weight", "decoder/embeddings/weight"

# What this project's graphs compute; a file that asks for anything else is another model.
_ATTRIBUTES = {
    "decoder/activation": np.int8(3),  # exact GELU
    "decoder/alibi": np.int8(0),
    "decoder/alibi_use_positive_positions": np.int8(0),
    "decoder/alignment_heads": np.int16(1),
    "decoder/alignment_layer": np.int16(-1),
    "decoder/pre_norm": np.int8(1),
    "decoder/scale_alibi": np.int8(0),
    "decoder/scale_embeddings": np.int8(0),
    "decoder/start_from_zero_embedding": np.int8(0),
}
_HEADS = {"encoder": "encoder/num_heads", "decoder": "decoder/num_heads"}

Parts = tuple[str | None, ...]
"""openai-whisper's names of the tensors stacked in one variable; None is the key bias, which must be zero."""


def _attention(ours: str, theirs: str, *groups: str) -> dict[str, Parts]:
    parts: dict[str, Parts] = {}
    for index, group in enumerate(groups):
        for kind in ("weight", "bias"):
            names = [f"{ours}.{part}.{kind}" for part in group.split()]
            parts[f"{theirs}/linear_{index}/{kind}"] = tuple(n if not n.endswith("key.bias") else None for n in names)
    return parts


def _affine(ours: str, theirs: str, weight: str = "weight", bias: str = "bias") -> dict[str, Parts]:
    return {f"{theirs}/{weight}": (f"{ours}.weight",), f"{theirs}/{bias}": (f"{ours}.bias",)}


def _norm(ours: str, theirs: str) -> dict[str, Parts]:
    return _affine(ours, f"{theirs}/layer_norm", "gamma", "beta")


def _layer(side: str, index: int) -> dict[str, Parts]:
    ours, theirs = f"{side}.blocks.{index}", f"{side}/layer_{index}"
    parts = _attention(f"{ours}.attn", f"{theirs}/self_attention", "query key value", "out")
    parts |= _norm(f"{ours}.attn_ln", f"{theirs}/self_attention")
    if side == "decoder":
        parts |= _attention(f"{ours}.cross_attn", f"{theirs}/attention", "query", "key value", "out")
        parts |= _norm(f"{ours}.cross_attn_ln", f"{theirs}/attention")
    parts |= _affine(f"{ours}.mlp.0", f"{theirs}/ffn/linear_0") | _affine(f"{ours}.mlp.2", f"{theirs}/ffn/linear_1")
    return parts | _norm(f"{ours}.mlp_ln", f"{theirs}/ffn")


def variable_parts(dims: ModelDimensions) -> dict[str, Parts]:
    """CTranslate2's name of every variable -> what is stacked in it."""
    parts = _affine("encoder.conv1", "encoder/conv1") | _affine("encoder.conv2", "encoder/conv2")
    parts["encoder/position_encodings/encodings"] = ("encoder.positional_embedding",)
    parts["decoder/position_encodings/encodings"] = ("decoder.positional_embedding",)
    parts[EMBEDDING] = ("decoder.token_embedding.weight",)
    for layer in range(dims.n_audio_layer):
        parts |= _layer("encoder", layer)
    for layer in range(dims.n_text_layer):
        parts |= _layer("decoder", layer)
    return parts | _norm("encoder.ln_post", "encoder") | _norm("decoder.ln", "decoder")


def _variable_shapes(dims: ModelDimensions) -> Shapes:
    ours = expected_shapes(dims)
    shapes: Shapes = {}
    for name, parts in variable_parts(dims).items():
        one = ours[next(part for part in parts if part is not None)]
        shapes[name] = (len(parts) * one[0], *one[1:])
    return shapes


def _read_dims(tensors: Mapping[str, np.ndarray], heads: Mapping[str, int | None], source: Path) -> ModelDimensions:
    """Dims from shapes and from the numbers of layers; CheckpointError if a tensor that tells them is not there."""
    sizes: dict[str, object] = {}
    wrong: list[str] = []
    for name, shape in {
        "encoder/conv1/weight": ("n_audio_state", "n_mels", ""),
        "encoder/position_encodings/encodings": ("n_audio_ctx", ""),
        EMBEDDING: ("n_vocab", "n_text_state"),
        "decoder/position_encodings/encodings": ("n_text_ctx", ""),
    }.items():
        found = tensors[name].shape if name in tensors else ()
        if len(found) == len(shape):
            sizes |= {size: length for size, length in zip(shape, found, strict=True) if size}
        else:
            wrong.append(f"{name} is {list(found) if name in tensors else 'missing'}")
    if wrong:
        raise CheckpointError(f"{source}: the dims are read from shapes, and {', '.join(wrong)}")
    for side, stack in (("encoder", "audio"), ("decoder", "text")):
        layers = {name.split("/")[1] for name in tensors if name.startswith(f"{side}/layer_") and name.count("/") > 2}
        sizes[f"n_{stack}_layer"] = len(layers)
        # Files of early versions do not say how many heads; every official size has heads of 64.
        by_size = max(1, tensors[f"{side}/position_encodings/encodings"].shape[1] // HEAD_DIM)
        sizes[f"n_{stack}_head"] = by_size if heads[side] is None else heads[side]
    return read_dims(sizes, source)


def _take_attributes(variables: dict[str, np.ndarray], source: Path) -> dict[str, int | None]:
    """Take the numbers (rank 0) out of the variables, check them, and return the numbers of heads."""
    numbers = {name: variables.pop(name) for name in list(variables) if variables[name].shape == ()}
    for name, value in numbers.items():
        if value.dtype.kind != "i" or name not in (*_ATTRIBUTES, *_HEADS.values()):
            raise CheckpointError(f"{source}: openai's Whisper has no attribute {name}, here {value} ({value.dtype})")
        if value != _ATTRIBUTES.get(name, value) and "/alignment_" not in name:  # those compute nothing
            raise CheckpointError(f"{source}: {name} is {value}; openai's Whisper has {_ATTRIBUTES[name]}")
    if quantised := [name for name in variables if name.endswith("_scale")]:
        raise CheckpointError(f"{source}: quantised weights ({quantised[0]}); only float16 and float32 are read")
    return {side: int(numbers[name]) if name in numbers else None for side, name in _HEADS.items()}


def _unstack(variable: np.ndarray, parts: Parts, name: str, source: Path) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for part, tensor in zip(parts, np.split(variable, len(parts)), strict=True):
        if part is not None:
            tensors[part] = tensor
        elif tensor.any():
            raise CheckpointError(f"{source}: {name} holds a key bias that is not zero; Whisper's keys have none")
    return tensors


def read(folder: Path) -> Checkpoint:
    """Checkpoint of a CTranslate2 directory. CheckpointError says what does not fit."""
    source = folder / "model.bin"
    variables = read_variables(source)
    heads = _take_attributes(variables, source)
    dims = _read_dims(variables, heads, source)
    projection, embedding = variables.pop(PROJECTION, None), variables[EMBEDDING]
    if projection is not None and projection is not embedding and not np.array_equal(projection, embedding):
        raise CheckpointError(f"{source}: {PROJECTION} differs from {EMBEDDING}; Whisper's are one tensor")
    check_tensors(variables, _variable_shapes(dims), source)
    tensors: dict[str, np.ndarray] = {}
    for name, parts in variable_parts(dims).items():
        tensors |= _unstack(variables[name], parts, name, source)
    config = folder / "config.json"
    listed = read_json(config).get("alignment_heads") if config.is_file() else None
    return Checkpoint(dims, tensors, read_alignment_heads(listed, dims, config), folder)


def write(checkpoint: Checkpoint, folder: Path, source: Path | None = None) -> None:
    """A directory that faster-whisper reads. Tokenizer files come from the directory `source` if it has them."""
    folder.mkdir()
    tensors, dims = checkpoint.tensors, checkpoint.dims
    variables: dict[str, list[np.ndarray]] = {}
    for name, parts in variable_parts(dims).items():
        one = tensors[next(part for part in parts if part is not None)]
        variables[name] = [np.zeros_like(one) if part is None else tensors[part] for part in parts]
    heads = {"encoder": np.int16(dims.n_audio_head), "decoder": np.int16(dims.n_text_head)}
    numbers = _ATTRIBUTES | {_HEADS[side]: count for side, count in heads.items()}
    variables |= {name: [np.asarray(number)] for name, number in numbers.items()}
    write_variables(folder / "model.bin", variables, {PROJECTION: EMBEDDING})
    write_json(folder / "config.json", ct2_config(checkpoint, source))
    write_tokenizer_files(dims, folder, source, vocabulary_file=True)
