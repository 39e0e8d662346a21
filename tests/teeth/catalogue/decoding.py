"""From logits to tokens: filters, searches, the language, the tokenizer."""

from tests.teeth.fault import Fault

FILTERS, BEAM, GREEDY, SEARCH, TASK, LANGUAGE, TOKENIZER = (
    f"maxwhisper_impl/{name}.py"
    for name in (
        "decoding/filters",
        "decoding/beam",
        "decoding/greedy",
        "decoding/search",
        "decoding/task",
        "decoding/language",
        "tokenizer",
    )
)
T = "tests/parity/"
OF_FILTERS, REPETITION, LOGITS = (f"{T}test_{name}.py" for name in ("filters", "repetition", "random_logits"))
DECODING, SAMPLING, OPTIONS, OF_TOKENIZER = (
    f"{T}test_{name}.py" for name in ("decoding", "sampling", "options", "tokenizer")
)
BY_HAND, DETECTED = f"{T}test_beams.py", f"{T}test_detected_languages.py"


def rule(name: str, before: str, after: str, *speaks: str, quick: bool = False) -> Fault:
    places = tuple(f"test_filters.py::test_{test}" for test in speaks)
    return Fault(name, "filters", FILTERS, before, after, (OF_FILTERS,), places, quick=quick)


def tokens(name: str, before: str, after: str, *speaks: str, quick: bool = False) -> Fault:
    places = tuple(f"test_tokenizer.py::test_{test}" for test in speaks)
    return Fault(name, "tokenizer", TOKENIZER, before, after, (OF_TOKENIZER,), places, quick=quick)


