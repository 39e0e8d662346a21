"""The command `maxwhisper`: transcribe, compare, convert, history, report. `transcribe` has openai-whisper's flags."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, NoReturn

from . import termination
from .errors import MaxWhisperError, OptionError
from .status import complain

OUTPUT_FORMATS = ("txt", "vtt", "srt", "tsv", "json", "all")
USAGE, FAILED, INTERRUPTED = 2, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 where something failed, 2 where it was asked wrongly, 128 + a signal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 must not lose the transcript
    options = _parser().parse_args(arguments)

    def command() -> int:
        from . import commands

        return getattr(commands, options.command)(options)

    return run(command)


def run(command: Callable[[], int]) -> int:
    """The command's exit status; what ends it early is one line on stderr and a status of its own."""
    try:
        with termination.terminable():
            status = command()
            print(end="", flush=True)  # what cannot be printed must not be found out when the status is
            return status
    except OptionError as error:
        return _complain(error, USAGE)
    except MaxWhisperError as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except termination.Terminated:
        return _complain("terminated", termination.STATUS)
    except OSError as error:
        _drop_what_cannot_be_printed()
        if isinstance(error, BrokenPipeError):  # whoever read our output has seen enough
            return FAILED
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", FAILED)


def _drop_what_cannot_be_printed() -> None:
    """Or Python would try again at its end, and complain with a traceback."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: object, status: int) -> int:
    complain(message)
    return status


class _Parser(argparse.ArgumentParser):
    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # until Python 3.12.5 argparse takes the "--" out of `--option=--` and hands over an empty list
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            raise argparse.ArgumentError(action, "expected one argument, not '--'")
        return super()._get_values(action, arg_strings)  # pyright: ignore[reportAttributeAccessIssue]

    def error(self, message: str) -> NoReturn:
        complain(f"{message} (see {self.prog} --help)")
        sys.exit(USAGE)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        for package in ("maxwhisper", "max"):
            try:
                print(package, version(package))
            except PackageNotFoundError:
                print(package, "(not installed as a package)")
        sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("maxwhisper", description="OpenAI's Whisper as MAX graphs.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_transcribe(commands.add_parser("transcribe", help="speech to text", formatter_class=_Formatter))
    _add_compare(commands.add_parser("compare", help="several systems side by side", formatter_class=_Formatter))
    _add_convert(commands.add_parser("convert", help="a checkpoint in another format", formatter_class=_Formatter))
    _add_report(commands.add_parser("report", help="a page of what run files say", formatter_class=_Formatter))
    _add_history(commands.add_parser("history", help="recorded runs of the benchmarks", formatter_class=_Formatter))
    return parser


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, [], argparse.SUPPRESS) else super()._get_help_string(action)


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")
    return text.lower() == "true"


def _optional_int(text: str) -> int | None:
    return None if text == "None" else int(text)


def _optional_float(text: str) -> float | None:
    return None if text == "None" else float(text)


# argparse names the type in its message
_optional_int.__name__, _optional_float.__name__ = "whole number or None", "number or None"


def _add_transcribe(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("audio", nargs="+", metavar="FILE", help="audio that FFmpeg reads, or a folder of it; - is standard input")
    add("--model", default="turbo", help="name of a Whisper model, or path of a checkpoint")
    add("--model_dir", metavar="DIR", help="look for the model of that name in this folder only")
    add("--device", default="cpu", help="cpu or cuda")
    add("--dtype", default="float32", help="what the model computes in: float32, bfloat16 or int8")
    add("--output_dir", "-o", default=".", metavar="DIR", help="where the transcripts are written")
    add("--output_format", "-f", default="all", choices=OUTPUT_FORMATS, help="format of the transcript")
    add("--verbose", type=_bool, default=True, metavar="BOOL", help="print segments as they come, or a progress bar")
    add("--task", default="transcribe", choices=("transcribe", "translate"), help="translate is into English")
    add("--language", help="language spoken, name or code; without it, the first 30 s tell")
    add("--threads", type=_optional_int, default=0, metavar="N", help="threads on the CPU; 0: one for each core")
    add("--fp16", type=_bool, metavar="BOOL", help="True: --dtype float16, except on the CPU")
    _add_decoding(parser)
    _add_windows(parser)
    _add_batches(parser)
    _add_lines(parser)
    _add_live(parser)


def _add_decoding(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("decoding").add_argument
    add("--temperature", type=float, default=0.0, metavar="T", help="of sampling; 0 is greedy or beam search")
    add("--best_of", type=_optional_int, default=5, metavar="N", help="samples to choose from, temperature above 0")
    add("--beam_size", type=_optional_int, default=5, metavar="N", help="beams at temperature 0; None: greedy")
    add("--patience", type=float, metavar="P", help="of the beam search (arXiv:2204.05424)")
    add("--length_penalty", type=float, metavar="A", help="alpha of arXiv:1609.08144; without it, the mean per token")
    add("--suppress_tokens", default="-1", metavar="IDS", help="comma-separated; -1: most non-speech tokens")
    add("--initial_prompt", metavar="TEXT", help="what was said before the first window")
    add("--carry_initial_prompt", type=_bool, default=False, metavar="BOOL", help="use it for every window")
    add("--condition_on_previous_text", type=_bool, metavar="BOOL",
        help="prompt with the last text (default: True; with --batch_size, False)")
    add("--assistant", metavar="MODEL", help="a smaller model whose draft is confirmed (needs --beam_size None)")
    add("--hotwords", metavar="TEXT", help="words to expect: a hint in front of every prompt")
    add("--repetition_penalty", type=float, metavar="X", help="above 1: what was said becomes less likely (default: 1)")
    add("--no_repeat_ngram_size", type=int, metavar="N", help="no N tokens in a row twice in a window (default: 0)")


def _add_windows(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("windows").add_argument
    add("--temperature_increment_on_fallback", type=_optional_float, default=0.2, metavar="T",
        help="added while a window fails either threshold below; None: no fallback")
    add("--compression_ratio_threshold", type=_optional_float, default=2.4, metavar="X", help="above it: repetitive")
    add("--logprob_threshold", type=_optional_float, default=-1.0, metavar="X", help="below it, too unlikely")
    add("--no_speech_threshold", type=_optional_float, default=0.6, metavar="P", help="above it, and unlikely: silence")
    add("--keep_best_fallback", type=_bool, metavar="BOOL",
        help="where every temperature fails: keep the likeliest result, not the last (default: False)")
    add("--clip_timestamps", default="0", metavar="S,E,…", help="seconds of the clips to transcribe: start,end,start,…")
    add("--hallucination_silence_threshold", type=_optional_float, metavar="S",
        help="skip silences longer than this around a likely hallucination (needs --word_timestamps True)")


def _vad_parameters(text: str) -> dict[str, float]:
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): float(value) for name, _, value in pairs}


_vad_parameters.__name__ = "NAME=NUMBER,…"


def _add_batches(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("batches, speech and languages").add_argument
    add("--batch_size", type=int, metavar="N", help="cut at silences and decode N windows at once (default: in turn)")
    add("--vad_filter", type=_bool, metavar="BOOL", help="transcribe speech alone, by Silero VAD (default: False)")
    add("--vad_parameters", type=_vad_parameters, metavar="NAME=X,…",
        help="threshold, neg_threshold, min_speech_duration_ms, max_speech_duration_s, min_silence_duration_ms, "
        "speech_pad_ms")
    add("--multilingual", type=_bool, metavar="BOOL", help="detect the language in each window (default: False)")
    add("--language_detection_threshold", type=float, metavar="P", help="sure enough of a language (default: 0.5)")
    add("--language_detection_segments", type=int, metavar="N", help="windows to ask until it is (default: 1)")


def _add_lines(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("words and lines (the last four need --word_timestamps True)").add_argument
    add("--word_timestamps", type=_bool, default=False, metavar="BOOL", help="times of words")
    add("--prepend_punctuations", default="\"'“¿([{-", metavar="CHARS", help="belong to the next word")
    add("--append_punctuations", default="\"'.。,，!！?？:：”)]}、", metavar="CHARS", help="belong to the word before")
    add("--highlight_words", type=_bool, default=False, metavar="BOOL", help="underline each word as it is spoken")
    add("--max_line_width", type=_optional_int, metavar="N", help="characters in a line")
    add("--max_line_count", type=_optional_int, metavar="N", help="lines in a subtitle")
    add("--max_words_per_line", type=_optional_int, metavar="N", help="no effect with --max_line_width")


def _add_live(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("live").add_argument
    add("--live", action="store_true",
        help="FILE is -, raw speech as it arrives (s16le, 16 kHz, mono); text is printed as soon as it is final")
    add("--step", type=float, default=1.0, metavar="S", help="seconds of new audio that are worth another look")
    add("--max_delay", type=float, default=10.0, metavar="S", help="after which a word is final, come what may")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = "All systems on the same audio and the same weights, in turns; greedy, one pass."
    add = parser.add_argument
    add("audio", nargs="*", metavar="FILE", help="default: the longest reading of ../shared/speech or of fixtures/")
    add("--model", action="append", metavar="NAMES", help="comma-separated, or repeated (default: tiny.en,base)")
    add("--systems", default="maxwhisper,openai-whisper,faster-whisper,whisper.cpp", metavar="NAMES",
        help="comma-separated; a dtype follows a colon: faster-whisper:int8")
    add("--device", default="cpu", help="cpu or cuda, for all of them")
    add("--threads", type=int, default=0, metavar="N", help="for each system; 0: one for each core")
    add("--rounds", type=int, default=3, metavar="N", help="turns of each system; the median is shown")
    add("--language", help="language spoken, name or code; else as the file's corpus says, or detected")
    add("--reference", metavar="TEXT_FILE", help="what is said in the one FILE; else its corpus' transcript")
    add("--json", metavar="OUT", help="write everything there is to know about the run")
    add("--plot", metavar="OUT", help="write a picture (.png, .svg or .pdf)")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = "One self-contained page of what was compared, tested and measured."
    add = parser.add_argument
    add("--from", nargs="+", action="extend", default=[], dest="runs", metavar="RUN.json",
        help="of compare --json, pytest --run-json or --benchmark-json, make teeth, fuzz, soak or roofline")
    add("--out", default="report.html", metavar="OUT", help="the page")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.description = "A checkpoint in another format, tensor for tensor; ggml is whisper.cpp's, in float16."
    add = parser.add_argument
    add("source", metavar="SRC", help="model name, .pt, .npz, Hugging Face folder or CTranslate2 folder")
    add("target", metavar="OUT", help="name ending in .pt, .npz or .ggml, or a folder that --format describes")
    add("--format", choices=("pt", "npz", "huggingface", "ctranslate2", "ggml"),
        help="of OUT, where its name does not tell")


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.description = "Recorded runs of the benchmarks: ours beside the peers, run by run."
    add = parser.add_argument
    add("--from", dest="folder", metavar="DIR", help="the recorded runs (default: tests/perf/history)")
    add("--case", metavar="PART", help="only rows whose names have this in them: decode, tiny.en, faster-whisper, …")
    add("--machine", metavar="FINGERPRINT", help="its first digits, or all (default: this kind of machine)")
    add("--json", metavar="OUT", help="write the rows")
    add("--plot", metavar="OUT", help="write a picture (.png, .svg or .pdf)")
