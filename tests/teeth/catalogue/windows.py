"""Windows by hand: options, languages, prompts and streams of samples; what is printed, reported and cut."""

from tests.teeth.fault import Fault, seen

TRANSCRIBE, BATCHED, FALLBACK, ASKED, VAD, TASK, GREEDY, CHOICES = (
    f"maxwhisper_impl/{name}.py"
    for name in (
        "transcribe",
        "batched",
        "fallback",
        "transcribe_options",
        "vad",
        "decoding/task",
        "decoding/greedy",
        "decoding/options",
    )
)


def window(name: str, before: str, after: str, place: str, *, file: str = TRANSCRIBE, stage: str = "transcribe",
           of: str = "windows") -> Fault:  # fmt: skip
    return seen(name, stage, file, before, after, f"tests/parity/test_{of}.py", place)


def batch(name: str, before: str, after: str, place: str, of: str = "windows") -> Fault:
    return window(name, before, after, place, file=BATCHED, stage="batched", of=of)


def asked(name: str, before: str, after: str, place: str, file: str = ASKED) -> Fault:
    return window(name, before, after, place, file=file, of="options")


VOTE = "windows_are_asked_until_one_is_sure_as_in_faster_whisper"
PRINTED = "what_is_printed_is_what_is_returned"

FAULTS = (
    asked(
        "a-default-temperature-less",
        "(0.0, 0.2, 0.4, 0.6, 0.8, 1.0)",
        "(0.0, 0.2, 0.4, 0.6, 0.8)",
        "defaults_of_a_transcription_are_openais_and_faster_whispers",
    ),
    asked(
        "languages-must-be-surer",
        "language_detection_threshold: float | None = 0.5",
        "language_detection_threshold: float | None = 0.9",
        "defaults_of_a_transcription_are_openais_and_faster_whispers",
    ),
    asked(
        "clips-that-never-end",
        "if not 0 <= t < math.inf]",
        "if not 0 <= t]",
        "transcribe_refuses[clip without end]",
    ),
    asked(
        "a-prompts-tokens-one-too-many",
        "if not 0 <= token < dims.n_vocab:",
        "if not 0 <= token <= dims.n_vocab:",
        "decode_refuses[prompt just out]",
        CHOICES,
    ),
    asked(
        "suppressed-tokens-one-too-many",
        "if not -1 <= i < n_vocab]",
        "if not -1 <= i <= n_vocab]",
        "decode_refuses[suppress_tokens just out]",
        TASK,
    ),
    window(
        "a-batchs-speech-is-cut-as-nobody-asked",
        "{**defaults, **(given or {})}",
        "{**(given or {}), **defaults}",
        "options_of_a_transcription",
        file=VAD,
        stage="vad",
        of="vad",
    ),
    asked(
        "an-english-models-words-need-more-room",
        "(5 if dims.is_multilingual else 3)",
        "5",
        "words_of_an_english_model_need_less_room",
    ),
    asked(
        "prompts-to-come-are-short",
        "for prompt in (longest, self.options.initial_prompt):",
        "for prompt in (self.options.initial_prompt,):",
        "transcribe_refuses[prefix too long behind any prompt]",
        TRANSCRIBE,
    ),
    window(
        "context-of-a-half-is-too-hot",
        "result.temperature > 0.5",
        "result.temperature >= 0.5",
        "what_is_sampled_hotter_than_a_half_is_no_context",
        of="context",
    ),
    window(
        "the-first-windows-language-wins",
        "language = max(found, key=found.count)",
        "language = found[0]",
        VOTE,
        stage="language",
        of="detected_languages",
    ),
    window(
        "unsure-windows-decide",
        "probs[language] > threshold",
        "probs[language] < threshold",
        VOTE,
        stage="language",
        of="detected_languages",
    ),
    window(
        "the-silence-behind-votes-too",
        "N_FRAMES, max(self.mel.n_frames, 1))",
        "N_FRAMES, max(self.mel.n_total, 1))",
        VOTE,
        stage="language",
        of="detected_languages",
    ),
    window(
        "the-language-is-printed-only-with-segments",
        "if self.options.verbose is not None:\n            print",
        "if self.options.verbose:\n            print",
        "what_is_printed_of_the_language_is_what_the_oracle_prints",
        stage="language",
        of="detected_languages",
    ),
    window(
        "all-windows-in-the-first-ones-language",
        "language = None if self.options.multilingual else self.language",
        "language = self.language",
        "each_window_may_speak_another_language",
    ),
    window(
        "words-split-in-the-first-windows-language",
        "self._tokenizer_of(language), self.last_speech",
        "self.tokenizer, self.last_speech",
        "each_window_may_speak_another_language[None]",
    ),
    window(
        "printed-in-times-of-the-speech-alone",
        "print_segments(self._in_recording(cut.segments))",
        "print_segments(cut.segments)",
        PRINTED,
    ),
    window(
        "progress-beyond-the-end",
        "        now = min(self.mel.n_frames, now)\n",
        "",
        "progress_ends_with_the_recording",
    ),
    window(
        "a-frame-of-two-pieces-is-heard-twice",
        "(-(-start // HOP_LENGTH), end",
        "(start // HOP_LENGTH, end",
        "speech_is_cut_at_whole_frames",
        stage="vad",
    ),
    batch("a-batch-is-not-printed", "if self.options.verbose:", "if False:", PRINTED),
    batch(
        "a-batch-is-printed-in-times-of-the-speech-alone",
        "print_segments(self._in_recording(piece.segments, until))",
        "print_segments(piece.segments)",
        PRINTED,
    ),
    batch("empty-segments-of-a-batch-keep-their-text", "        clear_empty(piece.segments)\n", "", PRINTED),
    batch(
        "a-piece-reaches-over-the-silence-behind-it",
        "return self._in_recording(segments, until)",
        "return self._in_recording(segments)",
        "a_time_behind_its_piece_stays_in_it",
    ),
    batch(
        "words-of-a-batch-split-in-one-language",
        "self._tokenizer_of(language), piece.last_speech",
        "self.tokenizer, piece.last_speech",
        "each_window_may_speak_another_language",
    ),
    batch(
        "speech-before-a-window-forgotten",
        "return seconds(self.start) if end is None else end",
        "return seconds(self.start)",
        "words_follow_on_the_last_speech_before_their_window",
    ),
    batch(
        "a-cancelled-batch-goes-on",
        "while (waiting or going) and not self.cancelled:",
        "while waiting or going:",
        "a_cancelled_batch_is_the_last",
    ),
    batch(
        "the-first-of-equal-silences",
        "len(around) - 1 - int(around[::-1].argmin())",
        "int(around.argmin())",
        "where_all_is_as_quiet_pieces_are_long",
        of="cuts",
    ),
    batch(
        "cut-off-in-the-second-half",
        "SHORTEST = N_FRAMES * 2 // 3",
        "SHORTEST = N_FRAMES // 2",
        "the_quietest_third_of_a_second_of_the_last_ten_is_cut",
        of="cuts",
    ),
    batch(
        "pauses-are-longer",
        "PAUSE = 30",
        "PAUSE = 60",
        "the_quietest_third_of_a_second_of_the_last_ten_is_cut",
        of="cuts",
    ),
    window(
        "speech-never-ends-at-low-thresholds",
        "max(o.threshold - 0.15, 0.01)",
        "max(o.threshold - 0.15, 0.0)",
        "spans_of_any_probabilities",
        file=VAD,
        stage="vad",
        of="vad",
    ),
    window(
        "windows-sample-alike",
        "(windows[i].seek, round(1000 * temperature))",
        "(round(1000 * temperature),)",
        "each_window_and_temperature_draws_from_a_stream_of_its_own",
        file=FALLBACK,
        stage="fallback",
        of="fallback",
    ),
    window(
        "an-assistant-asked-at-every-temperature",
        "if drafts and not temperature else None",
        "if drafts else None",
        "an_assistant_is_asked_once",
        file=FALLBACK,
        stage="fallback",
        of="fallback",
    ),
    window(
        "streams-of-windows-ignored",
        "Sampler(o.temperature, o.seed, rows, self.group, streams)",
        "Sampler(o.temperature, o.seed, rows, self.group)",
        "windows_are_sampled_apart",
        file=TASK,
        stage="search",
        of="random_logits",
    ),
    window(
        "only-the-first-number-of-a-seed",
        "else list(seed)",
        "else list(seed)[:1]",
        "windows_draw_apart",
        file=GREEDY,
        stage="search",
        of="sampling",
    ),
    window(
        "samples-do-not-count-in-batches",
        "max(o.decoding.beam_size or 1, o.decoding.best_of or 1)",
        "(o.decoding.beam_size or 1)",
        "more_rows_together_than_memory_holds_are_refused",
        file=ASKED,
        of="wrong_types",
    ),
)
