"""A first load into DuckDB appends its messages: where nothing is, there is nothing to replace.

It takes less than half the time of a merge. Each row comes exactly once, because rows that were read twice
are merged after all (`extract.repeats`), and because what a killed load had appended is taken back before
its package is loaded again. Elsewhere, where a connection may break after a statement was done, dlt itself
may send it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation

from letta_source.destinations.dlt_internals import LoadStorage, PackageStorage, is_kind, table_of_job
from letta_source.schema.columns import LOAD_ID
from letta_source.schema.resources import RESOURCES, all_tables

# Bytes.
_APPENDING = 150_000_000
_LOG = 100_000_000


def appendable(pipeline: dlt.Pipeline, resources: Iterable[str]) -> set[str]:
    """The resources whose rows can be appended: their tables are empty, or not there yet."""
    if not is_kind("duckdb", pipeline):
        return set()
    with pipeline.sql_client() as client:

        def is_empty(table: str) -> bool:
            with suppress(DatabaseUndefinedRelation):
                name = client.make_qualified_table_name(table)
                return not client.execute_sql(f"SELECT 1 FROM {name} LIMIT 1")
            return True

        return {
            name
            for name in resources
            if RESOURCES[name].is_walked and all(is_empty(table.name) for table in RESOURCES[name].tables)
        }


@contextmanager
def kept_open(pipeline: dlt.Pipeline) -> Iterator[None]:
    """While the block runs, DuckDB's file stays open: to open it takes longer than most statements do."""
    with pipeline.sql_client() if is_kind("duckdb", pipeline) else nullcontext():
        yield


@contextmanager
def sparing(pipeline: dlt.Pipeline, most: int | None = None) -> Iterator[None]:
    """While the block runs, DuckDB loads with little memory and with one thread a table.

    By default it takes most of the memory there is. The tables are loaded side by side; a thread that has one
    for itself fills whole row groups, which go to disk once, not to the log before.

    Args:
        most: bytes, for large rows: whatever it does with a column, it holds 2,048 values of it at once.
    """
    if not is_kind("duckdb", pipeline):
        yield
        return
    with pipeline.sql_client() as client:
        # Other connections of this process share the database with ours, and what is set.
        limit = max(_APPENDING, most or 0)
        client.execute_sql(f"SET GLOBAL memory_limit = '{limit}B'")
        client.execute_sql("SET GLOBAL threads = 1")
        if most:
            # Compressing, and what is compressed, takes twice as much.
            client.execute_sql("SET GLOBAL force_compression = 'uncompressed'")
        try:
            yield
        finally:
            if most:
                # Until it loads again, it gives back what it keeps in memory.
                with suppress(DatabaseException):
                    client.execute_sql(f"SET GLOBAL memory_limit = '{limit // 2}B'")


@contextmanager
def kept_for_large_rows(pipeline: dlt.Pipeline, most: int) -> Iterator[None]:
    """While the block runs, DuckDB keeps the database open and seldom writes its log into it.

    It would do so whenever the last connection closes. Each time it writes all rows of the last row group
    again: of large rows, all rows there are.
    """
    if not is_kind("duckdb", pipeline):
        yield
        return
    with pipeline.sql_client() as client:
        client.execute_sql(f"SET GLOBAL checkpoint_threshold = '{_LOG}B'")
        try:
            yield
        finally:
            # What cannot be written within the limit is written as the connection closes, without one.
            with suppress(DatabaseException):
                client.execute_sql(f"SET GLOBAL memory_limit = '{most}B'")
                client.execute_sql("CHECKPOINT")
            client.execute_sql("RESET GLOBAL memory_limit")


def unlimited(pipeline: dlt.Pipeline) -> None:
    """Let DuckDB take most of the memory there is."""
    if is_kind("duckdb", pipeline):
        with pipeline.sql_client() as client:
            client.execute_sql("RESET GLOBAL memory_limit")


def take_back(pipeline: dlt.Pipeline) -> None:
    """Takes what unfinished load packages had appended out of its tables, so that it can be loaded again."""
    if not is_kind("duckdb", pipeline):
        # A file that is written again takes the place of the first.
        return
    folder = Path(pipeline.working_dir, "load", LoadStorage.NORMALIZED_FOLDER)
    for package in folder.glob(f"*/{PackageStorage.SCHEMA_FILE_NAME}"):
        tables = json.loads(package.read_text("utf-8"))["tables"]
        _take_back(pipeline, package.parent, tables)


def _take_back(pipeline: dlt.Pipeline, package: Path, tables: Mapping[str, Any]) -> None:
    appended = {t.name for t in all_tables() if tables.get(t.name, {}).get("write_disposition") == "append"}
    begun = [
        (table, job)
        for state in (PackageStorage.STARTED_JOBS_FOLDER, PackageStorage.COMPLETED_JOBS_FOLDER)
        for job in (package / state).glob("*")
        if (table := table_of_job(job)) in appended
    ]
    if not begun:
        return
    with pipeline.sql_client() as client:
        for table in {table for table, _ in begun}:
            name = client.make_qualified_table_name(table)
            client.execute_sql(f"DELETE FROM {name} WHERE {LOAD_ID.name} = %s", package.name)
    # Not before: what is no longer begun is taken for what was never appended.
    for _, job in begun:
        (package / PackageStorage.PENDING_TRANSITIONS_FOLDER / job.name).unlink(missing_ok=True)
        job.rename(package / PackageStorage.NEW_JOBS_FOLDER / job.name)
