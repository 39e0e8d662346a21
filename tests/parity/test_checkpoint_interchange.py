"""What others write, we read, and what we write, others read: openai-whisper, faster-whisper, safetensors, NumPy."""

from __future__ import annotations

import dataclasses
import filecmp
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxwhisper_impl.dims import SIZES, ModelDimensions
from maxwhisper_impl.weights import (
    FORMATS,
    Checkpoint,
    convert,
    find_checkpoint,
    load_checkpoint,
    random_checkpoint,
    save_checkpoint,
)
from tests.parity.small_checkpoints import DIMS, HEADS, ROOT, assert_same, save, small


def test_openai_whisper_loads_our_pt(checkpoint: Checkpoint, tmp_path: Path) -> None:
    import whisper

    convert(checkpoint.source, tmp_path / "model.pt")
    model = whisper.load_model(str(tmp_path / "model.pt"), device="cpu")
    assert dataclasses.asdict(model.dims) == dataclasses.asdict(checkpoint.dims)
    state = model.state_dict()
    assert state.keys() == checkpoint.tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        assert np.array_equal(state[name].numpy(), tensor.astype(np.float32)), name


@pytest.mark.first_checkpoint
def test_ctranslate2_encodes_with_its_file_as_openai_whisper_with_our_tensors(
    checkpoint: Checkpoint,
) -> None:
    """The one reading of the fused matrices that is not ours: CTranslate2's own. A swapped split would show here."""
    import ctranslate2
    import torch
    from whisper.model import ModelDimensions as Theirs
    from whisper.model import Whisper

    if not (checkpoint.source / "model.bin").is_file():
        pytest.skip("the checkpoint under test is not in CTranslate2's format")
    mel = np.random.default_rng(0).uniform(-1, 1, (1, checkpoint.dims.n_mels, 3000)).astype(np.float32)
    model = Whisper(Theirs(**dataclasses.asdict(checkpoint.dims)))
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in checkpoint.tensors.items()})
    with torch.no_grad():
        ours = model.encoder(torch.from_numpy(mel)).numpy()
    engine = ctranslate2.models.Whisper(str(checkpoint.source), device="cpu", compute_type="float32", intra_threads=1)
    theirs = np.array(engine.encode(ctranslate2.StorageView.from_array(mel)))
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


def test_ctranslate2_files_are_byte_for_byte_its_converters(tmp_path: Path) -> None:
    """base's package was written by a recent version of the converter: the same variables, the same bytes."""
    source = find_checkpoint("base", download=False)
    if not (source / "model.bin").is_file():
        pytest.skip("base comes from elsewhere on this machine")
    convert(source, tmp_path / "npz.npz")
    convert(tmp_path / "npz.npz", tmp_path / "out", format="ctranslate2")
    assert filecmp.cmp(source / "model.bin", tmp_path / "out" / "model.bin", shallow=False)
    assert json.loads((source / "config.json").read_text()) == json.loads(
        (tmp_path / "out" / "config.json").read_text()
    )


