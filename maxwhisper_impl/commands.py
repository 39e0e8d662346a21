"""What the commands of `cli` do. Each takes the parsed arguments and returns the exit status."""

from __future__ import annotations

import math
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .dims import SIZES, ModelDimensions
from .errors import CheckpointError, MaxWhisperError, OptionError
from .status import LiveScreen, StatusLine, complain, one_line, warn
from .threads import available_cpus, limit_threads

if TYPE_CHECKING:
    from io import BufferedReader

    from .compare import Comparison
    from .results import Result
    from .whisper import Whisper

LINE_OPTIONS = ("highlight_words", "max_line_count", "max_line_width", "max_words_per_line")
PASSED_ON = (
    "verbose", "task", "language", "best_of", "beam_size", "patience", "length_penalty", "suppress_tokens",
    "initial_prompt", "carry_initial_prompt", "condition_on_previous_text", "compression_ratio_threshold",
    "logprob_threshold", "no_speech_threshold", "word_timestamps", "prepend_punctuations", "append_punctuations",
    "clip_timestamps", "hallucination_silence_threshold",
)  # fmt: skip
"""flags that are options of `Whisper.transcribe` under the same names"""
BEYOND_OPENAI = (
    "batch_size", "vad_filter", "vad_parameters", "multilingual", "language_detection_threshold",
    "language_detection_segments", "hotwords", "repetition_penalty", "no_repeat_ngram_size", "keep_best_fallback",
    "assistant",
)  # fmt: skip
"""the same for flags that openai-whisper lacks: passed on only if given"""
MEDIA = (
    ".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".avi", ".flac", ".flv", ".m4a", ".m4b",
    ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".oga",
    ".ogg", ".ogv", ".opus", ".spx", ".ts", ".wav", ".webm", ".wma", ".wmv",
)  # fmt: skip
"""how the names of audio and video files end"""
CHUNK = 1 << 16
"""bytes, at most, that are read at once from standard input: 2 s, all that a pipe holds"""
MOST_TEMPERATURES = 100
PICTURES = (".png", ".svg", ".pdf")


def transcribe(options: Namespace) -> int:
    """Every file; one that fails is reported, and the others are done."""
    from .writers import get_writer

    passed = transcribe_options(options)
    lines = {name: getattr(options, name) for name in LINE_OPTIONS}
    files, failed = audio_files(options.audio)
    if options.live and files != ["-"]:
        raise OptionError(f"--live listens to standard input: give - instead of {', '.join(options.audio)}")
    names = output_names(files)
    if files:
        if options.model in SIZES:  # what is wrong is said before the model is loaded and compiled
            passed = for_dims(passed, SIZES[options.model], options)
        os.makedirs(options.output_dir, exist_ok=True)
        model = _load(options)
        passed = for_dims(passed, model.dims, options)
        for file in files:
            try:
                result = _listen(model, passed, options, failed) if options.live else model.transcribe(file, **passed)
                get_writer(options.output_format, options.output_dir)(result, names[file], **lines)
            except OptionError:
                raise  # the same for every file
            except (MaxWhisperError, OSError) as error:
                failed.append(str(error) if file in str(error) or file == "-" else f"{file}: {error}")
    for line in failed:
        complain(line)
    return 1 if failed else 0


def audio_files(given: list[str]) -> tuple[list[str], list[str]]:
    """The files to transcribe, of a folder those that hold audio by their names; and what is wrong with the others."""
    files: list[str] = []
    failed: list[str] = []
    for name in dict.fromkeys(given):
        if os.path.isdir(name):
            try:
                media = (path for path in Path(name).iterdir() if path.suffix.lower() in MEDIA and path.is_file())
                found = sorted(map(str, media))
            except OSError as error:
                failed.append(f"{name}: {error.strerror}")
                continue
            files += found
            failed += [] if found else [f"{name}: no file in this folder is named as audio or video"]
        elif name == "-" or os.path.exists(name):
            files.append(name)
        else:
            failed.append(f"{name}: no such file")
    return list(dict.fromkeys(files)), failed


