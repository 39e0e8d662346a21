"""Whole recordings: windows and their context, temperatures, segments, batches, speech alone, live speech."""

from tests.teeth.fault import Fault, faults_of, seen

TRANSCRIBE, FALLBACK, SEGMENTS, BATCHED, VAD, LIVE = (
    f"maxwhisper_impl/{name}.py" for name in ("transcribe", "fallback", "segments", "batched", "vad", "live")
)
T = "tests/parity/"
OF_TRANSCRIBE, OF_BATCHED, OF_VAD, OF_LIVE, OF_FALLBACK = (
    f"{T}test_{name}.py" for name in ("transcribe", "batched", "vad", "live", "fallback")
)

EMPTIED = f"{OF_TRANSCRIBE}::test_a_segment_of_no_duration_or_text_is_emptied"


def loop(name: str, before: str, after: str, case: str, *, file: str = TRANSCRIBE, quick: bool = False) -> Fault:
    place = f"test_transcribe.py::test_{case}"
    test = f"tests/parity/{place}"
    return Fault(name, "transcribe", file, before, after, (test,), (place,), quick=quick)


def cut(name: str, before: str, after: str, quick: bool = False) -> Fault:
    test = f"{OF_TRANSCRIBE}::test_segments_and_seek"
    return Fault(name, "segments", SEGMENTS, before, after, (test,), ("test_transcribe.py::test_segments_and_seek",),
                 quick=quick)  # fmt: skip


