"""What other programs want beside the weights: tokenizer, vocabulary, preprocessing, ids to suppress.

All of it follows from openai-whisper's vocabulary, unless the checkpoint that is converted brings its own.
"""

import shutil
from itertools import pairwise
from pathlib import Path

from ..dims import ModelDimensions
from ..tokenizer import Tokenizer, get_tokenizer
from .checkpoint import Checkpoint
from .files import read_json, write_json

_TEXT_IDS = ("<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>")


def official_tokenizer(dims: ModelDimensions) -> Tokenizer | None:
    """openai-whisper's tokenizer for these dims; None if its vocabulary has another size (models made for tests)."""
    if dims.num_languages < 1:
        return None
    tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages)
    return tokenizer if tokenizer.encoding.n_vocab == dims.n_vocab else None


def _byte_letters() -> list[str]:
    """A printable letter for each byte, as GPT-2's vocabulary files spell them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Every token's spelling, by id."""
    letters = _byte_letters()
    tokens = tokenizer.encoding.token_byte_values()
    text = ["".join(letters[byte] for byte in token) for token in tokens]
    # tiktoken sorts the bytes; the ids come from encoding each of them.
    spelled = {tokenizer.encoding.encode_single_token(token): word for token, word in zip(tokens, text, strict=True)}
    spelled |= {token: name for name, token in tokenizer.special_tokens.items()}
    return [spelled[token] for token in range(tokenizer.encoding.n_vocab)]


def _merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The last pair that byte-pair encoding joins to make `token`."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
        best = pairs.index(min(pairs))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, object]:
    """`tokenizer.json` of Hugging Face's tokenizers: byte-level BPE with the merges that the ranks stand for."""
    words = vocabulary(tokenizer)
    by_bytes = tokenizer.encoding.token_byte_values()
    ranks = {token: tokenizer.encoding.encode_single_token(token) for token in by_bytes}
    merges = [_merge(token, ranks) for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1]
    letters = _byte_letters()
    special = tokenizer.special_tokens
    start, plain, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in _TEXT_IDS)
    first, second = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": token >= tokenizer.timestamp_begin, "special": token < tokenizer.timestamp_begin}
            for name, token in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, plain, first, end],
            "pair": [start, plain, first, second, end],
            "special_tokens": {name: {"id": name, "ids": [special[name]], "tokens": [name]} for name in _TEXT_IDS},
        },
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {words[rank]: rank for rank in sorted(ranks.values())},
            "merges": [["".join(letters[byte] for byte in half) for half in pair] for pair in merges],
        },
    }  # fmt: skip


def preprocessor_config(dims: ModelDimensions) -> dict[str, object]:
    """`preprocessor_config.json`: faster-whisper and transformers read the number of mel bands there."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": dims.n_mels,
        "sampling_rate": 16000,
        "hop_length": 160,
        "n_fft": 400,
        "chunk_length": 30,
        "n_samples": 480000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "processor_class": "WhisperProcessor",
    }


def suppressed(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Ids never sampled, and ids not sampled first, as openai-whisper's decoding options have them by default."""
    t = tokenizer
    never = {*t.non_speech_tokens, t.transcribe, t.translate, t.sot, t.sot_prev, t.sot_lm, t.no_speech}
    return {"always": sorted(never), "begin": [*t.encode(" "), t.eot]}


def ct2_config(checkpoint: Checkpoint, source: Path | None) -> dict[str, object]:
    """`config.json` of a CTranslate2 directory; what `source`, if it is one too, says of suppression is kept."""
    config: dict[str, object] = {}
    tokenizer = official_tokenizer(checkpoint.dims)
    if tokenizer:
        ids, languages = suppressed(tokenizer), list(tokenizer.all_language_tokens)
        config = {"lang_ids": languages, "suppress_ids": ids["always"], "suppress_ids_begin": ids["begin"]}
    if source and (source / "model.bin").is_file() and (source / "config.json").is_file():
        config |= read_json(source / "config.json")
    config.pop("alignment_heads", None)
    if checkpoint.alignment_heads is not None:
        config["alignment_heads"] = [list(pair) for pair in checkpoint.alignment_heads]
    return dict(sorted(config.items()))


def write_tokenizer_files(dims: ModelDimensions, folder: Path, source: Path | None, *, vocabulary_file: bool) -> None:
    """tokenizer.json, preprocessor_config.json and (for CTranslate2) vocabulary.*: copied from `source`, or made.

    For a vocabulary that is not openai's and not in `source` there is nothing to write: such a directory holds a
    model that can be loaded, but no text can be made from its tokens."""
    tokenizer = official_tokenizer(dims)
    brought = {path.name for path in source.iterdir()} if source and source.is_dir() else set()
    vocabularies = [name for name in ("vocabulary.json", "vocabulary.txt") if name in brought]
    wanted = ["tokenizer.json", "preprocessor_config.json", *(vocabularies if vocabulary_file else [])]
    for name in wanted:
        if source and name in brought:
            shutil.copyfile(source / name, folder / name)
    if tokenizer and "tokenizer.json" not in brought:
        write_json(folder / "tokenizer.json", tokenizer_json(tokenizer))
    if "preprocessor_config.json" not in brought:
        write_json(folder / "preprocessor_config.json", preprocessor_config(dims))
    if tokenizer and vocabulary_file and not vocabularies:
        write_json(folder / "vocabulary.json", vocabulary(tokenizer))
