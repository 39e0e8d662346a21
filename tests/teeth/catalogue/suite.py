"""The suite's own: comparators, the ledger, the oracle, baselines, reviewed differences, the perf harness."""

from tests.teeth.fault import Fault

COMPARE, LEDGER, BASELINES, DIFFERENCES, TRANSCRIPTS, OPENAI, RATIO, PERF, SPEED, WER = (
    f"tests/{name}.py"
    for name in (
        "compare",
        "tolerances",
        "baselines",
        "differences",
        "transcripts",
        "adapters/openai",
        "perf/ratio",
        "perf/conftest",
        "perf/test_speed",
        "quality/wer",
    )
)
OF_COMPARE, OF_BASELINES, OF_DIFFERENCES, OF_RATIO, OF_WER, OF_LEDGER, OF_LOGITS, OF_ADAPTERS = (
    f"tests/{name}.py"
    for name in (
        "test_compare",
        "test_baselines",
        "test_differences",
        "test_ratio",
        "test_wer",
        "parity/test_ledger",
        "parity/test_logits",
        "test_adapters",
    )
)


def comparator(name: str, before: str, after: str, *speaks: str, quick: bool = False) -> Fault:
    places = tuple(f"test_compare.py::test_{test}" for test in speaks)
    return Fault(name, "comparators", COMPARE, before, after, (OF_COMPARE,), places, quick=quick)


def ledger(name: str, before: str, after: str, test: str, *speaks: str, quick: bool = False) -> Fault:
    return Fault(name, "ledger", LEDGER, before, after, (test,), speaks, quick=quick)


def perf(name: str, file: str, before: str, after: str, test: str, *speaks: str, quick: bool = False) -> Fault:
    return Fault(name, "perf", file, before, after, (test,), speaks, quick=quick)


