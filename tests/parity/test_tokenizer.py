"""Token ids: every attribute and method of openai-whisper's tokenizer, for English-only, 99 and 100 languages."""

import contextlib
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxwhisper_impl import tokenizer as ours
from maxwhisper_impl.errors import OptionError

VOCABULARIES = {"en": (False, 99), "99": (True, 99), "100": (True, 100)}
N_VOCAB = {"en": 51864, "99": 51865, "100": 51866}
ATTRIBUTES = ("num_languages", "language", "task", "special_tokens", "eot", "sot", "transcribe", "translate", "sot_lm",
              "sot_prev", "no_speech", "no_timestamps", "timestamp_begin", "sot_sequence",
              "sot_sequence_including_notimestamps", "non_speech_tokens")  # fmt: skip
TEXTS = (
    "",
    " ",
    "Welcome to Modular's technical presentation",
    " It's 10:30 p.m. — don't wait, they'll've left; 3.14159 is π, 100% of 1,000,000!",
    "  two  spaces,\ta tab\nand a line\r\n",
    " ¿Dónde está la niña? Übermäßig großer Straßenverkehr. Élève naïf.",
    "今日はいい天気ですね。明日、雨が降るでしょう。",
    "我们明天见!你好,世界",
    "สวัสดีชาวโลก ສະບາຍດີ မင်္ဂလာပါ",
    " Привет, мир! नमस्ते दुनिया مرحبا بالعالم שלום",
    " 👩‍👩‍👧‍👦 🇩🇪 ♪♪♪ (music) [DAVID] << >> é vs é",
)


def oracle(vocabulary: str, language: str | None = None, task: str | None = None):
    from whisper.tokenizer import get_tokenizer

    multilingual, n = VOCABULARIES[vocabulary]
    return get_tokenizer(multilingual, num_languages=n, language=language, task=task)


def tokenizer(vocabulary: str, language: str | None = None, task: str | None = None) -> ours.Tokenizer:
    multilingual, n = VOCABULARIES[vocabulary]
    return ours.get_tokenizer(multilingual, num_languages=n, language=language, task=task)


vocabularies = pytest.mark.parametrize("vocabulary", VOCABULARIES)


def test_literal_case():
    want = [14618, 284, 3401, 934, 338, 6276, 10470]
    assert tokenizer("en").encode("Welcome to Modular's technical presentation") == want
    assert tokenizer("en").decode(want) == "Welcome to Modular's technical presentation"


def test_languages_are_the_oracles_in_its_order():
    from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE

    assert list(ours.LANGUAGES.items()) == list(LANGUAGES.items())
    assert ours.TO_LANGUAGE_CODE == TO_LANGUAGE_CODE


@vocabularies
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_attribute_is_the_oracles(vocabulary, attribute):
    assert getattr(tokenizer(vocabulary), attribute) == getattr(oracle(vocabulary), attribute)


@vocabularies
def test_every_id_has_the_oracles_bytes(vocabulary):
    mine, theirs = tokenizer(vocabulary).encoding, oracle(vocabulary).encoding
    assert mine.n_vocab == theirs.n_vocab == N_VOCAB[vocabulary]
    differing = [i for i in range(mine.n_vocab) if mine.decode_bytes([i]) != theirs.decode_bytes([i])]
    assert not differing, f"id {differing[0]} differs"


@vocabularies
def test_language_tokens_are_the_oracles_in_the_order_of_their_ids(vocabulary):
    """The oracle's order is that of a set, another in every process; the pairs of token and code are what counts."""
    mine, theirs = tokenizer(vocabulary), oracle(vocabulary)
    pairs = list(zip(mine.all_language_tokens, mine.all_language_codes, strict=True))
    assert dict(pairs) == dict(zip(theirs.all_language_tokens, theirs.all_language_codes, strict=True))
    assert len(pairs) == VOCABULARIES[vocabulary][1]
    assert pairs == sorted(pairs)
    for token, code in pairs:
        assert mine.to_language_token(code) == theirs.to_language_token(code) == token


@pytest.mark.parametrize("vocabulary", ["99", "100"])
@pytest.mark.parametrize("task", [None, "transcribe", "translate"])
def test_start_sequence_of_every_language_and_task_is_the_oracles(vocabulary, task):
    codes = list(ours.LANGUAGES)[: VOCABULARIES[vocabulary][1]]
    for code in (None, *codes):
        mine, theirs = tokenizer(vocabulary, code, task), oracle(vocabulary, code, task)
        assert mine.sot_sequence == theirs.sot_sequence, code
        assert mine.sot_sequence_including_notimestamps == theirs.sot_sequence_including_notimestamps, code
        assert mine.language_token == theirs.language_token, code
        assert (mine.language, mine.task) == (theirs.language, theirs.task), code


