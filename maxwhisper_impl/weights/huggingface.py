"""Hugging Face directories: `config.json` and `model.safetensors`, also sharded.

Names and sizes: `transformers/models/whisper`, `WhisperForConditionalGeneration`.
"""

from pathlib import Path

import numpy as np

from ..dims import ModelDimensions
from ..errors import CheckpointError
from .checkpoint import Checkpoint, check_tensors, expected_shapes, read_alignment_heads, read_dims
from .files import read_json, write_json
from .safetensors_file import read_safetensors, write_safetensors
from .vocabulary import official_tokenizer, suppressed, write_tokenizer_files

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PROJECTION, EMBEDDING = "proj_out.weight", "model.decoder.embed_tokens.weight"

_SIZES = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}
# From openai's names to Hugging Face's, in this order; `.attn_ln` must go before `.attn`.
_RENAMED = (
    ("encoder.ln_post", "encoder.layer_norm"),
    ("decoder.ln", "decoder.layer_norm"),
    ("decoder.token_embedding", "decoder.embed_tokens"),
    (".positional_embedding", ".embed_positions.weight"),
    (".blocks.", ".layers."),
    (".cross_attn_ln", ".encoder_attn_layer_norm"),
    (".attn_ln", ".self_attn_layer_norm"),
    (".mlp_ln", ".final_layer_norm"),
    (".mlp.0", ".fc1"),
    (".mlp.2", ".fc2"),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
)


def hf_name(name: str) -> str:
    """Hugging Face's name of a tensor, from openai-whisper's."""
    for ours, theirs in _RENAMED:
        name = name.replace(ours, theirs)
    return f"model.{name}"


def _read_tensors(folder: Path) -> dict[str, np.ndarray]:
    if not (folder / INDEX).is_file() or (folder / WEIGHTS).is_file():
        return read_safetensors(folder / WEIGHTS)
    weight_map = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{folder / INDEX}: weight_map must give each tensor's file name")
    tensors: dict[str, np.ndarray] = {}
    for shard in sorted(set(weight_map.values())):
        path = folder / shard
        if Path(shard).name != shard or not path.is_file():
            raise CheckpointError(f"{folder / INDEX}: the shard {shard!r:.100} is not a file of this folder")
        for name, tensor in read_safetensors(path).items():
            if name in tensors or weight_map.get(name) != shard:
                raise CheckpointError(f"{path}: {name} is not where the index has it: {weight_map.get(name)!r:.100}")
            tensors[name] = tensor
    if lost := [name for name in weight_map if name not in tensors]:
        raise CheckpointError(f"{folder / INDEX}: not in the shards: {', '.join(lost[:20])}")
    return tensors


def _read_dims(config: dict[str, object], path: Path) -> ModelDimensions:
    if (kind := config.get("model_type")) != "whisper":
        raise CheckpointError(f"{path}: the model_type is {kind!r:.40}, not 'whisper'")
    dims = read_dims({ours: config[theirs] for ours, theirs in _SIZES.items() if theirs in config}, path)
    wanted = {"encoder_ffn_dim": 4 * dims.n_audio_state, "decoder_ffn_dim": 4 * dims.n_text_state,
              "activation_function": "gelu", "scale_embedding": False}  # fmt: skip
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise CheckpointError(f"{path}: {key} is {config[key]!r:.40}; Whisper with these dims has {value!r}")
    return dims


def read(folder: Path) -> Checkpoint:
    """Checkpoint of a Hugging Face directory. CheckpointError says what does not fit."""
    dims = _read_dims(read_json(folder / "config.json"), folder / "config.json")
    tensors = _read_tensors(folder)
    if EMBEDDING not in tensors and any(name.startswith("encoder.") for name in tensors):
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}  # saved from WhisperModel, the bare one
    projection, embedding = tensors.pop(PROJECTION, None), tensors.get(EMBEDDING)
    if projection is not None and embedding is not None and not np.array_equal(projection, embedding):
        raise CheckpointError(f"{folder}: {PROJECTION} differs from {EMBEDDING}; Whisper's are one tensor")
    names = {name: hf_name(name) for name in expected_shapes(dims)}
    check_tensors(tensors, {names[name]: shape for name, shape in expected_shapes(dims).items()}, folder)
    generation = folder / "generation_config.json"
    heads = read_json(generation).get("alignment_heads") if generation.is_file() else None
    ours = {name: tensors[theirs] for name, theirs in names.items()}
    return Checkpoint(dims, ours, read_alignment_heads(heads, dims, generation), folder)


def _config(checkpoint: Checkpoint) -> dict[str, object]:
    dims = checkpoint.dims
    config: dict[str, object] = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "is_encoder_decoder": True,
        "activation_function": "gelu",
        "scale_embedding": False,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "decoder_ffn_dim": 4 * dims.n_text_state,
        "num_hidden_layers": dims.n_audio_layer,
        "torch_dtype": str(checkpoint.tensors["decoder.token_embedding.weight"].dtype),
    }
    return config | {theirs: getattr(dims, ours) for ours, theirs in _SIZES.items()}


def _generation_config(checkpoint: Checkpoint) -> dict[str, object]:
    dims, tokenizer = checkpoint.dims, official_tokenizer(checkpoint.dims)
    config: dict[str, object] = {"max_length": dims.n_text_ctx, "is_multilingual": dims.is_multilingual}
    if checkpoint.alignment_heads is not None:
        config["alignment_heads"] = [list(pair) for pair in checkpoint.alignment_heads]
    if tokenizer is None:
        return config
    ids = suppressed(tokenizer)
    config |= {
        "suppress_tokens": ids["always"],
        "begin_suppress_tokens": ids["begin"],
        "no_timestamps_token_id": tokenizer.no_timestamps,
        "prev_sot_token_id": tokenizer.sot_prev,
        "return_timestamps": False,
    }
    if dims.is_multilingual:
        codes, tokens = tokenizer.all_language_codes, tokenizer.all_language_tokens
        config["lang_to_id"] = {f"<|{code}|>": token for code, token in zip(codes, tokens, strict=True)}
        config["task_to_id"] = {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate}
    return config | _end_ids(checkpoint.dims)


def _end_ids(dims: ModelDimensions) -> dict[str, object]:
    if (tokenizer := official_tokenizer(dims)) is None:
        return {}
    ends: dict[str, object] = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eot)
    return ends | {"decoder_start_token_id": tokenizer.sot}


def write(checkpoint: Checkpoint, folder: Path, source: Path | None = None) -> None:
    """A directory that transformers reads. Tokenizer files come from the directory `source` if it has them."""
    folder.mkdir()
    write_safetensors(folder / WEIGHTS, {hf_name(name): tensor for name, tensor in checkpoint.tensors.items()})
    write_json(folder / "config.json", _config(checkpoint) | _end_ids(checkpoint.dims))
    write_json(folder / "generation_config.json", _generation_config(checkpoint))
    write_tokenizer_files(checkpoint.dims, folder, source, vocabulary_file=False)
    if official_tokenizer(checkpoint.dims):
        tokens = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>")
        settings = {"tokenizer_class": "WhisperTokenizer", "add_prefix_space": False}
        write_json(folder / "tokenizer_config.json", settings | tokens)
