"""Ours against each peer at its best, in float32 and in any dtype; `fastest.py` says which peer is a row's fastest.

No timing counts that has not passed in the same run: in float32 a window's tokens are the oracle's, and ours reads the
oracle's text; any other configuration reads a recording with no more errors than the original and 0.25 points. A peer
that does not is left out of the rows, with the reason; ours fails (on a rendered voice: in float32 alone). With random
weights, which say nothing, a smaller dtype is held to the words of tiny.en in the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maxwhisper_impl.scoring import WordErrors, word_errors
from tests import compare
from tests.implementations import IMPLEMENTATIONS, Model, checkpoint_name
from tests.perf.cases import Inputs, cuts_of, timed, window_of, windows_of
from tests.perf.conftest import Heard, Spoken, run_race
from tests.perf.fastest import NAMES
from tests.perf.peers import OUR_DTYPES, OURS, PEERS, Configuration, Contestant, Setting, able, load
from tests.perf.ratio import Ratio
from tests.perf.settings import FILE, Settings, load_settings
from tests.tolerances import tolerance
from tests.transcripts import Transcripts

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from maxwhisper_impl.weights import Checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.fastest]

FULL, FEW = 16, 4
"""Rounds: of a peer that may be the fastest, and of one that took NEAR times as long in the sweep."""
NEAR = 1.5
WHOLE = ("reading", "batched")
"""Cases of a whole recording: few rounds."""
HELD = "lj-printing"
"""Of rendered voices a few words change with any change of numbers: there a smaller dtype of ours promises nothing."""
RANDOM_STEPS = 48
FEATURES = 1e-3
"""Relative error of a peer's features in float32: it computes the same, in another order."""
EXACT = tuple(each for each in PEERS if each.dtype == "float32")


def races(case: str, exact: bool) -> list[Any]:
    """(dtype of ours, peer) of each row; None for the fastest of ours."""
    peers = able(case, EXACT if exact else PEERS)
    ours = "float32" if exact else None
    return [pytest.param(ours, peer, id=f"{ours or 'fastest'}-{peer}") for peer in peers]


def rows(case: str) -> Any:
    return pytest.mark.parametrize(("ours", "peer"), [*races(case, exact=True), *races(case, exact=False)])


@dataclass(frozen=True)
class Read:
    """What a configuration made of the recording; `fault` says in how far that is not good enough, if it is not."""

    text: str
    errors: WordErrors
    fault: str


class Field:
    """All that race with the weights of one checkpoint; loaded when they are asked for, what they read is kept."""

    def __init__(self, checkpoint: Checkpoint, name: str, inputs: Inputs, spoken: Spoken, original: str) -> None:
        self.checkpoint, self.name, self.inputs = checkpoint, name, inputs
        self.spoken, self.original = spoken, original
        self._loaded: dict[Configuration, Contestant] = {}
        self._read: dict[tuple[Configuration, str], Read] = {}

    def at(self, which: Configuration, setting: Setting) -> Contestant:
        made = self._loaded.get(which)
        self._loaded[which] = made.at(setting) if made else load(which, self.checkpoint, setting)
        return self._loaded[which]

    def read(self, which: Configuration, case: str, setting: Setting) -> Read:
        """Once for each configuration and way of reading, "reading" or "batched"."""
        if (which, case) not in self._read:
            text = timed(case, self.at(which, setting), self.inputs)()
            self._read[which, case] = self._judged(which, text)
        return self._read[which, case]

    def _judged(self, which: Configuration, text: str) -> Read:
        clip = self.spoken.clip
        got, want = (word_errors([(clip.text or "", said, clip.language)]) for said in (text, self.original))
        allowed = round((want.rate + tolerance("wer", "absolute", dtype="bfloat16").limit) * want.words)
        wrong = round(got.rate * got.words)
        fault = f"{which} with {self.name}: WER {got.rate:.2%}, the original's is {want.rate:.2%}"
        return Read(text, got, fault if wrong > allowed else "")


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest) -> Settings:
    return load_settings(request.config.getoption("--settings") or FILE)