@pytest.mark.parametrize("name", ["German", "GERMAN", "de", "DE", "castilian", "Haitian Creole", "mandarin"])
def test_language_names_are_understood_as_by_the_oracle(name):
    assert tokenizer("99", name).language == oracle("99", name).language


@pytest.mark.parametrize(("language", "task"), [("german", "translate"), (None, "transcribe"), ("en", None)])
def test_english_models_have_neither_language_nor_task(language, task):
    mine = tokenizer("en", language, task)
    assert (mine.language, mine.task) == (None, None)
    assert mine.sot_sequence == oracle("en", language, task).sot_sequence == (mine.sot,)


def test_tokenizer_without_language_or_task_is_the_oracles():
    """What language detection starts from: `Tokenizer(encoding, n)` itself."""
    from whisper.tokenizer import Tokenizer, get_encoding

    for n in (99, 100):
        mine = ours.Tokenizer(ours.get_encoding("multilingual", n), n)
        assert mine.sot_sequence == Tokenizer(get_encoding("multilingual", n), n).sot_sequence == (mine.sot,)


def test_suppressed_set_of_tiny_en_is_faster_whispers():
    """The 90 ids of faster-whisper's own test: non-speech plus six specials."""
    t = tokenizer("en")
    specials = (t.transcribe, t.translate, t.sot, t.sot_prev, t.sot_lm, t.no_speech)
    got = sorted({*t.non_speech_tokens, *specials})
    assert len(got) == 90
    assert got == [
        1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93, 357, 366, 438, 532, 685,
        705, 796, 930, 1058, 1220, 1267, 1279, 1303, 1343, 1377, 1391, 1635, 1782, 1875, 2162, 2361, 2488, 3467, 4008,
        4211, 4600, 4808, 5299, 5855, 6329, 7203, 9609, 9959, 10563, 10786, 11420, 11709, 11907, 13163, 13697, 13700,
        14808, 15306, 16410, 16791, 17992, 19203, 19510, 20724, 22305, 22935, 27007, 30109, 30420, 33409, 34949, 40283,
        40493, 40549, 47282, 49146, 50257, 50357, 50358, 50359, 50360, 50361,
    ]  # fmt: skip


@vocabularies
def test_encode_and_decode_texts_as_the_oracle(vocabulary):
    mine, theirs = tokenizer(vocabulary), oracle(vocabulary)
    for text in TEXTS:
        ids = mine.encode(text)
        assert ids == theirs.encode(text), text
        assert mine.decode(ids) == theirs.decode(ids) == text


@vocabularies
@settings(max_examples=200, deadline=None)
@given(text=st.text() | st.text(alphabet=string.printable))
def test_any_text_survives_the_round_trip(vocabulary, text):
    mine = tokenizer(vocabulary)
    ids = mine.encode(text, disallowed_special=())
    assert ids == oracle(vocabulary).encode(text, disallowed_special=())
    assert mine.decode(ids) == text


def test_special_tokens_in_text_are_an_error_or_allowed_as_in_the_oracle():
    for t in (tokenizer("99"), oracle("99")):
        with pytest.raises(ValueError, match="disallowed special token"):
            t.encode("<|transcribe|>")
        assert t.encode("<|transcribe|>", allowed_special="all") == [t.transcribe]
        assert t.transcribe not in t.encode("<|transcribe|>", disallowed_special=())


id_lists = st.lists(st.integers(0, 51863) | st.integers(50250, 50370) | st.integers(0, 300), max_size=40)


@vocabularies
@settings(max_examples=200, deadline=None)
@given(ids=id_lists)
def test_any_ids_are_decoded_and_split_as_by_the_oracle(vocabulary, ids):
    mine, theirs = tokenizer(vocabulary), oracle(vocabulary)
    assert mine.decode(ids) == theirs.decode(ids)
    assert mine.decode_with_timestamps(ids) == theirs.decode_with_timestamps(ids)
    for method in ("split_to_word_tokens", "split_tokens_on_unicode", "split_tokens_on_spaces"):
        got = getattr(mine, method)(ids)
        assert [i for group in got[1] for i in group] == ids[: sum(map(len, got[1]))], method
        with contextlib.suppress(IndexError):  # the oracle's, on broken characters
            assert got == getattr(theirs, method)(list(ids)), method


