"""Text <-> token ids over openai-whisper's vocabularies (`whisper/tokenizer.py`); every id comes from them."""

import base64
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import tiktoken

from .assets import asset
from .errors import OptionError

TASKS = ("transcribe", "translate")

# In the order of the ids: a model with n languages knows the first n.
LANGUAGES = {
    "en": "english", "zh": "chinese", "de": "german", "es": "spanish", "ru": "russian", "ko": "korean",
    "fr": "french", "ja": "japanese", "pt": "portuguese", "tr": "turkish", "pl": "polish", "ca": "catalan",
    "nl": "dutch", "ar": "arabic", "sv": "swedish", "it": "italian", "id": "indonesian", "hi": "hindi",
    "fi": "finnish", "vi": "vietnamese", "he": "hebrew", "uk": "ukrainian", "el": "greek", "ms": "malay",
    "cs": "czech", "ro": "romanian", "da": "danish", "hu": "hungarian", "ta": "tamil", "no": "norwegian",
    "th": "thai", "ur": "urdu", "hr": "croatian", "bg": "bulgarian", "lt": "lithuanian", "la": "latin",
    "mi": "maori", "ml": "malayalam", "cy": "welsh", "sk": "slovak", "te": "telugu", "fa": "persian",
    "lv": "latvian", "bn": "bengali", "sr": "serbian", "az": "azerbaijani", "sl": "slovenian", "kn": "kannada",
    "et": "estonian", "mk": "macedonian", "br": "breton", "eu": "basque", "is": "icelandic", "hy": "armenian",
    "ne": "nepali", "mn": "mongolian", "bs": "bosnian", "kk": "kazakh", "sq": "albanian", "sw": "swahili",
    "gl": "galician", "mr": "marathi", "pa": "punjabi", "si": "sinhala", "km": "khmer", "sn": "shona",
    "yo": "yoruba", "so": "somali", "af": "afrikaans", "oc": "occitan", "ka": "georgian", "be": "belarusian",
    "tg": "tajik", "sd": "sindhi", "gu": "gujarati", "am": "amharic", "yi": "yiddish", "lo": "lao",
    "uz": "uzbek", "fo": "faroese", "ht": "haitian creole", "ps": "pashto", "tk": "turkmen", "nn": "nynorsk",
    "mt": "maltese", "sa": "sanskrit", "lb": "luxembourgish", "my": "myanmar", "bo": "tibetan", "tl": "tagalog",
    "mg": "malagasy", "as": "assamese", "tt": "tatar", "haw": "hawaiian", "ln": "lingala", "ha": "hausa",
    "ba": "bashkir", "jw": "javanese", "su": "sundanese", "yue": "cantonese",
}  # fmt: skip

TO_LANGUAGE_CODE = {
    **{name: code for code, name in LANGUAGES.items()},
    "burmese": "my", "valencian": "ca", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb", "pushto": "ps",
    "panjabi": "pa", "moldavian": "ro", "moldovan": "ro", "sinhalese": "si", "castilian": "es", "mandarin": "zh",
}  # fmt: skip

_WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}