def test_the_safetensors_library_and_ours_read_each_other(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = save(small(), tmp_path, "huggingface")
    theirs = load_file(folder / "model.safetensors")
    back = {name: theirs[FORMATS["huggingface"].hf_name(name)] for name in small().tensors}
    assert_same(dataclasses.replace(small(), tensors=back), small())
    save_file(theirs, folder / "model.safetensors")
    assert_same(load_checkpoint(folder), small())


def test_numpy_reads_our_npz(tmp_path: Path) -> None:
    with np.load(save(small(), tmp_path, "npz")) as archive:
        assert {name: int(archive[f"dims.{name}"]) for name in dataclasses.asdict(DIMS)} == dataclasses.asdict(DIMS)
        assert all(np.array_equal(archive[name], tensor) for name, tensor in small().tensors.items())
        assert archive["alignment_heads"].tolist() == [list(head) for head in HEADS]


def _spec_of(checkpoint: Checkpoint) -> object:
    """CTranslate2's own description of the model, filled from openai's names: none of our tables."""
    from ctranslate2.specs import whisper_spec

    dims, t = checkpoint.dims, checkpoint.tensors
    spec = whisper_spec.WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)

    def linear(to: object, *parts: str) -> None:
        to.weight = np.concatenate([t[f"{part}.weight"] for part in parts])
        bias = [t.get(f"{part}.bias", np.zeros(dims.n_text_state, np.float16)) for part in parts]
        to.bias = np.concatenate(bias)

    def norm(to: object, name: str) -> None:
        to.gamma, to.beta = t[f"{name}.weight"], t[f"{name}.bias"]

    def layers(side: str, specs: list) -> None:
        for index, layer in enumerate(specs):
            name = f"{side}.blocks.{index}"
            attn, mlp = f"{name}.attn", f"{name}.mlp"
            linear(layer.self_attention.linear[0], f"{attn}.query", f"{attn}.key", f"{attn}.value")
            linear(layer.self_attention.linear[1], f"{attn}.out")
            norm(layer.self_attention.layer_norm, f"{attn}_ln")
            linear(layer.ffn.linear_0, f"{mlp}.0")
            linear(layer.ffn.linear_1, f"{mlp}.2")
            norm(layer.ffn.layer_norm, f"{mlp}_ln")
            if side == "decoder":
                cross = f"{name}.cross_attn"
                linear(layer.attention.linear[0], f"{cross}.query")
                linear(layer.attention.linear[1], f"{cross}.key", f"{cross}.value")
                linear(layer.attention.linear[2], f"{cross}.out")
                norm(layer.attention.layer_norm, f"{cross}_ln")

    for side, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        stack.position_encodings.encodings = t[f"{side}.positional_embedding"]
        layers(side, stack.layer)
    for index, conv in ((1, spec.encoder.conv1), (2, spec.encoder.conv2)):
        conv.weight, conv.bias = t[f"encoder.conv{index}.weight"], t[f"encoder.conv{index}.bias"]
    norm(spec.encoder.layer_norm, "encoder.ln_post")
    norm(spec.decoder.layer_norm, "decoder.ln")
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = t["decoder.token_embedding.weight"]
    return spec


def test_we_read_what_ctranslate2_writes_with_its_aliases(tmp_path: Path) -> None:
    checkpoint = dataclasses.replace(small(), alignment_heads=None)
    for name in ("encoder.blocks.0.attn_ln", "encoder.blocks.2.mlp_ln", "decoder.ln"):  # equal tensors become aliases
        checkpoint.tensors[f"{name}.bias"] = checkpoint.tensors["encoder.ln_post.bias"].copy()
    spec = _spec_of(checkpoint)
    spec.register_vocabulary([str(index) for index in range(DIMS.n_vocab)])
    spec.validate()
    spec.optimize()
    folder = tmp_path / "theirs"
    folder.mkdir()
    spec.save(str(folder))
    assert (folder / "model.bin").read_bytes().count(b"layer_norm/beta\0") > 11, "no alias was made"
    assert_same(load_checkpoint(folder), checkpoint)


