"""Comparators. Each rejects by itself what must be rejected, and its message is the diagnosis.

Limits come from the ledger (`tests/tolerances.py`) by key, never from the caller.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests import record
from tests.tolerances import tolerance


def _finite(name: str, array: np.ndarray) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise AssertionError(
            f"{name}: {int(bad.sum())} of {bad.size} values are not finite, the first at {first}: {array[first]}"
        )


def _arrays(name: str, got: object, want: object) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = np.asarray(got), np.asarray(want)
    if ours.shape != theirs.shape:
        swapped = sorted(ours.shape) == sorted(theirs.shape)
        raise AssertionError(
            f"{name}: shape {ours.shape}, expected {theirs.shape}" + (" (axes swapped?)" if swapped else "")
        )
    if ours is theirs:
        raise AssertionError(f"{name}: compared with itself")
    if theirs.size == 0:
        raise AssertionError(f"{name}: nothing to compare, shape {theirs.shape}")
    _finite(f"{name} (reference)", theirs)
    _finite(name, ours)
    return ours.astype(np.float64), theirs.astype(np.float64)


def rel_l2(got: np.ndarray, want: np.ndarray) -> float:
    """|got − want| / |want|, Euclidean; infinite against an all-zero reference that is not met exactly."""
    error, norm = float(np.linalg.norm(got - want)), float(np.linalg.norm(want))
    return 0.0 if error == 0 else error / norm if norm else np.inf


def max_abs(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max())


def _where(got: np.ndarray, want: np.ndarray) -> str:
    worst = tuple(int(i) for i in np.unravel_index(np.abs(got - want).argmax(), want.shape))
    scale = float(np.vdot(got, want) / max(float(np.vdot(want, want)), 1e-300))
    cosine = float(np.vdot(got, want) / max(float(np.linalg.norm(got) * np.linalg.norm(want)), 1e-300))
    place = f"largest at {worst}: {got[worst]:.7g}, expected {want[worst]:.7g}"
    return f"{place}; best-fitting scale {scale:.4g}, cosine {cosine:.6f}"


def assert_tensor(
    name: str, got: object, want: object, key: str, *, device: str = "cpu", dtype: str = "float32"
) -> None:
    """`got` equals `want` in shape, is finite, and lies within every tensor metric the ledger has for `key`.

    The ledger rows are `key/rel_l2` and `key/max_abs`; at least one must exist.
    """
    ours, theirs = _arrays(name, got, want)
    checked, failed = 0, []
    for metric, measure in (("rel_l2", rel_l2), ("max_abs", max_abs)):
        try:
            limit = tolerance(key, metric, device=device, dtype=dtype).limit
        except KeyError:
            continue
        checked += 1
        value = measure(ours, theirs)
        record.margin(name, value, limit, key=f"{key}/{metric}")
        if not value <= limit:
            failed.append(f"{metric} {value:.3g} > {limit:.3g}")
    if not checked:
        tolerance(key, "rel_l2", device=device, dtype=dtype)  # raises, naming the rows there are
    if failed:
        raise AssertionError(f"{name}: {'; '.join(failed)} [{key}, {device}, {dtype}]; {_where(ours, theirs)}")


def assert_independent(name: str, got: object, oracle: object) -> None:
    """Two implementations never agree to the last bit on real numbers: if they do, one of them is the other."""
    ours, theirs = np.asarray(got), np.asarray(oracle)
    if ours.size < 1000:
        raise AssertionError(f"{name}: {ours.size} values are too few to tell two implementations apart")
    if ours.shape == theirs.shape and np.array_equal(ours.astype(np.float32), theirs.astype(np.float32)):
        raise AssertionError(
            f"{name}: all {ours.size} values are bitwise equal to the oracle's: this is not a second implementation"
        )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def kl_divergence(got: np.ndarray, want: np.ndarray) -> float:
    """Largest KL(want ‖ got) in nats over all positions; last axis is the vocabulary."""
    p, q = log_softmax(want), log_softmax(got)
    return float(max(0.0, (np.exp(p) * (p - q)).sum(-1).max()))


def best(logits: np.ndarray, k: int) -> np.ndarray:
    """Ids of the `k` largest, largest first."""
    found = np.argpartition(-logits, k)[:k]
    return found[np.argsort(-logits[found])]


def assert_logits(
    name: str,
    got: object,
    want: object,
    *,
    key: str = "logits",
    top_k: int = 5,
    device: str = "cpu",
    dtype: str = "float32",
) -> None:
    """Logits [..., n_vocab] agree as tensors, as distributions (KL) and in their `top_k` ids at every position.

    Two ids may swap places only where the reference's own gap between them is within the ledger's near-tie.
    """
    ours, theirs = _arrays(name, got, want)
    tie = tolerance(key.replace("logits", "near_tie"), "margin", device=device, dtype=dtype).limit
    flat_ours, flat_theirs = ours.reshape(-1, ours.shape[-1]), theirs.reshape(-1, theirs.shape[-1])
    for position, (a, b) in enumerate(zip(flat_ours, flat_theirs, strict=True)):
        mine, ref = best(a, top_k), best(b, top_k)
        apart = [(int(i), int(j)) for i, j in zip(mine, ref, strict=True) if i != j and abs(b[i] - b[j]) > tie]
        if apart:
            raise AssertionError(
                f"{name}: position {position}, top-{top_k} ids differ beyond a near-tie at {apart}\n"
                f"  ours:   {top_list(a, top_k)}\n  oracle: {top_list(b, top_k)}"
            )
    assert_tensor(name, ours, theirs, key, device=device, dtype=dtype)
    divergence, limit = kl_divergence(ours, theirs), tolerance(key, "kl", device=device, dtype=dtype).limit
    record.margin(name, divergence, limit, key=f"{key}/kl")
    if divergence > limit:
        raise AssertionError(f"{name}: KL(oracle ‖ ours) {divergence:.3g} > {limit:.3g} nats")


def top_list(logits: np.ndarray, k: int = 5, name: Callable[[int], str] = str) -> str:
    return ", ".join(f"{name(int(i))} {logits[i]:.4f}" for i in best(logits, k))


@dataclass(frozen=True)
class Step:
    """Both systems' filtered logits [n_vocab] at one step, after the same prefix."""

    ours: np.ndarray
    oracle: np.ndarray


