"""The rules of word times on random alignments: openai-whisper's `timing.py` is asked the same."""

from __future__ import annotations

import copy
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import whisper.timing as oracle
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maxwhisper_impl import alignment, timing
from maxwhisper_impl.timing import Said, WordTiming, add_word_timestamps, merge_punctuations
from maxwhisper_impl.tokenizer import Tokenizer, get_tokenizer

SHAPES = st.tuples(st.integers(1, 9), st.integers(0, 14))
FLOATS = st.floats(-9, 9, width=32)
TIED = st.integers(-1, 2).map(float)
"""few values: equal costs at every turn"""


@settings(max_examples=300, deadline=None)
@given(st.one_of(*(arrays(np.float32, SHAPES, elements=values) for values in (FLOATS, TIED))))
@example(np.zeros((3, 3), np.float32))
@example(np.full((2, 4), np.nan, np.float32))
@example(np.array([[1, 1e-10], [1e-10, 1e-10]], np.float32))
def test_paths_are_the_oracles(x: np.ndarray) -> None:
    assert np.array_equal(np.stack(alignment.dtw(x)), oracle.dtw_cpu(x.astype(np.float64)))


@pytest.mark.parametrize("shape", [(60, 1500), (448, 1500)])
def test_long_paths_are_the_oracles(shape: tuple[int, int]) -> None:
    """Where costs are large enough for float32 to round them, and to make them equal: the oracle adds in float64."""
    x = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    assert np.array_equal(np.stack(alignment.dtw(x)), oracle.dtw_cpu(x.astype(np.float64)))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_planted_path_is_found(downwards: list[bool]) -> None:
    """A staircase of cells that cost less than nothing: each one is worth its step."""
    path = [(0, 0)]
    for down in downwards:
        path.append((path[-1][0] + down, path[-1][1] + (not down)))
    rows, columns = np.array(path).T
    x = np.ones((rows[-1] + 1, columns[-1] + 1), np.float32)
    x[rows, columns] = -1
    assert np.array_equal(np.stack(alignment.dtw(x)), [rows, columns])


@pytest.mark.parametrize(
    ("x", "rows", "columns"),
    [
        pytest.param([[1, 1, 1]] * 3, [0, 1, 2], [0, 1, 2], id="the diagonal is shortest"),
        pytest.param([[0, 0, 0]] * 3, [0, 1, 2, 2, 2], [0, 0, 0, 1, 2], id="of equals, back along the row"),
        pytest.param([[0, 9, 9], [0, 0, 9], [9, 9, 0]], [0, 1, 1, 2], [0, 0, 1, 2], id="where it is cheap"),
        pytest.param([[]] * 2, [0, 1], [-1, -1], id="no columns"),
    ],
)
def test_paths(x: list[list[float]], rows: list[int], columns: list[int]) -> None:
    got = alignment.dtw(np.array(x, np.float32).reshape(len(x), -1))
    assert [path.tolist() for path in got] == [rows, columns]


@settings(max_examples=200, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(0, 30)),
              elements=st.one_of(FLOATS, TIED, st.sampled_from([np.nan, np.inf]))))
def test_median_filter_is_the_oracles(x: np.ndarray) -> None:
    """In 3 dimensions: in 2 the oracle's own calls differ."""
    want = oracle.median_filter(torch.from_numpy(x)[None], 7)[0].numpy()
    assert np.array_equal(alignment.median_filter(x), want, equal_nan=True)


