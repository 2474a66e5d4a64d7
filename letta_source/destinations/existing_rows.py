"""Ask the destination which rows it holds, how many, and which ids `letta-source erase` removed."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import dlt
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import dialect_of, is_kind
from letta_source.schema.card import Resource
from letta_source.schema.tables import ERASED, Table
from letta_source.state.resource_state import ResourceState

logger = logging.getLogger(__name__)

LoadedIds = Callable[[str], set[str]]
"""Maps a parent's id to the ids loaded for it; "" stands for a table without parents."""

# Rows. To count more, PostgreSQL and MySQL read the table for a good part of a second.
_MOST = 1_000_000
_TABLE_ROWS = "SELECT table_rows FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
# Estimates that databases keep: at once, but not exact, and PostgreSQL's is -1 for a new table.
_ESTIMATES = {
    "postgres": (
        "SELECT reltuples FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE nspname = %s AND relname = %s"
    ),
    "mysql": _TABLE_ROWS,
    "mariadb": _TABLE_ROWS,
}


def loaded_ids(resource: Resource, state: ResourceState) -> LoadedIds:
    """Return a function that finds loaded ids, by one query per parent, or for all if many will be needed."""
    parent = resource.parent.name if resource.parent else None
    all_at_once = state.rereads or not resource.is_walked
    found: dict[str, set[str]] = {}
    asked: set[str] = set()

    def loaded(parent_id: str) -> set[str]:
        only = None if all_at_once else parent_id
        if not asked or (only and only not in asked):
            asked.add(parent_id)
            for of, one in _ids(resource.root.name, parent, only):
                found.setdefault(of, set()).add(one)
        # The table of steps has no parent column, though steps are read run by run.
        return found.get(parent_id if parent else "", set())

    return loaded


def _ids(table: str, parent: str | None, only: str | None) -> list[tuple[str, str]]:
    """Return pairs of a parent's id, empty if there is none, and an item's id."""
    columns = f"{parent}, id" if parent else "'', id"
    where, values = (f" WHERE {parent} = %s", (only,)) if only else ("", ())
    try:
        with suppress(DestinationUndefinedEntity), dlt.current.pipeline().sql_client() as client:
            name = client.make_qualified_table_name(table)
            rows = client.execute_sql(f"SELECT DISTINCT {columns} FROM {name}{where}", *values)
            return [(row[0], row[1]) for row in rows or ()]
    except SqlClientNotAvailable:
        logger.warning("%s: the destination cannot report which rows it holds: rows may be duplicated", table)
    return []


def row_counts(pipeline: dlt.Pipeline, tables: Iterable[str], all_of_them: bool = False) -> dict[str, int]:
    """Count the rows of each table, 0 if it does not exist.

    Empty if the destination takes no SQL, or would have to read all its files.

    Args:
        all_of_them: count large tables too, where this takes longer the more rows there are.
    """
    if is_kind("filesystem", pipeline):
        return {}
    try:
        with pipeline.sql_client() as client:
            counted = [name for name in tables if all_of_them or _estimate(client, name) <= _MOST]
            return {name: _count(client, name) for name in counted}
    except SqlClientNotAvailable:
        return {}


def _estimate(client: Any, table: str) -> int:
    statement = _ESTIMATES.get(dialect_of(client))
    rows = client.execute_sql(statement, client.dataset_name, table) if statement else None
    return int(rows[0][0] or 0) if rows else 0


def _count(client: Any, table: str) -> int:
    with suppress(DestinationUndefinedEntity):
        rows = client.execute_sql(f"SELECT count(*) FROM {client.make_qualified_table_name(table)}")
        return int(rows[0][0]) if rows else 0
    return 0


def has_rows(pipeline: dlt.Pipeline, tables: Iterable[Table]) -> bool:
    """Return True if one of the tables has rows; False if the destination takes no SQL."""
    if is_kind("filesystem", pipeline):
        return False
    with suppress(SqlClientNotAvailable), pipeline.sql_client() as client:
        return any(_has_rows(client, table.name) for table in tables)
    return False


def _has_rows(client: Any, table: str) -> bool:
    with suppress(DestinationUndefinedEntity):
        found = f"EXISTS (SELECT 1 FROM {client.make_qualified_table_name(table)})"
        return bool(client.execute_sql(f"SELECT CASE WHEN {found} THEN 1 ELSE 0 END")[0][0])
    return False


def erased_ids(pipeline: dlt.Pipeline) -> frozenset[str]:
    """Return the ids that `letta-source erase` removed from a dataset, which loads leave out."""
    with Files.opened(pipeline) as files:
        if files:
            found = [files.filesystem.read_bytes(path) for path in files.of_table(ERASED.name)]
            tables = [pq.read_table(io.BytesIO(one), columns=["id"]) for one in found]
            return frozenset(str(one) for table in tables for one in table.column("id").to_pylist())
    with suppress(DestinationUndefinedEntity, SqlClientNotAvailable), pipeline.sql_client() as client:
        table, id_ = client.make_qualified_table_name(ERASED.name), client.escape_column_name("id")
        return frozenset(row[0] for row in client.execute_sql(f"SELECT {id_} FROM {table}") or ())
    return frozenset()
