"""Rewrite a local database file, as deleted and replaced rows stay in its free blocks."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt
import duckdb

from letta_source.destinations.dlt_internals import database_file, dialect_of, sql_client_of

_QUOTE = '"'


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
    """Rewrite a DuckDB file: deleted rows stay in its free blocks and in its log."""
    new = file.with_name(f".{file.name}.new")
    parts = (new, new.with_name(f"{new.name}.wal"))
    for one in parts:
        one.unlink(missing_ok=True)
    try:
        with closing(duckdb.connect(str(file))) as connection:
            # Views refer to their tables by this name. It is not the file's for `main.duckdb` and the like.
            [[name]] = connection.execute("SELECT current_database()").fetchall()
            old, copy = (f'"{one.replace(_QUOTE, 2 * _QUOTE)}"' for one in (name, f"{name}_new"))
            path = str(new).replace("'", "''")
            connection.execute(f"ATTACH '{path}' AS {copy}")
            connection.execute(f"COPY FROM DATABASE {old} TO {copy}")
            connection.execute(f"DETACH {copy}")
        os.chmod(new, file.stat().st_mode & 0o777)
        new.replace(file)
    except BaseException:
        # It holds people's texts, too, and perhaps filled the disk.
        for one in parts:
            one.unlink(missing_ok=True)
        raise
    file.with_name(f"{file.name}.wal").unlink(missing_ok=True)
