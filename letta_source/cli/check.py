"""The command `letta-source check`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import add_command, add_place, exit_codes, session_of, target_of
from letta_source.cli.run import WHENCE, add_base_url
from letta_source.errors import ExitCode

if TYPE_CHECKING:
    from letta_source.loading.target import Target

CODES = exit_codes(
    {
        ExitCode.OK: "both can be reached",
        ExitCode.FAILED: "the destination failed during the test",
        ExitCode.USAGE: "wrong usage or configuration, or one of them cannot be reached",
    },
    WHENCE,
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "test the connection to the server and to the destination"
    command = add_command(commands, "check", check, summary, CODES)
    add_base_url(command)
    add_place(command.add_argument_group("where to"))
    command.add_argument(
        "--write", action="store_true", help="also write a text to a temporary table and read it back"
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def check(options: argparse.Namespace) -> int:
    """Print which families of endpoints the server has, where the tables would go, and what is masked."""
    from letta_source.loading.preflight import check_families
    from letta_source.safe_text import visible
    from letta_source.schema.resources import list_of_family

    settings = session_of(options, base_url=options.base_url).settings
    families = check_families(settings)
    target = target_of(options, settings.shard)
    target.check_untouched(settings.table_format)
    if options.write:
        _assert_writes(target)
    where = target.where()
    if options.json:
        found = {
            "base_url": settings.base_url,
            "has_key": settings.api_key is not None,
            "project": settings.project,
            "families": families,
            "destination": where,
            "written": options.write,
            "masks": str(settings.masking),
        }
        print(json.dumps(found, indent=2))
        return ExitCode.OK
    key = "with the key" if settings.api_key else "without a key"
    project = f", project {settings.project}" if settings.project else ""
    lines = [f"{settings.base_url} answers {key}{project}."]
    for family, missing in families.items():
        absent = list_of_family()[family].absent
        lines.append(f"  {family:<14} {'yes' if missing is None else f'no, {absent} ({missing[:80]})'}")
    lines.append(f"Loads go to {where}.")
    if options.write:
        lines.append("A text written there came back unchanged.")
    lines.append(f"Masks: {settings.masking}.")
    print("\n".join(map(visible, lines)))
    return ExitCode.OK


def _assert_writes(target: Target) -> None:
    """Write one text into a temporary table, which is dropped afterwards, and read it back.

    Raises:
        ConfigError: the destination has no such tables or no file yet, or the text comes back changed.
    """
    from letta_source.destinations.dlt_internals import database_file, dialect_of, sql_client_of
    from letta_source.destinations.encoding import TEMPORARY_TABLES, assert_written_texts_arrive
    from letta_source.errors import ConfigError, LettaError
    from letta_source.loading.error_text import one_line

    client = target.destination_client()
    sql_client = sql_client_of(client)
    if sql_client is None or dialect_of(sql_client) not in TEMPORARY_TABLES:
        known = "DuckDB, SQLite, PostgreSQL, MySQL and MariaDB"
        raise ConfigError(f"--write is for {known}: leave it out for {target.destination}")
    if (file := database_file(client)) and not file.exists():
        raise ConfigError(f"there is no {file} yet to write into: leave --write out, or run a load first")
    try:
        with client:
            assert_written_texts_arrive(sql_client)
    except LettaError:
        raise
    except Exception as error:  # Drivers have exceptions of their own.
        raise ConfigError(f"{target.destination} cannot be written: {one_line(error)}") from error
