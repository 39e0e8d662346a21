"""Which tokens may come next: openai-whisper's logit filters as a plan of ranges, and the one place that applies it.

A filter never touches logits. It narrows a `Plan`, which is a few integers per row, so the same plan can be applied by
NumPy here or inside a graph on the device where the logits are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


@dataclass
class Plan:
    """What each row may emit at this step. Ids from `timestamp_begin` on are timestamps, all below are text."""

    timestamp_begin: int
    text_from: np.ndarray
    """int [rows]: text ids below it are forbidden"""
    time_from: np.ndarray
    """int [rows]: timestamps below it are forbidden"""
    time_to: np.ndarray
    """int [rows]: timestamps from it on are forbidden"""
    suppressed: list[np.ndarray] = field(default_factory=list)
    """ids forbidden in every row"""
    prefer_timestamps: bool = False
    """forbid all text in rows where the timestamps together are likelier than the likeliest text token"""
    penalised: np.ndarray | None = None
    """int [rows, n]: ids whose logits are made smaller by `penalty`, once however often they are named"""
    penalty: float = 1.0
    """what positive logits of the penalised ids are divided by and negative ones multiplied with"""
    forbidden: tuple[np.ndarray, np.ndarray] | None = None
    """rows and ids, both int [n]: each id is forbidden in the row beside it"""

    @property
    def is_plain(self) -> bool:
        """Whether `ranges` and `suppressed` say it all: no logit depends on what its own row has said."""
        return self.penalised is None and self.forbidden is None

    @property
    def ranges(self) -> np.ndarray:
        """int32 [rows, 5]: timestamp_begin, text_from, time_from, time_to, prefer_timestamps of each row."""
        columns = np.empty((len(self.text_from), 5), np.int32)
        columns[:, 0] = self.timestamp_begin
        columns[:, 1], columns[:, 2], columns[:, 3] = self.text_from, self.time_from, self.time_to
        columns[:, 4] = self.prefer_timestamps
        return columns

    @classmethod
    def allow_all(cls, rows: int, n_vocab: int, timestamp_begin: int) -> Plan:
        return cls(timestamp_begin, np.zeros(rows, int), np.full(rows, timestamp_begin), np.full(rows, n_vocab))


class Filter(Protocol):
    def narrow(self, plan: Plan, sampled: np.ndarray) -> None:
        """Forbid in `plan` what may not follow `sampled`, int [rows, tokens so far], without prompt and prefix."""


class Behind:
    """A filter that takes the tokens of `final` for sampled ones."""

    def __init__(self, final: Sequence[int], inner: Filter):
        self.final, self.inner = list(final), inner

    def narrow(self, plan: Plan, sampled: np.ndarray) -> None:
        self.inner.narrow(plan, np.hstack([np.tile(self.final, (len(sampled), 1)).astype(int), sampled]))


class SuppressTokens:
    """These ids never."""

    def __init__(self, ids: Sequence[int]):
        self.ids = np.array(ids, dtype=np.intp)

    def narrow(self, plan: Plan, sampled: np.ndarray) -> None:
        plan.suppressed.append(self.ids)


class SuppressBlank(SuppressTokens):
    """These ids (a space, the end of text) not as the first sampled token."""

    def narrow(self, plan: Plan, sampled: np.ndarray) -> None:
        if sampled.shape[1] == 0:
            plan.suppressed.append(self.ids)


class RepetitionPenalty:
    """What a row has sampled, text or timestamp, becomes less likely (arXiv:1909.05858); the prompt does not count."""

    def __init__(self, penalty: float):
        self.penalty = penalty

    def narrow(self, plan: Plan, sampled: np.ndarray) -> None:
        plan.penalised, plan.penalty = sampled, self.penalty


class NoRepeatNgrams:
    """No `size` tokens in a row that the same row has sampled before."""

    def __init__(self, size: int):
        self.size = size

    def narrow(self, plan: Plan, sampled: np.ndarray) -> None:
        if sampled.shape[1] < self.size:
            return
        # an n-gram would come again where what was sampled last is what it begins with: its last token is forbidden
        ngrams = sliding_window_view(sampled, self.size, axis=1)
        newest = sampled[:, sampled.shape[1] - self.size + 1 :]
        rows, starts = np.nonzero((ngrams[:, :, :-1] == newest[:, None]).all(axis=2))
        plan.forbidden = rows, ngrams[rows, starts, -1]


class TimestampRules:
    """Timestamps come in pairs (except before the end of text), never go back, and the first one is early."""

    def __init__(self, eot: int, timestamp_begin: int, no_timestamps: int, max_initial_index: int | None):
        """`max_initial_index`: the latest first timestamp, counted from `timestamp_begin`; None: no limit."""
        self.eot = eot
        self.timestamp_begin = timestamp_begin
        self.no_timestamps = np.array([no_timestamps], dtype=np.intp)
        self.max_initial_index = max_initial_index

    def narrow(self, plan: Plan, sampled: np.ndarray) -> None:
        plan.suppressed.append(self.no_timestamps)
        plan.prefer_timestamps = True
        if sampled.shape[1] == 0:
            self._narrow_first(plan)
        else:
            self._narrow_later(plan, sampled)

    def _narrow_first(self, plan: Plan) -> None:
        plan.text_from[:] = self.timestamp_begin
        if self.max_initial_index is not None:
            np.minimum(plan.time_to, self.timestamp_begin + self.max_initial_index + 1, out=plan.time_to)

    def _narrow_later(self, plan: Plan, sampled: np.ndarray) -> None:
        is_time = sampled >= self.timestamp_begin
        last = is_time[:, -1]
        # a single first token counts as the second of a pair: text follows the opening timestamp
        before = is_time[:, -2] if sampled.shape[1] > 1 else np.ones(len(sampled), bool)
        opened = last & before
        closed = last & ~before

        plan.text_from[closed] = np.maximum(plan.text_from[closed], self.eot)
        # the next segment may start where this one ended; any other timestamp must be later than the last
        newest = sampled.shape[1] - 1 - is_time[:, ::-1].argmax(axis=1)
        earliest = sampled[np.arange(len(sampled)), newest] + ~closed
        plan.time_from = np.where(is_time.any(axis=1), np.maximum(plan.time_from, earliest), plan.time_from)
        plan.time_to[opened] = self.timestamp_begin


def make_plan(filters: Sequence[Filter], sampled: np.ndarray, n_vocab: int, timestamp_begin: int) -> Plan:
    """The plan for rows that have sampled `sampled`, int [rows, tokens so far]."""
    plan = Plan.allow_all(len(sampled), n_vocab, timestamp_begin)
    for narrow in filters:
        narrow.narrow(plan, sampled)
    return plan


def apply_plan(plan: Plan, logits: np.ndarray) -> np.ndarray:
    """`logits` float32 [rows, n_vocab] with -inf wherever the plan forbids; changed in place and returned.

    Penalties come first: whether timestamps are likelier than text is judged with them.
    """
    begin = plan.timestamp_begin
    if plan.penalised is not None:
        old = np.take_along_axis(logits, plan.penalised, axis=1)
        new = np.where(old < 0, old * np.float32(plan.penalty), old / np.float32(plan.penalty))
        np.put_along_axis(logits, plan.penalised, new, axis=1)
    if plan.forbidden is not None:
        logits[plan.forbidden] = -np.inf
    for ids in plan.suppressed:
        logits[:, ids] = -np.inf
    for row, text_from, time_from, time_to in zip(logits, plan.text_from, plan.time_from, plan.time_to, strict=True):
        row[:text_from] = -np.inf
        row[begin:time_from] = -np.inf
        row[max(begin, time_to) :] = -np.inf
    if plan.prefer_timestamps:
        may_say_text = plan.text_from < begin
        likelier = log_sum_exp(logits[:, begin:]) > logits[:, :begin].max(axis=1)
        logits[likelier & may_say_text, :begin] = -np.inf
    return logits


def log_sum_exp(x: np.ndarray) -> np.ndarray:
    """float32 [rows] of [rows, n]; -inf for a row of nothing but -inf."""
    return np.array([_log_sum_exp(row) for row in x], dtype=np.float32)  # row by row: a row fits into the cache


def _log_sum_exp(row: np.ndarray) -> float:
    top = row.max()
    if top == -np.inf:
        return top
    weights = np.subtract(row, top)
    return top + np.log(np.exp(weights, out=weights).sum())
