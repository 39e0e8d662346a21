"""What goes in and out of the package as files: subtitles and other formats, corpora, scores, comparisons, the CLI."""

from tests.teeth.fault import Fault, faults_of, judged

WRITERS, SUBTITLES, CORPUS, SCORING, COMPARE, SYSTEMS, COMMANDS = (
    f"maxwhisper_impl/{name}.py"
    for name in ("writers", "subtitles", "corpus", "scoring", "compare", "systems", "commands")
)
T = "tests/parity/test_"


def written(name: str, before: str, after: str, *speaks: str, file: str = WRITERS, quick: bool = False) -> Fault:
    stage = "writers" if file == WRITERS else "subtitles"
    return judged(stage, name, file, before, after, f"{T}writers.py", *speaks, quick=quick)


compared = faults_of("compare", COMPARE, f"{T}compare_command.py")
FAULTS = (
    written(
        "milliseconds-cut-off",
        "total = round(seconds * 1000.0)",
        "total = int(seconds * 1000.0)",
        "*",
        quick=True,
    ),
    written(
        "srt-with-a-point",
        'always_include_hours=True, decimal_marker=","',
        'always_include_hours=True, decimal_marker="."',
        "equal_to_the_oracles[srt]",
    ),
    written(
        "arrows-left-in-cues",
        '.strip().replace("-->", "->")',
        ".strip()",
        "*equal*oracles*",
    ),
    written(
        "tabs-left-in-tsv",
        '.strip().replace("\\t", " ")',
        ".strip()",
        "*equal*oracles*",
    ),
    written(
        "a-line-may-be-a-letter-too-wide",
        'self.line_width + len(word["word"]) <= self.max_width',
        'self.line_width + len(word["word"]) <= self.max_width + 1',
        "*equal*oracles*",
        file=SUBTITLES,
        quick=True,
    ),
    written(
        "a-pause-never-ends-a-subtitle",
        'not self.keep_segments and word["start"] - self.last > LONG_PAUSE',
        "False",
        "*equal*oracles*",
        file=SUBTITLES,
    ),
    written(
        "pauses-are-highlighted",
        "        if last != start:\n            yield last, start",
        "        if False:\n            yield last, start",
        "*highlighted*",
        "*equal*oracles*",
    ),
    Fault(
        "a-clip-without-text-says-nothing",
        "corpus",
        CORPUS,
        'text=row.nullable("text"),',
        'text=row.nullable("text") or "",',
        (f"{T}corpus.py",),
        ("test_corpus.py::test_unknown_text_and_no_text_stay_apart",),
        quick=True,
    ),
    Fault(
        "words-out-of-order-accepted",
        "corpus",
        CORPUS,
        "            earliest = start\n",
        "",
        (f"{T}corpus.py",),
        ("test_corpus.py::test_a_malformed_line_is_named",),
    ),
    Fault(
        "dropped-words-are-no-errors",
        "scoring",
        SCORING,
        "errors += counts.substitutions + counts.deletions + counts.insertions",
        "errors += counts.substitutions + counts.insertions",
        ("tests/test_wer.py",),
        ("test_wer.py::test_errors_of_one_clip",),
        quick=True,
    ),
    Fault(
        "german-normalised-as-english",
        "scoring",
        SCORING,
        'EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()',
        "EnglishTextNormalizer()",
        ("tests/test_wer.py",),
        ("test_wer.py::test_numbers_and_spelling_are_normalised_in_english_only",),
    ),
    Fault(
        "words-of-substitutions-not-counted",
        "scoring",
        SCORING,
        "words += counts.hits + counts.substitutions + counts.deletions",
        "words += counts.hits + counts.deletions",
        ("tests/test_wer.py",),
        ("test_wer.py::test_*",),
    ),
    compared(
        "the-fastest-round-is-reported",
        "        return median(self.rounds)",
        "        return min(self.rounds)",
        "rounds_give_their_median_and_speed_is_over_openai",
    ),
    compared(
        "no-turns-taken-back",
        "for run in runs if number % 2 == 0 else runs[::-1]:",
        "for run in runs:",
        "systems_take_turns_there_and_back",
        quick=True,
    ),
    compared(
        "no-rest-between-turns",
        "    run.worker.rest()\n    run.rounds",
        "    run.rounds",
        "each_comes_to_rest_before_the_next_one_starts",
    ),
    compared(
        "a-quantised-oracle",
        '(run.worker.spec.system, run.worker.spec.dtype) == (ORACLE, "float32")',
        "run.worker.spec.system == ORACLE",
        "a_quantised_oracle_is_no_oracle",
    ),
    compared(
        "speed-upside-down",
        "median(oracle.rounds) / median(run.rounds)",
        "median(run.rounds) / median(oracle.rounds)",
        "rounds_give_their_median_and_speed_is_over_openai",
    ),
    compared(
        "changing-transcripts-pass",
        "        if known != transcript:\n",
        "        if False:\n",
        "a_transcript_that_changes_is_a_failure",
    ),
    Fault(
        "agreement-of-sets",
        "scoring",
        SCORING,
        "return Levenshtein.normalized_similarity(tokens, oracle)",
        "return Levenshtein.normalized_similarity(sorted(tokens), sorted(oracle))",
        (f"{T}scoring.py",),
        ("test_scoring.py::test_agreement_is_one_only_for_equal_tokens",),
    ),
    Fault(
        "faster-whisper-with-five-beams",
        "compare",
        SYSTEMS,
        "            beam_size=1,\n",
        "            beam_size=5,\n",
        (f"{T}systems.py::test_options_are_pinned",),
        ("test_systems.py::test_options_are_pinned",),
        quick=True,
    ),
    Fault(
        "whisper-cpp-falls-back",
        "compare",
        "maxwhisper_impl/whisper_cpp.py",
        "options.temperature, options.temperature_inc = 0.0, 0.0",
        "options.temperature, options.temperature_inc = 0.0, 0.2",
        (f"{T}whisper_cpp.py::test_options_are_pinned",),
        ("test_whisper_cpp.py::test_options_are_pinned",),
    ),
    Fault(
        "ggml-axes-as-they-are",
        "weights",
        "maxwhisper_impl/weights/ggml.py",
        "*shape[::-1])",
        "*shape)",
        (f"{T}ggml.py",),
        ("test_ggml.py::test_every_number_is_there",),
        quick=True,
    ),
    Fault(
        "one-bad-file-stops-the-others",
        "cli",
        COMMANDS,
        "failed.append(str(error) if file in str(error) or file == \"-\" else f\"{file}: {error}\")",
        "failed.append(str(error) if file in str(error) or file == \"-\" else f\"{file}: {error}\")\n"
        "                break",
        (f"{T}cli.py",),
        ("test_cli.py::test_one_bad_file_costs_itself_alone",),
        quick=True,
    ),
    Fault(
        "failures-end-in-status-0",
        "cli",
        COMMANDS,
        "        complain(line)\n    return 1 if failed else 0\n\n\ndef audio_files",
        "        complain(line)\n    return 0\n\n\ndef audio_files",
        (f"{T}cli.py",),
        ("test_cli.py::test_one_bad_file_costs_itself_alone",),
    ),
    Fault(
        "the-command-is-greedy",
        "cli",
        "maxwhisper_impl/cli.py",
        'add("--beam_size", type=_optional_int, default=5,',
        'add("--beam_size", type=_optional_int, default=None,',
        (f"{T}cli.py",),
        ("test_cli.py::test_flags_and_defaults_are_openais",),
    ),
)