def test_median_filter_reflects() -> None:
    x = np.array([[9, 1, 2, 3, 4, 5, 6, 0]], np.float32)
    assert alignment.median_filter(x).tolist() == [[2, 2, 3, 4, 3, 4, 5, 5]]
    assert alignment.median_filter(x[:, :3]).tolist() == [[9, 1, 2]], "too short to be reflected"


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.integers(2, 9), st.integers(1, 20), st.integers(0, 2**32 - 1))
@example(heads=1, tokens=2, positions=2, seed=16790)
def test_attention_is_weighed_as_the_oracle_does(heads: int, tokens: int, positions: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(0, 3, (heads, tokens, positions)).astype(np.float32)
    weights = torch.from_numpy(scores).double().softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    want = oracle.median_filter((weights - mean) / std, 7).mean(axis=0).numpy()
    got = alignment.attention_matrix(scores)
    assert got.dtype == np.float32
    if positions > 1:  # a single one has all the weight of every token
        rounding = 4 * np.finfo(np.float32).eps  # of weights, which are divided by how much they differ
        assert np.allclose(got, want, rtol=0, atol=1e-5 + rounding / float(std.min()))
    else:
        assert got.shape == want.shape
        assert np.isnan(got).all()


def test_each_token_begins_where_the_path_reaches_it() -> None:
    """Three tokens of text and the end of text behind two others; each looks at two positions of its own."""
    scores = np.zeros((1, 6, 12), np.float32)
    for token, position in ((2, 0), (3, 4), (4, 8)):
        scores[0, token, position : position + 4] = 20
    assert alignment.align(scores, 2, 12).tolist() == [0, 4, 8]


MARKS = ['"', "'", "“", "(", " (", ' "', " -", "-", ".", ",", "!", " ¿", "。", "", " ", "...", '."']
WORDS = st.sampled_from([*MARKS, " so", " and", "語", "on", " it's"])
DURATIONS = st.sampled_from([0, 0.02, 0.1, 0.1, 0.2, 0.3, 0.74, 1.5, 3])


@st.composite
def alignments(draw: st.DrawFn, size: int = 14) -> list[WordTiming]:
    now, found = draw(st.sampled_from([0.0, 0.4, 4.0])), []
    for word in draw(st.lists(WORDS, max_size=size)):
        now = round(now + draw(st.sampled_from([0, 0, 0, 0.5, 2])), 2)
        end = round(now + draw(DURATIONS), 2)
        tokens = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
        found.append(WordTiming(word, tokens, now, end, draw(st.floats(0, 1))))
        now = end
    return found


def theirs(found: list[WordTiming]) -> list[Any]:
    return [oracle.WordTiming(t.word, list(t.tokens), t.start, t.end, t.probability) for t in found]


def plain(found: list[Any]) -> list[tuple[Any, ...]]:
    return [(t.word, t.tokens, t.start, t.end, t.probability) for t in found]


@settings(max_examples=400, deadline=None)
@given(alignments(), st.sampled_from([timing.PREPENDED, "", "-", "([¿ "]), st.sampled_from([timing.APPENDED, "", ".,"]))
def test_punctuation_is_merged_as_the_oracle_does(found: list[WordTiming], before: str, after: str) -> None:
    want = theirs(found)
    oracle.merge_punctuations(want, before, after)
    merge_punctuations(found, before, after)
    assert plain(found) == plain(want)


def test_punctuation() -> None:
    words = [" He", " said", ",", ' "', " Go", "!", '"']
    found = [WordTiming(word, [i], i, i + 1, 0.5) for i, word in enumerate(words)]
    merge_punctuations(found, timing.PREPENDED, timing.APPENDED)
    left = [t for t in found if t.word]
    assert [(t.word, t.tokens) for t in left] == [(" He", [0]), (" said,", [1, 2]), (' " Go!"', [3, 4, 5, 6])]
    assert (left[-1].start, left[-1].end) == (4, 5), "the word's own time"


TOKENIZER = get_tokenizer(True, language="en", task="transcribe")


@st.composite
def window(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[WordTiming]]:
    """Segments, and words that more or less fit them; at a recording's start, and further on."""
    found, segments = draw(alignments()), []
    seek = draw(st.sampled_from([0, 1234]))
    now = seek / 100
    counts = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))
    for count in counts:
        start = now + draw(st.sampled_from([0, 0.3, 1.0, 3.0]))
        now = start + draw(st.sampled_from([0, 0.5, 1.0, 3.0, 8.0]))
        tokens = [TOKENIZER.timestamp_begin, *([7] * count), TOKENIZER.timestamp_begin + 3]
        segments.append({"seek": seek, "start": start, "end": now, "text": " so", "tokens": tokens})
    return segments, found


@settings(max_examples=1000, deadline=None)
@given(window(), st.sampled_from([-3.0, 0.0, 2.0, 12.34, 14.34, 99.0]))
def test_segments_get_the_oracles_words(made: tuple[list[dict[str, Any]], list[WordTiming]], last: float) -> None:
    segments, found = made
    want = copy.deepcopy(segments)
    with mock.patch.object(oracle, "find_alignment", return_value=theirs(found)):
        oracle.add_word_timestamps(segments=want, model=None, tokenizer=TOKENIZER, mel=None, num_frames=3000,
                                   last_speech_timestamp=last)  # fmt: skip
    with mock.patch.object(timing, "find_alignments", return_value=[found]):
        add_word_timestamps(mock.Mock(), None, [Said(segments, 3000, TOKENIZER, last)])
    assert segments == want


@pytest.mark.parametrize("mark", [*".。!！?？,、:", ".。", ""])
def test_marks_that_end_sentences_are_the_oracles(mark: str) -> None:
    """A long one is cut, and so is the word behind it."""
    def words() -> list[WordTiming]:
        times = [(" so", 0.0, 0.3), (" on", 0.3, 0.6), (mark, 0.6, 3.0), (" and", 3.0, 6.0), (" so", 6.0, 6.3)]
        return [WordTiming(word, [7], start, end, 0.9) for word, start, end in times]

    segments = [{"seek": 0, "start": 0.0, "end": 6.3, "text": " so", "tokens": [7] * 5}]
    want, found = copy.deepcopy(segments), words()
    with mock.patch.object(oracle, "find_alignment", return_value=theirs(words())):
        oracle.add_word_timestamps(segments=want, model=None, tokenizer=TOKENIZER, mel=None, num_frames=3000,
                                   last_speech_timestamp=0.0, append_punctuations="")  # fmt: skip
    with mock.patch.object(timing, "find_alignments", return_value=[found]):
        add_word_timestamps(mock.Mock(), None, [Said(segments, 3000, TOKENIZER, 0.0)], append_punctuations="")
    assert segments == want


