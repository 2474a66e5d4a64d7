"""Rewrite a local database file, as deleted and replaced rows stay in its free blocks."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import dlt
import duckdb

from letta_source.destinations.dlt_internals import database_file, dialect_of, sql_client_of

_QUOTE = '"'
_LONGEST_NAME = 255
_DIGITS = 32


def rewrite_file(pipeline: dlt.Pipeline) -> None:
    """Rewrite a local DuckDB or SQLite file, as deleted rows stay in its free pages."""
    client: Any = pipeline.destination_client()
    file = database_file(client)
    if file is None or not file.exists():
        return
    sql_client = sql_client_of(client)
    if dialect_of(sql_client) == "duckdb":
        rewrite_duckdb(file)
        return
    with sql_client.with_staging_dataset():
        staging = database_file(client)
    for one in (file, staging):
        if one and one.exists():
            with closing(sqlite3.connect(one)) as connection:
                connection.execute("VACUUM")


def rewrite_duckdb(file: Path) -> None:
    """Rewrite a DuckDB file: deleted rows stay in its free blocks and in its log.

    A link stays one: if it were replaced, the file that it names would keep the rows.

    Raises:
        duckdb.ConnectionException: this process has the file open, and would go on writing to the old one.
    """
    # In one process, DuckDB opens a file in one mode at a time.
    duckdb.connect(str(file), read_only=True).close()
    place = file.resolve()
    new = place.with_name(_beside(place.name))
    parts = (new, new.with_name(f"{new.name}.wal"))
    for one in parts:
        one.unlink(missing_ok=True)
    try:
        with closing(duckdb.connect(str(file))) as connection:
            # Else closing it would write the old file's log.
            connection.execute("CHECKPOINT")
            # Views refer to their tables by this name. It is not the file's for `main.duckdb` and the like.
            [[name]] = connection.execute("SELECT current_database()").fetchall()
            old, copy = (f'"{one.replace(_QUOTE, 2 * _QUOTE)}"' for one in (name, f"{name}_new"))
            path = str(new).replace("'", "''")
            connection.execute(f"ATTACH '{path}' AS {copy}")
            connection.execute(f"COPY FROM DATABASE {old} TO {copy}")
            connection.execute(f"DETACH {copy}")
            _keep_access(new, place.stat())
            for one in (file, place):
                one.with_name(f"{one.name}.wal").unlink(missing_ok=True)
            if os.name == "nt":
                # Windows replaces no open file. Elsewhere it stays locked until no process can open it.
                connection.close()
            new.replace(place)
    except BaseException:
        # It holds people's texts, too, and perhaps filled the disk.
        for one in parts:
            one.unlink(missing_ok=True)
        raise


def _beside(name: str) -> str:
    """Return a hidden name for the new file; a long name would have no room for the ending of its log."""
    new = f".{name}.new"
    if len(os.fsencode(new)) > _LONGEST_NAME - len(".wal"):
        return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:_DIGITS]}.new"
    return new


def _keep_access(new: Path, old: os.stat_result) -> None:
    """Give the new file the old one's owner, group and mode, so that whoever loads can still open it."""
    # Windows has no owners by number. Only root may give a file away; others can keep the group.
    owners = ((old.st_uid, old.st_gid), (-1, old.st_gid)) if hasattr(os, "chown") else ()
    for user, group in owners:
        with suppress(PermissionError):
            os.chown(new, user, group)
            break
    os.chmod(new, old.st_mode & 0o777)
