"""Damaged and hostile files: a CheckpointError or a whole model, in little memory; Hypothesis does the damage."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import FORMATS, Checkpoint, expected_shapes, load_checkpoint
from maxwhisper_impl.weights.checkpoint import check_tensors
from tests.parity.small_checkpoints import DIMS, assert_same, save, small, weights_file
from tests.parity.test_bad_checkpoints import refused

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=FORMATS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small checkpoint; who damages it writes the bytes back."""
    return save(small(), tmp_path_factory.mktemp("written"), request.param)


def attempt(path: Path) -> bool:
    """Whether it loads, and is then whole. Any other error than CheckpointError is a failure, and so is much memory."""
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))
    tracemalloc.start()
    try:
        checkpoint = load_checkpoint(path)
        check_tensors(checkpoint.tensors, expected_shapes(checkpoint.dims), path)
        message = None
    except CheckpointError as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10 * size + (4 << 20), f"{peak} bytes of memory for a file of {size}"
    assert message is None or (str(path.name) in message and len(message) < 50_000)
    return message is None


EXTREMES = st.sampled_from([0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])


@st.composite
def damages(draw: st.DrawFn, size: int) -> Callable[[bytes], bytes]:
    """A way to damage `size` bytes; mostly near the beginning or the end, where formats say what is in them."""
    near = st.integers(0, min(size, 600)) | st.integers(max(0, size - 600), size) | st.integers(0, size)
    at, other = draw(near), draw(near)
    start, end = min(at, other), max(at, other)
    width = draw(st.sampled_from([1, 2, 4, 8]))
    number = (draw(EXTREMES) % 2 ** (8 * width)).to_bytes(width, "little")
    bit = 1 << draw(st.integers(0, 7))
    return draw(
        st.sampled_from(
            [
                lambda data: data[:at],
                lambda data: data[:start] + data[end:],
                lambda data: data[:end] + data[start:],
                lambda data: data[:at] + number + data[at + width :],
                lambda data: data[:at] + number + data[at:],
                lambda data: data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] if at < len(data) else data,
            ]
        )
    )


@MANY
@given(data=st.data())
def test_damaged_files(written: Path, data: st.DataObject) -> None:
    file = weights_file(written)
    whole = file.read_bytes()
    try:
        broken = whole
        for _ in range(data.draw(st.integers(1, 3))):
            broken = data.draw(damages(len(broken)))(broken)
        file.write_bytes(broken)
        attempt(written)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files(written: Path, share: float) -> None:
    file = weights_file(written)
    whole = file.read_bytes()
    try:
        for length in {int(share * len(whole)), max(0, len(whole) - 1)}:
            file.write_bytes(whole[:length])
            assert not attempt(written)
    finally:
        file.write_bytes(whole)
    assert_same(load_checkpoint(written), small())


@MANY
@given(content=st.binary(max_size=300))
def test_random_bytes(written: Path, content: bytes) -> None:
    file = weights_file(written)
    whole = file.read_bytes()
    try:
        file.write_bytes(content)
        assert not attempt(written)
    finally:
        file.write_bytes(whole)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@MANY
@given(data=st.data())
@pytest.mark.parametrize(
    ("format", "name"),
    [("huggingface", "config.json"), ("huggingface", "generation_config.json"), ("ctranslate2", "config.json")],
)
def test_damaged_configurations(format: str, name: str, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "model"
    if not folder.exists():
        save(small(), tmp_path, format).rename(folder)
    file = folder / name
    whole = file.read_text()
    config = json.loads(whole)
    config[data.draw(st.sampled_from(sorted(config)) | st.text(max_size=5))] = data.draw(JSON)
    text = json.dumps(config)
    try:
        file.write_text(
            data.draw(st.just(text) | st.builds(text.__getitem__, st.builds(slice, st.integers(0, len(text)))))
        )
        attempt(folder)
    finally:
        file.write_text(whole)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"1" * 10_000, b'{"a": 1, "a": 2}', b"\xff", b"", b"null", b"[]"])
def test_json_that_is_no_configuration(content: bytes, tmp_path: Path) -> None:
    for format in ("huggingface", "ctranslate2"):
        folder = save(small(), tmp_path, format)
        (folder / "config.json").write_bytes(content)
        refused(folder, "config.json")


@MANY
@given(
    lost=st.sets(st.sampled_from(sorted(expected_shapes(DIMS))), min_size=1, max_size=6),
    format=st.sampled_from(["pt", "npz"]),
)
def test_every_missing_tensor_is_named(tmp_path: Path, lost: set[str], format: str) -> None:
    path = tmp_path / ("model.pt" if format == "pt" else "model.npz")
    kept = {name: tensor for name, tensor in small().tensors.items() if name not in lost}
    FORMATS[format].write(Checkpoint(DIMS, kept, None, path), path)
    refused(path, f"missing ({len(lost)})", *lost)


def test_no_warning_is_left_to_the_reader(written: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(written)
