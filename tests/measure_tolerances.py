"""Measures what the ledger's float64 rows stand on: the oracle's own error, on real weights and speech.

    python -m tests.measure_tolerances [--dtype bfloat16|int8] [--checkpoint NAME|random …] [--clips N]

prints the rows of `tests/tolerances.py`, or of `tests/rounded_errors.py` for a smaller dtype: the largest error over
the checkpoints, clips and layers of each family.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests import baselines, compare

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint
    from tests.adapters.openai import OpenAI

Errors = dict[str, float]


def family(tap: str) -> str:
    """The ledger's name of a tap: the layer's number taken out."""
    return re.sub(r"\.\d+", "", tap)


def tap_errors(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> Errors:
    """`family/metric` -> largest error over the taps of the family."""
    errors: Errors = {}
    for tap, reference in want.items():
        ours, theirs = got[tap].astype(np.float64), reference.astype(np.float64)
        measured = {"rel_l2": compare.rel_l2(ours, theirs), "max_abs": compare.max_abs(ours, theirs)}
        if tap == "logits":
            measured["kl"] = compare.kl_divergence(ours, theirs)
        for metric, value in measured.items():
            key = f"{family(tap)}/{metric}"
            errors[key] = max(errors.get(key, 0.0), value)
    errors["near_tie/margin"] = margin_error(got["logits"], want["logits"])
    return errors


def margin_error(got: np.ndarray, want: np.ndarray, top_k: int = 5) -> float:
    """How far the gaps between the reference's best `top_k` logits move, at most, over all positions."""
    best = np.argsort(-want, axis=-1)[..., :top_k]
    ours, theirs = (np.take_along_axis(x.astype(np.float64), best, -1) for x in (got, want))
    shift = ours - theirs
    return float((shift.max(-1) - shift.min(-1)).max())


def probe(oracle: OpenAI, mel: np.ndarray, steps: int = 48) -> np.ndarray:
    """Token rows [batch, T] as windows see them: initial tokens and the oracle's own answer, cut to one length."""
    start = list(oracle.initial_tokens(language="en", without_timestamps=True))
    rows = [
        start + result.tokens for result in oracle.decode(mel, language="en", without_timestamps=True, sample_len=steps)
    ]
    length = min(map(len, rows))
    return np.array([row[:length] for row in rows], np.int64)


def initial_and_words(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns of a probe's rows that start them, and those of its words: no word's id is as high as the first's."""
    initial = int((tokens[0] >= tokens[0, 0]).sum())
    return tokens[:, :initial], tokens[:, initial:]


def odd_rows(tokens: np.ndarray, count: int = 6, length: int = 8) -> np.ndarray:
    """Token rows that beams and caches are tested with: the initial tokens, then words of the probe in any order."""
    initial, words = initial_and_words(tokens[:1])
    return np.hstack([initial.repeat(count, axis=0), np.random.default_rng(1).choice(words[0], (count, length))])


def row_errors(got: np.ndarray, want: np.ndarray) -> Errors:
    """The largest error of any single position of logits [rows, T, n_vocab]: what a test of one step must allow."""
    errors = {"row.near_tie/margin": margin_error(got, want), "row.logits/kl": compare.kl_divergence(got, want)}
    pairs = list(zip(got.reshape(-1, got.shape[-1]), want.reshape(-1, want.shape[-1]), strict=True))
    errors["row.logits/rel_l2"] = max(compare.rel_l2(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs)
    errors["row.logits/max_abs"] = max(compare.max_abs(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs)
    return errors


def score_errors(single: OpenAI, double: OpenAI, features: list[np.ndarray], tokens: np.ndarray) -> Errors:
    """Of the alignment heads' scores before their softmax, for the features of both."""
    from tests.oracle_runtime import OracleRuntime

    runtimes = [OracleRuntime(oracle.torch) for oracle in (single, double)]
    got, want = (
        runtime.cross_scores(each, tokens, runtime.alignment_heads)[0].astype(np.float64)
        for runtime, each in zip(runtimes, features, strict=True)
    )
    return {
        "decoder.cross_scores/rel_l2": compare.rel_l2(got, want),
        "decoder.cross_scores/max_abs": compare.max_abs(got, want),
    }


def in_dtype(checkpoint: Checkpoint, dtype: str) -> OpenAI:
    """The oracle in float32, or with the numbers of a smaller dtype."""
    from tests.adapters.openai import OpenAI

    oracle = OpenAI(checkpoint)
    if dtype != "float32":
        from tests.rounded import round_model

        round_model(oracle.torch, dtype)
    return oracle


def measure(checkpoint: Checkpoint, mels: np.ndarray, dtype: str) -> Iterator[Errors]:
    from tests.adapters.openai import OpenAI

    oracle, single, double = OpenAI(checkpoint), in_dtype(checkpoint, dtype), OpenAI(checkpoint, dtype="float64")
    for mel in mels:
        tokens = probe(oracle, mel[None])
        got, want = single.taps(mel[None], tokens), double.taps(mel[None], tokens)
        yield tap_errors(got, want)
        yield score_errors(single, double, [taps["encoder.ln_post"] for taps in (got, want)], tokens)
        rows = odd_rows(tokens)
        features = [np.repeat(taps["encoder.ln_post"], len(rows), axis=0) for taps in (got, want)]
        yield row_errors(single.logits(rows, features[0]), double.logits(rows, features[1]))


def measuring_clips(count: int) -> list[np.ndarray]:
    """Audio of clips that last a few seconds, spread over the default corpora."""
    from maxwhisper_impl.audio import load_audio
    from maxwhisper_impl.corpus import default_corpora, read_corpus

    clips = [
        clip for folder in default_corpora() for clip in read_corpus(folder) if clip.text and 4 < clip.seconds < 28
    ]
    return [load_audio(clip.audio) for clip in clips[:: max(1, len(clips) // count)][:count]]


def main() -> None:
    from maxwhisper_impl.audio import log_mel_spectrogram, pad_or_trim
    from maxwhisper_impl.weights import load_checkpoint
    from tests.parity.kernel_bench import Reference
    from tests.random_weights import RANDOM_DIMS, random_weights

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "int8"))
    parser.add_argument("--checkpoint", action="append")
    parser.add_argument("--clips", type=int, default=6)
    arguments = parser.parse_args()
    baselines.use_cache_folder(Path(tempfile.mkdtemp(prefix="ledger-")))
    audio = measuring_clips(arguments.clips)
    worst: dict[str, tuple[float, str]] = {
        key: (value, "kernels") for key, value in Reference(arguments.dtype).errors().items()
    }
    for name in arguments.checkpoint or ["tiny.en", "base", "random"]:
        prefix = "random." if name == "random" else ""
        checkpoint = load_checkpoint(random_weights(RANDOM_DIMS) if prefix else name, download=False)
        mels = np.stack([log_mel_spectrogram(pad_or_trim(a), checkpoint.dims.n_mels) for a in audio])
        for errors in measure(checkpoint, mels, arguments.dtype):
            for key, value in errors.items():
                worst[prefix + key] = max(worst.get(prefix + key, (0.0, "")), (value, name))
    for key, (value, name) in worst.items():
        print(f'        {f"{key!r}: {value:.2e},":62} # {name}')


if __name__ == "__main__":
    main()