def first_difference(got: Sequence[int], want: Sequence[int]) -> int | None:
    """Index of the first differing token; the shorter length where one is a prefix of the other; None if equal."""
    for i, (a, b) in enumerate(zip(got, want, strict=False)):
        if a != b:
            return i
    return None if len(got) == len(want) else min(len(got), len(want))


def assert_tokens(
    name: str,
    got: Sequence[int],
    want: Sequence[int],
    *,
    eot: int | None = None,
    explain: Callable[[int], Step] | None = None,
    decode: Callable[[int], str] = str,
    minimum: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
) -> int:
    """Token ids are exactly equal; returns the number of compared steps.

    On a difference `explain(step)` is asked for both systems' logits there; the difference is excused (recorded, and
    printed in the summary) only where the oracle's own margin between the two tokens is within the ledger's near-tie,
    and the comparison ends there. `eot` stands for the token behind a sequence that ended earlier. `minimum` steps must
    be equal.
    """
    ours, theirs = [int(t) for t in got], [int(t) for t in want]
    step = first_difference(ours, theirs)
    if step is None:
        if len(theirs) < minimum:
            raise AssertionError(f"{name}: {len(theirs)} steps compared, at least {minimum} demanded")
        record.count("steps", len(theirs))
        return len(theirs)
    pair = [ids[step] if step < len(ids) else eot for ids in (ours, theirs)]
    shown = " instead of ".join("nothing" if t is None else f"{t} {decode(t)!r}" for t in pair)
    message = f"{name}: step {step} of {len(theirs)} is {shown}, after {ours[max(0, step - 8) : step]}"
    if explain is None or None in pair:
        raise AssertionError(message)
    evidence, (mine, ref) = explain(step), pair
    gap = float(evidence.oracle[ref]) - float(evidence.oracle[mine])
    limit = tolerance("near_tie", "margin", device=device, dtype=dtype).limit
    message += (
        f"\n  ours:   {top_list(evidence.ours, name=decode)}\n  oracle: {top_list(evidence.oracle, name=decode)}"
        f"\n  the oracle's margin between them is {gap:.3g}, a near-tie is at most {limit:.3g}"
    )
    if not 0 <= gap <= limit or step < minimum:
        raise AssertionError(message + (f"\n  {minimum} equal steps demanded" if step < minimum else ""))
    record.excuse(message)
    record.count("steps", step)
    return step


def assert_text(name: str, got: str, want: str) -> None:
    """Text is exactly equal; the message shows the first differing words."""
    if got == want:
        return
    a, b = got.split(), want.split()
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if at == len(a) == len(b):
        raise AssertionError(f"{name}: same words, other spacing:\n  ours:   {got!r}\n  oracle: {want!r}")
    raise AssertionError(
        f"{name}: text differs at word {at} of {len(b)}:\n  ours:   … {' '.join(a[max(0, at - 3) : at + 6])!r}"
        f"\n  oracle: … {' '.join(b[max(0, at - 3) : at + 6])!r}"
    )


