"""The ledger: every tolerance of the suite, with what it was measured against. Nothing is inline in a test.

A row of basis "float64" bounds `error(ours, float64 oracle)`; its `measured` is `error(float32 oracle, float64 oracle)`
on the real checkpoints and speech, printed by `python -m tests.measure_tolerances`, the larger of one machine with
AVX-512 and one with AVX2 only, which sums in longer chains; its limit is at most `K` times that (`ALLOWED`).
Its rows of smaller dtypes stand on an oracle that rounds its numbers in the same places (`rounded.py`): most of that
error is not noise but the dtype's, so that ours may be twice as large and no more. What they measured is bounded by the
finer dtype's rows, as runs in them are rare.
A row of basis "contract" is a figure that the project promised; `measured` is then what we reach.
`test_compare.py` checks these rules, and `parity/test_ledger.py` measures again.
"""

import math
from dataclasses import dataclass

from tests.rounded_errors import MEASURED

K = 4.0
"""How many times the oracle's own float32 error an implementation may err: another order of summation, no more."""

COARSER = 2.0**16
"""A unit in the last of bfloat16's 8 significant bits over one in the last of float32's 24: no error grows by more."""
QUANTIZED = 10.0
"""What int8 errs by over bfloat16, at most."""
NIBBLES = 2.0
"""And over that logits, which it makes of weights in 4 bits."""

METRICS = ("rel_l2", "max_abs", "kl", "margin", "absolute", "seconds", "ratio")


@dataclass(frozen=True)
class Tolerance:
    limit: float
    measured: float
    metric: str
    device: str
    dtype: str
    basis: str
    reason: str


ALLOWED = {"rel_l2": K, "max_abs": K, "kl": K * K, "margin": 2.0}
"""Limit over measured, at most. A divergence grows with the square of the error; a gap between two logits may be moved
by both systems, each by what float32 moves it."""


def _float32(metric: str, measured: float, reason: str) -> Tolerance:
    return Tolerance(ALLOWED[metric] * measured, measured, metric, "cpu", "float32", "float64", reason)


def _rounded(key: str, measured: float, dtype: str) -> Tolerance:
    metric = key.rpartition("/")[2]
    times = K if key.startswith("kernels") else ROUNDED**2 if metric == "kl" else ROUNDED
    return Tolerance(times * measured, measured, metric, "cpu", dtype, "float64", _SMALL[dtype])


def _contract(metric: str, limit: float, measured: float, reason: str, dtype: str = "float32") -> Tolerance:
    return Tolerance(limit, measured, metric, "cpu", dtype, "contract", reason)


def _layer(family: str, rel_l2: float, max_abs: float, reason: str) -> dict[str, Tolerance]:
    return {
        f"{family}/rel_l2": _float32("rel_l2", rel_l2, reason),
        f"{family}/max_abs": _float32("max_abs", max_abs, reason),
    }


ROUNDED = 2.0
"""Limit over measured for smaller dtypes: values between two numbers fall to the other one here and there."""

_SMALL = {
    "bfloat16": "weights and left sides of products have 8 significant bits, sums are float32",
    "int8": "weights, keys and a window's values have 255 numbers each, left sides and queries 256 a row",
}
"""The reasons of what `rounded_errors.py` holds."""

_RANDOM = "seeded random weights of 128 mels: no outlier channels, fewer layers"

_ROW = "one position behind tokens that do not belong there, the worst of many"

