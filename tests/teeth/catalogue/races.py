"""Races, their history and their gate."""

from tests.teeth.fault import Fault

CONFTEST, SPEED, FASTER, GATE, VERDICTS, RECORDING, SWEEP, ROOFLINE, CEILINGS = (
    f"tests/{name}.py"
    for name in (
        "perf/conftest",
        "perf/test_speed",
        "adapters/faster",
        "perf/gate",
        "perf/verdicts",
        "perf/recording",
        "perf/sweep",
        "perf/roofline",
        "perf/ceilings",
    )
)


def perf(name: str, file: str, before: str, after: str, *speaks: str, quick: bool = False) -> Fault:
    """`speaks`: "test_file::what"."""
    files = tuple(dict.fromkeys(f"tests/{each.partition('::')[0]}.py" for each in speaks))
    places = tuple(each.replace("::", ".py::test_") for each in speaks)
    return Fault(name, "perf", file, before, after, files, places, quick=quick)


FAULTS = (
    perf(
        "the-peers-rounds-are-ours",
        CONFTEST,
        "peer_rounds=[rounded(x) for x in their_times]",
        "peer_rounds=[rounded(x) for x in times]",
        "test_perf::a_race_has_the_ratio_of_its_times",
        quick=True,
    ),
    perf(
        "an-interval-from-the-median",
        CONFTEST,
        "        low=got.low,\n",
        "        low=got.median,\n",
        "test_perf::what_a_race_records_is_its_interval",
    ),
    perf(
        "what-is-timed-held-to-itself",
        CONFTEST,
        "for written in (text, original))\n    compare",
        "for written in (original, original))\n    compare",
        "test_perf::what_is_timed_has_no_more_word_errors_than_the_original",
    ),
    perf(
        "the-shortest-is-timed",
        CONFTEST,
        "clip = max(spoken, key=lambda clip: clip.seconds)",
        "clip = min(spoken, key=lambda clip: clip.seconds)",
        "test_perf::what_is_timed_is_the_longest",
    ),
    perf(
        "our-mel-timed-as-the-peers",
        SPEED,
        "lambda: model.long_mel(audio), lambda: peer.model.long_mel(audio), rounds",
        "lambda: model.long_mel(audio), lambda: model.long_mel(audio), rounds",
        "test_perf::the_peer_is_what_is_timed_against[mel]",
    ),
    perf(
        "no-gate-for-encoding",
        SPEED,
        'gate("encode", checkpoint, peer, encode(model, oracle, peer, utterance, race, checkpoint, FULL))',
        "encode(model, oracle, peer, utterance, race, checkpoint, FULL)",
        "test_perf::full_measurements_go_through_the_gate",
    ),
    perf(
        "a-peer-may-decode-anything",
        SPEED,
        'for name, system in (("ours", model), (peer.name, peer.model)):',
        'for name, system in (("ours", model),):',
        "test_perf::a_peer_that_says_less_is_not_raced",
    ),
    perf(
        "a-peer-on-one-thread",
        "tests/implementations.py",
        "return Faster(checkpoint, device, dtype, available_cpus())",
        "return Faster(checkpoint, device, dtype, 1)",
        "test_adapters::faster_whisper_is_at_its_best",
        "test_adapters::each_system_is_its_own",
    ),
    perf(
        "a-peer-that-searches",
        FASTER,
        '**{"beam_size": 1, **renamed}',
        '**{"beam_size": 5, **renamed}',
        "test_adapters::faster_whisper_is_at_its_best",
    ),
    perf(
        "a-peer-with-our-setting",
        "tests/perf/test_fastest.py",
        "best = {which: settings.best(which, field.name, case).setting for which in (us, peer)}",
        "best = dict.fromkeys((us, peer), settings.best(us, field.name, case).setting)",
        "test_races::each_side_does_the_same_work_at_its_best",
    ),
    perf(
        "eight-windows-are-one",
        "tests/perf/cases.py",
        'if case == "step" else (self.windows, self.batch_steps)',
        "if case else (self.windows, self.batch_steps)",
        "test_races::each_side_does_the_same_work_at_its_best",
    ),
    perf(
        "a-peer-that-says-other-words-is-raced",
        "tests/perf/test_fastest.py",
        '        pytest.skip(f"left out: {read.fault}")\n',
        "        return read\n",
        "test_races::who_says_other_words_is_not_raced",
    ),
    perf(
        "no-peer-is-ever-raced",
        CONFTEST,
        "    if name == under_test:\n",
        "    if name:\n",
        "test_perf::ours_is_no_peer",
    ),
    perf(
        "no-machine-is-ever-busy",
        SWEEP,
        "return 1 - idle / total",
        "return 0.0",
        "test_fastest::how_busy_a_machine_is",
    ),
    perf(
        "before-is-shown-as-now",
        GATE,
        "finding.shown(finding.before),",
        "finding.shown(finding.now),",
        "test_gate_command::the_command_fails_and_says_why",
    ),
    perf(
        "the-first-runs-count",
        VERDICTS,
        "return kept[-WINDOW:], +left_out",
        "return kept[:WINDOW], +left_out",
        "test_gate::the_last_runs_count",
    ),
    perf(
        "two-runs-are-a-history",
        VERDICTS,
        "MIN_RUNS = 3",
        "MIN_RUNS = 2",
        "test_gate::too_little_history_is_said",
    ),
    perf(
        "compared-with-the-oldest",
        RECORDING,
        "return runs[-1].stem if runs",
        "return runs[0].stem if runs",
        "test_history::the_newest_run_of_this_kind_of_machine_is_compared_with",
    ),
    perf(
        "a-smoke-in-the-place-of-a-measurement",
        "maxwhisper_impl/history.py",
        "rows.sort(key=lambda row: len(row.ours))",
        "rows.sort(key=lambda row: -len(row.ours))",
        "test_gate_command::of_two_measurements_of_a_row_the_full_one_counts",
    ),
    perf(
        "a-share-upside-down",
        ROOFLINE,
        "bound, least / seconds)",
        "bound, seconds / least)",
        "test_roofline::a_share_is_the_least_time_over_the_time_taken",
    ),
    perf(
        "the-slowest-call-is-a-ceiling",
        CEILINGS,
        "    return min(taken)",
        "    return max(taken)",
        "test_roofline::a_ceiling_is_the_best_that_was_seen",
    ),
)
