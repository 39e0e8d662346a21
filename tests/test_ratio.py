"""The statistics of the perf gates: on times whose true ratio is known, and on times that prove nothing."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from maxwhisper_impl.threads import until_idle
from tests.perf.ratio import Interleaved, ratio


def times(
    true_ratio: float, noise: float, rounds: int = 40, seed: int = 0, drift: float = 0.0
) -> tuple[list[float], list[float]]:
    random = np.random.default_rng(seed)
    clock = np.exp(drift * np.arange(rounds))
    ours = clock * np.exp(random.normal(0, noise, rounds))
    peer = clock * true_ratio * np.exp(random.normal(0, noise, rounds))
    return ours.tolist(), peer.tolist()


@pytest.mark.parametrize("true_ratio", [0.8, 1.0, 1.2, 3.0])
def test_the_interval_covers_the_truth(true_ratio: float) -> None:
    covered = 0
    for seed in range(100):
        got = ratio(*times(true_ratio, 0.05, seed=seed))
        assert got.low <= got.median <= got.high
        covered += got.low <= true_ratio <= got.high
    assert covered >= 88


def test_without_noise_the_ratio_is_exact() -> None:
    got = ratio(*times(1.5, 0.0))
    assert (got.median, got.low, got.high, got.validity) == pytest.approx((1.5, 1.5, 1.5, 1.0))
    assert got.valid


def test_one_stalled_round_moves_nothing() -> None:
    ours, peer = times(1.5, 0.01)
    ours[7] *= 50
    assert ratio(ours, peer).median == pytest.approx(1.5, rel=0.02)


def test_a_seeded_slow_down_is_seen() -> None:
    ours, peer = times(1.2, 0.03)
    slow = ratio([t * 1.1 for t in ours], peer)
    assert slow.high < 1.2


def test_an_aa_pair_that_strays_makes_the_run_invalid() -> None:
    ours, peer = times(1.2, 0.001)
    for side in (ours, peer):
        strayed = [t * (1.05 if i % 2 else 1.0) for i, t in enumerate(side)]
        pair = (strayed, peer) if side is ours else (ours, strayed)
        assert not ratio(*pair).valid
    assert ratio(ours, peer).valid


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        ([1.0] * 4, [1.0] * 5),
        ([1.0] * 3, [1.0] * 3),
        ([1.0] * 2, [1.0] * 2),
        ([1, 1, 0, 1], [1] * 4),
        ([1, 1, -1, 1], [1] * 4),
    ],
)
def test_no_measurement_is_an_error(ours: list[float], peer: list[float]) -> None:
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"rounds|zero"):
        ratio(ours, peer)


@pytest.mark.parametrize("rounds", [4, 5, 8])
def test_rounds_are_interleaved_as_abba(rounds: int) -> None:
    order: list[str] = []
    record: Callable[[str], Callable[[], None]] = lambda name: lambda: order.append(name)  # noqa: E731
    peer = Interleaved(record("P"), settle=lambda: None)
    for _ in range(rounds):
        peer.setup()
        order.append("O")
    peer.finish()
    assert "".join(order) == ("POOP" * rounds)[: 2 * rounds]
    assert len(peer.times) == rounds


def test_each_round_begins_at_rest() -> None:
    order: list[str] = []
    peer = Interleaved(lambda: order.append("P"), settle=lambda: order.append("-"))
    for _ in range(4):
        peer.setup()
        order.append("O")
    peer.finish()
    assert "".join(order) == "-P-O-O-P-P-O-O-P"


def test_a_probe_comes_before_each_round() -> None:
    order: list[str] = []
    clock = iter(range(100))  # the peer's own, which stands still while others work
    probe: Callable[[], object] = lambda: order.append("m")  # noqa: E731
    peer = Interleaved(lambda: order.append("P"), lambda: next(clock), settle=lambda: order.append("-"), probe=probe)
    for _ in range(4):
        peer.setup()
        order.append("O")
    peer.finish()
    assert "".join(order) == "m-Pm-Om-Om-P" * 2
    assert (peer.times, len(peer.probes)) == ([1] * 4, 8)
    assert all(0 < seconds < 1 for seconds in peer.probes)
    assert next(clock) == 8


def test_threads_that_spin_are_waited_for() -> None:
    def spin(until: float) -> None:
        while time.perf_counter() < until:
            pass

    start = time.perf_counter()
    other = threading.Thread(target=spin, args=(start + 0.4,))
    other.start()
    assert until_idle()
    assert time.perf_counter() - start >= 0.35
    other.join()
    assert not until_idle(limit=0)


def test_a_process_that_never_rests_is_not_waited_for_for_ever() -> None:
    stop = threading.Event()
    other = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    other.start()
    start = time.perf_counter()
    try:
        assert not until_idle(limit=0.3)
        assert time.perf_counter() - start < 2
    finally:  # else the whole run never ends
        stop.set()
        other.join()