def test_tokens_that_end_inside_a_character_are_split_without_an_error():
    """The oracle raises IndexError here."""
    t = tokenizer("99")
    ids = [*t.encode(" pear"), *(t.encoding.encode_single_token(byte) for byte in (b"\xe6", b"\xa2"))]
    assert t.decode(ids) == " pear\ufffd"
    words, groups = t.split_tokens_on_unicode(ids)
    assert words == [" pear", "\ufffd", "\ufffd"]
    assert [token for group in groups for token in group] == ids


@pytest.mark.parametrize("language", ["en", "de", "zh", "ja", "th", "lo", "my", "yue", "ko"])
def test_words_of_texts_are_split_as_by_the_oracle(language):
    mine, theirs = tokenizer("100", language), oracle("100", language)
    for text in TEXTS:
        ids = [*mine.encode(text), mine.eot]
        got = mine.split_to_word_tokens(ids)
        assert got == theirs.split_to_word_tokens(ids), text
        assert "".join(got[0]) == text + "<|endoftext|>"


def test_words_are_split_at_spaces_and_punctuation():
    t = tokenizer("99", "en")
    words, groups = t.split_to_word_tokens(t.encode(" Hello, unbelievably long words... don't"))
    assert words == [" Hello", ",", " unbelievably", " long", " words...", " don't"]
    assert ["".join(t.decode(g)) for g in groups] == words


def test_languages_without_spaces_are_split_at_whole_characters():
    t = tokenizer("99", "ja")
    words, groups = t.split_to_word_tokens(t.encode("鬱陶しい"))
    assert "".join(words) == "鬱陶しい"
    assert any(len(group) > 1 for group in groups), "a character of several tokens stays whole"
    assert not any("\ufffd" in word for word in words)


@vocabularies
def test_decode_drops_timestamps_and_decode_with_timestamps_spells_them(vocabulary):
    t = tokenizer(vocabulary)
    first = t.timestamp_begin
    ids = [first, *t.encode(" Hello"), first + 54, first + 1500]
    assert t.decode(ids) == " Hello"
    assert t.decode_with_timestamps(ids) == "<|0.00|> Hello<|1.08|><|30.00|>"
    assert first + 1500 == t.encoding.n_vocab - 1


def test_ids_follow_the_vocabulary():
    """A neighbour's id is the classic mistake: one language more moves everything behind the languages by one."""
    a, b = tokenizer("99"), tokenizer("100")
    for name in ("translate", "transcribe", "sot_lm", "sot_prev", "no_speech", "no_timestamps", "timestamp_begin"):
        assert getattr(b, name) == getattr(a, name) + 1, name
    assert (a.transcribe, b.transcribe, tokenizer("en").transcribe) == (50359, 50360, 50358)


@pytest.mark.parametrize("language", ["klingon", "", "en-GB"])
@vocabularies
def test_unknown_language_is_an_option_error_that_lists_the_languages(vocabulary, language):
    with pytest.raises(OptionError, match=f"unknown language '{language}'") as caught:
        tokenizer(vocabulary, language)
    assert "en, zh, de" in str(caught.value)
    assert "yue" in str(caught.value)


def test_language_that_the_model_lacks_is_an_option_error():
    assert tokenizer("100", "cantonese").language == "yue"
    with pytest.raises(OptionError, match="this model has no language 'yue'") as caught:
        tokenizer("99", "cantonese")
    assert str(caught.value).endswith("jw, su")


@pytest.mark.parametrize("language", ["klingon", "yue", "transcribe", "0.00", "English"])
def test_token_of_an_unknown_language_is_an_option_error(language):
    with pytest.raises(OptionError, match="this model has no language"):
        tokenizer("99").to_language_token(language)


def test_english_models_have_no_language_token():
    with pytest.raises(OptionError, match="English-only"):
        _ = tokenizer("en").language_token


@vocabularies
def test_unknown_task_is_an_option_error_that_lists_the_tasks(vocabulary):
    with pytest.raises(OptionError, match="unknown task 'summarise'; the tasks are transcribe, translate"):
        tokenizer(vocabulary, task="summarise")


def test_ids_may_be_numpy_integers():
    t = tokenizer("99")
    ids = np.array(t.encode(" Hello world"))
    assert t.decode(ids) == " Hello world"
    assert t.split_to_word_tokens(ids)[0] == [" Hello", " world"]