speech = faults_of("vad", VAD, OF_VAD)
live = faults_of("live", LIVE, OF_LIVE)
failing = faults_of("fallback", FALLBACK, OF_FALLBACK)
FAULTS = (
    loop(
        "only-the-first-window",
        "while self.seek < end and not self.cancelled:",
        "if self.seek < end and not self.cancelled:",
        "option[tiny.en-defaults]",
    ),
    loop(
        "hot-results-are-context",
        "or result.temperature > 0.5:",
        "or result.temperature > 1.5:",
        "option[tiny.en-hot results are no context]",
    ),
    loop(
        "text-before-is-context-in-spite-of-the-option",
        "if not self.options.condition_on_previous_text or result",
        "if result",
        "option[tiny.en-windows by themselves]",
    ),
    loop(
        "initial-prompt-in-the-text",
        "return self.tokenizer.decode(self.tokens[len(self.initial_prompt) :])",
        "return self.tokenizer.decode(self.tokens)",
        "option[tiny.en-carried initial prompt]",
    ),
    Fault(
        "carried-prompt-cut-at-its-front",
        "transcribe",
        TRANSCRIBE,
        "return self.initial_prompt + said[-room:]",
        "return (self.initial_prompt + said)[-room:]",
        (f"{T}test_context.py",),
        ("test_context.py::test_prompts_of_three_windows[the initial prompt stays, what was said is cut]",),
    ),
    loop(
        "clips-are-whole-windows",
        "yield Window(self.seek, min(N_FRAMES, end - self.seek))",
        "yield Window(self.seek, N_FRAMES)",
        "option[tiny.en-clips]",
    ),
    loop(
        "silence-is-transcribed",
        "        if is_silence(self.options, result):\n            self.seek += window.size\n            return []\n",
        "",
        "option[tiny.en-no speech]",
    ),
    loop(
        "loops-are-cleaned-up",
        "        return self.tokenizer.decode(self.tokens[len(self.initial_prompt) :])",
        "        text = self.tokenizer.decode(self.tokens[len(self.initial_prompt) :])\n"
        '        return __import__("re").sub(r"\\b(\\w+)(?: \\1\\b)+", r"\\1", text)',
        "what_is_said_over_and_over_stays",
        quick=True,
    ),
    cut(
        "a-timestamp-is-one-frame",
        "last_position * FRAMES_PER_TIMESTAMP, ends_in_silence)",
        "last_position, ends_in_silence)",
        quick=True,
    ),
    cut(
        "a-single-last-timestamp-is-no-end",
        "is_time[-2:] == [False, True]",
        "is_time[-2:] == [True, True]",
    ),
    cut(
        "unfinished-segments-kept",
        "for first, end in zip([0, *pairs], pairs, strict=False):",
        "for first, end in zip([0, *pairs], [*pairs, len(tokens)], strict=False):",
    ),
    seen("text-before-the-recording-ends-the-printing", "segments", SEGMENTS,
         "format_timestamp(max(0.0, time))", "format_timestamp(time)", OF_TRANSCRIBE,
         "text_that_no_timestamp_leads_is_printed"),
    Fault(
        "empty-segments-keep-their-text",
        "segments",
        SEGMENTS,
        'if segment["start"] == segment["end"] or segment["text"].strip() == "":',
        'if segment["text"].strip() == "":',
        (f"{OF_TRANSCRIBE}::test_segments_and_seek", EMPTIED),
        ("test_transcribe.py::test_a_segment_of_no_duration_or_text_is_emptied",),
    ),
    failing(
        "repetition-is-no-failure",
        "result.compression_ratio > o.compression_ratio_threshold",
        "result.compression_ratio > 2 * o.compression_ratio_threshold",
        "what_is_decoded_again_and_what_is_silence",
        quick=True,
    ),
    failing(
        "silence-is-decoded-again",
        "(_repeats(o, result) or unlikely) and not (_no_speech(o, result) and unlikely)",
        "_repeats(o, result) or unlikely",
        "what_is_decoded_again_and_what_is_silence",
    ),
    failing(
        "no-speech-alone-is-silence",
        "return _no_speech(o, result) and not likely",
        "return _no_speech(o, result)",
        "what_is_decoded_again_and_what_is_silence",
    ),
    Fault(
        "best-result-kept-unasked",
        "fallback",
        FALLBACK,
        "if not (o.keep_best_fallback and needs_fallback(o, last)):",
        "if not needs_fallback(o, last):",
        (f"{OF_BATCHED}::test_keep_best_fallback",),
        ("test_batched.py::test_keep_best_fallback",),
    ),
    Fault(
        "falls-back-with-everything",
        "fallback",
        FALLBACK,
        "        failing = [i for i in failing if needs_fallback(options, tried[i][-1])]\n        if not failing:",
        "        if not any(needs_fallback(options, tried[i][-1]) for i in failing):",
        (f"{OF_BATCHED}::test_only_failing_windows_are_decoded_again",),
        ("test_batched.py::test_only_failing_windows_are_decoded_again",),
    ),
    Fault(
        "batches-cut-where-it-is-loudest",
        "batched",
        BATCHED,
        "int(around[::-1].argmin())",
        "int(around[::-1].argmax())",
        (f"{T}test_cuts.py",),
        ("test_cuts.py::test_cuts_lie_in_pauses",),
        quick=True,
    ),
    Fault(
        "pieces-in-the-order-they-end-in",
        "batched",
        BATCHED,
        "while going and going[0].done:\n                    piece = going.popleft()",
        "while done := [piece for piece in going if piece.done]:\n"
        "                    going.remove(piece := done[-1])",
        (f"{OF_BATCHED}::test_pieces_go_their_own_ways",),
        ("test_batched.py::test_pieces_go_their_own_ways",),
    ),
    Fault(
        "a-batch-is-not-filled-up",
        "batched",
        BATCHED,
        "while waiting and len(busy) < (self.options.batch_size or 1):",
        "while waiting and not going and len(busy) < (self.options.batch_size or 1):",
        (f"{OF_BATCHED}::test_pieces_go_their_own_ways",),
        ("test_batched.py::test_pieces_go_their_own_ways",),
    ),
    speech(
        "speech-ends-at-the-threshold-it-begins-at",
        "negative = max(o.threshold - 0.15, 0.01)",
        "negative = max(o.threshold, 0.01)",
        "speech_of_clips",
        "spans_of_any_probabilities",
        quick=True,
    ),
    speech(
        "speech-heard-without-what-was-before",
        "        before[1:] = run[:-1, -CONTEXT:]\n",
        "",
        "*",
    ),
    speech(
        "a-short-silence-padded-twice",
        "(silence := starts[i + 1] - ends[i]) < 2 * pad:",
        "(silence := starts[i + 1] - ends[i]) < pad:",
        "speech_of_clips",
        "speech_of_synthetic_audio",
        "spans_of_any_probabilities",
    ),
    speech(
        "a-word-across-two-spans",
        'at = self.index((word["start"] + word["end"]) / 2)',
        'at = self.index(word["start"])',
        "restored_times",
    ),
    speech(
        "restored-times-of-the-next-span",
        "return round(self.silences[self.index(time, is_end=is_end)",
        "return round(self.silences[self.index(time)",
        "restored_times",
        "restored_times_end_with_the_piece",
    ),
    live(
        "live-everything-is-final-at-once",
        "if ours != theirs and not (min(ours, theirs) >= begin and abs(ours - theirs) <= _SAME_TIME):",
        "if False:",
        "*",
        quick=True,
    ),
    live(
        "live-words-never-overdue",
        "max(count, self._overdue(), ",
        "max(count, ",
        "words_that_never_settle_are_final_in_time",
        "*",
    ),
    live(
        "live-one-pass-is-enough-to-hear-nothing",
        "if not self._decode([*before.tokens, *tokens]):",
        "if not self._decode(tokens):",
        "what_one_pass_does_not_hear_is_heard_by_the_next[all of it]",
        quick=True,
    ),
    live(
        "live-prompt-forgotten",
        "        self._past += self._final[:ended]\n",
        "",
        "segments_become_the_prompt",
        "*",
    ),
    live(
        "live-odd-byte-lost",
        "data = self._odd_byte + bytes(chunk)",
        "data = bytes(chunk)",
        "bytes_are_s16le_in_any_pieces",
    ),
)
