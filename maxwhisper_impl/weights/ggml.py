"""whisper.cpp's files, written only: their reader is whisper.cpp, and what its users have is mostly quantised.

Little-endian, without alignment: the magic, the dims and the type of the matrices as int32, the mel filters, the
vocabulary without special tokens (the program makes those), and every tensor with its type, shape and openai-whisper's
name (whisper_model_load in `whisper.cpp`). Alignment heads have no place in it.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..audio import mel_filters
from ..dims import ModelDimensions
from ..errors import CheckpointError, OptionError
from .checkpoint import Checkpoint, is_finite
from .vocabulary import official_tokenizer

MAGIC = 0x67676D6C
FLOAT32, FLOAT16 = 0, 1
"""of a tensor; the file's own is that of its matrices, and whisper.cpp aborts on float32 ones (its convolutions)"""


def is_ggml(path: Path) -> bool:
    """Whether the file begins as whisper.cpp's do; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == _ints(MAGIC)
    except OSError:
        return False


def read(path: Path) -> Checkpoint:
    """Raises CheckpointError: the format is for whisper.cpp, and nothing here reads it."""
    raise CheckpointError(f"{path}: whisper.cpp's files are only written; give the checkpoint that it was made of")


def write(checkpoint: Checkpoint, path: Path, source: Path | None = None) -> None:
    """A file that whisper.cpp loads: matrices in float16, rounded where they are not, all else in float32.

    CheckpointError for a vocabulary or a number of mel bands that is not openai's, as the file has to hold both, and
    for values beyond float16."""
    filters, words = _filters(checkpoint.dims), _words(checkpoint.dims)
    with path.open("wb") as file:
        file.write(_ints(MAGIC, *_sizes(checkpoint.dims), FLOAT16, *filters.shape))
        file.write(filters.astype("<f4").tobytes())
        file.write(_ints(len(words)))
        file.writelines(_ints(len(word)) + word for word in words)
        for name, tensor in checkpoint.tensors.items():
            _write_tensor(file, name, tensor)


def _ints(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def _sizes(dims: ModelDimensions) -> tuple[int, ...]:
    audio = (dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer)
    return dims.n_vocab, *audio, dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer, dims.n_mels


def _filters(dims: ModelDimensions) -> np.ndarray:
    try:
        return mel_filters(dims.n_mels)
    except OptionError as error:
        raise CheckpointError(f"whisper.cpp's format holds mel filters: {error}") from error


def _words(dims: ModelDimensions) -> list[bytes]:
    """The bytes of every token that is not special, by id; the multilingual vocabulary's last one is empty."""
    tokenizer = official_tokenizer(dims)
    if tokenizer is None:
        raise CheckpointError(f"whisper.cpp's format holds the vocabulary; openai has none of {dims.n_vocab} tokens")
    return [tokenizer.encoding.decode_single_token_bytes(token) for token in range(tokenizer.eot)]


def _write_tensor(file: BinaryIO, name: str, tensor: np.ndarray) -> None:
    # What is added rather than multiplied stays float32. Biases of convolutions are added to [n, frames], and
    # whisper.cpp wants their second axis in the file.
    added = tensor.ndim < 2 or name.endswith("positional_embedding")
    shape = (*tensor.shape, 1) if ".conv" in name and name.endswith(".bias") else tensor.shape
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(tensor, "<f4" if added else "<f2")
    if not is_finite(values):
        raise CheckpointError(f"{name} holds values beyond float16, which whisper.cpp's matrices are in")
    spelled = name.encode()
    file.write(_ints(len(shape), len(spelled), FLOAT32 if added else FLOAT16, *shape[::-1]) + spelled)
    file.write(values.data)