@pytest.fixture(autouse=True)
def torch_threads() -> Any:
    """The oracle computes with as many afterwards as before."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def oracle_reading(transcripts_of: Callable[..., Transcripts], request: pytest.FixtureRequest) -> Callable[..., str]:
    """The oracle's text of a recording, kept as its other answers are."""
    oracle = IMPLEMENTATIONS[request.config.getoption("--oracle")]
    return lambda checkpoint, spoken: transcripts_of(oracle, checkpoint).transcribe([spoken.clip])[0]["text"]


def natural_steps(oracle: Model, mel: np.ndarray) -> int:
    """How many tokens the shortest of the windows has: so many steps nobody's text is at its end."""
    decoded = oracle.decode(oracle.encode(mel), language="en", without_timestamps=True)
    return min(len(each.tokens) for each in decoded)


@pytest.fixture(scope="session")
def field(
    checkpoint: Checkpoint, oracle: Model, reading: Spoken, is_random: bool, oracle_reading: Callable[..., str]
) -> Field:
    n_mels, audio = checkpoint.dims.n_mels, reading.audio
    cuts = cuts_of(audio, n_mels)
    mels = window_of(audio, n_mels), windows_of(audio, cuts, n_mels)
    steps = (RANDOM_STEPS,) * 2 if is_random else tuple(natural_steps(oracle, mel) for mel in mels)
    inputs = Inputs(*mels, audio, cuts, *steps)
    name = "random-small" if is_random else checkpoint_name(checkpoint)
    original = "" if is_random else oracle_reading(checkpoint, reading)
    return Field(checkpoint, name, inputs, reading, original)


@pytest.fixture(scope="session")
def words_field(field: Field, is_random: bool, reading: Spoken, oracle_reading: Callable[..., str]) -> Field:
    """The field whose words answer for these weights: with random ones that of tiny.en."""
    if not is_random:
        return field
    from maxwhisper_impl.weights import load_checkpoint

    real = load_checkpoint("tiny.en", download=False)
    inputs = Inputs(field.inputs.window, field.inputs.windows, reading.audio, [], 0, 0)
    return Field(real, "tiny.en", inputs, reading, oracle_reading(real, reading))


@pytest.fixture
def run(
    benchmark: BenchmarkFixture, field: Field, words_field: Field, settings: Settings, oracle: Model, is_random: bool,
    request: pytest.FixtureRequest,
) -> Callable[..., Ratio]:  # fmt: skip
    """`run(case, dtype of ours or None, peer)`: checks both sides, then races them."""
    if request.config.getoption("--impl") != OURS or request.config.getoption("--device") != "cpu":
        pytest.skip("ours on the CPU is raced")

    return partial(race, benchmark, field, words_field, settings, oracle, is_random)


def race(
    benchmark: BenchmarkFixture, field: Field, words_field: Field, settings: Settings, oracle: Model, is_random: bool,
    case: str, dtype: str | None, peer: Configuration,
) -> Ratio:  # fmt: skip
    exact, dtype = dtype, dtype or settings.our_dtype(field.name, case, OUR_DTYPES)
    if exact is None and dtype == peer.dtype == "float32":
        pytest.skip("ours is fastest in float32: raced there")
    us = Configuration(OURS, dtype)
    best = {which: settings.best(which, field.name, case).setting for which in (us, peer)}
    heard = {which: words(words_field, settings, which, case) for which in (us, peer)}
    systems = {which: field.at(which, setting) for which, setting in best.items()}
    for which, system in systems.items():
        checked_window(case, which, system, field, oracle)
    facts: dict[str, Any] = {"case": case_name(case, field), "dtype": dtype, "checkpoint": field.name}
    what = f"{facts['case']} {field.name} {dtype} with {best[us]}, theirs in {peer.dtype} with {best[peer]}"
    facts |= {"impl": OURS, "device": "cpu", "peer_dtype": peer.dtype}
    facts |= {"setting": str(best[us]), "peer_setting": str(best[peer])}
    facts |= asdict(Heard()) if is_random else scores(heard[us], heard[peer])
    facts["audio_seconds"] = field.spoken.clip.seconds if case in WHOLE else None
    calls = [timed(case, system, field.inputs) for system in systems.values()]
    few = case in WHOLE or settings.near(peer, field.name, case, able(case, PEERS)) > NEAR
    return run_race(benchmark, peer.system, what, *calls, FEW if few else FULL, systems[peer].clock(case), **facts)


