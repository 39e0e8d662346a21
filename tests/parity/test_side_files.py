"""What lies beside the weights, as transformers, tokenizers, safetensors and faster-whisper want it."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.weights import convert, random_checkpoint, save_checkpoint
from tests.parity.small_checkpoints import save, small

NARROW = {"n_audio_state": 12, "n_audio_layer": 1, "n_text_state": 12, "n_text_layer": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hardly any weights, and all else that a directory of openai/whisper-tiny has."""
    folder = tmp_path_factory.mktemp("hugging") / "tiny"
    save_checkpoint(random_checkpoint(replace(SIZES["tiny"], **NARROW), 0), folder, format="huggingface")
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_generation_is_configured_as_published(tiny: Path) -> None:
    from whisper.decoding import DecodingOptions, DecodingTask
    from whisper.model import ModelDimensions, Whisper

    task = DecodingTask(Whisper(ModelDimensions(**asdict(replace(SIZES["tiny"], **NARROW)))), DecodingOptions())
    got, want = read(tiny / "generation_config.json"), {
        "suppress_tokens": sorted(task._get_suppress_tokens()), "begin_suppress_tokens": [220, 50257],
        "no_timestamps_token_id": 50363, "prev_sot_token_id": 50361, "return_timestamps": False, "max_length": 448,
        "is_multilingual": True, "bos_token_id": 50257, "eos_token_id": 50257, "pad_token_id": 50257,
        "decoder_start_token_id": 50258,
    }  # fmt: skip
    assert {key: got[key] for key in want} == want
    assert len(got["lang_to_id"]) == 99


def test_features_are_configured_as_published(tiny: Path) -> None:
    assert read(tiny / "preprocessor_config.json") == {
        "chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "hop_length": 160,
        "n_fft": 400, "n_samples": 480000, "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0,
        "processor_class": "WhisperProcessor", "return_attention_mask": False, "sampling_rate": 16000,
    }  # fmt: skip


def test_the_tokenizer_is_configured_as_published(tiny: Path) -> None:
    """Timestamps are no special tokens there: who leaves those out keeps the times."""
    assert read(tiny / "tokenizer_config.json") == {
        "tokenizer_class": "WhisperTokenizer", "add_prefix_space": False, "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
    }  # fmt: skip
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(tiny / "tokenizer.json"))
    special = {token["id"] for token in read(tiny / "tokenizer.json")["added_tokens"] if token["special"]}
    assert special == set(range(50257, 50364))
    assert tokenizer.encode(" Hello").ids == [50258, 50363, 2425, 50257]
    assert tokenizer.encode(" Hello", " Hello").ids == [50258, 50363, 2425, 2425, 50257]
    assert tokenizer.decode([50258, 50364, 2425, 50257]) == "<|0.00|> Hello"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_dtype_is_that_of_the_tensors(dtype: str, tmp_path: Path) -> None:
    """In which transformers then computes."""
    assert read(save(small(dtype), tmp_path, "huggingface") / "config.json")["torch_dtype"] == dtype


def test_safetensors_say_that_they_are_torchs_and_begin_aligned(tmp_path: Path) -> None:
    """transformers refuses a file that does not say so, and the library's readers map what is aligned."""
    for depth in range(1, 9):  # whose headers are of other lengths
        checkpoint = small(dims=replace(small().dims, n_audio_layer=depth, n_vocab=10**depth % 9999))
        path = save(checkpoint, tmp_path, "huggingface", f"{depth}") / "model.safetensors"
        with safe_open(path, "np") as file:
            assert file.metadata() == {"format": "pt"}
        assert struct.unpack("<Q", path.read_bytes()[:8])[0] % 8 == 0


@pytest.mark.parametrize(("format", "brings"), [("huggingface", 2), ("ctranslate2", 3)])
def test_a_folders_own_files_go_along(format: str, brings: int, tmp_path: Path) -> None:
    """Its tokenizer's, whatever is in them; its vocabulary to CTranslate2 alone, with what it says of suppression."""
    source, out = save(small(), tmp_path, "ctranslate2", "source"), tmp_path / "out"
    own = {name: f"their {name}".encode() for name in ("tokenizer.json", "preprocessor_config.json", "vocabulary.txt")}
    for name, content in own.items():
        (source / name).write_bytes(content)
    config = read(source / "config.json")
    (source / "config.json").write_text(json.dumps(config | {"suppress_ids": [1, 2], "theirs": "kept"}))
    convert(source, out, format=format)
    assert {name: (out / name).read_bytes() for name in own if (out / name).exists()} == dict(
        list(own.items())[:brings]
    )
    if format == "ctranslate2":
        assert read(out / "config.json") == config | {"suppress_ids": [1, 2], "theirs": "kept"}
