"""Rewrite database files, as deleted rows stay in their free pages."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb


def rewrite_duckdb(file: Path) -> None:
    """Rewrite a DuckDB file: deleted rows stay in its free blocks and in its log."""
    new = file.with_name(f".{file.name}.new")
    for one in (new, new.with_name(f"{new.name}.wal")):
        one.unlink(missing_ok=True)
    with closing(duckdb.connect()) as connection:
        old_name, new_name = (str(one).replace("'", "''") for one in (file, new))
        # Views refer to their tables by the file's name.
        connection.execute(f"ATTACH '{old_name}' AS \"{file.stem}\"")
        connection.execute(f"ATTACH '{new_name}' AS letta_source_new")
        connection.execute(f'COPY FROM DATABASE "{file.stem}" TO letta_source_new')
        connection.execute(f'DETACH "{file.stem}"')
        connection.execute("DETACH letta_source_new")
    os.chmod(new, file.stat().st_mode & 0o777)
    new.replace(file)
    file.with_name(f"{file.name}.wal").unlink(missing_ok=True)


def rewrite_sqlite(file: Path) -> None:
    """Rewrite an SQLite file."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("VACUUM")
