"""Options, folder → marker, session fixtures, header. torch and max are imported only inside fixtures.

The summary and the run file are `tests/run_file.py`'s.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cache
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maxwhisper_impl.corpus import Clip, default_corpora, read_corpus
from maxwhisper_impl.dims import SIZES, ModelDimensions
from maxwhisper_impl.machine import gpus, processor
from tests import baselines
from tests.differences import known_difference
from tests.implementations import IMPLEMENTATIONS, Implementation, Model, tap_names
from tests.quality.wer import groups
from tests.random_weights import RANDOM, random_weights
from tests.record import FAMILIES, family_of
from tests.transcripts import Transcripts, is_window

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

pytest_plugins = ["tests.run_file", "tests.perf.recording"]
DEFAULT_CHECKPOINTS = ("tiny.en", "base")
DTYPES = ("float32", "bfloat16", "int8")
OURS = "maxwhisper_impl"
SUBJECTS = {"model", "transcripts", "system"}
"""The fixtures behind which the implementation under test is; with another `--impl`, parity tests without one of them,
which are about files, options and commands of the package alone, are left out."""
ORACLES = {"oracle", "oracle_transcripts", "golden", "peer"}
EXACT = "float32 alone promises the oracle's tokens; a smaller dtype's agreement is tests/quality/test_dtypes.py's"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("whisper", "what is tested, against what, on what")
    group.addoption("--impl", default=OURS, metavar="NAME", help="implementation under test")
    group.addoption("--oracle", default="openai-whisper", metavar="NAME", help="implementation taken as the truth")
    group.addoption("--device", default="cpu", choices=("cpu", "cuda"), help="device of the implementation under test")
    group.addoption("--dtype", default="float32", choices=DTYPES, help="dtype of the implementation under test")
    group.addoption(
        "--checkpoint",
        action="append",
        metavar="NAME|PATH",
        help=f"weights to test with, repeatable (default: {' and '.join(DEFAULT_CHECKPOINTS)})",
    )
    group.addoption(
        "--corpus", metavar="DIR", help="speech instead of the default corpora: manifest.jsonl or LibriSpeech's layout"
    )
    group.addoption(
        "--settings", type=Path, metavar="FILE", help="the peers' best settings (default: tests/perf/settings.json)"
    )


def pytest_configure(config: pytest.Config) -> None:
    for option in ("--impl", "--oracle"):
        if config.getoption(option) not in IMPLEMENTATIONS:
            raise pytest.UsageError(
                f"{option} {config.getoption(option)}: unknown; there are {', '.join(IMPLEMENTATIONS)}"
            )
    if config.getoption("--device") == "cuda" and not gpus():
        raise pytest.UsageError(
            "--device cuda: this machine has no CUDA GPU (the driver finds none); leave it out to test on the CPU"
        )
    if (cache := getattr(config, "cache", None)) is None:
        raise pytest.UsageError("-p no:cacheprovider: pytest's cache holds what the oracle answers; leave it out")
    baselines.use_cache_folder(cache.mkdir("whisper"))
    corpus = config.getoption("--corpus")
    if corpus and not Path(corpus).is_dir():
        raise pytest.UsageError(f"--corpus {corpus}: no such folder")


def checkpoint_names(config: pytest.Config) -> list[str]:
    return config.getoption("--checkpoint") or list(DEFAULT_CHECKPOINTS)


def corpora(config: pytest.Config) -> list[Path]:
    chosen = config.getoption("--corpus")
    return [Path(chosen)] if chosen else list(default_corpora())


def pytest_report_header(config: pytest.Config) -> list[str]:
    option = config.getoption
    impl, oracle = IMPLEMENTATIONS[option("--impl")], IMPLEMENTATIONS[option("--oracle")]
    return [
        f"under test: {impl.name} ({impl.versions()}) on {option('--device')} in {option('--dtype')}",
        f"oracle: {oracle.name} ({oracle.versions()}) on cpu in float32",
        f"checkpoints: {', '.join(checkpoint_names(config))}; corpora: {', '.join(map(str, corpora(config)))}",
        f"machine: {', '.join([processor(), *gpus()])}, {os.cpu_count()} cores, {platform.platform()}, "
        f"Python {platform.python_version()}",
    ]


@pytest.hookimpl(tryfirst=True)  # before markers are selected by
def pytest_itemcollected(item: pytest.Item) -> None:
    if (family := family_of(item.path)) in FAMILIES:
        item.add_marker(family)
    if _is_foreign(item) or _is_dear(item):
        item.add_marker("slow")


def _is_dear(item: pytest.Item) -> bool:
    """Rules that do not depend on the weights, and what takes long, beyond the first checkpoint."""
    marked, name, names = item.get_closest_marker, _parameters(item).get("checkpoint"), checkpoint_names(item.config)
    if not isinstance(name, str):  # a test of multilingual checkpoints, and none was given
        return False
    first = next(n for n in [*names, name] if not marked("multilingual") or checkpoint_dims(n).is_multilingual)
    return bool((marked("rules") and name != first) or (marked("first_checkpoint") and name in names[1:]))


def _is_foreign(item: pytest.Item) -> bool:
    """Speech that an English-only model knows nothing of, and babbles on to the last token about."""
    parameters = _parameters(item)
    clip, name = parameters.get("window_clip"), parameters.get("checkpoint")
    if clip is None or not isinstance(name, str):
        return False
    return clip.language not in (None, "en") and not checkpoint_dims(name).is_multilingual


@pytest.hookimpl(trylast=True)  # pytest's own order alternates between checkpoints, and loads one anew each time
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_flow)
    if config.getoption("--dtype") != "float32":
        for item in filter(_is_exact, items):
            item.add_marker(pytest.mark.skip(reason=EXACT))
    impl = config.getoption("--impl")
    if impl == OURS:
        return
    apart = [item for item in items if family_of(item.path) == "parity" and not SUBJECTS & set(_fixtures(item))]
    config.hook.pytest_deselected(items=apart)
    items[:] = [item for item in items if item not in set(apart)]
    for item in items:
        if difference := known_difference(impl, item.nodeid):
            item.add_marker(pytest.mark.xfail(raises=AssertionError, strict=True, reason=difference.reason))


def _is_exact(item: pytest.Item) -> bool:
    """Whether a test wants the oracle's own answer of the implementation, and not one within the ledger's rows."""
    wanted = set(signature(item.function).parameters) if isinstance(item, pytest.Function) else set()
    parity = family_of(item.path) == "parity"
    return parity and bool(SUBJECTS & wanted and ORACLES & wanted) and "judge" not in wanted


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


def _flow(item: pytest.Item) -> tuple[str, str]:
    """Checkpoint by checkpoint; in each, what flows first speaks first: the encoder's layers, then the decoder's."""
    names = ["", *DEFAULT_CHECKPOINTS]
    name = str(_parameters(item).get("checkpoint", ""))
    order = f"{names.index(name)}" if name in names else f"~{name}"
    return order, str(item.path).replace("test_decoder_layers", "test_encoder_layers~decoder")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per checkpoint; of layers one per checkpoint and tap, of speech one per checkpoint and clip or group."""
    names = checkpoint_names(metafunc.config)
    for marker, name in (("random_weights", "random-128-mels"), ("small_dims", "random-small")):
        if metafunc.definition.get_closest_marker(marker) and not metafunc.config.getoption("--checkpoint"):
            names = [*names, name]
    if metafunc.definition.get_closest_marker("multilingual"):
        names = [name for name in names if checkpoint_dims(name).is_multilingual]
    for fixture, cases in (("encoder_tap", _taps("encoder")), ("decoder_tap", _taps("decoder"))):
        if fixture in metafunc.fixturenames:
            rows = [(name, tap) for name in names for tap in cases(checkpoint_dims(name))]
            metafunc.parametrize(("checkpoint", fixture), rows, indirect=["checkpoint"], scope="session")
            return
    if "checkpoint" in metafunc.fixturenames:
        metafunc.parametrize("checkpoint", names, indirect=True, scope="session")
    for fixture, wanted in (("window_clip", is_window), ("long_clip", lambda clip: not is_window(clip))):
        if fixture in metafunc.fixturenames:
            clips = [clip for clip in all_clips(metafunc.config) if wanted(clip)]
            metafunc.parametrize(fixture, [_clip_case(clip) for clip in clips], scope="session")
    if "group" in metafunc.fixturenames:
        found = groups(all_clips(metafunc.config))
        metafunc.parametrize("group", found, ids=[group.name for group in found], scope="session")