@dataclass
class Tokenizer:
    """One encoding with a language and a task chosen; the attributes are openai-whisper's."""

    encoding: tiktoken.Encoding
    num_languages: int
    language: str | None = None
    task: str | None = None
    sot_sequence: tuple[int, ...] = ()
    special_tokens: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = {name: self.encoding.encode_single_token(name) for name in self.encoding.special_tokens_set}
        # A set has no order; the ids have one, and `all_language_tokens` follows it.
        self.special_tokens = dict(sorted(ids.items(), key=lambda item: item[1]))
        sequence = [self.sot]
        if self.language is not None:
            sequence.append(self.to_language_token(self.language))
        if self.task is not None:
            sequence.append(self.transcribe if _known_task(self.task) == "transcribe" else self.translate)
        self.sot_sequence = tuple(sequence)

    def encode(self, text: str, **kwargs: Any) -> list[int]:
        """Ids of `text`. Special tokens spelled out in it are a ValueError unless `allowed_special` (tiktoken's)."""
        return self.encoding.encode(text, **kwargs)

    def decode(self, token_ids: Sequence[int], errors: str = "replace") -> str:
        """Text of the ids without their timestamps; other special tokens are spelled out, as openai-whisper does."""
        return self.decode_with_timestamps([t for t in token_ids if t < self.timestamp_begin], errors)

    def decode_with_timestamps(self, token_ids: Sequence[int], errors: str = "replace") -> str:
        """Text of the ids with timestamps spelled out, e.g. "<|1.08|>"."""
        return self.encoding.decode(token_ids, errors=errors)

    @cached_property
    def eot(self) -> int:
        return self.encoding.eot_token

    @cached_property
    def transcribe(self) -> int:
        return self.special_tokens["<|transcribe|>"]

    @cached_property
    def translate(self) -> int:
        return self.special_tokens["<|translate|>"]

    @cached_property
    def sot(self) -> int:
        return self.special_tokens["<|startoftranscript|>"]

    @cached_property
    def sot_lm(self) -> int:
        return self.special_tokens["<|startoflm|>"]

    @cached_property
    def sot_prev(self) -> int:
        return self.special_tokens["<|startofprev|>"]

    @cached_property
    def no_speech(self) -> int:
        return self.special_tokens["<|nospeech|>"]

    @cached_property
    def no_timestamps(self) -> int:
        return self.special_tokens["<|notimestamps|>"]

    @cached_property
    def timestamp_begin(self) -> int:
        return self.special_tokens["<|0.00|>"]

    @cached_property
    def language_token(self) -> int:
        """Id of `language`. Raises OptionError for a tokenizer without one (English-only models)."""
        if self.language is None:
            raise OptionError("this tokenizer has no language: English-only models have no language token")
        return self.to_language_token(self.language)

    def to_language_token(self, language: str) -> int:
        """Id of a language code. Raises OptionError if the vocabulary lacks it."""
        if language in LANGUAGES and (token := self.special_tokens.get(f"<|{language}|>")):
            return token
        raise OptionError(f"this model has no language {language!r}; it knows {_codes(self.num_languages)}")

    @cached_property
    def all_language_tokens(self) -> tuple[int, ...]:
        return tuple(self.special_tokens[f"<|{code}|>"] for code in self.all_language_codes)

    @cached_property
    def all_language_codes(self) -> tuple[str, ...]:
        return tuple(LANGUAGES)[: self.num_languages]

    @cached_property
    def sot_sequence_including_notimestamps(self) -> tuple[int, ...]:
        return (*self.sot_sequence, self.no_timestamps)

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Ids, sorted, that start speaker tags and annotations ("[DAVID]", "♪♪♪"); suppressed while decoding."""
        notes = "♩♪♫♬♭♮♯"
        marks = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
        symbols = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』', *notes, *marks.split()]
        # "-" and "'" may stand inside a word but not begin one.
        result = {self.encoding.encode(" -")[0], self.encoding.encode(" '")[0]}
        for symbol in symbols:
            for ids in (self.encoding.encode(symbol), self.encoding.encode(" " + symbol)):
                # A note that is several tokens loses its first: U+2640..267F share it, and none of them is speech.
                if len(ids) == 1 or symbol in tuple(notes):
                    result.add(ids[0])
        return tuple(sorted(result))

    def split_to_word_tokens(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """(words, their ids). Languages written without spaces are split at every complete character."""
        if self.language in _WITHOUT_SPACES:
            return self.split_tokens_on_unicode(tokens)
        return self.split_tokens_on_spaces(tokens)

    def split_tokens_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Smallest groups of ids that decode to whole characters."""
        text = self.decode_with_timestamps(tokens)
        words: list[str] = []
        groups: list[list[int]] = []
        current: list[int] = []
        offset = 0
        for token in tokens:
            current.append(token)
            decoded = self.decode_with_timestamps(current)
            # A replacement character is final only where the whole text has it too: there the bytes never complete.
            # (Past the end of the text, where one stands for several tokens, openai-whisper raises IndexError.)
            broken = decoded.find("\ufffd")
            if broken < 0 or text[offset + broken : offset + broken + 1] in ("\ufffd", ""):
                words.append(decoded)
                groups.append(current)
                current = []
                offset += len(decoded)
        return words, groups

    def split_tokens_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Groups of ids by words; punctuation and special tokens stand alone."""
        words: list[str] = []
        groups: list[list[int]] = []
        for subword, ids in zip(*self.split_tokens_on_unicode(tokens), strict=True):
            starts = ids[0] >= self.eot or subword.startswith(" ") or subword.strip() in string.punctuation
            if starts or not words:
                words.append(subword)
                groups.append(ids)
            else:
                words[-1] += subword
                groups[-1].extend(ids)
        return words, groups


def _codes(num_languages: int) -> str:
    return ", ".join(tuple(LANGUAGES)[:num_languages])


def _known_task(task: str) -> str:
    if task not in TASKS:
        raise OptionError(f"unknown task {task!r}; the tasks are {', '.join(TASKS)}")
    return task


def language_code(language: str) -> str:
    """Code of a language given by code or English name, in any case. Raises OptionError that lists the codes."""
    name = language.lower()
    code = name if name in LANGUAGES else TO_LANGUAGE_CODE.get(name)
    if code is None:
        raise OptionError(f"unknown language {language!r}; give an English name or one of {_codes(len(LANGUAGES))}")
    return code


@cache
def get_encoding(name: str = "gpt2", num_languages: int = 99) -> tiktoken.Encoding:
    """`name` is "gpt2" (English-only models) or "multilingual"; special tokens follow the text tokens."""
    lines = asset(f"{name}.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    specials = [
        "<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in tuple(LANGUAGES)[:num_languages]),
        "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
        *(f"<|{i * 0.02:.2f}|>" for i in range(1501)),
    ]  # fmt: skip
    return tiktoken.Encoding(
        name=f"{name}.tiktoken",
        explicit_n_vocab=len(ranks) + len(specials),
        pat_str=r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
        mergeable_ranks=ranks,
        special_tokens={token: len(ranks) + i for i, token in enumerate(specials)},
    )


@cache
def get_tokenizer(
    multilingual: bool, *, num_languages: int = 99, language: str | None = None, task: str | None = None
) -> Tokenizer:
    """The tokenizer of a model. English-only models have neither language nor task; else "en" and "transcribe"
    are the defaults. Raises OptionError for a language or task that is unknown or that the model lacks."""
    language = language_code(language) if language is not None else None
    task = _known_task(task) if task is not None else None
    if not multilingual:
        return Tokenizer(get_encoding("gpt2", num_languages), num_languages)
    encoding = get_encoding("multilingual", num_languages)
    return Tokenizer(encoding, num_languages, language or "en", task or "transcribe")
