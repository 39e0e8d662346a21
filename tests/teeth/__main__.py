"""`python -m tests.teeth`: exit status 1 where a fault survives or is caught far from its place, 2 for a wrong use."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from maxwhisper_impl.errors import MaxWhisperError, OptionError
from maxwhisper_impl.status import complain
from maxwhisper_impl.threads import available_cpus
from tests.teeth.catalogue import FAULTS
from tests.teeth.fault import Fault
from tests.teeth.runs import run_faults
from tests.teeth.scratch import ROOT
from tests.teeth.show import print_table, write_json


def chosen(only: str | None, quick: bool) -> list[Fault]:
    """The faults asked for; OptionError for a name that is none's."""
    if only is None:
        return [fault for fault in FAULTS if fault.quick or not quick]
    names = only.split(",")
    if unknown := [name for name in names if name not in {fault.name for fault in FAULTS}]:
        raise OptionError(f"--only {unknown[0]}: no fault of that name; --list lists them")
    return [fault for fault in FAULTS if fault.name in names]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.teeth", description="seeded faults, and who catches them")
    parser.add_argument("--quick", action="store_true", help="a part of the catalogue, in ten minutes")
    parser.add_argument("--only", metavar="NAME[,NAME]", help="these faults")
    parser.add_argument("--list", action="store_true", help="list the catalogue and run nothing")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "teeth.json", help="default: build/teeth.json")
    parser.add_argument("--workers", type=int, default=min(2, available_cpus()), help="runs at a time (default: 2)")
    arguments = parser.parse_args()
    try:
        faults = chosen(arguments.only, arguments.quick)
        if arguments.list:
            for fault in faults:
                print(f"{fault.stage:14} {fault.name:48} {'quick' if fault.quick else '':6} {fault.file}")
            return 0
        start = time.monotonic()
        verdicts = run_faults(faults, arguments.workers, say)
        seconds = time.monotonic() - start
        print_table(verdicts, seconds)
        write_json(arguments.json, verdicts, seconds)
    except MaxWhisperError as error:
        complain(error)
        return 2 if isinstance(error, OptionError) else 1
    return 0 if all(verdict.at_right_place for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
