"""The logit filters forbid exactly what openai-whisper's do: literal tables, then random logits through both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import whisper.decoding as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.tokenizer import get_tokenizer

from maxwhisper_impl.decoding.beam import top_logprobs
from maxwhisper_impl.decoding.filters import (
    Filter,
    SuppressBlank,
    SuppressTokens,
    TimestampRules,
    apply_plan,
    log_sum_exp,
    make_plan,
)
from maxwhisper_impl.decoding.greedy import Sampler, draw, pick_likeliest

INF = np.inf

# A vocabulary to fit on a line: text 0 1 2, end of text 3, <|notimestamps|> 4, timestamps 5 6 7 8
EOT, NO_TIMESTAMPS, BEGIN, N_VOCAB = 3, 4, 5, 9


def filtered(filters: list[Filter], sampled: list[int], logits: list[float]) -> list[float]:
    plan = make_plan(filters, np.array([sampled], dtype=int), N_VOCAB, BEGIN)
    return apply_plan(plan, np.array([logits], dtype=np.float32))[0].tolist()


def allowed(filters: list[Filter], sampled: list[int], logits: list[float] | None = None) -> list[int]:
    """Ids left by the filters; by default text is likelier than all timestamps together."""
    left = filtered(filters, sampled, logits or [9.0] * 5 + [0.0] * 4)
    return [i for i, value in enumerate(left) if value > -INF]


@pytest.mark.parametrize(
    ("sampled", "expected"),
    [
        pytest.param([], [5, 6, 7, 8], id="begins with a timestamp"),
        pytest.param([5], [0, 1, 2, 3], id="text after the opening timestamp"),
        pytest.param([5, 0], [0, 1, 2, 3, 6, 7, 8], id="after text anything but an earlier or the same timestamp"),
        pytest.param([5, 0, 6], [3, 6, 7, 8], id="a closing timestamp is followed by one not earlier, or the end"),
        pytest.param([5, 0, 7], [3, 7, 8], id="the next segment may begin where the last one ended"),
        pytest.param([5, 0, 6, 6], [0, 1, 2, 3], id="text after a pair"),
        pytest.param([5, 0, 6, 6, 1], [0, 1, 2, 3, 7, 8], id="a segment is never empty"),
        pytest.param([5, 0, 8], [3, 8], id="closed with the last timestamp"),
        pytest.param([5, 0, 8, 8, 1], [0, 1, 2, 3], id="no timestamp is left"),
        pytest.param([0, 1], [0, 1, 2, 3, 5, 6, 7, 8], id="no timestamp so far"),
        pytest.param([0], [0, 1, 2, 3, 5, 6, 7, 8], id="a single text token"),
        pytest.param([7, 0, 6], [3, 6, 7, 8], id="the last timestamp counts, not the greatest"),
    ],
)
def test_timestamp_rules(sampled: list[int], expected: list[int]) -> None:
    assert allowed([TimestampRules(EOT, BEGIN, NO_TIMESTAMPS, None)], sampled) == expected


@pytest.mark.parametrize(("index", "expected"), [(0, [5]), (1, [5, 6]), (3, [5, 6, 7, 8]), (99, [5, 6, 7, 8])])
def test_max_initial_timestamp(index: int, expected: list[int]) -> None:
    rules: list[Filter] = [TimestampRules(EOT, BEGIN, NO_TIMESTAMPS, index)]
    assert allowed(rules, []) == expected
    assert allowed(rules, [5, 0]) == [0, 1, 2, 3, 6, 7, 8], "the limit holds for the first timestamp only"


@pytest.mark.parametrize(
    ("text", "times", "forced"),
    [
        pytest.param([1.0, 0.0, 0.0], [0.0, 0.0, 0.0], True, id="log 3 > 1"),
        pytest.param([1.2, 0.0, 0.0], [0.0, 0.0, 0.0], False, id="log 3 < 1.2, the likeliest text token"),
        pytest.param([0.0, -INF, -INF], [0.0, -INF, -INF], False, id="as likely is not likelier"),
    ],
)
def test_timestamps_together_likelier_than_text(text: list[float], times: list[float], forced: bool) -> None:
    got = allowed([TimestampRules(EOT, BEGIN, NO_TIMESTAMPS, None)], [5, 0], [*text, -9.0, 5.0, 7.0, *times])
    assert (not any(i < BEGIN for i in got)) == forced, "<|notimestamps|> and the timestamp before do not count"
    assert any(i > BEGIN for i in got)


def test_suppressed_tokens_do_not_count_as_text() -> None:
    """SuppressTokens comes first: a token that may not be said cannot keep a timestamp from being forced."""
    logits = [9.0, 0.0, 0.0, -9.0, 0.0, 0.0, 0.5, 0.5, 0.5]
    rules = TimestampRules(EOT, BEGIN, NO_TIMESTAMPS, None)
    assert allowed([rules], [5, 0], logits) == [0, 1, 2, 3, 6, 7, 8]
    assert allowed([SuppressTokens([0]), rules], [5, 0], logits) == [6, 7, 8]


def test_suppress_tokens() -> None:
    logits = [float(i) for i in range(N_VOCAB)]
    expected = [0.0, -INF, 2.0, 3.0, 4.0, -INF, 6.0, 7.0, 8.0]
    assert filtered([SuppressTokens([1, 5])], [], logits) == expected
    assert filtered([SuppressTokens([1, 5])], [0, 1], logits) == expected


def test_suppress_blank_only_at_the_first_step() -> None:
    assert allowed([SuppressBlank([2, EOT])], []) == [0, 1, 4, 5, 6, 7, 8]
    assert allowed([SuppressBlank([2, EOT])], [0]) == list(range(N_VOCAB))


def test_rows_are_filtered_each_by_its_own_history() -> None:
    rules: list[Filter] = [TimestampRules(EOT, BEGIN, NO_TIMESTAMPS, None)]
    histories = [[5, 0, 0], [5, 0, 6], [6, 1, 8], [5, 0, 7]]
    logits = np.tile(np.array([9.0] * 5 + [0.0] * 4, dtype=np.float32), (4, 1))
    together = apply_plan(make_plan(rules, np.array(histories), N_VOCAB, BEGIN), logits)
    assert [np.flatnonzero(row > -INF).tolist() for row in together] == [allowed(rules, h) for h in histories]


MULTILINGUAL, ENGLISH = 51865, 51864


@st.composite
def histories(draw: st.DrawFn, begin: int, eot: int) -> np.ndarray:
    """int [rows, n]: text, timestamps and ends of text in any order, with pairs more often than by chance."""
    rows, n = draw(st.integers(1, 4)), draw(st.integers(0, 8))
    time = st.one_of(st.integers(0, 3), st.integers(0, 1500), st.just(1500)).map(lambda t: begin + t)
    token = st.one_of(st.integers(0, eot - 1), time, time, st.just(eot))
    drawn = [draw(st.lists(token, min_size=n, max_size=n)) for _ in range(rows)]
    return np.array(drawn, dtype=np.int64).reshape(rows, n)


@st.composite
def cases(draw: st.DrawFn, n_vocab: int) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    tokenizer = get_tokenizer(n_vocab == MULTILINGUAL)
    sampled = draw(histories(tokenizer.timestamp_begin, tokenizer.eot))
    options: dict[str, object] = {
        "blank": draw(st.booleans()),
        "suppress": draw(st.sampled_from(["none", "specials", "non-speech"])),
        "timestamps": draw(st.booleans()),
        "latest": draw(st.sampled_from([None, 0, 1, 50, 1500])),
    }
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.normal(0, draw(st.sampled_from([0.1, 3.0, 30.0])), (len(sampled), n_vocab)).astype(np.float32)
    logits[:, tokenizer.timestamp_begin :] += draw(st.sampled_from([-30, -5, 0, 5, 30]))
    return sampled, logits, options


@pytest.mark.parametrize("n_vocab", [MULTILINGUAL, ENGLISH])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_filters_equal_the_oracles(n_vocab: int, data: st.DataObject) -> None:
    sampled, logits, options = data.draw(cases(n_vocab))
    tokenizer = get_tokenizer(n_vocab == MULTILINGUAL)
    ours: list[Filter] = []
    theirs: list[oracle.LogitFilter] = []
    begin = len(tokenizer.sot_sequence)
    if options["blank"]:
        ours.append(SuppressBlank([*tokenizer.encode(" "), tokenizer.eot]))
        theirs.append(oracle.SuppressBlank(tokenizer, begin))
    specials = (tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm)
    if options["suppress"] != "none":
        suppressed = specials + (tokenizer.non_speech_tokens if options["suppress"] == "non-speech" else ())
        ours.append(SuppressTokens(suppressed))
        theirs.append(oracle.SuppressTokens(suppressed))
    if options["timestamps"]:
        ids = tokenizer.eot, tokenizer.timestamp_begin, tokenizer.no_timestamps
        ours.append(TimestampRules(*ids, options["latest"]))
        theirs.append(oracle.ApplyTimestampRules(tokenizer, begin, options["latest"]))

    want = torch.from_numpy(logits.copy())
    initial = np.tile(tokenizer.sot_sequence, (len(sampled), 1))
    for rule in theirs:
        rule.apply(want, torch.from_numpy(np.concatenate([initial, sampled], axis=1)))
    got = apply_plan(make_plan(ours, sampled, n_vocab, tokenizer.timestamp_begin), logits.copy())
    for row in range(len(sampled)):
        wrong = np.flatnonzero(got[row] != want[row].numpy())
        assert wrong.size == 0, f"after {sampled[row].tolist()} {options}: ids {wrong[:5]} … {wrong[-1]} differ"


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 700), st.integers(1, 6), st.booleans())
def test_top_logprobs_equal_a_full_sort(seed: int, rows: int, n: int, count: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 5, (rows, n)).astype(np.float32)
    if ties:
        logits = np.where(rng.random((rows, n)) < 0.5, np.float32(-INF), logits.round())
        logits[:, 0] = 1
    count = min(count, n)
    values, ids = top_logprobs(logits, count)
    want = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    assert ids.tolist() == want.tolist()
    exact = torch.from_numpy(logits).double().log_softmax(-1).numpy()
    np.testing.assert_allclose(values, np.take_along_axis(exact, want, axis=1), atol=1e-5)


def test_log_sum_exp_of_nothing_is_minus_infinity() -> None:
    sums = log_sum_exp(np.array([[-INF, -INF], [0.0, 0.0]], dtype=np.float32))
    assert sums.tolist() == [-INF, pytest.approx(np.log(2))]


def test_likeliest_token_and_its_probability() -> None:
    tokens, logprobs = pick_likeliest(np.log(np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]]) + 1e-45).astype(np.float32))
    assert tokens.tolist() == [1, 0], "the first one of equals, as torch's argmax"
    assert logprobs.tolist() == pytest.approx([np.log(0.7), np.log(0.5)], abs=1e-6)


@pytest.mark.parametrize(
    ("uniform", "expected"), [(0.0, 1), (0.24, 1), (0.26, 600), (0.49, 600), (0.51, 999), (1 - 2**-53, 999)]
)
def test_draw_inverts_the_cumulative_distribution(uniform: float, expected: int) -> None:
    """Ids 1, 600 and 999 have 1/4, 1/4 and 1/2; the others are forbidden."""
    logits = np.full((1, 1000), -INF, dtype=np.float32)
    logits[0, [1, 600, 999]] = np.log([1, 1, 2])
    assert draw(logits, np.array([uniform])).tolist() == [expected]


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_samples_follow_the_distribution(temperature: float) -> None:
    """χ² of 20 000 draws over 12 ids spread over many blocks; log-probabilities are those at temperature 1."""
    rng = np.random.default_rng(5)
    logits = np.full(3000, -INF, dtype=np.float32)
    ids = np.sort(rng.choice(3000, 12, replace=False))
    logits[ids] = rng.normal(0, 1, 12)
    sampler = Sampler(temperature, seed=3, rows=1, group=1)
    drawn = [sampler.pick(logits[None], [0]) for _ in range(20_000)]
    weights = np.exp(logits[ids] / temperature)
    expected = 20_000 * weights / weights.sum()
    seen = np.array([sum(int(t[0]) == i for t, _ in drawn) for i in ids])
    assert seen.sum() == 20_000, "a forbidden id was drawn"
    assert ((seen - expected) ** 2 / expected).sum() < 31.3, "χ² with 11 degrees of freedom, 1 in 1000"
    token, logprob = drawn[0]
    assert logprob[0] == pytest.approx(torch.from_numpy(logits).log_softmax(-1)[int(token[0])].item(), abs=1e-5)


def test_streams_depend_on_seed_and_place_in_the_group_alone() -> None:
    logits = np.zeros((6, 50), dtype=np.float32)
    both = Sampler(1.0, seed=7, rows=6, group=3).pick(logits, range(6))[0].tolist()
    assert both[:3] == both[3:], "two windows of three candidates: the second group draws as it would alone"
    assert len(set(both[:3])) > 1
    assert Sampler(1.0, seed=7, rows=3, group=3).pick(logits[:1], [2])[0].tolist() == both[2:3]
    assert Sampler(1.0, seed=8, rows=6, group=3).pick(logits, range(6))[0].tolist() != both
    fresh = [Sampler(1.0, seed=None, rows=6, group=6).pick(logits, range(6))[0].tolist() for _ in range(2)]
    assert fresh[0] != fresh[1]
