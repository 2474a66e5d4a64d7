"""Read tables, schemas and states of a dataset by dlt's clients, and create tables by them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from letta_source.destinations.dlt_internals import (
    FilesystemClient,
    LoadStorage,
    NormalizeStorage,
    Schema,
    WithStateSync,
    sql_client_of,
    stored_state,
)
from letta_source.errors import ConfigError
from letta_source.schema.columns import Column
from letta_source.schema.tables import Table

SCHEMA = "letta"
"""Name of the schema that describes a dataset's tables: that of the dlt source."""
VERSIONS, LOADS, STATES = "_dlt_version", "_dlt_loads", "_dlt_pipeline_state"
"""Tables of dlt's own in a dataset: schemas, finished loads, states of pipelines."""


def extracted_packages(working_dir: str | Path) -> Path:
    """Return the folder of load packages in a pipeline's working folder that are not normalized yet."""
    return Path(working_dir, "normalize", NormalizeStorage.EXTRACTED_FOLDER)


def normalized_packages(working_dir: str | Path) -> Path:
    """Return the folder of load packages in a pipeline's working folder that are not loaded yet."""
    return Path(working_dir, "load", LoadStorage.NORMALIZED_FOLDER)


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


def stored_schema(client: Any, own: Schema | None = None) -> Schema | None:
    """Return the newest schema stored in the dataset; None if there is none.

    Args:
        own: the pipeline's schema: if the same version is stored, it is returned, without parsing the other.

    Raises:
        ConfigError: the stored schema is damaged.
    """
    with suppress(DestinationUndefinedEntity):
        if not client.is_storage_initialized():
            return None
        try:
            stored = client.get_stored_schema(SCHEMA)
            if stored and own and own.version_hash == stored.version_hash:
                return own
            return Schema.from_dict(json.loads(stored.schema)) if stored else None
        except (zlib.error, ValueError, LookupError, TypeError) as error:
            # These errors of zlib, json and dlt name no table.
            raise ConfigError(
                f"the newest schema in {VERSIONS} is damaged: restore it from a backup, or delete its row, so"
                " that the next run stores it again"
            ) from error
    return None


def stored_version(pipeline: dlt.Pipeline) -> int | None:
    """Return the version of the schema stored in the destination; None if there is none."""
    with pipeline.destination_client() as client:
        stored = client.get_stored_schema(SCHEMA) if isinstance(client, WithStateSync) else None
        return stored.version if stored else None


@contextmanager
def damage_explained(pipeline: dlt.Pipeline, name: str | None = None) -> Iterator[None]:
    """Say what to do if the block fails because a state stored in the dataset is damaged.

    dlt would raise errors of zlib or json, which name no table.

    Args:
        name: the pipeline whose state the block reads, by default this one.

    Raises:
        ConfigError: the state is damaged.
    """
    name = name or pipeline.pipeline_name
    try:
        yield
    except Exception as error:
        if not _is_damaged(pipeline, name):
            raise
        raise ConfigError(
            f"{pipeline.dataset_name}: the newest state of the pipeline {name} in {STATES} is damaged:"
            " restore it from a backup, or delete its row, so that the next run continues from the state"
            " before it and reads again what came since (append-only files would then have these rows twice)"
        ) from error


def _is_damaged(pipeline: dlt.Pipeline, name: str) -> bool:
    with pipeline.destination_client() as client, suppress(DestinationUndefinedEntity):
        try:
            stored_state(client, name)
        except (ValueError, zlib.error, LookupError, TypeError, AttributeError):
            return True
    return False


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


def staged_tables(client: Any, tables: Iterable[str]) -> list[str]:
    """Return those of the tables that the staging dataset has."""
    return [name for name, columns in stored_columns(client, tables, staging=True).items() if columns]


def empty_staging(sql_client: Any, tables: Iterable[str]) -> None:
    """Delete all rows of these tables in the staging dataset, which keeps those that were merged last."""
    with sql_client.with_staging_dataset():
        for name in tables:
            table = sql_client.make_qualified_table_name(name)
            sql_client.execute_sql(f"DELETE FROM {table} WHERE 1 = 1")


def add_table(pipeline: dlt.Pipeline, table: Table) -> bool:
    """Add a table that no load fills to the pipeline's schema; return False if it has all the columns.

    Raises:
        PipelineConfigMissing: nothing was ever extracted.
    """
    schema = pipeline.default_schema
    held = schema.tables.get(table.name, {}).get("columns", {})
    if all(column.name in held for column in table.columns):
        return False
    added: Any = {
        "name": table.name,
        "description": table.description,
        "columns": {column.name: _for_dlt(column) for column in table.columns},
        "write_disposition": "append",
        "resource": table.name,
        # dlt shows only such tables in the pipeline's dataset.
        "x-normalizer": {"seen-data": True},
    }
    schema.update_table(added)
    pipeline.schemas.save_schema(schema)
    return True


def add_column(pipeline: dlt.Pipeline, table: str, column: Column) -> None:
    """Add a column of a table that loads fill to the pipeline's schema; the next sync creates it."""
    schema = pipeline.default_schema
    partial: Any = {"name": table, "columns": {column.name: _for_dlt(column)}}
    schema.update_table(partial)
    pipeline.schemas.save_schema(schema)


def _for_dlt(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "data_type": column.type,
        "nullable": column.nullable,
        "description": column.description,
    }
