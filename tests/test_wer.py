"""The scorer itself: what is left out, doubled or wrong is counted, behind Whisper's own normaliser."""

from pathlib import Path

import pytest

from maxwhisper_impl.corpus import Clip
from tests.quality.paired import difference, errors_by_word
from tests.quality.wer import agreement, groups, score


def clip(
    text: str | None, name: str = "a.wav", seconds: float = 5.0, language: str | None = "en", tags: tuple[str, ...] = ()
) -> Clip:
    return Clip(name, Path("corpus") / name, seconds, language, text, tags=frozenset(tags))


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("one big house", 0),
        ("One, big HOUSE!", 0),
        ("one house", 1),
        ("one big big house", 1),
        ("one pig house", 1),
        ("", 3),
        ("house big one", 2),
        ("um one big house", 0),
    ],
)
def test_errors_of_one_clip(text: str, errors: int) -> None:
    got = score([clip("One big house.")], [text])
    assert (got.errors, got.words) == (errors, 3), "of the words that were said, whatever became of them"


def test_a_group_is_scored_over_all_words() -> None:
    got = score([clip("one big house"), clip("a b c d e f g")], ["one house", "a b c d e f g"])
    assert (got.errors, got.words, str(got)) == (1, 10, "10.00%")


def test_numbers_and_spelling_are_normalised_in_english_only() -> None:
    assert score([clip("twenty one colours, don't")], ["21 colors do not"]).errors == 0
    assert score([clip("Schön grün", language="de")], ["schön, grün!"]).errors == 0
    assert score([clip("Schön grün", language="de")], ["schon grün"]).errors == 1


def test_no_reference_is_an_error() -> None:
    with pytest.raises(ValueError, match="no words"):
        score([clip("")], ["x"])
    with pytest.raises(ValueError, match="no words"):
        score([], [])
    with pytest.raises(ValueError, match="zip"):
        score([clip("a"), clip("b")], ["a"])


def test_groups_leave_out_what_cannot_be_scored() -> None:
    clips = [
        clip("x", "a.wav"),
        clip("x", "b.wav"),
        clip(None, "c.wav"),
        clip("", "d.wav"),
        clip("x", "e.wav", language="de"),
        clip("x", "long.wav", seconds=31.0),
        clip("x", "ls.flac", tags=("librispeech",)),
        clip("one", "digits-1.flac"),
    ]
    assert [(g.name, len(g.clips), g.long) for g in groups(clips)] == [
        ("corpus en", 2, False),
        ("corpus de", 1, False),
        ("long", 1, True),
        ("librispeech", 1, False),
    ]


def test_agreement_counts_equal_texts() -> None:
    assert agreement(["a", "b "], ["a", "b"]) == 1


def test_errors_stand_at_their_words() -> None:
    assert errors_by_word("one big house here", "one pig house", "en").tolist() == [0, 1, 0, 1]
    assert errors_by_word("one big house", "one very big house indeed", "en").tolist() == [0, 1, 1]
    assert errors_by_word("red house", "", "en").tolist() == [1, 1]


def test_a_paired_difference_tells_a_bad_text_from_an_unlucky_one() -> None:
    said = " ".join(f"word{number}" for number in range(500))
    words = said.split()
    unlucky = " ".join(["other", "other", *words[2:]])
    bad = " ".join("other" if number % 20 == 0 else word for number, word in enumerate(words))
    same = difference([(said, unlucky, unlucky, "en")])
    assert (same.rate, same.low, same.high) == (0, 0, 0)
    one_burst = difference([(said, unlucky, said, "en")])
    assert one_burst.rate == pytest.approx(2 / 500)
    assert one_burst.low == 0 < one_burst.high
    worse = difference([(said, bad, said, "en")])
    assert worse.rate == pytest.approx(0.05)
    assert 0.03 < worse.low < worse.rate < worse.high < 0.07
    better = difference([(said, said, bad, "en")])
    assert better.high < 0
    with pytest.raises(ValueError, match="no words"):
        difference([])