def assert_words(
    name: str,
    got: Sequence[Mapping[str, Any]],
    want: Sequence[Mapping[str, Any]],
    *,
    device: str = "cpu",
    dtype: str = "float32",
) -> None:
    """Words with times: as many, equal text; start, end and probability within the ledger's rows."""
    for number, (ours, theirs) in enumerate(zip(got, want, strict=False)):
        where = f"{name}: word {number}, {theirs['word']!r} at {theirs['start']:.2f} s"
        if ours["word"] != theirs["word"]:
            raise AssertionError(f"{where}: is {ours['word']!r} at {ours['start']:.2f} s")
        for key in ("start", "end"):  # times have two digits: what is beyond is no difference
            assert_time(f"{where}: {key}", ours[key], theirs[key], device=device, dtype=dtype)
        close = (ours["probability"], theirs["probability"], "word_probability")
        assert_close(f"{where}: probability", *close, device=device, dtype=dtype)
    if len(got) != len(want):
        raise AssertionError(f"{name}: {len(got)} words, expected {len(want)}")
    record.count("word times", len(want))


def assert_time(name: str, got: float, want: float, *, device: str = "cpu", dtype: str = "float32") -> None:
    """Two times in seconds, of two digits, lie no further apart than the ledger's row for word times."""
    limit, error = tolerance("word_time", "seconds", device=device, dtype=dtype).limit, round(abs(got - want), 6)
    record.margin(name, error, limit, key="word_time/seconds", row="")
    if not error <= limit:
        raise AssertionError(f"{name}: {got:.2f} s, expected {want:.2f} s ± {limit:.2f} s [word_time/seconds]")


def assert_close(
    name: str,
    got: float,
    want: float,
    key: str,
    *,
    metric: str = "absolute",
    device: str = "cpu",
    dtype: str = "float32",
) -> None:
    """Two figures differ by no more than the ledger's row `key/metric`; NaN never passes."""
    limit, error = tolerance(key, metric, device=device, dtype=dtype).limit, abs(float(got) - float(want))
    record.margin(name, error, limit, key=f"{key}/{metric}", row="")
    if not error <= limit:
        raise AssertionError(f"{name}: {got:.6g}, expected {want:.6g} ± {limit:.3g} [{key}/{metric}]")


def assert_wer(
    name: str, got: float, limit: float, *, words: int, key: str = "wer", device: str = "cpu", dtype: str = "float32"
) -> None:
    """A word error rate (a fraction) over `words` reference words is at most `limit` plus the ledger's slack."""
    slack = tolerance(key, "absolute", device=device, dtype=dtype).limit
    if words < 1 or not 0 <= got < np.inf:
        raise AssertionError(f"{name}: WER {got} over {words} words is no measurement")
    errors, allowed = round(got * words), round((limit + slack) * words)
    record.margin(f"{name}, wrong words", float(errors), float(allowed), key=f"{key}/absolute")
    if errors > allowed:
        raise AssertionError(
            f"{name}: WER {got:.2%} ({errors} of {words} words) > {limit:.2%} + {slack:.2%} ({allowed} words)"
        )


def assert_ratio(name: str, median: float, low: float, high: float, *, at_least: float, validity: float) -> None:
    """A speed ratio (peer time / our time) is at least `at_least` at the lower end of its interval.

    `validity` is the A/A pair's ratio of the same run. Beyond 2 % of 1, the interval's end has to pass by as much.
    """
    if not all(np.isfinite(x) and x > 0 for x in (median, low, high, validity)) or not low <= median <= high:
        raise AssertionError(f"{name}: ratio {median} in [{low}, {high}], A/A {validity}: no measurement")
    stray = max(validity, 1 / validity)
    if stray > 1.02 and low < at_least * stray:
        raise AssertionError(
            f"{name}: invalid run, the A/A pair strays to {validity:.3f}; nothing can be said about {median:.2f}× "
            f"[{low:.2f}, {high:.2f}], of which {at_least:.2f}× is asked"
        )
    record.margin(f"{name}, demanded of the interval's lower end,", at_least, low, key="speed/ratio")
    if low < at_least:
        raise AssertionError(f"{name}: {median:.2f}× [{low:.2f}, {high:.2f}] does not reach {at_least:.2f}×")