TOLERANCES: dict[str, Tolerance] = {
    "mel/max_abs": _contract("max_abs", 1e-4, 4.2e-5, "the project's promise for real audio, 80 and 128 mels"),
    **_layer("encoder.conv1", 6.8e-07, 5.1e-06, "240 products per value"),
    **_layer("encoder.conv2", 8.2e-07, 1.9e-05, "up to 1536 products per value, on top of conv1"),
    **_layer("encoder.blocks.attn.query+key+value", 2.9e-06, 3.4e-04, "the first norm scales outlier channels"),
    **_layer("encoder.blocks.attn.out.input", 4.1e-06, 2.8e-04, "softmax over 1500 keys"),
    **_layer("encoder.blocks.mlp_ln.input", 5.7e-06, 9.0e-03, "the residual stream, with outliers in the thousands"),
    **_layer("encoder.blocks.mlp", 1.2e-05, 2.0e-02, "GELU's flat side: small values of large differences"),
    **_layer("encoder.blocks", 9.9e-06, 2.3e-02, "the residual stream, with outliers in the thousands"),
    **_layer("encoder.ln_post", 3.5e-06, 1.3e-03, "all encoder layers; the norm scales the outliers back"),
    **_layer(
        "decoder.embedding", 6.0e-8, 2.4e-7, "one addition, half a unit in the last place; exact for float16 weights"
    ),
    **_layer("decoder.blocks.attn.query+key+value", 2.5e-06, 1.7e-05, "one norm and one product on the layers before"),
    **_layer("decoder.blocks.attn.out.input", 4.7e-06, 9.3e-06, "softmax over the tokens so far"),
    **_layer("decoder.blocks.cross_attn_ln.input", 2.0e-06, 1.2e-04, "the residual stream"),
    **_layer("decoder.blocks.cross_attn.query", 2.2e-06, 4.3e-05, "one norm and one product on the layers before"),
    **_layer("decoder.cross_scores", 4.5e-06, 1.5e-03, "64 products of queries and keys, scores of some tens"),
    **_layer("decoder.blocks.cross_attn.out.input", 4.1e-06, 2.1e-05, "softmax over 1500 keys, on the encoder's error"),
    **_layer("decoder.blocks.mlp_ln.input", 1.9e-06, 1.2e-04, "the residual stream"),
    **_layer("decoder.blocks.mlp", 4.3e-06, 8.9e-05, "GELU's flat side: small values of large differences"),
    **_layer("decoder.blocks", 2.9e-06, 1.2e-04, "the residual stream"),
    **_layer("logits", 2.8e-06, 1.5e-04, "all layers and the tied embedding"),
    **_layer("random.encoder.conv1", 4.7e-07, 6.0e-06, _RANDOM),
    **_layer("random.encoder.conv2", 6.2e-07, 1.4e-05, _RANDOM),
    **_layer("random.encoder.blocks.attn.query+key+value", 7.3e-07, 6.0e-06, _RANDOM),
    **_layer("random.encoder.blocks.attn.out.input", 9.9e-07, 7.4e-06, _RANDOM),
    **_layer("random.encoder.blocks.mlp_ln.input", 6.7e-07, 1.6e-05, _RANDOM),
    **_layer("random.encoder.blocks.mlp", 9.2e-07, 6.1e-06, _RANDOM),
    **_layer("random.encoder.blocks", 7.0e-07, 1.6e-05, _RANDOM),
    **_layer("random.encoder.ln_post", 8.1e-07, 6.5e-06, _RANDOM),
    **_layer("random.decoder.embedding", 6.0e-08, 2.4e-07, _RANDOM),
    **_layer("random.decoder.blocks.attn.query+key+value", 1.4e-06, 1.1e-05, _RANDOM),
    **_layer("random.decoder.blocks.attn.out.input", 1.2e-06, 1.0e-05, _RANDOM),
    **_layer("random.decoder.blocks.cross_attn_ln.input", 1.3e-06, 1.2e-05, _RANDOM),
    **_layer("random.decoder.blocks.cross_attn.query", 1.3e-06, 1.9e-05, _RANDOM),
    **_layer("random.decoder.blocks.cross_attn.out.input", 2.0e-06, 3.0e-05, _RANDOM),
    **_layer("random.decoder.blocks.mlp_ln.input", 1.4e-06, 1.7e-05, _RANDOM),
    **_layer("random.decoder.blocks.mlp", 1.5e-06, 1.4e-05, _RANDOM),
    **_layer("random.decoder.blocks", 1.4e-06, 1.7e-05, _RANDOM),
    **_layer("random.logits", 1.4e-06, 4.0e-05, _RANDOM),
    "random.logits/kl": _float32("kl", 3.4e-11, _RANDOM),
    "random.near_tie/margin": _float32("margin", 2.6e-05, _RANDOM),
    **_layer("row.logits", 2.8e-05, 1.4e-04, _ROW),
    "row.logits/kl": _float32("kl", 2.9e-10, _ROW),
    "row.near_tie/margin": _float32("margin", 1.0e-04, _ROW),
    **_layer("random.row.logits", 3.4e-06, 4.6e-05, _RANDOM),
    "random.row.logits/kl": _float32("kl", 4.1e-11, _RANDOM),
    "random.row.near_tie/margin": _float32("margin", 2.5e-05, _RANDOM),
    "logits/kl": _float32("kl", 9.7e-11, "divergence of the next-token distributions"),
    "near_tie/margin": _float32("margin", 5.2e-05, "gaps between the best five logits move by this much in float32"),
    "avg_logprob/absolute": _contract("absolute", 1e-3, 1e-5, "a sum over a window's steps, shown with three digits"),
    "no_speech_prob/absolute": _contract("absolute", 1e-4, 1e-6, "compared with a threshold of 0.6"),
    "language_probs/absolute": _contract("absolute", 1e-4, 1e-6, "the project's promise"),
    "kernels/rel_l2": _float32("rel_l2", 3.8e-07, "single ops on values with an outlier channel"),
    "kernels.attention/rel_l2": _float32("rel_l2", 2.1e-06, "scores of a few hundred, from the outlier channel"),
    "rules.avg_logprob/absolute": _contract("absolute", 1e-5, 2e-6, "one system's logits, summed in another order"),
    "rules.no_speech_prob/absolute": _contract("absolute", 1e-5, 3e-6, "one system's logits, of two mels 4e-5 apart"),
    "rules.language_probs/absolute": _contract("absolute", 1e-5, 2e-6, "one system's logits; MKL's sums vary by run"),
    "batch.avg_logprob/absolute": _contract("absolute", 1e-4, 2e-6, "matrices of more rows, summed in another order"),
    "segment_time/seconds": _contract("seconds", 1e-6, 0.0, "multiples of 0.02 s, whichever way they are computed"),
    "word_time/seconds": _contract("seconds", 0.02, 0.0, "one timestamp token, the project's promise"),
    "word_error/seconds": _contract("seconds", 0.005, 0.0, "a median over words, of which a near-tie may move some"),
    "word_probability/absolute": _contract("absolute", 1e-3, 1e-6, "the project's promise"),
    "wer/absolute": _contract("absolute", 0.0, 0.0, "no worse than the oracle: equal text has equal errors"),
    "wer/absolute@bfloat16": _contract(
        "absolute", 2.5e-3, 0.0, "the project's promise, against float32", "bfloat16"
    ),
    "wer/absolute@int8": _contract("absolute", 2.5e-3, 0.0, "the project's promise, against float32", "int8"),
    "wer_batched/absolute": _contract("absolute", 3e-3, 0.0, "windows side by side, cut elsewhere"),
    "wer_live/absolute": _contract(
        "absolute", 0.03, 0.0, "live text has less context and settles early; so many more errors per word than offline"
    ),
    "wer_figure/absolute": _contract(
        "absolute", 1e-3, 0.0, "a figure of another machine, where one near-tie may fall otherwise"
    ),
    **{
        f"{key}@{dtype}": _rounded(key, measured, dtype)
        for dtype, rows in MEASURED.items()
        for key, measured in rows.items()
    },
}
"""Row by key: `quantity/metric`, with `@dtype` or `@device` behind it where a row differs from float32 on the CPU."""


