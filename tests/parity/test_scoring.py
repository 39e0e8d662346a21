"""What a comparison scores: words against transcripts, tokens against the oracle's."""

from maxwhisper_impl.scoring import agreement, word_errors


def test_word_error_rate_is_over_all_words() -> None:
    pairs = [("a b c d", "a b c x", "fr"), ("e", "e f g", "fr")]
    assert word_errors(pairs).rate == 3 / 5
    assert word_errors([("Mister Smith's colour", "mr smith is color", "en")]).rate == 0, "the English normaliser"
    assert word_errors([("", "thanks for watching", "en"), ("one", "one", "en")]).rate == 3
    assert word_errors([("", "", "en")]).words == 0


def test_agreement_is_one_only_for_equal_tokens() -> None:
    assert agreement([1, 2, 3], [1, 2, 3]) == 1
    assert agreement([], []) == 1
    assert agreement([1, 2, 3, 4], [1, 2, 4]) == 0.75
    assert agreement([1, 2, 3, 4], [2, 1, 3, 4]) == 0.5, "the order counts"
    assert agreement([1], []) == 0
