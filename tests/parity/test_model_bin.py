"""CTranslate2's model.bin, byte by byte: what contradicts itself, and what is another model."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import load_checkpoint
from maxwhisper_impl.weights.ct2_file import read_variables, write_variables
from tests.parity.small_checkpoints import DIMS, assert_same, save, small
from tests.parity.test_bad_checkpoints import refused
from tests.parity.test_corrupt_checkpoints import MANY, attempt


def _text(text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def _variable(name: str, array: np.ndarray, code: int) -> bytes:
    head = _text(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    return head + struct.pack("<BI", code, array.nbytes) + array.tobytes()


HEAD = struct.pack("<I", 6) + _text("WhisperSpec") + struct.pack("<I", 3)
ONE = _variable("encoder/conv1/bias", np.ones(12, np.float16), 4)
NONE = struct.pack("<I", 0)
COUNT = struct.pack("<I", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(small(), tmp_path, "ctranslate2")


@pytest.mark.timeout(30)  # an alias followed in circles takes all memory
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x06\0", "the version needs 4 bytes"),
        (struct.pack("<I", 5) + HEAD[4:] + COUNT + ONE + NONE, "the version is 5"),
        (struct.pack("<I", 6) + _text("TransformerSpec") + HEAD[-4:] + COUNT + ONE + NONE, "it is a 'TransformerSpec'"),
        (HEAD[:-4] + struct.pack("<I", 4) + COUNT + ONE + NONE, "its revision is 4"),
        (HEAD + struct.pack("<I", 2**32 - 1) + ONE, "the name of a variable needs 2 bytes"),
        (HEAD + struct.pack("<I", 2) + ONE + ONE + NONE, "encoder/conv1/bias is there twice"),
        (HEAD + COUNT + _text(b"\xff\xfe\0") + ONE, "is no text"),
        (HEAD + COUNT + _text(b"name") + ONE, "is no text"),
        (HEAD + COUNT + _text(b"na\0me\0") + ONE, "is no text"),
        (HEAD + COUNT + struct.pack("<H", 65535) + b"name\0", "the name of a variable needs 65535 bytes"),
        (HEAD + COUNT + _text("x") + b"\xff" + ONE, "x has rank 255"),
        (HEAD + COUNT + _text("x") + struct.pack("<B3IBI", 3, *[2**32 - 1] * 3, 4, 24) + ONE, "which is not 24 bytes"),
        (HEAD + COUNT + _text("x") + struct.pack("<BIBI", 1, 2**31 - 1, 4, 2**32 - 2), "x needs 4294967294 bytes"),
        (HEAD + COUNT + _text("x") + struct.pack("<BIBI", 1, 0, 4, 0) + NONE, "x is [0]"),
        (HEAD + COUNT + _text("x") + struct.pack("<BIBI", 1, 1, 9, 1) + b"x" + NONE, "x has the unknown type 9"),
        (HEAD + COUNT + ONE + NONE + b"\0", "1 bytes follow its end"),
        (HEAD + COUNT + ONE + struct.pack("<I", 2**32 - 1), "an alias needs 2 bytes"),
        (HEAD + COUNT + ONE + COUNT + _text("a") + _text("a"), "the alias a leads in a circle"),
        (HEAD + COUNT + ONE + struct.pack("<I", 2) + b"".join(map(_text, "abba")), "the alias a leads in a circle"),
        (HEAD + COUNT + ONE + COUNT + _text("a") + _text("b"), "the alias a leads to no b"),
        (HEAD + COUNT + ONE + COUNT + _text("encoder/conv1/bias") + _text("b"), "conv1/bias is there twice"),
        (HEAD + COUNT + ONE + NONE, "encodings is missing, decoder/embeddings/weight is missing"),
    ],
)  # fmt: skip
def test_model_bin_that_contradicts_itself(folder: Path, content: bytes, said: str) -> None:
    (folder / "model.bin").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert said in str(caught.value)
    assert str(folder / "model.bin") in str(caught.value)


def test_a_long_chain_of_aliases_takes_no_quadratic_time(folder: Path) -> None:
    count = 100_000
    chain = b"".join(_text(f"a{i}") + _text(f"a{i + 1}") for i in range(count))
    last = _text(f"a{count}") + _text("encoder/conv1/bias")
    (folder / "model.bin").write_bytes(HEAD + COUNT + ONE + struct.pack("<I", count + 1) + chain + last)
    with pytest.raises(CheckpointError, match="encoder/conv1/weight is missing"):
        load_checkpoint(folder)


NAMES = st.sampled_from(
    ["a", "b", "encoder/conv1/weight", "encoder/num_heads", "decoder/embeddings/weight", "x/layer_9/y/z"]
)
U32 = st.integers(0, 40) | st.sampled_from([2**16, 2**31, 2**32 - 1])
VARIABLES = st.tuples(NAMES, st.lists(U32, max_size=4), st.integers(0, 6), st.none() | U32, st.integers(0, 100))


@MANY
@given(
    count=st.none() | U32,
    variables=st.lists(VARIABLES, max_size=4),
    aliases=st.lists(st.tuples(NAMES, NAMES), max_size=4),
    alias_count=st.none() | U32,
)
def test_model_bin_of_any_structure(
    folder: Path, count: int | None, variables: list[Any], aliases: list[tuple[str, str]], alias_count: int | None
) -> None:
    content = HEAD + struct.pack("<I", len(variables) if count is None else count)
    for name, shape, code, length, held in variables:
        true_length = int(np.prod(shape, dtype=object)) * {0: 4, 2: 2, 3: 4, 4: 2, 5: 2}.get(code, 1)
        content += _text(name) + struct.pack(f"<B{len(shape)}I", len(shape), *shape)
        content += struct.pack("<BI", code, (true_length if length is None else length) % 2**32) + bytes(held)
    content += struct.pack("<I", len(aliases) if alias_count is None else alias_count)
    content += b"".join(_text(alias) + _text(name) for alias, name in aliases)
    (folder / "model.bin").write_bytes(content)
    assert not attempt(folder)


def _patched(folder: Path, name: str, change: Callable[[bytearray, int], object]) -> Path:
    """Change the bytes that follow the name of a variable."""
    content = bytearray((folder / "model.bin").read_bytes())
    at = content.index(_text(name)) + len(_text(name))
    change(content, at)
    (folder / "model.bin").write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "where"),
    [("encoder/layer_2/self_attention/linear_0/bias", 12), ("decoder/layer_1/attention/linear_1/bias", 11)],
)
def test_a_key_bias_that_is_not_zero(folder: Path, name: str, where: int) -> None:
    """One of the key's values, the first or last: rank, length, type and byte count come before the data."""

    def change(content: bytearray, at: int) -> None:
        data = at + 1 + 4 + 1 + 4
        first = 0 if "linear_1" in name else 12
        content[data + 2 * (first + where % 12) + 1] = 0x3C

    refused(_patched(folder, name, change), f"{name} holds a key bias that is not zero")