def transcribe_options(options: Namespace) -> dict[str, Any]:
    """The keywords of `Whisper.transcribe` for the flags; OptionError where flags contradict each other."""
    import numpy as np

    passed = {name: getattr(options, name) for name in PASSED_ON}
    passed |= {name: value for name in BEYOND_OPENAI if (value := getattr(options, name)) is not None}
    if options.condition_on_previous_text is None:
        passed["condition_on_previous_text"] = options.batch_size is None
    if not options.word_timestamps and (given := [name for name in LINE_OPTIONS if getattr(options, name)]):
        raise OptionError(f"--{given[0]} requires --word_timestamps True")
    if options.max_line_count and not options.max_line_width:
        warn("--max_line_count has no effect without --max_line_width")
    if options.max_words_per_line and options.max_line_width:
        warn("--max_words_per_line has no effect with --max_line_width")
    increment = options.temperature_increment_on_fallback
    if increment is not None and not increment > 0:
        raise OptionError(f"--temperature_increment_on_fallback {increment}: give a number above 0, or None")
    passed["temperature"] = options.temperature
    if increment is not None:
        count = (1.0 - options.temperature) / increment
        if not -math.inf < count <= MOST_TEMPERATURES:
            raise OptionError(
                f"--temperature {options.temperature} and up in steps of {increment}: at most {MOST_TEMPERATURES} "
                "temperatures are tried; make --temperature_increment_on_fallback larger"
            )
        passed["temperature"] = tuple(float(t) for t in np.arange(options.temperature, 1.0 + 1e-6, increment))
    return passed


def for_dims(passed: dict[str, Any], dims: ModelDimensions, options: Namespace) -> dict[str, Any]:
    """The keywords as a model of these dims takes them; OptionError where it cannot."""
    from .transcribe_options import make_transcribe_options

    language = passed["language"]
    if not dims.is_multilingual and (language is None or language.lower() not in ("en", "english")):
        if language is not None:
            warn(f"{options.model} is an English-only model but receipted '{language}'; using English instead.")
        passed = {**passed, "language": "en"}
    made = make_transcribe_options(dims, **passed)
    if options.live:
        from .live import verify_live

        verify_live(made, options.step, options.max_delay)
    return passed


def output_names(files: list[str]) -> dict[str, str]:
    """The name whose stem each file's transcripts get; OptionError where two would overwrite each other."""
    names: dict[str, str] = {}
    for file in files:
        name = "stdin" if file == "-" else file
        stem = Path(name).stem
        for other, taken in names.items():
            if Path(taken).stem == stem:
                raise OptionError(f"the transcripts of {other} and {file} would both be named {stem}; run them apart")
        names[file] = name
    return names


def _load(options: Namespace) -> Whisper:
    from .whisper import load_model

    device, dtype = options.device, options.dtype
    if options.fp16:
        if device == "cpu":
            warn("FP16 is not supported on CPU; using FP32 instead")
        else:
            dtype = "float16"
    if options.threads:
        limit_threads(min(options.threads, available_cpus()))
    name = options.model if options.model_dir is None else _in_folder(options.model, Path(options.model_dir))
    with StatusLine() as status:
        status(f"loading {options.model}")
        return load_model(name, device=device, dtype=dtype, progress=status)


def _in_folder(name: str, folder: Path) -> str:
    for candidate in (folder / f"{name}.pt", folder / name):
        if candidate.exists():
            return str(candidate)
    raise CheckpointError(f"{folder} holds neither {name}.pt nor {name}; leave out --model_dir to search elsewhere")


def _standard_input() -> Iterator[bytes]:
    """What has arrived, as it arrives."""
    pipe = cast("BufferedReader", sys.stdin.buffer)
    while data := pipe.read1(CHUNK):
        yield data


