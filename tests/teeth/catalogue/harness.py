"""What the suite stands on: the oracle, what is kept of its answers, reviewed differences, the perf harness, scores."""

from tests.teeth.fault import Fault

BASELINES, DIFFERENCES, TRANSCRIPTS, OPENAI, RATIO, PERF, SPEED, WER = (
    f"tests/{name}.py"
    for name in (
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
OF_ADAPTERS, OF_BASELINES, OF_DIFFERENCES, OF_RATIO, OF_GATE, OF_PERF, OF_WER, OF_LOGITS, OF_VERDICTS = (
    f"tests/{name}.py"
    for name in (
        "test_adapters",
        "test_baselines",
        "test_differences",
        "test_ratio",
        "test_gate",
        "test_perf",
        "test_wer",
        "parity/test_logits",
        "test_verdicts",
    )
)


def perf(name: str, file: str, before: str, after: str, test: str, *speaks: str, quick: bool = False) -> Fault:
    return Fault(name, "perf", file, before, after, (test,), speaks, quick=quick)


FAULTS = (
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
        (
            "test_baselines.py::test_every_dependency_is_in_the_key",
            "test_baselines.py::test_the_oracle_is_asked_again_where_anything_differs",
        ),
    ),
    Fault(
        "a-key-of-one-part",
        "baselines",
        BASELINES,
        "json.dumps(parts, sort_keys=True, default=str)",
        'json.dumps(parts["audio"], default=str)',
        (OF_BASELINES,),
        (
            "test_baselines.py::test_every_dependency_is_in_the_key",
            "test_baselines.py::test_the_oracle_is_asked_again_where_anything_differs",
        ),
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
        "return bool(abs(np.log(self.validity)) <= np.log(1 + VALID))",
        "return True",
        OF_RATIO,
        "test_ratio.py::test_an_aa_pair_that_strays_makes_the_run_invalid",
    ),
    perf(
        "ours-always-second",
        RATIO,
        "        if self._round % 2 == 0:\n            if self._round:\n                self._run()\n"
        "            self._run()\n",
        "        self._run()\n",
        OF_RATIO,
        "test_ratio.py::test_rounds_are_interleaved_as_abba",
    ),
    perf(
        "a-round-of-many-calls-is-one",
        "maxwhisper_impl/history.py",
        'round / told.get("calls", 1)',
        "round",
        "tests/test_history.py",
        "test_history.py::test_rounds_of_several_calls",
    ),
    perf(
        "slow-rounds-are-a-figure",
        "tests/perf/noise.py",
        "ordered[..., : -(-ordered.shape[-1] // QUICK)]",
        "ordered",
        OF_GATE,
        "test_gate.py::test_a_figure_is_that_of_the_quick_rounds",
    ),
    perf(
        "ours-raced-against-ours",
        PERF,
        "other = load(IMPLEMENTATIONS[name], checkpoint, device)",
        "other = model",
        OF_PERF,
        "test_perf.py::test_ours_is_no_peer",
    ),
    perf(
        "a-gpu-raced-against-cpus",
        PERF,
        "other = load(IMPLEMENTATIONS[name], checkpoint, device)",
        'other = load(IMPLEMENTATIONS[name], checkpoint, "cpu")',
        OF_PERF,
        "test_perf.py::test_a_peer_races_on_the_same_device",
    ),
    perf(
        "ours-timed-as-the-peer",
        SPEED,
        "lambda: model.encode(mel), lambda: peer.model.encode(mel), rounds",
        "lambda: model.encode(mel), lambda: model.encode(mel), rounds",
        OF_PERF,
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
    Fault(
        "the-oracle-scored-as-ours",
        "scoring",
        "tests/quality/test_wer.py",
        "    ours, theirs = texts(transcripts, group), texts(oracle_transcripts, group)\n    got, want",
        "    ours, theirs = texts(oracle_transcripts, group), texts(oracle_transcripts, group)\n    got, want",
        (OF_VERDICTS,),
        ("test_verdicts.py::test_our_word_errors_are_held_to_the_oracles",),
    ),
    Fault(
        "layers-compared-with-themselves",
        "comparators",
        "tests/parity/test_encoder_layers.py",
        "judge.tensor(tap, model_taps[tap], float64_taps[tap], family(tap))",
        "judge.tensor(tap, float64_taps[tap], float64_taps[tap], family(tap))",
        (OF_VERDICTS,),
        ("test_verdicts.py::test_a_layer_is_held_to_the_oracles",),
    ),
    Fault(
        "our-own-margin-excuses",
        "comparators",
        "tests/parity/test_greedy.py",
        "for m in (model, oracle)]",
        "for m in (model, model)]",
        (OF_VERDICTS,),
        ("test_verdicts.py::test_only_the_oracles_own_margin_excuses",),
    ),
)