def _taps(side: str) -> Callable[[ModelDimensions], list[str]]:
    return lambda dims: [tap for tap in tap_names(dims) if tap.startswith("encoder.") == (side == "encoder")]


def _clip_case(clip: Clip) -> Any:
    """Of the many strings of digits two of each speaker are enough for `make test`."""
    more_digits = clip.audio.stem.startswith("digits-") and not clip.audio.stem.endswith(("-1", "-2"))
    return pytest.param(clip, id=clip.id, marks=pytest.mark.slow if more_digits else ())


def all_clips(config: pytest.Config) -> list[Clip]:
    return [clip for folder in corpora(config) for clip in read_corpus(folder)]


@pytest.fixture(scope="session")
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """The weights under test, once for each `--checkpoint`."""
    return _checkpoint(request.param)


@cache
def _checkpoint(name: str) -> Checkpoint:
    from maxwhisper_impl.weights import load_checkpoint

    return load_checkpoint(random_weights(RANDOM[name]) if name in RANDOM else name, download=False)


def checkpoint_dims(name: str) -> ModelDimensions:
    known = {**SIZES, **RANDOM}
    return known[name] if name in known else _checkpoint(name).dims


@pytest.fixture(scope="session")
def load() -> Callable[[Implementation, Checkpoint, str, str], Model]:
    """Loads a model once per session, whatever the order in which tests ask for it."""
    loaded: dict[tuple[str, str, str, str], Model] = {}

    def get(impl: Implementation, weights: Checkpoint, device: str = "cpu", dtype: str = "float32") -> Model:
        key = (impl.name, str(weights.source), device, dtype)
        if key not in loaded:
            loaded[key] = impl.load(weights, device, dtype)
        return loaded[key]

    return get