FAULTS = (
    comparator(
        "cosine-alone",
        "value = measure(ours, theirs)",
        "value = 1 - float(np.vdot(ours, theirs) / max(np.linalg.norm(ours) * np.linalg.norm(theirs), 1e-300))",
        "tensor_rejects[scaled by 3.6]",
        quick=True,
    ),
    comparator(
        "nan-is-equal",
        "    _finite(name, ours)\n",
        "    ours = np.nan_to_num(ours)\n",
        "tensor_rejects[one NaN]",
        "logits_reject[suppressed]",
        "tensor_rejects*",
    ),
    comparator(
        "shapes-broadcast",
        "    if ours.shape != theirs.shape:\n        swapped",
        "    if False:\n        swapped",
        "tensor_rejects[axes swapped]",
        "tensor_rejects[batch squeezed]",
    ),
    comparator(
        "error-relative-to-ours",
        "error, norm = float(np.linalg.norm(got - want)), float(np.linalg.norm(want))",
        "error, norm = float(np.linalg.norm(got - want)), float(np.linalg.norm(got)) ** 2",
        "*",
    ),
    comparator(
        "a-prefix-is-equal",
        "return None if len(got) == len(want) else min(len(got), len(want))",
        "return None",
        "tokens_reject[end missing]",
        quick=True,
    ),
    comparator(
        "any-gap-is-a-near-tie",
        "if not 0 <= gap <= limit or step < minimum:",
        "if not gap <= limit or step < minimum:",
        "tokens_excuse_only_a_near_tie_of_the_oracle_and_print_it",
    ),
    comparator(
        "no-minimum-of-steps",
        "        if len(theirs) < minimum:",
        "        if False:",
        "tokens_demand_a_minimum_of_compared_steps",
    ),
    comparator(
        "text-without-case-and-spaces",
        "    if got == want:\n",
        "    if got.lower().split() == want.lower().split():\n",
        "text_rejects",
    ),
    comparator(
        "words-may-be-missing",
        "    if len(got) != len(want):\n        raise AssertionError(f\"{name}: {len(got)} words, expected",
        "    if False:\n        raise AssertionError(f\"{name}: {len(got)} words, expected",
        "words_reject",
    ),
    comparator(
        "nan-is-close",
        "    if not error <= limit:\n        raise AssertionError(f\"{name}: {got:.6g}",
        "    if error > limit:\n        raise AssertionError(f\"{name}: {got:.6g}",
        "close_rejects_far_values_and_nan",
    ),
    comparator(
        "one-more-word-error-passes",
        "    if errors > allowed:",
        "    if errors > allowed + 1:",
        "wer_rejects_one_more_error_and_no_measurement",
    ),
    comparator(
        "kl-the-other-way-round",
        "p, q = log_softmax(want), log_softmax(got)",
        "p, q = log_softmax(got), log_softmax(want)",
        "kl_is_the_textbook_value",
    ),
    comparator(
        "an-invalid-run-passes",
        "    if abs(np.log(validity)) > np.log(1.02):",
        "    if False:",
        "ratio_rejects_slow_unsure_and_invalid_runs",
        quick=True,
    ),
    comparator(
        "the-gate-takes-the-median",
        "    if low < at_least:",
        "    if median < at_least:",
        "ratio_rejects_slow_unsure_and_invalid_runs",
    ),
    comparator(
        "bitwise-equality-is-no-suspicion",
        "if ours.shape == theirs.shape and np.array_equal(",
        "if False and np.array_equal(",
        "an_oracle_that_returns_ours_is_caught",
    ),
    ledger(
        "a-row-times-100",
        '"mel/max_abs": _contract("max_abs", 1e-4, 4.2e-5,',
        '"mel/max_abs": _contract("max_abs", 1e-2, 4.2e-5,',
        OF_COMPARE,
        "test_compare.py::test_the_ledger_keeps_its_own_rules",
        quick=True,
    ),
    ledger(
        "a-layers-measurement-times-100",
        '**_layer("encoder.ln_post", 3.5e-06, 1.3e-03,',
        '**_layer("encoder.ln_post", 3.5e-04, 1.3e-01,',
        OF_LEDGER,
        "test_ledger.py::test_measured_again",
        quick=True,
    ),
    ledger(
        "a-kernels-measurement-times-100",
        '"kernels/rel_l2": _float32("rel_l2", 3.8e-07,',
        '"kernels/rel_l2": _float32("rel_l2", 3.8e-05,',
        "tests/parity/test_kernel_ledger.py",
        "test_kernel_ledger.py::test_kernels_measured_again",
    ),
    ledger(
        "a-steps-measurement-times-100",
        '**_layer("row.logits", 2.8e-05, 1.4e-04, _ROW)',
        '**_layer("row.logits", 2.8e-03, 1.4e-02, _ROW)',
        OF_LEDGER,
        "test_ledger.py::test_rows_and_scores_measured_again",
    ),
    ledger(
        "word-scores-measurement-times-100",
        '**_layer("decoder.cross_scores", 4.5e-06, 1.5e-03,',
        '**_layer("decoder.cross_scores", 4.5e-04, 1.5e-01,',
        OF_LEDGER,
        "test_ledger.py::test_rows_and_scores_measured_again",
    ),
    ledger(
        "a-near-tie-times-100",
        '"near_tie/margin": _float32("margin", 5.2e-05,',
        '"near_tie/margin": _float32("margin", 5.2e-03,',
        OF_LEDGER,
        "test_ledger.py::test_measured_again",
    ),
    ledger(
        "forty-times-the-oracles-error",
        "K = 4.0",
        "K = 40.0",
        OF_COMPARE,
        "test_compare.py::test_the_ledger_keeps_its_own_rules",
    ),
    Fault(
        "the-oracle-is-ours",
        "oracle",
        OPENAI,
        "return self.torch.encoder(self._tensor(mel)).cpu().numpy()",
        "from tests.adapters.ours import Ours\n\n        return Ours(self.checkpoint).encode(mel)",
        (OF_ADAPTERS,),
        ("test_adapters.py::test_no_peer_adapter_computes_with_our_code",),
        quick=True,
    ),
    Fault(
        "the-oracle-is-registered-as-ours",
        "oracle",
        "tests/implementations.py",
        "    from tests.adapters.openai import OpenAI\n\n    return OpenAI(checkpoint, device, dtype)",
        "    from tests.adapters.ours import Ours as OpenAI\n\n    return OpenAI(checkpoint, device, dtype)",
        (OF_ADAPTERS,),
        ("test_adapters.py::test_each_system_is_its_own",),
    ),
    Fault(
        "the-oracle-falls-back-to-random-numbers",
        "oracle",
        OPENAI,
        "        return self.torch.encoder(self._tensor(mel)).cpu().numpy()",
        "        try:\n"
        "            return self.torch.encoder(self._tensor(mel)).cpu().numpy()\n"
        "        except Exception:\n"
        "            return np.random.default_rng().standard_normal((len(mel), 1500, self.dims.n_audio_state))",
        (OF_ADAPTERS,),
        ("test_adapters.py::test_no_adapter_hides_a_failure",),
        quick=True,
    ),
    Fault(
        "the-oracle-encodes-at-half-precision",
        "oracle",
        OPENAI,
        "return self.torch.encoder(self._tensor(mel)).cpu().numpy()",
        "return self.torch.encoder(self._tensor(mel)).cpu().numpy().astype(np.float16).astype(np.float32)",
        (f"{OF_LOGITS}::test_the_oracle_is_within_its_own_ledger",),
        ("test_logits.py::test_the_oracle_is_within_its_own_ledger",),
        "random-128-mels",
    ),
    Fault(
        "answers-kept-whatever-the-options",
        "baselines",
        TRANSCRIPTS,
        "            options=options,\n",
        "",
        (OF_BASELINES,),
        ("test_baselines.py::test_every_dependency_is_in_the_key",),
        quick=True,
    ),
    Fault(
        "answers-kept-whatever-the-weights",
        "baselines",
        BASELINES,
        "    if id(checkpoint) not in _hashes:",
        "    for kept, digest in _hashes.values():\n"
        "        return digest\n"
        "    if id(checkpoint) not in _hashes:",
        (OF_BASELINES,),
        ("test_baselines.py::test_every_dependency_is_in_the_key",),
    ),
    Fault(
        "a-key-of-one-part",
        "baselines",
        BASELINES,
        "json.dumps(parts, sort_keys=True, default=str)",
        'json.dumps(parts["audio"], default=str)',
        (OF_BASELINES,),
        ("test_baselines.py::test_every_dependency_is_in_the_key",),
    ),
    Fault(
        "half-an-answer-is-kept",
        "baselines",
        BASELINES,
        "(FileNotFoundError, json.JSONDecodeError)",
        "FileNotFoundError",
        (OF_BASELINES,),
        ("test_baselines.py::test_only_what_is_missing_is_computed",),
    ),
    Fault(
        "the-implementation-under-test-is-remembered",
        "baselines",
        "conftest.py",
        "checkpoint, device, dtype, keep=False)",
        "checkpoint, device, dtype, keep=True)",
        (OF_BASELINES,),
        ("test_baselines.py::test_what_is_under_test_is_never_remembered",),
    ),
    Fault(
        "a-difference-that-is-gone-passes",
        "differences",
        "conftest.py",
        "raises=AssertionError, strict=True,",
        "raises=AssertionError, strict=False,",
        (OF_DIFFERENCES,),
        ("test_differences.py::test_a_line_is_a_strict_expectation",),
        quick=True,
    ),
    Fault(
        "a-difference-of-everything",
        "differences",
        DIFFERENCES,
        'return re.fullmatch(f"(.*/)?{pattern}", nodeid) is not None',
        "return re.search(pattern, nodeid) is not None",
        (OF_DIFFERENCES,),
        ("test_differences.py::test_patterns",),
    ),
    Fault(
        "a-crash-is-a-difference",
        "differences",
        "conftest.py",
        "pytest.mark.xfail(raises=AssertionError, strict=True,",
        "pytest.mark.xfail(strict=True,",
        (OF_DIFFERENCES,),
        ("test_differences.py::test_a_line_is_a_strict_expectation",),
    ),
    perf(
        "ratio-upside-down",
        RATIO,
        "blocks = (b - a).reshape(-1, 2).mean(axis=1)",
        "blocks = (a - b).reshape(-1, 2).mean(axis=1)",
        OF_RATIO,
        "test_ratio.py::test_the_interval_covers_the_truth",
        "test_ratio.py::test_without_noise_the_ratio_is_exact",
        quick=True,
    ),
    perf(
        "an-interval-too-narrow",
        RATIO,
        "tail = 50 * (1 - CONFIDENCE)",
        "tail = 50 * CONFIDENCE",
        OF_RATIO,
        "test_ratio.py::test_the_interval_covers_the_truth",
    ),
    perf(
        "no-aa-pair",
        RATIO,
        "return abs(np.log(self.validity)) <= np.log(1 + VALID)",
        "return True",
        OF_RATIO,
        "test_ratio.py::test_an_aa_pair_that_strays_makes_the_run_invalid",
    ),
    perf(
        "ours-always-second",
        RATIO,
        "        if self._round % 2 == 0:\n            if self._round:\n                self._run()\n            self._run()\n",
        "        self._run()\n",
        OF_RATIO,
        "test_ratio.py::test_rounds_are_interleaved_as_abba",
    ),
    perf(
        "ours-raced-against-ours",
        PERF,
        "other = load(IMPLEMENTATIONS[name], checkpoint)",
        "other = model",
        "tests/test_perf.py",
        "test_perf.py::test_ours_is_no_peer",
    ),
    perf(
        "ours-timed-as-the-peer",
        SPEED,
        "lambda: model.encode(mel), lambda: peer.model.encode(mel), rounds",
        "lambda: model.encode(mel), lambda: model.encode(mel), rounds",
        "tests/test_perf.py",
        "test_perf.py::test_the_peer_is_what_is_timed_against",
    ),
    Fault(
        "texts-scored-against-themselves",
        "scoring",
        WER,
        'pairs = [(clip.text or "", text, clip.language or "en")',
        'pairs = [(text, text, clip.language or "en")',
        (OF_WER,),
        ("test_wer.py::test_errors_of_one_clip",),
        quick=True,
    ),
)
