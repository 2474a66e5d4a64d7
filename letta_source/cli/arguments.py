"""Options that several commands share, and what options may hold."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from letta_source.errors import ExitCode

Command = Callable[[argparse.Namespace], int]


def add_command(
    commands: Any, name: str, run: Command, summary: str, epilog: str = ""
) -> argparse.ArgumentParser:
    """Add a command to the parser; `summary` is its line in the list of commands."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviation would change its meaning with the next option that begins alike.
        allow_abbrev=False,
    )
    command.set_defaults(command=run)
    return command


def exit_codes(meanings: Mapping[ExitCode, str], *notes: str) -> str:
    """Return the end of a command's help: its exit codes, then notes."""
    lines = [f"  {code.value}  {meaning}" for code, meaning in meanings.items()]
    return "\n".join(["exit codes:", *lines, *(f"\n{note}" for note in notes)])


def add_place(place: argparse._ArgumentGroup) -> None:
    """Add the options that name a destination, a dataset in it and a pipeline."""
    for option, default, help_ in (
        ("--destination", "duckdb", "any destination of dlt"),
        ("--dataset-name", "letta", "schema of the tables"),
        ("--pipeline-name", "letta", "pipeline whose state to go on from"),
    ):
        place.add_argument(
            option, type=text, default=default, metavar="NAME", help=f"{help_} (default: {default})"
        )


def add_window(group: argparse._ArgumentGroup, note: str = "") -> None:
    """Add `--start-date` and `--end-date`."""
    group.add_argument("--start-date", metavar="DATE", help=f"only what was created then or later{note}")
    group.add_argument("--end-date", metavar="DATE", help=f"only what was created before it{note}")


def text(value: str) -> str:
    """Refuse an empty value, as of a variable that is not set: it would silently mean something else."""
    if not value.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return value


def names(value: str) -> list[str]:
    """Split `A,B`.

    Raises:
        argparse.ArgumentTypeError: there is no name, or an empty one.
    """
    found = [name.strip() for name in value.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError("must not be empty")
    return found


def add_names(group: argparse._ArgumentGroup, option: str, metavar: str, summary: str) -> None:
    """Add an option that takes names, with commas between them or one at a time."""
    summary = f"{summary}; commas and repetition for several"
    group.add_argument(option, type=names, action="extend", metavar=metavar, help=summary)


def joined(values: Iterable[str] | None) -> str | None:
    """Join the values of a repeated option with commas; None stays None."""
    return None if values is None else ",".join(values)
