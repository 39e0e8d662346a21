"""Which frame each token was read from: cross-attention to a monotonic path, numbers only (`whisper/timing.py`)."""

from __future__ import annotations

import numpy as np

MEDIAN_WIDTH = 7
"""encoder positions, 0.14 s"""

# Comparators (lower, upper) after which the fourth of seven values is their median.
_MEDIAN_OF_SEVEN = (
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
)  # fmt: skip


def align(scores: np.ndarray, first: int, positions: int) -> np.ndarray:
    """The encoder position at which each token from the one at `first` on begins: int `[n_tokens - first - 1]`.

    scores float32 `[heads, n_tokens, n_audio_ctx]` before their softmax, of which the first `positions` hold audio. The
    last token is the end of text and aligned with nothing.
    """
    weights = attention_matrix(scores[:, :, :positions])
    tokens, times = dtw(-weights[first:-1])
    return times[np.r_[True, np.diff(tokens) > 0]]


def attention_matrix(scores: np.ndarray) -> np.ndarray:
    """float32 `[n_tokens, positions]` of scores `[heads, n_tokens, positions]`: how much more than other tokens each
    one attends to a position, smoothed over time, in the mean of the heads."""
    heads = np.stack([median_filter(standardize(softmax(head))) for head in scores])
    return heads.mean(axis=0, dtype=np.float32)


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    if not x.shape[-1]:
        return x
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def standardize(weights: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1 over the tokens `[n_tokens, positions]`; NaN where all weigh the same."""
    centred = weights - weights.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred / weights.std(axis=0)


def median_filter(x: np.ndarray) -> np.ndarray:
    """Of width 7 over the last axis of `[rows, n]`, reflected at both ends; x itself where it is too short for that."""
    reach = MEDIAN_WIDTH // 2
    n = x.shape[-1]
    if n <= reach:
        return x
    padded = np.pad(x, ((0, 0), (reach, reach)), mode="reflect")
    values = [padded[:, i : i + n] for i in range(MEDIAN_WIDTH)]
    for low, high in _MEDIAN_OF_SEVEN:  # NaN counts as the largest value, as where one sorts
        values[low], values[high] = np.fmin(values[low], values[high]), np.maximum(values[low], values[high])
    return values[reach]


def dtw(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest monotonic path through float32 `[n, m]`: the rows and the columns of its cells, from the start on.

    Costs are added in float64, and of equal costs the step is chosen as openai-whisper chooses it.
    """
    return _trace_back(_costs(x), *x.shape)


def _costs(x: np.ndarray) -> np.ndarray:
    """float64 `[n + m + 1, n + 1]`: cost[i + j, i] of the path to cell (i, j), both counted from 1.

    A row is an anti-diagonal of x: no cell of it depends on another, so that each is one step of NumPy.
    """
    n, m = x.shape
    padded = np.full((n, n + m), np.inf)
    padded[:, :m] = x
    diagonals = np.ascontiguousarray(padded.ravel()[: n * (n + m - 1)].reshape(n, n + m - 1).T)
    cost = np.full((n + m + 1, n + 1), np.inf)
    cost[0, 0] = 0
    least, bound, chosen = np.empty(n), np.empty(n), np.empty(n, bool)
    steps = zip(cost[:-2, :-1], cost[1:-1, :-1], cost[1:-1, 1:], diagonals, cost[2:, 1:], strict=True)
    for both, row, column, here, out in steps:
        # The cheaper of the first two where it is less than each other one; else the column, even if dearer than a tie.
        np.minimum(both, row, out=least)
        np.minimum(np.maximum(both, row, out=bound), column, out=bound)
        np.less(least, bound, out=chosen)
        np.add(column, here, out=out)
        np.add(least, here, out=out, where=chosen)
    return cost


def _trace_back(cost: np.ndarray, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    path: list[tuple[int, int]] = []
    while i > 0:  # the border is infinite, never the cheaper step, so that row 0 is reached at column 0 alone
        path.append((i - 1, j - 1))
        if j == 0:
            i -= 1
        else:
            both, row, column = cost[i + j - 2, i - 1], cost[i + j - 1, i - 1], cost[i + j - 1, i]
            if both < row and both < column:
                i, j = i - 1, j - 1
            elif row < both and row < column:
                i -= 1
            else:
                j -= 1
    rows, columns = np.array(path[::-1], int).reshape(-1, 2).T
    return rows, columns