@pytest.mark.parametrize(
    ("name", "value"),
    [("decoder/pre_norm", 0), ("decoder/activation", 1), ("decoder/alibi", 1), ("decoder/scale_embeddings", 1)],
)
def test_attributes_of_another_model(folder: Path, name: str, value: int) -> None:
    refused(
        _patched(folder, name, lambda content, at: content.__setitem__(at + 1 + 1 + 4, value)), f"{name} is {value}"
    )


@pytest.mark.parametrize("heads", [0, 5, -2])
def test_numbers_of_heads_that_cannot_be(folder: Path, heads: int) -> None:
    path = _patched(folder, "decoder/num_heads", lambda content, at: struct.pack_into("<h", content, at + 6, heads))
    refused(path, "5 heads do not divide a state of 12" if heads == 5 else f"n_text_head is {heads}")


def test_a_number_of_heads_that_is_no_number(folder: Path) -> None:
    variables = read_variables(folder / "model.bin") | {"encoder/num_heads": np.array(np.nan, np.float32)}
    write_variables(folder / "model.bin", {name: [array] for name, array in variables.items()}, {})
    refused(folder, "encoder/num_heads", "nan")


def test_an_older_revision_is_read(folder: Path) -> None:
    content = bytearray((folder / "model.bin").read_bytes())
    content[len(HEAD) - 4 : len(HEAD)] = struct.pack("<I", 2)
    (folder / "model.bin").write_bytes(content)
    assert_same(load_checkpoint(folder), small())


def test_bfloat16_is_widened_exactly(folder: Path) -> None:
    """As `--quantization bfloat16` of CTranslate2's converter writes it."""
    variables = read_variables(folder / "model.bin")
    codes = {"f4": 0, "i1": 1, "i2": 2, "f2": 4}
    content = HEAD + struct.pack("<I", len(variables))
    for name, array in variables.items():
        if array.dtype == np.float16:
            bits = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
            content += _variable(name, bits, 5)
        else:
            content += _variable(name, array, codes[array.dtype.str[1:]])
    (folder / "model.bin").write_bytes(content + NONE)
    for name, tensor in load_checkpoint(folder).tensors.items():
        want = (small().tensors[name].astype(np.float32).view(np.uint32) >> 16 << 16).view(np.float32)
        np.testing.assert_array_equal(tensor, want, err_msg=name, strict=True)


def test_unknown_attributes_and_quantised_weights(folder: Path) -> None:
    whole = (folder / "model.bin").read_bytes()
    at = len(HEAD)
    (count,) = struct.unpack_from("<I", whole, at)
    for variable, said in (
        (_variable("decoder/rotary_dim", np.array(64, np.int32), 3), "no attribute decoder/rotary_dim"),
        (_variable("decoder/pre_norm_too", np.array(1, np.float32), 0), "no attribute decoder/pre_norm_too"),
        (_variable("decoder/embeddings/weight_scale", np.ones(29, np.float32), 0), "quantised weights"),
    ):
        (folder / "model.bin").write_bytes(HEAD + struct.pack("<I", count + 1) + variable + whole[at + 4 :])
        refused(folder, said)


def test_an_untied_projection(folder: Path) -> None:
    """The projection may be stored by itself, if it is the embedding; otherwise it is another model."""
    variables = read_variables(folder / "model.bin")
    for add in (0, 1):
        changed = variables | {"decoder/projection/weight": variables["decoder/projection/weight"] + np.float16(add)}
        write_variables(folder / "model.bin", {name: [array] for name, array in changed.items()}, {})
        if add:
            refused(folder, "decoder/projection/weight differs from decoder/embeddings/weight")
        else:
            assert_same(load_checkpoint(folder), small())


def test_files_without_numbers_of_heads_have_heads_of_64(tmp_path: Path) -> None:
    """As the converter's early versions wrote them; every official size has heads of 64."""
    dims = replace(DIMS, n_audio_state=192, n_text_state=192, n_audio_head=3, n_text_head=3)
    folder = save(small(dims=dims), tmp_path, "ctranslate2")
    variables = read_variables(folder / "model.bin")
    for name in ("encoder/num_heads", "decoder/num_heads", "decoder/projection/weight"):
        del variables[name]
    write_variables(folder / "model.bin", {name: [array] for name, array in variables.items()}, {})
    assert_same(load_checkpoint(folder), small(dims=dims))