def test_each_window_of_a_batch_follows_on_speech_of_its_own() -> None:
    """A long first word is cut where speech ended long before the window, and stays where it follows at once."""
    def one(seek: int) -> list[dict[str, Any]]:
        return [{"seek": seek, "start": seek / 100, "end": seek / 100 + 2, "text": " so", "tokens": [7, 7]}]

    def words() -> list[WordTiming]:
        return [WordTiming(" so", [7], 0.0, 1.5, 0.9), WordTiming(" on", [7], 1.5, 1.7, 0.9)]

    windows = [Said(one(0), 170, TOKENIZER, -9.0), Said(one(170), 170, TOKENIZER, 1.7)]
    with mock.patch.object(timing, "find_alignments", return_value=[words(), words()]):
        add_word_timestamps(mock.Mock(), None, windows)
    assert [said.segments[0]["words"][0]["start"] for said in windows] == pytest.approx([0.1, 1.7])


def said(text: list[int], size: int = 3000, tokenizer: Tokenizer = TOKENIZER) -> Said:
    return Said([{"tokens": text}], size, tokenizer, 0.0)


class Planted:
    """A runtime whose only head looks at four positions for each token, the first at position 0, and anywhere from
    position `AUDIO` on, which is behind the audio."""

    AUDIO = 100

    alignment_heads = ((0, 0),)

    def __init__(self, n_vocab: int):
        self.n_vocab = n_vocab

    def cross_scores(self, features: Any, tokens: np.ndarray, heads: Any) -> tuple[np.ndarray, np.ndarray]:
        assert tuple(heads) == self.alignment_heads
        self.tokens = tokens
        first = len(TOKENIZER.sot_sequence)
        scores = np.zeros((len(tokens), 1, tokens.shape[1], 1500), np.float32)
        scores[..., self.AUDIO :] = np.random.default_rng(1).normal(0, 20, scores[..., self.AUDIO :].shape)
        logits = np.zeros((*tokens.shape, self.n_vocab), np.float32)
        for i in range(first, tokens.shape[1]):
            scores[:, 0, i, 4 * (i - first) : 4 * (i - first + 1)] = 20
            if i + 1 < tokens.shape[1]:
                logits[range(len(tokens)), i, tokens[:, i + 1]] = np.log(TOKENIZER.eot - 1)  # half of all text
        logits[:, :, TOKENIZER.eot :] = 50  # nothing but text counts
        return scores, logits


def test_windows_of_a_batch_are_aligned_by_themselves() -> None:
    """Shorter texts are padded, and no window's words depend on its neighbours."""
    runtime = Planted(51865)
    spoken = [[" so", " on"], [" so"], [" and", " so", " on", " and", " on"], []]
    texts = [TOKENIZER.encode("".join(words)) for words in spoken]
    windows = [said(text, size) for text, size in zip(texts, (40, 30, 60, 3000), strict=True)]
    found = timing.find_alignments(runtime, None, windows)
    assert [[t.word for t in words] for words in found] == spoken
    assert [(t.start, t.end) for t in found[0]] == [(0.0, 0.08), (0.08, 0.16)]
    assert all(t.probability == pytest.approx(0.5, abs=1e-4) for words in found for t in words)
    for i, text in enumerate(texts[:3]):
        assert plain(timing.find_alignments(runtime, None, [windows[i]])[0]) == plain(found[i])
        row = [*TOKENIZER.sot_sequence_including_notimestamps, *text, TOKENIZER.eot]
        assert runtime.tokens.tolist() == [row]


def test_windows_without_text_are_not_read_at_all() -> None:
    """There is no runtime that could be asked."""
    nobody: Any = None
    assert timing.find_alignments(nobody, None, [said([]), said([])]) == [[], []]


def test_languages_without_spaces_are_split_at_characters() -> None:
    tokenizer = get_tokenizer(True, language="ja", task="transcribe")
    text = tokenizer.encode("こんにちは、薔薇の世界")
    found, = timing.find_alignments(Planted(51865), None, [said(text, 2 * Planted.AUDIO, tokenizer)])
    assert [t.word for t in found] == ["こんにちは", "、", "薔", "薇", "の", "世界"]
    assert [token for t in found for token in t.tokens] == text