def scores(ours: Read, theirs: Read) -> dict[str, Any]:
    """What both wrote of the recording, for the run file."""
    text_hash = hashlib.sha256(ours.text.encode()).hexdigest()[:16]
    return {**asdict(Heard(text_hash, ours.errors.rate, ours.errors.words)), "peer_wer": theirs.errors.rate}


def case_name(case: str, field: Field) -> str:
    """As the history has it: a reading with its length, since another recording is another case."""
    return f"{NAMES[case]}, {field.spoken.clip.seconds:.0f} s" if case in WHOLE else NAMES[case]


def words(field: Field, settings: Settings, which: Configuration, case: str) -> Read:
    """Skips a peer that says other words than the original; AssertionError for ours where words are promised."""
    way = "batched" if case == "batched" else "reading"
    read = field.read(which, way, settings.best(which, field.name, way).setting)
    if which.system == OURS and which.dtype == "float32" and way == "reading":
        compare.assert_text("ours, timed reading", read.text, field.original)
    promised = which.dtype == "float32" or field.spoken.clip.audio.stem == HELD
    if read.fault and which.system == OURS and promised:
        raise AssertionError(read.fault)
    if read.fault:
        pytest.skip(f"left out: {read.fault}")
    return read


def checked_window(case: str, which: Configuration, system: Contestant, field: Field, oracle: Model) -> None:
    """What the timed call answers; readings are checked by their words. AssertionError where it is not the oracle's."""
    if case in WHOLE:
        return
    got = timed(case, system, field.inputs)()
    if case == "encode":
        if got is None:  # it stays inside whisper.cpp: its words tell
            return
        want = oracle.encode(field.inputs.window)
        assert got.shape == want.shape
        assert np.isfinite(got).all()
        error = compare.rel_l2(np.asarray(got, np.float64), np.asarray(want, np.float64))
        assert which.dtype != "float32" or error < FEATURES, f"{which}: features err by {error:.2g}"
        return
    mel, steps = field.inputs.decoded(case)
    assert len(got) == len(mel)
    if which.system != "whisper.cpp":  # which counts the steps that it made itself
        assert {len(tokens) for tokens in got} == {steps}, f"{which} made other than {steps} steps"
    if which.dtype == "float32":
        options = {"language": "en", "without_timestamps": True, "sample_len": steps}
        want = oracle.decode(oracle.encode(mel), suppress_tokens=f"-1,{oracle.eot}", **options)
        for tokens, each in zip(got, want, strict=True):
            compare.assert_tokens(f"{which}, timed {case}", tokens, each.tokens, minimum=20)


@pytest.mark.small_dims
@rows("encode")
def test_encode(run: Callable[..., Ratio], ours: str | None, peer: Configuration) -> None:
    run("encode", ours, peer)


@pytest.mark.small_dims
@rows("step")
def test_step(run: Callable[..., Ratio], ours: str | None, peer: Configuration) -> None:
    run("step", ours, peer)


@pytest.mark.small_dims
@pytest.mark.parametrize(("ours", "peer"), races("batch", exact=False))
def test_batch(run: Callable[..., Ratio], ours: str | None, peer: Configuration) -> None:
    run("batch", ours, peer)


@rows("reading")
def test_reading(run: Callable[..., Ratio], ours: str | None, peer: Configuration) -> None:
    run("reading", ours, peer)


@pytest.mark.parametrize(("ours", "peer"), races("batched", exact=False))
def test_batched(run: Callable[..., Ratio], ours: str | None, peer: Configuration) -> None:
    run("batched", ours, peer)
