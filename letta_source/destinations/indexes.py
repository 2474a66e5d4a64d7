"""Indexes by which merges find rows; dlt creates none.

Without them, PostgreSQL reads the whole table in each merge. MySQL, MariaDB and SQLite look through the
staging table once for each row of the table: to merge 1,000 rows into 100,000, MariaDB took 50 seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import dlt

from letta_source.destinations.dlt_internals import dialect_of, sql_client_of
from letta_source.destinations.dlt_storage import VERSIONS, make_tables_again, stored_columns
from letta_source.destinations.lease_sql import wait_at_most
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import Table

logger = logging.getLogger(__name__)

_OF_TABLES, _OF_STAGING = ("postgres",), ("mysql", "mariadb", "sqlite")
# Characters: MySQL indexes only the beginning of a long text. Letta's ids are shorter.
_LENGTH = 64
# Seconds.
_LONGEST_WAIT = 10


def index_tables(pipeline: dlt.Pipeline) -> None:
    """Create missing indexes of loaded tables in PostgreSQL; writers wait, a second for each million rows.

    Raises:
        DatabaseException: an open transaction that has written keeps a table locked for too long.
    """
    client = pipeline.destination_client()
    sql_client = sql_client_of(client)
    if sql_client is None or dialect_of(sql_client) not in _OF_TABLES:
        return
    with client:
        there = _indexes(sql_client)
        if missing := [table for table in _loaded(pipeline) if _name(table) not in there]:
            logger.info("creating the indexes of %s", ", ".join(table.name for table in missing))
        for table in missing:
            with sql_client.begin_transaction():
                wait_at_most(sql_client, _LONGEST_WAIT)
                sql_client.execute_sql(_create(sql_client, table))


def index_staging(pipeline: dlt.Pipeline) -> None:
    """Create missing staging tables and their indexes in MySQL, MariaDB and SQLite."""
    client: Any = pipeline.destination_client()
    sql_client = sql_client_of(client)
    if sql_client is None or dialect_of(sql_client) not in _OF_STAGING:
        return
    with client:
        names = [table.name for table in _loaded(pipeline)]
        there = stored_columns(client, names, staging=True)
    if not all(there.get(name) for name in names):
        make_tables_again(pipeline, [*names, VERSIONS], staging=True)
    with client, client.with_staging_dataset():
        known = _indexes(sql_client)
        for table in _loaded(pipeline):
            if _name(table) not in known:
                sql_client.execute_sql(_create(sql_client, table))


def _loaded(pipeline: dlt.Pipeline) -> Iterator[Table]:
    """Yield the tables for which rows have come."""
    loaded = set(pipeline.default_schema.data_table_names(seen_data_only=True))
    return (table for one in RESOURCES.values() for table in one.tables if table.name in loaded)


def _name(table: Table) -> str:
    return f"{table.name}__merge"


def _indexes(sql_client: Any) -> set[str]:
    """Return the names of the dataset's indexes."""
    if dialect_of(sql_client) == "sqlite":
        place = sql_client.fully_qualified_dataset_name()
        rows = sql_client.execute_sql(f"SELECT name FROM {place}.sqlite_master WHERE type = 'index'")
    elif dialect_of(sql_client) == "postgres":
        statement = "SELECT indexname FROM pg_indexes WHERE schemaname = %s"
        rows = sql_client.execute_sql(statement, sql_client.dataset_name)
    else:
        statement = "SELECT index_name FROM information_schema.statistics WHERE table_schema = %s"
        rows = sql_client.execute_sql(statement, sql_client.dataset_name)
    return {row[0] for row in rows or ()}


def _create(sql_client: Any, table: Table) -> str:
    """Return the statement that indexes the columns of a table's merge."""
    columns = [sql_client.escape_column_name(name) for name in table.merge_key or table.primary_key]
    name = sql_client.escape_column_name(_name(table))
    place = sql_client.make_qualified_table_name(table.name)
    if dialect_of(sql_client) == "sqlite":
        # The index is in the dataset's file; its table must not be qualified.
        name = f"{sql_client.fully_qualified_dataset_name()}.{name}"
        place = sql_client.escape_column_name(table.name)
    elif dialect_of(sql_client) in ("mysql", "mariadb"):
        columns = [f"{column}({_LENGTH})" for column in columns]
    return f"CREATE INDEX {name} ON {place} ({', '.join(columns)})"
