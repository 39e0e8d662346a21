"""What lies beside weights, and where those of others are found."""

from tests.teeth.fault import seen

DIMS, WEIGHTS, CT2_FILE, FILES, FORMATS, HUGGINGFACE, NAMES, SAFETENSORS_FILE, VOCABULARY = (
    f"maxwhisper_impl/{name}.py"
    for name in (
        "dims", "weights/__init__", "weights/ct2_file", "weights/files", "weights/formats", "weights/huggingface",
        "weights/names", "weights/safetensors_file", "weights/vocabulary",
    )
)
OF_CHECKPOINT_NAMES, OF_CHECKPOINTS, OF_HUB_CACHE, OF_MODEL_BIN, OF_SIDE_FILES, OF_DISK, OF_BAD_CHECKPOINTS = (
    f"tests/{name}.py"
    for name in (
        "parity/test_checkpoint_names", "parity/test_checkpoints", "parity/test_hub_cache", "parity/test_model_bin",
        "parity/test_side_files", "robustness/test_disk", "parity/test_bad_checkpoints",
    )
)

FAULTS = (
    seen("a-folders-name-cut-at-its-dot", "weights", WEIGHTS, 'path.stem if path.suffix == ".pt" else path.name',
         "path.stem", OF_CHECKPOINT_NAMES, "an_official_name_tells_the_alignment_heads"),
    seen("ct2-older-revisions-refused", "weights", CT2_FILE, '"the revision")) > REVISION',
         '"the revision")) != REVISION', OF_MODEL_BIN, "an_older_revision_is_read"),
    seen("ct2-bfloat16-is-type-6", "weights", CT2_FILE, "BFLOAT16 = 5", "BFLOAT16 = 6", OF_MODEL_BIN,
         "bfloat16_is_widened_exactly"),
    seen("hf-nothing-said-first", "weights", HUGGINGFACE, '"begin_suppress_tokens": ids["begin"]',
         '"begin_suppress_tokens": ids["always"]', OF_SIDE_FILES, "generation_is_configured_as_published"),
    seen("hf-prompt-begins-with-startoflm", "weights", HUGGINGFACE, '"prev_sot_token_id": tokenizer.sot_prev',
         '"prev_sot_token_id": tokenizer.sot_lm', OF_SIDE_FILES, "generation_is_configured_as_published"),
    seen("hf-text-ends-where-it-starts", "weights", HUGGINGFACE,
         '("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>"',
         '("bos_token", "eos_token", "pad_token", "unk_token"), "<|startoftranscript|>"', OF_SIDE_FILES,
         "the_tokenizer_is_configured_as_published"),
    seen("features-of-15-seconds", "weights", VOCABULARY, '"nb_max_frames": 3000', '"nb_max_frames": 1500',
         OF_SIDE_FILES, "features_are_configured_as_published"),
    seen("timestamps-are-special", "weights", VOCABULARY, '"special": token < tokenizer.timestamp_begin',
         '"special": token <= tokenizer.timestamp_begin + 1500', OF_SIDE_FILES,
         "the_tokenizer_is_configured_as_published"),
    seen("training-text-with-timestamps", "weights", VOCABULARY, '"single": [start, plain, first, end]',
         '"single": [start, first, end]', OF_SIDE_FILES, "the_tokenizer_is_configured_as_published"),
    seen("a-folders-own-tokenizer-left-behind", "weights", VOCABULARY, "        if source and name in brought:\n",
         "        if False:\n", OF_SIDE_FILES, "a_folders_own_files_go_along"),
    seen("a-folders-own-suppression-left-behind", "weights", VOCABULARY,
         '        config |= read_json(source / "config.json")\n', "        pass\n", OF_SIDE_FILES,
         "a_folders_own_files_go_along"),
    seen("faster-whispers-turbo-overlooked", "weights", NAMES, '"mobiuslabsgmbh/faster-whisper-large-v3-turbo"',
         '"Systran/faster-whisper-large-v3-turbo"', OF_HUB_CACHE, "what_faster_whisper_has_downloaded_is_found"),
    seen("hf-home-ignored", "weights", NAMES, 'os.getenv("HF_HOME") or _user_cache()', "_user_cache()", OF_HUB_CACHE,
         "the_hubs_cache_is_where_its_library_has_it", quick=True),
    seen("the-oldest-revision-is-taken", "weights", NAMES, "key=lambda path: -path.stat().st_mtime",
         "key=lambda path: path.stat().st_mtime", OF_HUB_CACHE,
         "of_several_revisions_main_is_taken_or_else_the_newest"),
    seen("main-is-any-revision", "weights", NAMES, "[*(snapshots / revision for revision in revisions), *others]",
         "others", OF_HUB_CACHE, "of_several_revisions_main_is_taken_or_else_the_newest"),
    seen("safetensors-not-torchs", "weights", SAFETENSORS_FILE, '{"format": "pt"}', '{"format": "np"}', OF_SIDE_FILES,
         "safetensors_say_that_they_are_torchs_and_begin_aligned"),
    seen("safetensors-begin-anywhere", "weights", SAFETENSORS_FILE, 'text += b" " * (-len(text) % 8)', 'text += b""',
         OF_SIDE_FILES, "safetensors_say_that_they_are_torchs_and_begin_aligned"),
    seen("files-are-what-they-are-called", "weights", FORMATS, '        return "pt"\n',
         "        return _SUFFIXES.get(path.suffix)\n", OF_CHECKPOINTS,
         "a_file_is_what_it_holds_whatever_it_is_called"),
    seen("small-is-as-narrow-as-tiny", "weights", DIMS, '"small": _dims(768, 12, 12),', '"small": _dims(384, 12, 12),',
         OF_CHECKPOINTS, "official_sizes_are_those_that_openai_published"),
    seen("turbo-hears-80-bands", "weights", DIMS, "vocab=51866, mels=128, text_layers=4)",
         "vocab=51866, mels=80, text_layers=4)", OF_CHECKPOINTS, "official_sizes_are_those_that_openai_published"),
    seen("a-checkpoint-named-before-it-is-on-the-disk", "weights", FILES, "        _flush(draft)\n", "", OF_DISK,
         "what_gets_a_name_is_on_the_disk"),
    seen("hf-always-float32", "weights", HUGGINGFACE, 'str(checkpoint.tensors["decoder.token_embedding.weight"].dtype)',
         '"float32"', OF_SIDE_FILES, "the_dtype_is_that_of_the_tensors"),
    seen("half-a-download-is-taken", "weights", NAMES,
         'if (snapshot / "config.json").is_file() and format_of(snapshot):', "if format_of(snapshot):", OF_HUB_CACHE,
         "of_several_revisions_main_is_taken_or_else_the_newest"),
    seen("any-archive-is-an-npz", "weights", FORMATS,
         'return "npz" if any(name.endswith(".npy") for name in names) else _SUFFIXES.get(path.suffix)', 'return "npz"',
         OF_BAD_CHECKPOINTS, "what_is_no_checkpoint"),
)  # fmt: skip
