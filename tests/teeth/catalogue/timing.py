"""Word times, and what they tell of hallucinations."""

from tests.teeth.fault import Fault, faults_of, judged

ALIGNMENT, TIMING, ODD = (f"maxwhisper_impl/{name}.py" for name in ("alignment", "timing", "hallucinations"))
OF_TIMING, OF_ODD = "tests/parity/test_timing.py", "tests/parity/test_hallucinations.py"


def times(name: str, file: str, before: str, after: str, *speaks: str, quick: bool = False) -> Fault:
    return judged("timing", name, file, before, after, OF_TIMING, *speaks, quick=quick)


odd = faults_of("hallucinations", ODD, OF_ODD)
FAULTS = (
    times(
        "paths-prefer-the-diagonal-of-equals",
        ALIGNMENT,
        "            if both < row and both < column:",
        "            if both <= row and both <= column:",
        "paths_are_the_oracles",
        quick=True,
    ),
    times(
        "costs-added-in-float32",
        ALIGNMENT,
        "cost = np.full((n + m + 1, n + 1), np.inf)",
        "cost = np.full((n + m + 1, n + 1), np.inf, np.float32)",
        "paths_are_the_oracles",
        "long_paths_are_the_oracles",
    ),
    times(
        "median-filter-repeats-the-edge",
        ALIGNMENT,
        'mode="reflect"',
        'mode="edge"',
        "median_filter_is_the_oracles",
    ),
    times(
        "weights-standardised-over-time",
        ALIGNMENT,
        "    centred = weights - weights.mean(axis=0)\n",
        "    centred = weights - weights.mean(axis=1, keepdims=True)\n",
        "attention_is_weighed_as_the_oracle_does",
    ),
    times(
        "attention-beyond-the-audio",
        TIMING,
        "starts = align(scores, first, size // FRAMES_PER_TIMESTAMP)",
        "starts = align(scores, first, scores.shape[2])",
        "windows_of_a_batch_are_aligned_by_themselves",
    ),
    times(
        "words-begin-a-token-late",
        TIMING,
        "    first = len(starts[0]) - 1  #",
        "    first = len(starts[0])  #",
        "windows_of_a_batch_are_aligned_by_themselves",
    ),
    times(
        "word-probability-over-all-tokens",
        TIMING,
        "token_probabilities(logits[:, : tokenizer.eot], text)",
        "token_probabilities(logits, text)",
        "windows_of_a_batch_are_aligned_by_themselves",
    ),
    times(
        "marks-before-a-word-need-no-space",
        TIMING,
        'if mark.word.startswith(" ") and mark.word.strip() in prepended:',
        "if mark.word.strip() in prepended:",
        "punctuation_is_merged_as_the_oracle_does",
    ),
    times(
        "long-words-are-three-medians",
        TIMING,
        "return cls(median, 2 * median)",
        "return cls(median, 3 * median)",
        "segments_get_the_oracles_words",
        quick=True,
    ),
    times(
        "a-wide-question-mark-ends-no-sentence",
        TIMING,
        'SENTENCE_ENDS = ".。!！?？"',
        'SENTENCE_ENDS = ".。!！?"',
        "marks_that_end_sentences_are_the_oracles",
    ),
    times(
        "words-from-the-window-on",
        TIMING,
        'offset = seconds(segment["seek"])',
        "offset = 0.0",
        "segments_get_the_oracles_words",
    ),
    times(
        "each-segment-follows-the-windows-speech",
        TIMING,
        '                last_speech = segment["end"]\n',
        "",
        "segments_get_the_oracles_words",
    ),
    odd(
        "hallucinations-take-thirty-points",
        "CERTAIN = 3.0",
        "CERTAIN = 30.0",
        "odd_segments",
        "windows_follow_as_the_oracles",
        quick=True,
    ),
    odd(
        "silence-behind-the-recording-not-counted",
        "window_end = seconds(window.seek + N_FRAMES)",
        "window_end = seconds(window.seek + window.size)",
        "windows_follow_as_the_oracles",
    ),
    odd(
        "read-on-from-the-windows-end",
        "replace(cut, advance=round(end * FRAMES_PER_SECOND) - window.seek)",
        "cut",
        "windows_follow_as_the_oracles",
    ),
)
