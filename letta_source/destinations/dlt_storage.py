"""Read tables, schemas and states of a dataset by dlt's clients, and create tables by them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from letta_source.destinations.dlt_internals import (
    FilesystemClient,
    Schema,
    WithStateSync,
    sql_client_of,
)

SCHEMA = "letta"
"""Name of the schema that describes a dataset's tables: that of the dlt source."""
VERSIONS, LOADS, STATES = "_dlt_version", "_dlt_loads", "_dlt_pipeline_state"
"""Tables of dlt's own in a dataset: schemas, finished loads, states of pipelines."""


def newest_loads(client: Any) -> dict[str, str]:
    """Map each pipeline that loads into this dataset to the id of its last load that stored a state."""
    if (sql_client := sql_client_of(client)) is not None:
        normalized = map(client.schema.naming.normalize_path, ("pipeline_name", "_dlt_load_id"))
        name, load_id = map(sql_client.escape_column_name, normalized)
        table = sql_client.make_qualified_table_name(client.schema.state_table_name)
        rows = sql_client.execute_sql(f"SELECT {name}, max({load_id}) FROM {table} GROUP BY {name}")
        return {row[0]: row[1] for row in rows or ()}
    if isinstance(client, FilesystemClient):
        states = map(pipeline_and_load, client.list_table_files(STATES))
        return {name: load_id for load_id, name in sorted((load_id, name) for name, load_id in states)}
    return {}


def pipeline_and_load(file: str) -> tuple[str, str]:
    """Return the pipeline and the load id that the name of a state's file holds."""
    # Such as `letta__1732230000.1__HASH.jsonl`; a pipeline's name may contain `__` too.
    name, load_id, _ = Path(file).stem.rsplit("__", 2)
    return name, load_id


def stored_schema(client: Any) -> Schema | None:
    """Return the newest schema stored in the dataset; None if there is none."""
    with suppress(DestinationUndefinedEntity):
        stored = client.get_stored_schema(SCHEMA) if client.is_storage_initialized() else None
        return Schema.from_dict(json.loads(stored.schema)) if stored else None
    return None


def stored_version(pipeline: dlt.Pipeline) -> int | None:
    """Return the version of the schema stored in the destination; None if there is none."""
    with pipeline.destination_client() as client:
        stored = client.get_stored_schema(SCHEMA) if isinstance(client, WithStateSync) else None
        return stored.version if stored else None


def make_tables_again(pipeline: dlt.Pipeline, tables: Iterable[str] | None, staging: bool = False) -> None:
    """Create missing tables (None: all) and columns, even if the stored schema has them."""
    client: Any = pipeline.destination_client()
    with client, client.with_staging_dataset() if staging else nullcontext():
        client.initialize_storage()
        client.update_stored_schema(only_tables=tables, force=True)


def stored_columns(client: Any, tables: Iterable[str], staging: bool = False) -> dict[str, dict[str, Any]]:
    """Map each table to the columns it has in the dataset, or in the staging dataset."""
    with client.with_staging_dataset() if staging else nullcontext():
        if not client.is_storage_initialized():
            return {}
        return {name: dict(columns) for name, columns in client.get_storage_tables(tables)}


def add_table(pipeline: dlt.Pipeline, name: str, description: str, columns: Sequence[Any]) -> bool:
    """Add a table that no load fills to the pipeline's schema; return False if it has all the columns.

    Args:
        columns: in dlt's form, with their types.

    Raises:
        PipelineConfigMissing: nothing was ever extracted.
    """
    schema = pipeline.default_schema
    held = schema.tables.get(name, {}).get("columns", {})
    if all(column["name"] in held for column in columns):
        return False
    table: Any = {
        "name": name,
        "description": description,
        "columns": {column["name"]: column for column in columns},
        "write_disposition": "append",
        "resource": name,
        # dlt shows only such tables in the pipeline's dataset.
        "x-normalizer": {"seen-data": True},
    }
    schema.update_table(table)
    pipeline.schemas.save_schema(schema)
    return True


def add_column(pipeline: dlt.Pipeline, table: str, column: Any) -> None:
    """Add a column of a table that loads fill to the pipeline's schema; the next sync creates it.

    Args:
        column: in dlt's form, with its type.
    """
    schema = pipeline.default_schema
    partial: Any = {"name": table, "columns": {column["name"]: column}}
    schema.update_table(partial)
    pipeline.schemas.save_schema(schema)
