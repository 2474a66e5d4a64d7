"""The parser and the entry point of the command line, `letta-source`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from letta_source.cli import (
    check,
    completion,
    demo,
    discover,
    erase,
    export,
    report,
    run,
    status,
    transcript,
    verify,
)
from letta_source.cli.streams import assert_output, hold_descriptors, standard_streams
from letta_source.errors import ExitCode, LettaError, NobodyReads
from letta_source.loading.dlt_settings import set_for_process
from letta_source.safe_text import visible


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    with standard_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    set_for_process()
    # dlt's log of a failed load is long, with tracebacks; our one line says what matters.
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    # pyarrow's own pool would keep the memory of large pages; this one returns it and is no slower.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

    try:
        options = _parsed(arguments)
        if options.prints:
            assert_output()
        code = int(options.command(options))
        # Flush now: later, a failure could not be reported.
        sys.stdout.flush()
        return code
    except NobodyReads as error:
        return error.exit_code
    except LettaError as error:
        print(f"letta-source: {visible(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("letta-source: stopped", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        return make_parser().parse_args(arguments)
    except SystemExit:
        # argparse exits this way, with help and version still to be written.
        sys.stdout.flush()
        raise


def command() -> NoReturn:
    """Run `main` and end the process."""
    hold_descriptors()
    try:
        code = main()
    except SystemExit as left:
        code = int(left.code or 0)
    # Everything is written and closed; tearing down some thousand modules would take half a second.
    os._exit(code)


class _Version(argparse.Action):
    """Prints the version of the installed distribution, which is looked up only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *arguments: object) -> NoReturn:
        import letta_source

        print(f"{parser.prog} {letta_source.__version__}")
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="letta-source",
        description="Loads the conversations of a Letta server into a data warehouse.",
        epilog=run.CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (check, discover, run, status, verify, export, transcript, report, erase, demo, completion):
        module.add_to(commands)
    return parser
