"""Options that several commands share: parsers of their values, and what they name."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_source.errors import ExitCode

if TYPE_CHECKING:
    import dlt

    from letta_source.loading.run import Observer
    from letta_source.loading.target import Target
    from letta_source.shards import Shard
    from letta_source.state.session import Session

Command = Callable[[argparse.Namespace], int]


def add_command(
    commands: Any, name: str, run: Command, summary: str, epilog: str = "", prints: bool = True
) -> argparse.ArgumentParser:
    """Add a command to the parser.

    Args:
        summary: its line in the list of commands.
        prints: True if it is of no use without standard output.
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # A new option that begins alike would change the meaning of an abbreviation.
        allow_abbrev=False,
    )
    command.set_defaults(command=run, prints=prints)
    return command


def exit_codes(meanings: Mapping[ExitCode, str], *notes: str) -> str:
    """Return the end of a command's help: its exit codes, then notes."""
    lines = [f"  {code.value}  {meaning}" for code, meaning in meanings.items()]
    return "\n".join(["exit codes:", *lines, *(f"\n{note}" for note in notes)])


def reading_exit_codes(ok: str, failed: str, note: str = "") -> str:
    """Return the end of the help of a command that only reads a loaded dataset.

    Args:
        ok, failed: the meaning of exit codes 0 and 1.
        note: begins the note after the exit codes.
    """
    no_data = "wrong usage or configuration, or nothing has been loaded there"
    meanings = {ExitCode.OK: ok, ExitCode.FAILED: failed, ExitCode.USAGE: no_data}
    return exit_codes(meanings, f"{note}Credentials are dlt's own settings, as for `letta-source run`.\n")


def add_place(place: argparse._ArgumentGroup) -> None:
    """Add the options that name a destination, a dataset in it and a pipeline."""
    for option, default, help_ in (
        ("--destination", "duckdb", "any destination of dlt"),
        ("--dataset-name", "letta", "schema of the tables"),
        ("--pipeline-name", "letta", "dlt pipeline that keeps the state"),
    ):
        place.add_argument(
            option, type=text, default=default, metavar="NAME", help=f"{help_} (default: {default})"
        )
    place.add_argument(
        "--database",
        type=text,
        metavar="FILE",
        help="DuckDB file (default: the configured one, else PIPELINE_db.duckdb in this folder)",
    )
    place.add_argument(
        "--wait",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait for a DuckDB file or pipeline that another process uses (default: 0)",
    )


def target_of(options: argparse.Namespace, shard: Shard | None = None) -> Target:
    """Return the target that the options of `add_place` name.

    Raises:
        ConfigError: there is no such destination, or its settings are incomplete or cannot work.
    """
    from letta_source.loading.target import Target
    from letta_source.shards import WHOLE

    place = options.pipeline_name, options.destination, options.dataset_name
    return Target(*place, shard=shard or WHOLE, database=options.database, wait=options.wait).resolved()


def session_of(options: argparse.Namespace, **given: Any) -> Session:
    """Return a session with the settings of the source: those given, else the configured ones.

    Raises:
        ConfigError: a setting is wrong.
    """
    from letta_source.settings.places import providers
    from letta_source.source import letta
    from letta_source.state.session import Session

    session = Session(pipeline_name=options.pipeline_name)
    # Before dlt reads its files: it shows a traceback for a broken one.
    providers()
    letta(**given, session=session)
    return session


@contextmanager
def opened_dataset(options: argparse.Namespace, output: Path | None) -> Iterator[tuple[dlt.Pipeline, Path]]:
    """Yield a dataset's pipeline, and a folder for what does not fit into memory; signals end the process."""
    from letta_source.cli.signals import stopping
    from letta_source.export.output import part_of
    from letta_source.loading.dataset import reading
    from letta_source.safe_text import visible

    target = target_of(options)
    with tempfile.TemporaryDirectory(prefix="letta-export-") as folder:

        def last_words() -> str:
            shutil.rmtree(folder, ignore_errors=True)
            if output:
                part_of(output.resolve()).unlink(missing_ok=True)
            return "letta-source: stopped; nothing was exported"

        with stopping(last_words), reading(target) as pipeline:
            yield pipeline, Path(folder)
    # Not earlier: an error prints one line only.
    print(f"from {visible(target.where())}", file=sys.stderr)


def add_window(group: argparse._ArgumentGroup) -> None:
    """Add `--start-date` and `--end-date`."""
    group.add_argument("--start-date", metavar="DATE", help="only rows created then or later")
    group.add_argument("--end-date", metavar="DATE", help="only rows created before")


def text(value: str) -> str:
    """Refuse an empty value, such as that of an unset variable: it would silently mean something else."""
    if not value.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return value


def seconds(value: str) -> float:
    """Parse a number of seconds, 0 or more.

    Raises:
        argparse.ArgumentTypeError: it is not such a number.
    """
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")
    return number


def names(value: str) -> list[str]:
    """Split `A,B`.

    Raises:
        argparse.ArgumentTypeError: there is no name, or an empty one.
    """
    found = [name.strip() for name in value.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError("must not be empty")
    return found


def add_names(
    group: argparse._ArgumentGroup, option: str, metavar: str, summary: str, dest: str | None = None
) -> None:
    """Add an option that takes names, separated by commas or one at a time.

    Args:
        dest: the name of its values among the options, if that is not the option's.
    """
    summary = f"{summary}; separate several by commas, or repeat the option"
    dest = dest or option.removeprefix("--").replace("-", "_")
    group.add_argument(option, type=names, action="extend", metavar=metavar, help=summary, dest=dest)


def add_logging(command: argparse.ArgumentParser) -> None:
    """Add the options for what a load writes to standard error."""
    log = command.add_argument_group("log")
    log.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="json: one object per line (default: text)",
    )
    amount = log.add_mutually_exclusive_group()
    amount.add_argument("-v", "--verbose", action="store_true", help="also debug messages")
    amount.add_argument("-q", "--quiet", action="store_true", help="only warnings and errors")


def watched(options: argparse.Namespace) -> Observer:
    """Return the observer that shows a load's progress, as the options of `add_logging` ask."""
    from letta_source.cli.progress import Progress

    level = logging.DEBUG if options.verbose else logging.WARNING if options.quiet else logging.INFO
    return partial(Progress, form=options.log_format, level=level)