@pytest.fixture(scope="session")
def bare_ctranslate2(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as CTranslate2 directory, from an .npz: nothing but tensors came along."""
    folder = tmp_path_factory.mktemp("bare")
    save_checkpoint(checkpoint, folder / "model.npz")
    convert(folder / "model.npz", folder / "ct2", format="ctranslate2")
    return folder / "ct2"


@pytest.mark.first_checkpoint
def test_faster_whisper_writes_the_same_text_from_our_directory(checkpoint: Checkpoint, bare_ctranslate2: Path) -> None:
    from faster_whisper import WhisperModel

    if not (checkpoint.source / "model.bin").is_file():
        pytest.skip("the checkpoint under test has no directory of faster-whisper's own")
    results = []
    for folder in (checkpoint.source, bare_ctranslate2):
        model = WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=1)
        audio = str(ROOT / "fixtures" / "en" / "01-slt.flac")
        # The prompt is encoded by tokenizer.json, the text is decoded by it.
        options = {"beam_size": 1, "temperature": 0, "language": "en"}
        segments, _ = model.transcribe(audio, **options, initial_prompt="Bread, dough — 12 loaves.")
        results.append([(s.text, s.tokens) for s in segments])
    assert results[0] == results[1]
    assert "bread" in results[0][0][0].lower()


def test_faster_whisper_sees_128_mels_and_100_languages(tmp_path: Path) -> None:
    from faster_whisper import WhisperModel

    checkpoint = random_checkpoint(ModelDimensions(128, 1500, 64, 1, 1, 51866, 448, 64, 1, 1), seed=0)
    save_checkpoint(checkpoint, tmp_path / "model", format="ctranslate2")
    model = WhisperModel(str(tmp_path / "model"), device="cpu", compute_type="float32", cpu_threads=1)
    assert model.feature_extractor.mel_filters.shape[0] == 128
    assert model.hf_tokenizer.token_to_id("<|yue|>") == 50358
    model.transcribe(np.zeros(16000, np.float32), language="yue")


def _merges(tokenizer: dict) -> list[tuple[str, ...]]:
    return [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in tokenizer["model"]["merges"]]


def test_our_tokenizer_files_are_the_published_ones(checkpoint: Checkpoint, bare_ctranslate2: Path) -> None:
    published = checkpoint.source / "tokenizer.json"
    if not published.is_file():
        pytest.skip("the checkpoint under test has no tokenizer.json")
    theirs, ours = (json.loads(path.read_text()) for path in (published, bare_ctranslate2 / "tokenizer.json"))
    assert _merges(ours) == _merges(theirs)
    special = {token["content"]: token["id"] for token in ours["added_tokens"]}
    assert ours["model"]["vocab"] | special == theirs["model"]["vocab"] | special
    renamed = {"<|iw|>": "<|he|>", "<|nocaptions|>": "<|nospeech|>"}  # early names; the ids are the same
    for token in theirs["added_tokens"]:
        assert special[renamed.get(token["content"], token["content"])] == token["id"]
    brought = next(path for path in checkpoint.source.glob("vocabulary.*"))
    text = brought.read_text(encoding="utf-8")
    vocabulary = json.loads(text) if brought.suffix == ".json" else text.split("\n")[: checkpoint.dims.n_vocab]
    made = json.loads((bare_ctranslate2 / "vocabulary.json").read_text())
    assert made == [renamed.get(token, token) for token in vocabulary]


@pytest.fixture(scope="session")
def two_tokenizers(checkpoint: Checkpoint, bare_ctranslate2: Path):
    import tokenizers

    from maxwhisper_impl.tokenizer import get_tokenizer

    dims = checkpoint.dims
    return (
        tokenizers.Tokenizer.from_file(str(bare_ctranslate2 / "tokenizer.json")),
        get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages),
    )


@given(
    text=st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
    | st.text(" 'aens12.,-äßé日本\n\t", max_size=40)
)
def test_our_tokenizer_json_encodes_like_tiktoken(two_tokenizers, text: str) -> None:
    theirs, ours = two_tokenizers
    ids = theirs.encode(text, add_special_tokens=False).ids
    assert ids == ours.encode(text, disallowed_special=())
    assert theirs.decode(ids) == text


def test_suppressed_ids_are_openai_whispers(checkpoint: Checkpoint, bare_ctranslate2: Path) -> None:
    from whisper.decoding import DecodingOptions, DecodingTask
    from whisper.model import ModelDimensions as Theirs
    from whisper.model import Whisper

    dims = dataclasses.replace(checkpoint.dims, n_audio_layer=1, n_text_layer=1)
    task = DecodingTask(Whisper(Theirs(**dataclasses.asdict(dims))), DecodingOptions(language="en"))
    config = json.loads((bare_ctranslate2 / "config.json").read_text())
    assert config["suppress_ids"] == sorted(task._get_suppress_tokens())
    assert config["suppress_ids_begin"] == [*task.tokenizer.encode(" "), task.tokenizer.eot]


HF_NAMES = {
    "encoder.conv1.weight": "model.encoder.conv1.weight",
    "encoder.positional_embedding": "model.encoder.embed_positions.weight",
    "encoder.blocks.2.attn.query.bias": "model.encoder.layers.2.self_attn.q_proj.bias",
    "encoder.blocks.2.attn.key.weight": "model.encoder.layers.2.self_attn.k_proj.weight",
    "encoder.blocks.2.attn.value.bias": "model.encoder.layers.2.self_attn.v_proj.bias",
    "encoder.blocks.2.attn.out.bias": "model.encoder.layers.2.self_attn.out_proj.bias",
    "encoder.blocks.2.attn_ln.weight": "model.encoder.layers.2.self_attn_layer_norm.weight",
    "encoder.blocks.2.mlp.0.weight": "model.encoder.layers.2.fc1.weight",
    "encoder.blocks.2.mlp.2.weight": "model.encoder.layers.2.fc2.weight",
    "encoder.blocks.2.mlp_ln.bias": "model.encoder.layers.2.final_layer_norm.bias",
    "encoder.ln_post.weight": "model.encoder.layer_norm.weight",
    "decoder.token_embedding.weight": "model.decoder.embed_tokens.weight",
    "decoder.positional_embedding": "model.decoder.embed_positions.weight",
    "decoder.blocks.1.attn.query.weight": "model.decoder.layers.1.self_attn.q_proj.weight",
    "decoder.blocks.1.cross_attn.query.weight": "model.decoder.layers.1.encoder_attn.q_proj.weight",
    "decoder.blocks.1.cross_attn.key.weight": "model.decoder.layers.1.encoder_attn.k_proj.weight",
    "decoder.blocks.1.cross_attn.value.weight": "model.decoder.layers.1.encoder_attn.v_proj.weight",
    "decoder.blocks.1.cross_attn.out.weight": "model.decoder.layers.1.encoder_attn.out_proj.weight",
    "decoder.blocks.1.cross_attn_ln.bias": "model.decoder.layers.1.encoder_attn_layer_norm.bias",
    "decoder.ln.bias": "model.decoder.layer_norm.bias",
}


def test_hugging_face_names_are_those_of_transformers(tmp_path: Path) -> None:
    """Spelled out: a name that writer and reader had wrong alike would pass every round trip."""
    from safetensors.numpy import load_file

    tensors = load_file(save(small(), tmp_path, "huggingface") / "model.safetensors")
    assert len(tensors) == len(small().tensors)
    for ours, theirs in HF_NAMES.items():
        assert np.array_equal(tensors[theirs], small().tensors[ours]), theirs


def test_hugging_face_configuration(tmp_path: Path) -> None:
    """The published openai/whisper-tiny's figures; transformers builds the model from these names."""
    folder = tmp_path / "tiny"
    save_checkpoint(
        dataclasses.replace(random_checkpoint(SIZES["tiny"], 0), alignment_heads=((2, 2),)),
        folder,
        format="huggingface",
    )
    config = json.loads((folder / "config.json").read_text())
    want = {
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "vocab_size": 51865,
        "num_mel_bins": 80, "d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6, "decoder_layers": 4,
        "decoder_attention_heads": 6, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536, "max_source_positions": 1500,
        "max_target_positions": 448, "activation_function": "gelu", "is_encoder_decoder": True,
        "bos_token_id": 50257, "eos_token_id": 50257, "pad_token_id": 50257, "decoder_start_token_id": 50258,
    }  # fmt: skip
    assert {key: config.get(key) for key in want} == want
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["alignment_heads"] == [[2, 2]]
    assert generation["task_to_id"] == {"transcribe": 50359, "translate": 50358}
    assert generation["lang_to_id"]["<|en|>"] == 50259
    assert generation["no_timestamps_token_id"] == 50363
