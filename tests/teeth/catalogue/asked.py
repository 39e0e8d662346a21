"""Options that do not reach what they are for: of the command, of loading a model, of a decoder's step."""

from tests.teeth.fault import seen

CLI, COMMANDS, ERRORS, FILES, RUNTIME, STATUS, WHISPER = (
    f"maxwhisper_impl/{name}.py"
    for name in ("cli", "commands", "errors", "files", "runtime", "status", "whisper")
)
OF_CLI, OF_CLI_PROCESS, OF_COMMANDS, OF_DECODER_STATE, OF_LIVE_COMMAND, OF_LOADING, OF_PUBLIC_API, OF_DISK = (
    f"tests/{name}.py"
    for name in (
        "parity/test_cli", "parity/test_cli_process", "parity/test_commands", "parity/test_decoder_state",
        "parity/test_live_command", "parity/test_loading", "parity/test_public_api", "robustness/test_disk",
    )
)

FAULTS = (
    seen("live-looks-every-second", "live", COMMANDS,
         "live = model.live(step=options.step, max_delay=options.max_delay, **passed)", "live = model.live(**passed)",
         OF_LIVE_COMMAND, "it_looks_as_often_as_asked"),
    seen("the-command-computes-in-float32", "cli", COMMANDS, "device, dtype = options.device, options.dtype",
         'device, dtype = options.device, "float32"', OF_COMMANDS, "the_model_computes_in_what_was_asked_for"),
    seen("english-by-name-is-another-language", "cli", COMMANDS, 'not in ("en", "english")', 'not in ("en",)', OF_CLI,
         "english_models_are_asked_for_english"),
    seen("phones-record-no-media", "cli", COMMANDS, '".m4a", ', "", OF_COMMANDS, "a_folder_of_what_people_record"),
    seen("the-command-waits-twice-as-long", "live", CLI, 'add("--max_delay", type=float, default=10.0',
         'add("--max_delay", type=float, default=20.0', OF_LIVE_COMMAND, "a_word_is_final_as_soon_as_asked"),
    seen("a-letter-that-a-terminal-lacks-is-a-traceback", "cli", CLI, 'stream.reconfigure(errors="replace")',
         'stream.reconfigure(errors="strict")', OF_CLI_PROCESS, "letters_that_a_terminal_lacks_cost_themselves_alone"),
    seen("hints-beyond-the-end-of-the-line", "live", STATUS, "self._column = (self._column + len(final)) % columns",
         "self._column = len(final) % columns", OF_LIVE_COMMAND, "a_terminal_shows_what_is_provisional"),
    seen("a-model-takes-all-cpus", "cli", WHISPER,
         "dtype=dtype, num_threads=num_threads, progress=progress)\n\n    def load",
         "dtype=dtype, progress=progress)\n\n    def load", OF_LOADING, "nothing_is_lost_on_the_way"),
    seen("a-model-is-downloaded-unasked", "weights", WHISPER,
         "checkpoint = load_checkpoint(name_or_path, download=download)", "checkpoint = load_checkpoint(name_or_path)",
         OF_LOADING, "nothing_is_lost_on_the_way"),
    seen("a-named-assistant-in-float32", "drafts", WHISPER, "return load_model(name, device, dtype, num_threads",
         "return load_model(name, device, num_threads", OF_LOADING, "nothing_is_lost_on_the_way"),
    seen("an-assistant-on-the-cpu", "drafts", WHISPER, "partial(load_model, device=device, dtype=dtype)", "load_model",
         OF_LOADING, "the_assistant_of_a_model_that_somebody_made_is_on_its_device"),
    seen("live-waits-twice-as-long", "live", WHISPER, "step: float = 1.0, max_delay: float = 10.0",
         "step: float = 1.0, max_delay: float = 20.0", OF_LOADING, "live_speech_is_listened_to_as_the_command_does"),
    seen("every-gpu-is-the-first", "cli", RUNTIME, "return Accelerator(int(number or 0))", "return Accelerator()",
         OF_LOADING, "the_gpu_of_that_number_is_opened"),
    seen("one-gpu-more-than-there-is", "cli", RUNTIME, "if int(number or 0) >= count:", "if int(number or 0) > count:",
         OF_LOADING, "the_gpu_of_that_number_is_opened"),
    seen("a-gpu-rounds-to-tf32", "kernels", RUNTIME, '("fused" if self.device.is_host else "split")',
         '("fused" if self.device.is_host else "stock")', OF_LOADING, "gpus_compute_with_what_keeps_float32",
         quick=True),
    seen("the-cpus-kernels-on-a-gpu", "kernels", RUNTIME,
         'if kernels not in KERNELS or (kernels == "fused" and not self.device.is_host):', "if kernels not in KERNELS:",
         OF_LOADING, "gpus_have_neither_the_cpus_kernels_nor_its_dtypes"),
    seen("true-in-small-letters-is-false", "cli", CLI, 'return text.lower() == "true"', 'return text == "True"',
         OF_COMMANDS, "true_and_false_in_any_case"),
    seen("a-path-is-taken-for-multilingual", "cli", COMMANDS,
         "        passed = for_dims(passed, model.dims, options)\n", "", OF_COMMANDS,
         "what_a_path_leads_to_is_known_when_it_is_loaded"),
    seen("named-before-it-is-on-the-disk", "writers", FILES, "                os.fsync(file.fileno())",
         "                pass", OF_DISK, "what_gets_a_name_is_on_the_disk"),
    seen("an-id-beyond-the-table", "cache", RUNTIME, "tokens.max() >= vocabulary", "tokens.max() > vocabulary",
         OF_DECODER_STATE, "ids_beyond_the_vocabulary_are_refused"),
    seen("what-was-suppressed-first-stays-so", "cache", RUNTIME,
         "if len(plan.suppressed) != len(self._suppressed[0]) or any(", "if any(", OF_DECODER_STATE,
         "what_is_suppressed_is_that_of_the_step"),
    seen("wrong-options-are-no-value-errors", "cli", ERRORS, "class OptionError(MaxWhisperError, ValueError)",
         "class OptionError(MaxWhisperError)", OF_PUBLIC_API, "errors_are_also_pythons_own"),
    seen("a-missing-device-is-a-value-error", "cli", ERRORS, "class DeviceError(MaxWhisperError, RuntimeError)",
         "class DeviceError(MaxWhisperError, ValueError)", OF_PUBLIC_API, "errors_are_also_pythons_own"),
)  # fmt: skip
