"""The command line, `letta-source`: a module a command."""

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
    # dlt's log of a failed load is long, with tracebacks; what counts of it is one line of ours.
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    # pyarrow's own would keep what large pages took; this one gives it back, and is no slower.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

    try:
        options = _parsed(arguments)
        if options.prints:
            assert_output()
        code = int(options.command(options))
        # Not later, when nobody could say that it failed.
        sys.stdout.flush()
        return code
    except NobodyReads as error:
        return error.exit_code
    except LettaError as error:
        print(f"letta-source: {visible(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("letta-source: stopped; the next run goes on from the last finished load", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        return make_parser().parse_args(arguments)
    except SystemExit:
        # So argparse ends, with help and version still to be written.
        sys.stdout.flush()
        raise


def command() -> NoReturn:
    """`main`, and the end of the process."""
    hold_descriptors()
    try:
        code = main()
    except SystemExit as left:
        code = int(left.code or 0)
    # All is written and closed; to take some thousand modules apart would take half a second.
    os._exit(code)


class _Version(argparse.Action):
    """Print the version of the installed distribution; found only when it is asked for."""

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