@pytest.fixture(scope="session")
def model(load, checkpoint: Checkpoint, device: str, dtype: str, request: pytest.FixtureRequest) -> Model:
    """The implementation under test with the weights under test."""
    return load(IMPLEMENTATIONS[request.config.getoption("--impl")], checkpoint, device, dtype)


@pytest.fixture(scope="session")
def oracle(load, checkpoint: Checkpoint, request: pytest.FixtureRequest) -> Model:
    """The oracle with the same weights, float32 on the CPU. With openai-whisper, `oracle.torch` is its own model."""
    return load(IMPLEMENTATIONS[request.config.getoption("--oracle")], checkpoint, "cpu", "float32")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--device")


@pytest.fixture(scope="session")
def dtype(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--dtype")


@pytest.fixture(scope="session")
def clips(request: pytest.FixtureRequest) -> list[Clip]:
    """Every clip of the corpora under test."""
    return all_clips(request.config)


@pytest.fixture(scope="session")
def transcripts_of(load) -> Callable[..., Transcripts]:
    """The transcripts of any system, computed once per session; of the oracle and the peers once per machine."""
    known: dict[tuple[str, ...], Transcripts] = {}

    def get(
        implementation: Implementation,
        weights: Checkpoint,
        device: str = "cpu",
        dtype: str = "float32",
        *,
        keep: bool = True,
    ) -> Transcripts:
        key = (implementation.name, str(weights.source), device, dtype, str(keep))
        if key not in known:
            known[key] = Transcripts(
                implementation,
                weights,
                lambda: load(implementation, weights, device, dtype),
                keep=keep,
                on=f"{device} {dtype}",
            )
        return known[key]

    return get


@pytest.fixture(scope="session")
def transcripts(
    transcripts_of, checkpoint: Checkpoint, device: str, dtype: str, request: pytest.FixtureRequest
) -> Transcripts:
    """What the implementation under test makes of clips; never from an earlier run."""
    return transcripts_of(IMPLEMENTATIONS[request.config.getoption("--impl")], checkpoint, device, dtype, keep=False)


@pytest.fixture(scope="session")
def oracle_transcripts(transcripts_of, checkpoint: Checkpoint, request: pytest.FixtureRequest) -> Transcripts:
    return transcripts_of(IMPLEMENTATIONS[request.config.getoption("--oracle")], checkpoint)
