"""Files of Parquet, and tables of Delta and Iceberg that are made of them, as views in a DuckDB of our own.

DuckDB's own readers of Delta, Iceberg and buckets are extensions, which it would have to download.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema import Schema
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from letta_source.errors import ConfigError
from letta_source.export.query import LOADS
from letta_source.schema.tables import all_tables

_SCHEMA = "letta"


@dataclass(frozen=True)
class Files:
    """`known` tables were loaded, though those without rows may have no files."""

    connection: Any
    appends: bool
    known: frozenset[str]


def mounted(client: FilesystemClient, stack: ExitStack) -> Files:
    """A view each table.

    Raises:
        ConfigError: other programs changed a table in a way that its files alone do not show.
    """
    connection = stack.enter_context(duckdb.connect(":memory:"))
    stored = client.get_stored_schema(_SCHEMA) if client.is_storage_initialized() else None
    if stored is None:
        return Files(connection, True, frozenset())
    # Of the destination: which format a table has does not depend on who asks.
    client.schema = Schema.from_dict(json.loads(stored.schema))
    if client.config.protocol != "file":
        connection.register_filesystem(client.fs_client)
    loads = client.list_table_files(client.schema.loads_table_name)
    # As `letta__1732230000.1.jsonl`; it is written when the load is done.
    finished = [Path(path).stem.rpartition("__")[2] for path in loads]
    connection.execute(
        f'CREATE TABLE "{LOADS}" AS SELECT unnest(?::VARCHAR[]) AS load_id, 0 AS status', [finished]
    )
    known = [table.name for table in all_tables() if table.name in client.schema.tables]
    for name in known:
        with suppress(DestinationUndefinedEntity):
            if files := _files(client, name):
                listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
                connection.execute(
                    f'CREATE VIEW "{name}" AS SELECT * FROM read_parquet([{listed}], union_by_name = true)'
                )
    formats = {client.schema.tables[name].get("table_format") for name in known}
    return Files(connection, formats.isdisjoint(("delta", "iceberg")), frozenset(known))


def _files(client: FilesystemClient, table: str) -> Sequence[str]:
    if client.is_open_table("delta", table):
        delta = client.load_open_table("delta", table)
        if {"deletionVectors", "columnMapping"}.intersection(delta.protocol().reader_features or ()):
            raise ConfigError(f"the Delta table {table} has deletion vectors or renamed columns: rewrite it")
        return [_local(uri) for uri in delta.file_uris()]
    if client.is_open_table("iceberg", table):
        tasks = list(client.load_open_table("iceberg", table).scan().plan_files())
        if any(task.delete_files for task in tasks):
            raise ConfigError(f"the Iceberg table {table} has delete files: compact it")
        return [_local(task.file.file_path) for task in tasks]
    files = client.list_table_files(table)
    if odd := [file for file in files if not file.endswith(".parquet")]:
        raise ConfigError(f"only Parquet files can be exported, not {odd[0]}")
    protocol = client.config.protocol
    return files if protocol == "file" else [f"{protocol}://{file}" for file in files]


def _local(uri: str) -> str:
    return uri.removeprefix("file://")
