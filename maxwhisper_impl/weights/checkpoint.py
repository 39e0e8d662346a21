"""What a checkpoint is, whatever file it came from: dims, and every tensor that they demand."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from ..dims import ModelDimensions
from ..errors import CheckpointError

AlignmentHeads = tuple[tuple[int, int], ...]
"""(decoder layer, head) pairs whose cross-attention follows the audio; word timestamps are read from them."""

Shapes = dict[str, tuple[int, ...]]

MAX_LAYERS = 1024
MAX_SIZE = 1 << 24
LISTED, LONGEST = 100, 160
"""names in a list, and characters of a name, that a message holds"""


@dataclass(frozen=True)
class Checkpoint:
    """A whole model in memory.

    `tensors` has openai-whisper's state-dict names and shapes (`expected_shapes`), float16 or float32 as stored.
    `alignment_heads` is None where neither the files nor the model's name tell them.
    """

    dims: ModelDimensions
    tensors: dict[str, np.ndarray]
    alignment_heads: AlignmentHeads | None
    source: Path


def _attention(name: str, state: int) -> Shapes:
    """MultiHeadAttention of openai-whisper: the key projection has no bias."""
    shapes: Shapes = {}
    for part in ("query", "key", "value", "out"):
        shapes[f"{name}.{part}.weight"] = (state, state)
        if part != "key":
            shapes[f"{name}.{part}.bias"] = (state,)
    return shapes


def _layer_norm(name: str, state: int) -> Shapes:
    return {f"{name}.weight": (state,), f"{name}.bias": (state,)}


def _block(name: str, state: int, *, cross: bool) -> Shapes:
    shapes: Shapes = {}
    for kind in ("attn", "cross_attn") if cross else ("attn",):
        shapes |= _attention(f"{name}.{kind}", state) | _layer_norm(f"{name}.{kind}_ln", state)
    shapes |= {f"{name}.mlp.0.weight": (4 * state, state), f"{name}.mlp.0.bias": (4 * state,)}
    shapes |= {f"{name}.mlp.2.weight": (state, 4 * state), f"{name}.mlp.2.bias": (state,)}
    return shapes | _layer_norm(f"{name}.mlp_ln", state)


def expected_shapes(dims: ModelDimensions) -> Shapes:
    """Name -> shape of every tensor of a model, as in openai-whisper's state dict."""
    audio, text = dims.n_audio_state, dims.n_text_state
    shapes: Shapes = {
        "encoder.positional_embedding": (dims.n_audio_ctx, audio),
        "encoder.conv1.weight": (audio, dims.n_mels, 3),
        "encoder.conv1.bias": (audio,),
        "encoder.conv2.weight": (audio, audio, 3),
        "encoder.conv2.bias": (audio,),
    }
    for layer in range(dims.n_audio_layer):
        shapes |= _block(f"encoder.blocks.{layer}", audio, cross=False)
    shapes |= _layer_norm("encoder.ln_post", audio)
    shapes["decoder.token_embedding.weight"] = (dims.n_vocab, text)
    shapes["decoder.positional_embedding"] = (dims.n_text_ctx, text)
    for layer in range(dims.n_text_layer):
        shapes |= _block(f"decoder.blocks.{layer}", text, cross=True)
    return shapes | _layer_norm("decoder.ln", text)


