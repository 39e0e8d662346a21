"""What run files hold, by kind. Rates and shares are fractions, times seconds, memory bytes; other keys are ignored."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


class Machine(Struct):
    processor: str = ""
    platform: str = ""
    cores: int | None = None
    memory: Amount | None = None
    fingerprint: str | None = None


class Run(Struct, kw_only=True):
    """What every kind has; None and {} where a file of an older version lacks it."""

    made: str | None = None
    commit: str | None = None
    machine: Machine | None = None
    versions: dict[str, str | None] = {}


# --- suite: pytest --run-json


class Margin(Struct):
    name: str
    metric: str
    value: Amount | None
    """None where it is not finite"""
    limit: Amount
    key: str
    checkpoint: str | None = None

    @property
    def share(self) -> float:
        """of the limit that is used; more than 1, or infinite, where it is broken"""
        if self.value is None or (self.value > 0 and not self.limit):
            return float("inf")
        return self.value / self.limit if self.limit else 0.0


class Family(Struct):
    counts: dict[str, Count] = {}
    outcomes: dict[str, Count] = {}
    worst: Margin | None = None


class WordErrors(Struct):
    group: str
    system: str
    checkpoint: str
    dtype: str
    words: Annotated[int, Meta(gt=0)]
    errors: Count
    wer: Amount


class Ratio(Struct):
    """Of a peer's time to ours, with its interval [low, high]."""

    case: str
    peer: str
    """with its dtype if that is not float32"""
    seconds: Positive
    peer_seconds: Positive
    median: Positive
    low: Positive
    high: Positive
    valid: bool


class RedTest(Struct):
    test: str
    message: str = ""


class Suite(Run, kw_only=True):
    outcomes: dict[str, Count]
    families: dict[str, Family]
    margins: list[Margin] = []
    wer: list[WordErrors] = []
    ratios: list[Ratio] = []
    excuses: list[str] = []
    failures: list[RedTest] = []
    exit_status: int = 0
    seconds: Amount | None = None
    implementation: str = ""
    oracle: str = ""
    device: str = ""
    dtype: str = ""


# --- comparison: maxwhisper compare --json


class Segment(Struct):
    start: float
    end: float
    text: str


class Transcript(Struct):
    text: str
    segments: list[Segment] = []


class Row(Struct):
    system: str
    model: str
    device: str
    dtype: str
    seconds: Positive
    rtf: Positive
    speedup: Positive | None
    wer: Amount | None
    agreement: Annotated[float, Meta(ge=0, le=1)] | None
    round_seconds: Annotated[list[Positive], Meta(min_length=1)]
    load_seconds: Amount
    peak_memory: Count
    transcripts: dict[str, Transcript]


class Failure(Struct):
    system: str
    model: str
    dtype: str
    reason: str


class Audio(Struct):
    file: str
    seconds: Amount
    language: str | None = None
    reference: str | None = None


class Comparison(Run, kw_only=True):
    audio_seconds: Positive
    rows: list[Row]
    failures: list[Failure] = []
    audio: list[Audio] = []
    rounds: int | None = None
    threads: int | None = None


# --- teeth, fuzz, soak, roofline


class Fault(Struct):
    name: str
    stage: str
    caught: bool
    at_right_place: bool
    first_red: str | None
    seconds: Amount


class Teeth(Run, kw_only=True):
    faults: Annotated[list[Fault], Meta(min_length=1)]
    seconds: Amount


class Target(Struct):
    name: str
    cases: Count
    outcomes: dict[str, Count]
    failures: list[Any]
    peak_bytes: Count | None = None


class Fuzz(Run, kw_only=True):
    seed: int
    minutes: Amount
    targets: Annotated[list[Target], Meta(min_length=1)]


class Soak(Run, kw_only=True):
    minutes: Amount
    rounds: Count
    memory: Annotated[list[Positive], Meta(min_length=1)]
    same_text: bool
    growth: float | UnsetType | None = UNSET
    """of the last rounds over those behind the warm-up, a fraction; None: there were too few"""

    @property
    def grown(self) -> float | None:
        return self.memory[-1] / self.memory[0] - 1 if self.growth is UNSET else self.growth


class Ceilings(Struct):
    fp32_gflops: Positive
    read_gbs: Positive
    bf16_gflops: Positive | None = None
    int8_gops: Positive | None = None


class Stage(Struct):
    model: str
    stage: str
    dtype: str
    seconds: Positive
    flops: Amount
    bytes: Amount
    bound: str
    share: Amount


class Roofline(Run, kw_only=True):
    ceilings: Ceilings
    stages: Annotated[list[Stage], Meta(min_length=1)]


# --- benchmarks: pytest --benchmark-json


class Stats(Struct):
    median: Positive
    min: Positive
    max: Positive
    rounds: int = 0


class Extra(Struct):
    """Of a race with a peer; other benchmarks have none of it."""

    case: str | None = None
    checkpoint: str | None = None
    dtype: str | None = None
    device: str | None = None
    peer: str | None = None
    peer_dtype: str = "float32"
    ratio: Positive | None = None
    low: Positive | None = None
    high: Positive | None = None
    valid: bool = True


class Benchmark(Struct):
    name: str
    stats: Stats
    extra_info: Extra = field(default_factory=Extra)


class CommitInfo(Struct):
    id: str | None = None
    dirty: bool = False


class Cpu(Struct):
    brand_raw: str = ""
    count: int | None = None


class MachineInfo(Struct):
    processor: str = ""
    cores: int | None = None
    fingerprint: str | None = None
    cpu: Cpu = field(default_factory=Cpu)


class Benchmarks(Run, kw_only=True):
    """pytest-benchmark's own keys; what `Run` has too goes before."""

    benchmarks: list[Benchmark]
    datetime: str
    gate: str | None = None
    """of a run that was put into the history: passed, regressed or no verdict, beside the runs before it"""
    accepted: str | None = None
    """why a slower run is the new measure"""
    machine_info: MachineInfo = field(default_factory=MachineInfo)
    commit_info: CommitInfo = field(default_factory=CommitInfo)
