"""Checks of DuckDB files, before DuckDB refuses one in its own words or takes it for another; and waiting."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from letta_source.destinations.dlt_internals import database_file
from letta_source.errors import ConfigError, InUse

Result = TypeVar("Result")

_CREDENTIALS = "DESTINATION__DUCKDB__CREDENTIALS"
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.I)
# Addresses of DuckDB's own: nothing would be kept of a database in memory.
_NO_FILE = re.compile(r"(:memory|md|motherduck|duckdb|ducklake):", re.I)
_DESTINATIONS = {
    "md": "motherduck", "motherduck": "motherduck", "postgres": "postgres", "postgresql": "postgres",
    "mysql": "sqlalchemy", "sqlite": "sqlalchemy", "ducklake": "ducklake",
}  # fmt: skip
# SQLAlchemy refuses most of these, in words about connection strings.
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Part of dlt's error while it reads its settings.
_IN_MEMORY = "in-memory instance of duckdb"
# DuckDB takes a SQLite file for a database, and wants to download its extension for these.
_NO_DATABASE = re.compile(r'The file "(.*?)" exists, but it is not a valid DuckDB database|"sqlite_scanner"')

WAIT = "wait until it has ended, or give --wait SECONDS"
# DuckDB's message; it names no program in another container.
_LOCKED = re.compile(
    r'Could not set lock on file "(.*?)"(?:: Conflicting lock is held in (.*? \(PID \d+\)))?'
)
# DuckDB's message within one process, such as a notebook: a file is open to read or to write, not both.
_OPEN_OTHERWISE = "same database file with a different configuration"
_SECONDS_BETWEEN = 0.5


def named(database: str) -> str:
    """Return the absolute path of the file that `--database` names.

    Raises:
        ConfigError: it is an address and no path, or has control or broken characters.
    """
    if found := _URL.match(database) or _NO_FILE.match(database):
        raise _address("--database", found)
    if _UNUSABLE.search(database):
        raise ConfigError(f"--database: {database!r} has control or broken characters: choose another name")
    return str(Path(database).expanduser().absolute())


def _address(what: str, found: re.Match[str]) -> ConfigError:
    """Return the error for an address; it may have a password, so only its beginning is shown."""
    other = _DESTINATIONS.get(found[1].lower())
    use = f"use --destination {other} for it, or name" if other else "name"
    return ConfigError(
        f"{what}: {found[0]}… is not the path of a DuckDB file: {use} a file such as letta.duckdb"
    )


def configured_file(client: Any) -> Path | None:
    """Return the file of a DuckDB destination; None for other destinations.

    Raises:
        ConfigError: its credentials are the address of a host or of another database, blank or in quotes. dlt
            would load into a file called so, or as the end of it, or into the default file.
    """
    if client.config.destination_type != "duckdb" or (file := database_file(client)) is None:
        return None
    credentials = client.config.credentials
    if credentials.drivername == "duckdb" and (host := credentials.host):
        raise ConfigError(
            f"{_CREDENTIALS}: duckdb://{host} names a host and no file: write three slashes before the path"
        )
    # `docker --env-file` keeps quotes as part of a value.
    quote = file.name[-1:]
    if not file.name.strip() or (quote in "\"'" and any(part.startswith(quote) for part in file.parts)):
        raise ConfigError(f"{_CREDENTIALS} or --database: must not be blank or in quotes: {file}")
    url = None if credentials.drivername == "duckdb" else _URL.match(f"{credentials.drivername}://")
    if found := url or _NO_FILE.match(file.name):
        raise _address(_CREDENTIALS, found)
    return file


def assert_usable_file(client: Any) -> None:
    """Refuse a DuckDB file that DuckDB cannot open, or would mistake for another.

    Raises:
        ConfigError: it is refused; says why.
    """
    if (file := configured_file(client)) is None:
        return
    place = file.absolute()
    if os.sep == "/":
        # DuckDB reads a backslash as a slash, and inserts its log's `.wal` before a question mark.
        for character, path in (("\\", place), ("?", place.parent)):
            if character in str(path):
                raise ConfigError(f"DuckDB cannot use a path with {character}: {file}: choose another folder")
    # DuckDB cannot tell its schema from the database.
    if file.stem.casefold() == "information_schema":
        raise ConfigError(f"DuckDB cannot use a file called {file.name}: choose another name")
    if os.path.exists(place):
        # DuckDB would wait for ever for whoever reads a pipe.
        if not place.is_file():
            raise ConfigError(f"{file} is not a file, so DuckDB cannot open it: name another one")
    elif not place.parent.is_dir():
        why = "is not a folder" if place.parent.exists() else "does not exist: create it first"
        raise ConfigError(f"DuckDB cannot create {file}: the folder {place.parent} {why}")


def not_a_database(message: str) -> ConfigError | None:
    """Return the error for a file that is not DuckDB's; None if the message of DuckDB or dlt is another.

    The file is not read to find out: closing it would end the locks that this process has on it.
    """
    if _IN_MEMORY in message:
        return ConfigError(
            f"{_CREDENTIALS}: a database in memory would be lost: name a file such as letta.duckdb"
        )
    if (found := _NO_DATABASE.search(message)) is None:
        return None
    what = f"{found[1]} is" if found[1] else "the file is a SQLite database,"
    return ConfigError(f"{what} not a DuckDB database: name another file, or move it away")


def in_use(message: str) -> InUse | None:
    """Return the error for a DuckDB file that is open already; None if the message is another."""
    if _OPEN_OTHERWISE in message:
        return InUse(
            "this process has the DuckDB file open already, in another mode: close that"
            " connection first (`connection.close()`), or wait until the load has ended"
        )
    if (found := _LOCKED.search(message)) is None:
        return None
    return InUse(f"{found[1]} is in use by {found[2] or 'another process'}: {WAIT}")


def waited_for(seconds: float, attempt: Callable[[], Result]) -> Result:
    """Retry an attempt as long as it raises InUse.

    Raises:
        InUse: it still does after so many seconds.
    """
    tries = Retrying(
        retry=retry_if_exception_type(InUse),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(_SECONDS_BETWEEN),
        reraise=True,
    )
    return tries(attempt)