PROMISES = {
    "mel/max_abs": 1e-4,
    "language_probs/absolute": 1e-4,
    "rules.avg_logprob/absolute": 1e-5,
    "rules.no_speech_prob/absolute": 1e-5,
    "rules.language_probs/absolute": 1e-5,
    "batch.avg_logprob/absolute": 1e-4,
    "segment_time/seconds": 1e-6,
    "word_time/seconds": 0.02,
    "word_error/seconds": 0.005,
    "word_probability/absolute": 1e-3,
    "wer/absolute": 0.0,
    "wer/absolute@bfloat16": 2.5e-3,
    "wer/absolute@int8": 2.5e-3,
    "wer_batched/absolute": 3e-3,
    "wer_live/absolute": 0.03,
    "wer_figure/absolute": 1e-3,
    "avg_logprob/absolute": 1e-3,
    "no_speech_prob/absolute": 1e-4,
}
"""The contract rows' limits once more, so that none moves by an edit in one place."""


def ledger_faults(rows: dict[str, Tolerance]) -> list[str]:
    """What is wrong with the ledger, one line per row; empty when every limit is backed."""
    faults = []
    for key, row in rows.items():
        if not key.split("@")[0].endswith(f"/{row.metric}"):
            faults.append(f"{key}: the metric is {row.metric}")
        elif not (math.isfinite(row.limit) and math.isfinite(row.measured) and row.limit >= 0 and row.measured >= 0):
            faults.append(f"{key}: limit {row.limit} or measured {row.measured} is no number")
        elif not row.reason:
            faults.append(f"{key}: no reason")
        elif row.basis == "float64" and not 0 < row.limit <= ALLOWED[row.metric] * row.measured:
            faults.append(
                f"{key}: limit {row.limit:.3g} is not within {ALLOWED[row.metric]:g} × measured {row.measured:.3g}"
            )
        elif (most := _most_measured(key, rows)) is not None and row.measured > most:
            faults.append(f"{key}: measured {row.measured:.3g}, other rows say that it is at most {most:.3g}")
        elif row.basis == "contract" and (row.limit != PROMISES.get(key) or row.measured > row.limit):
            faults.append(f"{key}: limit {row.limit:.3g}, promised {PROMISES.get(key)}, reached {row.measured:.3g}")
        elif row.basis not in ("float64", "contract"):
            faults.append(f"{key}: basis {row.basis}")
    return faults