FAULTS = (
    rule(
        "blank-suppressed-at-every-step",
        "        if sampled.shape[1] == 0:\n            plan.suppressed.append(self.ids)",
        "        plan.suppressed.append(self.ids)",
        "suppress_blank_only_at_the_first_step",
        quick=True,
    ),
    rule(
        "a-segment-may-end-where-it-began",
        "newest] + ~closed",
        "newest]",
        "timestamp_rules",
        quick=True,
    ),
    rule(
        "first-timestamp-a-step-too-early",
        "self.timestamp_begin + self.max_initial_index + 1",
        "self.timestamp_begin + self.max_initial_index",
        "max_initial_timestamp",
    ),
    rule(
        "timestamps-judged-by-the-likeliest",
        "log_sum_exp(logits[:, begin:]) > logits",
        "logits[:, begin:].max(axis=1) > logits",
        "timestamps_together_likelier_than_text",
    ),
    rule(
        "timestamps-need-no-pairs",
        "plan.time_to[opened] = self.timestamp_begin",
        "pass",
        "timestamp_rules",
    ),
    rule(
        "a-likely-timestamp-is-not-forced",
        "        plan.prefer_timestamps = True\n",
        "",
        "timestamps_together_likelier_than_text",
    ),
    Fault(
        "penalty-divides-negative-logits",
        "filters",
        FILTERS,
        "np.where(old < 0, old * np.float32(plan.penalty), old / np.float32(plan.penalty))",
        "old / np.float32(plan.penalty)",
        (f"{REPETITION}::test_penalty", f"{REPETITION}::test_ngrams"),
        ("test_repetition.py::test_penalty",),
    ),
    Fault(
        "ngrams-a-token-short",
        "filters",
        FILTERS,
        "ngrams = sliding_window_view(sampled, self.size, axis=1)",
        "ngrams = sliding_window_view(sampled[:, :-1], self.size, axis=1)",
        (f"{REPETITION}::test_penalty", f"{REPETITION}::test_ngrams"),
        ("test_repetition.py::test_ngrams",),
    ),
    Fault(
        "a-slice-of-the-vocabulary-suppressed",
        "filters",
        TASK,
        "t.sot_prev, t.sot_lm, t.no_speech})",
        "t.sot_prev, t.sot_lm, t.no_speech} | set(range(1000, 1100)))",
        (OPTIONS,),
        ("test_options.py::test_suppressed_ids_are_the_oracles",),
        quick=True,
    ),
    Fault(
        "no-speech-may-be-sampled",
        "filters",
        TASK,
        "t.sot_prev, t.sot_lm, t.no_speech})",
        "t.sot_prev, t.sot_lm})",
        (OPTIONS,),
        ("test_options.py::test_suppressed_ids_are_the_oracles",),
    ),
    Fault(
        "a-beam-has-too-few-continuations",
        "search",
        BEAM,
        "top_logprobs(logits, self.size + 1)",
        "top_logprobs(logits, self.size)",
        (BY_HAND,),
        ("test_beams.py::test_an_end_takes_no_beams_place",),
        quick=True,
    ),
    Fault(
        "filled-up-with-the-least-likely-beams",
        "search",
        BEAM,
        "np.argsort(self.sums)[::-1][:lacking]",
        "np.argsort(self.sums)[:lacking]",
        (BY_HAND,),
        ("test_beams.py::test_finished_beams_are_filled_up_with_the_likeliest_unfinished_ones",),
        quick=True,
    ),
    Fault(
        "patience-ignored",
        "search",
        BEAM,
        "round(size * (patience or 1.0))",
        "size",
        (LOGITS, DECODING),
        ("test_random_logits.py::test_any_options", "test_decoding.py::test_search_times_context[*patient beams*"),
    ),
    Fault(
        "length-penalty-not-gnmts",
        "search",
        SEARCH,
        "((5 + len(tokens)) / 6) ** length_penalty",
        "len(tokens) ** length_penalty",
        (DECODING, LOGITS),
        ("test_decoding.py::test_ranking", "test_random_logits.py::test_any_options"),
    ),
    Fault(
        "log-probability-per-token-without-the-end",
        "search",
        TASK,
        "avg_logprob=total / (len(tokens) + 1)",
        "avg_logprob=total / max(len(tokens), 1)",
        (LOGITS, DECODING),
        ("test_random_logits.py::test_any_options", "test_decoding.py::test_search_times_context"),
        quick=True,
    ),
    Fault(
        "no-speech-read-at-the-last-token",
        "search",
        TASK,
        "softmax(first[:, 0])[:, self.tokenizer.no_speech]",
        "softmax(first[:, 1])[:, self.tokenizer.no_speech]",
        (DECODING,),
        ("test_decoding.py::test_*",),
    ),
    Fault(
        "temperature-multiplies",
        "search",
        GREEDY,
        "draw(logits / np.float32(self.temperature), uniform)",
        "draw(logits * np.float32(self.temperature), uniform)",
        (OF_FILTERS, SAMPLING),
        ("test_filters.py::test_samples_follow_the_distribution", "test_sampling.py::test_ids_come_as_often*"),
    ),
    Fault(
        "all-samples-of-a-window-are-one",
        "search",
        GREEDY,
        "*own[row // group], row % group])",
        "*own[row // group]])",
        (OF_FILTERS, SAMPLING),
        ("test_filters.py::test_streams_depend_on_seed_and_place_in_the_group_alone", "test_sampling.py::test_rows*"),
    ),
    Fault(
        "ended-rows-go-on-adding",
        "search",
        GREEDY,
        "self.ended[self.rows[running]] = tokens[running] == self.eot",
        "self.ended[self.rows] = tokens == self.eot",
        (DECODING, LOGITS),
        ("test_decoding.py::test_*", "test_random_logits.py::test_any_options"),
    ),
    Fault(
        "prompt-a-token-too-long",
        "search",
        TASK,
        "o.prompt or [])[-(n_ctx // 2 - 1) :]",
        "o.prompt or [])[-(n_ctx // 2) :]",
        (f"{DECODING}::test_option",),
        ("test_decoding.py::test_option[tiny.en-long prompt is cut]", "test_decoding.py::test_option[*context full*"),
    ),
    Fault(
        "answers-may-fill-the-context",
        "search",
        TASK,
        "self.sample_len = options.sample_len or dims.n_text_ctx // 2",
        "self.sample_len = options.sample_len or dims.n_text_ctx",
        (OPTIONS,),
        ("test_options.py::test_an_answer_takes_half_of_the_context_unless_told",),
    ),
    Fault(
        "a-language-left-out",
        "language",
        LANGUAGE,
        "ids = np.array(tokenizer.all_language_tokens)",
        "ids = np.array((*tokenizer.all_language_tokens[:-1], tokenizer.translate))",
        (DETECTED,),
        ("test_detected_languages.py::test_every_language_is_counted_and_nothing_else",),
        quick=True,
    ),
    Fault(
        "detected-language-of-the-first-window",
        "language",
        TASK,
        "tokens[:, self.sot_index + 1] = ids[list(windows)]",
        "tokens[:, self.sot_index + 1] = ids[0]",
        (DETECTED,),
        ("test_detected_languages.py::test_each_window_is_decoded_in_its_own_language",),
    ),
    tokens(
        "startoflm-for-transcribe",
        'return self.special_tokens["<|transcribe|>"]',
        'return self.special_tokens["<|startoflm|>"]',
        "attribute_is_the_oracles",
        "ids_follow_the_vocabulary",
        quick=True,
    ),
    tokens(
        "english-tokenizer-on-multilingual-weights",
        'encoding = get_encoding("multilingual", num_languages)',
        'encoding = get_encoding("gpt2", num_languages)',
        "*",
    ),
    tokens(
        "timestamps-left-in-the-text",
        "self.decode_with_timestamps([t for t in token_ids if t < self.timestamp_begin], errors)",
        "self.decode_with_timestamps(token_ids, errors)",
        "decode_drops_timestamps_and_decode_with_timestamps_spells_them",
        "*",
    ),
    tokens(
        "a-dash-may-begin-a-word",
        'result = {self.encoding.encode(" -")[0], self.encoding.encode(" \'")[0]}',
        "result = set[int]()",
        "attribute_is_the_oracles",
        "suppressed_set_of_tiny_en_is_faster_whispers",
    ),
    tokens(
        "cantonese-split-at-spaces",
        '_WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}',
        '_WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my"}',
        "*split*",
    ),
    tokens(
        "words-split-inside-characters",
        'if broken < 0 or text[offset + broken : offset + broken + 1] in ("\\ufffd", ""):',
        "if True:",
        "*split*",
    ),
    Fault(
        "languages-of-large-v3-not-counted",
        "tokenizer",
        "maxwhisper_impl/dims.py",
        "return self.n_vocab - 51765 - int(self.is_multilingual)",
        "return 99",
        (OPTIONS, OF_TOKENIZER, f"{T}test_checkpoint_interchange.py"),
        ("test_*",),
    ),
)
