"""Send one text through a temporary table of the destination, for `letta-source check --write`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_source.destinations.dlt_internals import database_file, dialect_of, sql_client_of
from letta_source.destinations.encoding import TEMPORARY_TABLES, assert_written_texts_arrive
from letta_source.errors import ConfigError, LettaError
from letta_source.loading.messages import said

if TYPE_CHECKING:
    from letta_source.loading.target import Target


def assert_writes(target: Target) -> None:
    """Write one text into a temporary table, which is dropped afterwards, and read it back.

    Raises:
        ConfigError: the destination has no such tables or no file yet, or the text comes back changed.
    """
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
        raise ConfigError(f"{target.destination} cannot be written: {said(error)}") from error