def _most_measured(key: str, rows: dict[str, Tolerance]) -> float | None:
    """By other rows, as far as they bound it: smaller dtypes are not measured again in every run of the suite."""
    base, _, dtype = key.partition("@")
    at = f"@{dtype}" if dtype else ""
    if base.endswith("logits/kl"):  # a gap between two logits of some likelihood moves by more than its root
        margin = rows.get(f"{base.removesuffix('logits/kl')}near_tie/margin{at}")
        return margin and margin.measured**2
    if base.endswith("near_tie/margin"):
        other, times = rows.get(f"{base.removesuffix('near_tie/margin')}logits/max_abs{at}"), 2.0
    else:
        finer = {"bfloat16": base, "int8": f"{base}@bfloat16"}.get(dtype, "")
        other, times = rows.get(finer), QUANTIZED if dtype == "int8" else COARSER
        times *= NIBBLES if dtype == "int8" and "logits/" in base else 1
    return other and times * other.measured


def tolerance(quantity: str, metric: str, *, device: str = "cpu", dtype: str = "float32") -> Tolerance:
    """The row for one quantity and metric on a device and dtype; KeyError names the rows there are."""
    base = f"{quantity}/{metric}"
    for key in (f"{base}@{device}@{dtype}", f"{base}@{dtype}", f"{base}@{device}", base):
        row = TOLERANCES.get(key)
        if row and row.dtype == dtype and (row.device == device or "@" not in key):
            return row
    raise KeyError(f"no tolerance for {base} on {device} in {dtype}; the ledger has: {', '.join(sorted(TOLERANCES))}")
