"""Open Parquet files, and Delta and Iceberg tables made of them, as views in an in-memory DuckDB.

DuckDB's own readers for Delta, Iceberg and buckets are extensions, which it would have to download.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import duckdb

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_paths import as_pattern, path_of_uri
from letta_source.errors import ConfigError
from letta_source.export.query import LOADS
from letta_source.schema.resources import all_tables
from letta_source.schema.tables import LOAD_LOG


@dataclass(frozen=True)
class Mounted:
    """A DuckDB with the views; `known` tables were loaded, though those without rows may have no files."""

    connection: Any
    appends: bool
    known: frozenset[str]


def mounted(files: Files, stack: ExitStack) -> Mounted:
    """Create a view for each table.

    Raises:
        ConfigError: another program changed a table in a way that its files alone do not show.
    """
    connection = stack.enter_context(duckdb.connect(":memory:"))
    stored = files.stored_tables()
    if stored is None:
        return Mounted(connection, True, frozenset())
    if files.protocol != "file":
        connection.register_filesystem(files.filesystem)
    finished = files.finished_loads()
    connection.execute(
        f'CREATE TABLE "{LOADS}" AS SELECT unnest(?::VARCHAR[]) AS load_id, 0 AS status', [finished]
    )
    known = [table.name for table in (*all_tables(), LOAD_LOG) if table.name in stored]
    for name in known:
        if paths := _paths(files, name):
            listed = ", ".join("'" + as_pattern(path).replace("'", "''") + "'" for path in paths)
            connection.execute(
                # A parent folder called `id=1` is not a column.
                f'CREATE VIEW "{name}" AS SELECT * FROM'
                f" read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
            )
    # The log has no table format, whatever the others have.
    formats = {stored[name].get("table_format") for name in known}
    return Mounted(connection, formats.isdisjoint(("delta", "iceberg")), frozenset(known))


def _paths(files: Files, table: str) -> Sequence[str]:
    if delta := files.open_table("delta", table):
        if {"deletionVectors", "columnMapping"}.intersection(delta.protocol().reader_features or ()):
            raise ConfigError(f"the Delta table {table} has deletion vectors or renamed columns: rewrite it")
        return [path_of_uri(uri) for uri in delta.file_uris()]
    if iceberg := files.open_table("iceberg", table):
        tasks = list(iceberg.scan().plan_files())
        if any(task.delete_files for task in tasks):
            raise ConfigError(f"the Iceberg table {table} has delete files: compact it")
        return [task.file.file_path.removeprefix("file://") for task in tasks]
    paths = files.of_table(table)
    if odd := [path for path in paths if not path.endswith(".parquet")]:
        raise ConfigError(f"only Parquet files can be exported, not {odd[0]}")
    return paths if files.protocol == "file" else [f"{files.protocol}://{path}" for path in paths]