def read_dims(values: Mapping[str, object], source: Path) -> ModelDimensions:
    """Dims from what a file says. CheckpointError unless all ten are there, whole numbers, and fit each other."""
    names = [field.name for field in fields(ModelDimensions)]
    wrong = [f"{name} is missing" for name in names if name not in values]
    wrong += [f"{name[:LONGEST]} is unknown" for name in list(values)[:LISTED] if name not in names]
    for name in names:
        value, most = values.get(name, 1), MAX_LAYERS if name.endswith("_layer") else MAX_SIZE
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            wrong.append(f"{name} is {value!r:.40}, not a whole number from 1 to {most}")
    if wrong:
        raise CheckpointError(f"{source}: the dims cannot be used: {'; '.join(wrong)}")
    dims = ModelDimensions(**{name: values[name] for name in names})  # pyright: ignore[reportArgumentType]
    if dims.n_audio_state != dims.n_text_state:
        wrong.append(f"n_audio_state is {dims.n_audio_state}, n_text_state {dims.n_text_state}; they must be equal")
    for state, head in ((dims.n_audio_state, dims.n_audio_head), (dims.n_text_state, dims.n_text_head)):
        if state % head:
            wrong.append(f"{head} heads do not divide a state of {state}")
    if wrong:
        raise CheckpointError(f"{source}: the dims cannot be used: {'; '.join(wrong)}")
    return dims


def read_alignment_heads(value: object, dims: ModelDimensions, source: Path) -> AlignmentHeads | None:
    """Heads from a list of [layer, head]; None for None. CheckpointError for anything that dims does not have."""
    if value is None:
        return None
    heads: list[tuple[int, int]] = []
    for pair in value if isinstance(value, list | tuple) else [value]:
        match pair:
            case [int(layer), int(head)] if 0 <= layer < dims.n_text_layer and 0 <= head < dims.n_text_head:
                heads.append((layer, head))
            case _:
                shape = f"{dims.n_text_layer} decoder layers with {dims.n_text_head} heads"
                raise CheckpointError(f"{source}: alignment_heads holds {pair!r:.60}, not a [layer, head] of {shape}")
    return tuple(heads)


def pieces(tensor: np.ndarray, size: int = 1 << 16) -> Iterator[np.ndarray]:
    """Views of a contiguous array, small enough for the processor's cache."""
    flat = tensor.reshape(-1)
    for start in range(0, flat.size, size):
        yield flat[start : start + size]


def is_finite(tensor: np.ndarray) -> bool:
    """No NaN and no infinity in a float16 or float32 tensor; piece by piece, so that it takes no memory."""
    if tensor.dtype == np.float16:  # numpy's isfinite is eight times slower on float16 than its exponent bits are
        return all(int((piece & 0x7C00).max()) < 0x7C00 for piece in pieces(tensor.view(np.uint16)))
    return all(bool(np.isfinite(piece).all()) for piece in pieces(tensor))


def _listed(title: str, names: list[str]) -> str:
    more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"\n  {title} ({len(names)}): {', '.join(name[:LONGEST] for name in names[:LISTED])}{more}"


def check_tensors(tensors: Mapping[str, np.ndarray], expected: Shapes, source: Path) -> None:
    """One CheckpointError that lists every tensor that is missing, extra, misshapen, not float or not finite.

    Names are those of the file, so that its owner recognises them."""
    known = {name: tensor for name, tensor in tensors.items() if name in expected}
    floats = {name: tensor for name, tensor in known.items() if tensor.dtype.name in ("float16", "float32")}
    problems = {
        "missing": [name for name in expected if name not in tensors],
        "extra": [name for name in tensors if name not in expected],
        "misshapen": [
            f"{name} is {list(tensor.shape)}, not {list(expected[name])}"
            for name, tensor in known.items()
            if tensor.shape != expected[name]
        ],
        "neither float16 nor float32": [f"{n} is {known[n].dtype}" for n in known if n not in floats],
        "with NaN or infinite values": [name for name, tensor in floats.items() if not is_finite(tensor)],
    }
    found = "".join(_listed(title, names) for title, names in problems.items() if names)
    if found:
        raise CheckpointError(f"{source}: {len(tensors)} tensors, and these do not fit the model:{found}")


def content_hash(checkpoint: Checkpoint) -> str:
    """SHA-256 over dims and all tensors: the same for the same model in every format."""
    digest = hashlib.sha256(repr(sorted(asdict(checkpoint.dims).items())).encode())
    for name, tensor in sorted(checkpoint.tensors.items()):
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()