def _listen(model: Whisper, passed: dict[str, Any], options: Namespace, failed: list[str]) -> Result:
    """Standard input until it ends, fails or is interrupted; what came before counts."""
    live = model.live(step=options.step, max_delay=options.max_delay, **passed)
    screen = LiveScreen(sys.stdout, options.verbose)
    try:
        for text in live.run(_standard_input()):
            screen.show(text.final, text.provisional)
    except KeyboardInterrupt:
        screen.show(live.finish().final)
    except OSError as error:
        failed.append(f"standard input: {error.strerror or error}")
    screen.show("\n")
    return live.result


def compare(options: Namespace) -> int:
    """The table on stdout, progress on stderr."""
    from .compare import compare as run
    from .comparison_view import print_table, write_json, write_plot
    from .samples import read_samples
    from .systems import parse_system
    from .tokenizer import language_code

    systems, models = _names([options.systems]), _names(options.model or ["tiny.en,base"])
    for name in systems:
        parse_system(name)
    language = None if options.language is None else language_code(options.language)
    check_outputs(options)
    start = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - start:5.0f} s] {one_line(line)}", file=sys.stderr, flush=True)

    samples = read_samples(options.audio, language=language, reference=options.reference, say=say)
    for sample in samples:
        say(f"{sample.id}: {sample.seconds:.1f} s" + ("" if sample.text is not None else ", no transcript known"))
    threads = options.threads or available_cpus()
    result = run(samples, models, systems, device=options.device, threads=threads, rounds=options.rounds, say=say)
    saved = _saved(options.json, write_json, result)
    drawn = _saved(options.plot if result.rows else None, write_plot, result)
    print_table(result)
    return 0 if saved and drawn and not result.failures else 1


def _saved(path: str | None, write: Callable[[Path, Comparison], None], result: Comparison) -> bool:
    """False where a file that is wanted cannot be written, which is said and costs no other output."""
    try:
        if path:
            write(Path(path), result)
    except MaxWhisperError as error:
        complain(error)
        return False
    return True


def report(options: Namespace) -> int:
    """The page's name on stdout."""
    from .files import utf8, write_whole

    try:
        from .report import make_page, read_runs
    except ModuleNotFoundError as error:
        raise MaxWhisperError(f"{error.name} is not installed; pip install 'maxwhisper[peers]'") from error
    out = Path(options.out)
    if not out.absolute().parent.is_dir():
        raise OptionError(f"--out {out}: there is no folder {out.parent}")
    with StatusLine() as status:
        page = utf8(make_page(read_runs(options.runs), status))
    write_whole(out, page)
    print(f"{out}: {len(page) / 1e6:.1f} MB")
    return 0


def check_outputs(options: Namespace) -> None:
    """Before any work: OptionError where --json or --plot cannot be written."""
    for path in (Path(name) for name in (options.json, options.plot) if name):
        if not path.absolute().parent.is_dir():
            raise OptionError(f"{path}: there is no folder {path.parent}")
    if options.plot and Path(options.plot).suffix not in PICTURES:
        raise OptionError(f"{options.plot}: the name of a picture ends in {', '.join(PICTURES)}")


def history(options: Namespace) -> int:
    """The table on stdout; HistoryError where nothing has been recorded."""
    from .history import FOLDER, choose, read_history
    from .history_view import print_table, write_json, write_plot

    check_outputs(options)
    folder = Path(options.folder or FOLDER)
    runs = choose(read_history(folder, warn), folder, options.machine, options.case)
    print_table(runs, options.case)
    if options.json:
        write_json(Path(options.json), runs, options.case)
    if options.plot:
        write_plot(Path(options.plot), runs, options.case)
    return 0


def convert(options: Namespace) -> int:
    from .weights import convert as run

    run(options.source, options.target, **({"format": options.format} if options.format else {}))
    return 0


def _names(lists: list[str]) -> list[str]:
    """The names in comma-separated lists, each once."""
    names = [name.strip() for listed in lists for name in listed.split(",") if name.strip()]
    if not names:
        raise OptionError("a list of names is empty")
    return list(dict.fromkeys(names))
