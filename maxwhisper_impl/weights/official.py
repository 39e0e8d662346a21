"""What openai-whisper knows of its models: where each is downloaded from, with its checksum, and its alignment heads.

Read from the source of the installed `whisper/__init__.py`: importing it would import torch.
"""

import ast
import base64
import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..dims import SIZES, ModelDimensions
from ..errors import CheckpointError
from .checkpoint import AlignmentHeads


@cache
def _tables() -> dict[str, dict[str, str | bytes]]:
    spec = find_spec("whisper")
    if spec is None or spec.origin is None:
        raise CheckpointError("openai-whisper, whose list of models is needed, is missing: pip install openai-whisper")
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(Path(spec.origin).read_bytes()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)
    }
    for table in ("_MODELS", "_ALIGNMENT_HEADS"):
        if missing := SIZES.keys() - found.get(table, {}).keys():
            raise CheckpointError(f"{spec.origin}: {table} lacks {', '.join(sorted(missing))}; is this openai-whisper?")
    return found


def url(name: str) -> str:
    """Address of an official model; its last folder is the SHA-256 of the file."""
    return str(_tables()["_MODELS"][name])


def file_name(name: str) -> str:
    """The file's name in openai-whisper's cache: "large-v3-turbo.pt" for "turbo"."""
    return url(name).rsplit("/", 1)[1]


def sha256(name: str) -> str:
    return url(name).rsplit("/", 2)[1]


def alignment_heads(name: str, dims: ModelDimensions) -> AlignmentHeads | None:
    """Heads of an official model; None for another name, or where `dims` are not those of that name."""
    if SIZES.get(name) != dims:
        return None
    mask = gzip.decompress(base64.b85decode(_tables()["_ALIGNMENT_HEADS"][name]))
    rows = np.frombuffer(mask, bool).reshape(dims.n_text_layer, dims.n_text_head)
    return tuple((int(layer), int(head)) for layer, head in np.argwhere(rows))
