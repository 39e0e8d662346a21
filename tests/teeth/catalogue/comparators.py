"""The suite's own comparators and ledger."""

from tests.teeth.fault import Fault, faults_of

COMPARE, LEDGER = "tests/compare.py", "tests/tolerances.py"
OF_COMPARE, OF_LEDGER, OF_KERNELS = (
    f"tests/{name}.py" for name in ("test_compare", "parity/test_ledger", "parity/test_kernel_ledger")
)


comparator = faults_of("comparators", COMPARE, OF_COMPARE)
def ledger(name: str, before: str, after: str, test: str, *speaks: str, quick: bool = False) -> Fault:
    return Fault(name, "ledger", LEDGER, before, after, (test,), speaks, quick=quick)


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
        "    if stray > 1.02 and low < at_least * stray:",
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
    comparator(
        "the-largest-difference-is-the-mean",
        "return float(np.abs(got - want).max())",
        "return float(np.abs(got - want).mean())",
        "the_largest_difference_has_a_row_of_its_own",
    ),
    comparator(
        "any-divergence-passes",
        "    if divergence > limit:",
        "    if False:",
        "logits_reject[the best a hair likelier]",
    ),
    comparator(
        "text-without-the-spaces-around-it",
        "    if got == want:\n",
        "    if got.strip() == want.strip():\n",
        "text_rejects",
    ),
    comparator(
        "ten-times-the-slack-in-words",
        "round((limit + slack) * words)",
        "round((limit + 10 * slack) * words)",
        "wer_rejects_one_more_error_and_no_measurement",
    ),
    Fault(
        "a-small-dtypes-measurement-times-100",
        "ledger",
        "tests/rounded_errors.py",
        '"logits/rel_l2": 5.83e-03',
        '"logits/rel_l2": 5.83e-01',
        (OF_COMPARE,),
        ("test_compare.py::test_the_ledger_keeps_its_own_rules",),
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
        OF_KERNELS,
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
        "test_compare.py::test_tensor_rejects",
    ),
)
