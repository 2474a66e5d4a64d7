"""A first load into DuckDB appends its messages, as there is nothing to replace.

Appending takes less than half the time of a merge. Each row still arrives exactly once: rows that were read
twice are merged after all (`extract.repeats`), and rows that a killed load had appended are deleted
before its package is loaded again. Other destinations are not safe for this: a connection may break after a
statement was done, and dlt itself may send it again.
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
    """Return the resources whose rows can be appended: their tables are empty or do not exist yet."""
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
    """Keep DuckDB's file open while the block runs: opening it takes longer than most statements."""
    with pipeline.sql_client() if is_kind("duckdb", pipeline) else nullcontext():
        yield


@contextmanager
def sparing(pipeline: dlt.Pipeline, most: int | None = None) -> Iterator[None]:
    """Have DuckDB load with little memory and one thread per table while the block runs.

    By default it takes most of the machine's memory. Tables are loaded in parallel; a thread with a table to
    itself fills whole row groups, which are written to disk once, and not to the log first.

    Args:
        most: limit in bytes, for large rows: DuckDB always holds 2,048 values of a column at once.
    """
    if not is_kind("duckdb", pipeline):
        yield
        return
    with pipeline.sql_client() as client:
        # Other connections of this process share this database and its settings.
        limit = max(_APPENDING, most or 0)
        client.execute_sql(f"SET GLOBAL memory_limit = '{limit}B'")
        client.execute_sql("SET GLOBAL threads = 1")
        if most:
            # Compression, with its output, takes twice as much.
            client.execute_sql("SET GLOBAL force_compression = 'uncompressed'")
        try:
            yield
        finally:
            if most:
                # Have it release memory until it loads again.
                with suppress(DatabaseException):
                    client.execute_sql(f"SET GLOBAL memory_limit = '{limit // 2}B'")


@contextmanager
def kept_for_large_rows(pipeline: dlt.Pipeline, most: int) -> Iterator[None]:
    """Have DuckDB keep the database open and seldom checkpoint its log while the block runs.

    It would checkpoint whenever the last connection closes, and each time rewrite all rows of the last row
    group: if rows are large, all rows there are.
    """
    if not is_kind("duckdb", pipeline):
        yield
        return
    with pipeline.sql_client() as client:
        client.execute_sql(f"SET GLOBAL checkpoint_threshold = '{_LOG}B'")
        try:
            yield
        finally:
            # If this needs more than the limit, the connection checkpoints as it closes, without one.
            with suppress(DatabaseException):
                client.execute_sql(f"SET GLOBAL memory_limit = '{most}B'")
                client.execute_sql("CHECKPOINT")
            client.execute_sql("RESET GLOBAL memory_limit")


def unlimited(pipeline: dlt.Pipeline) -> None:
    """Let DuckDB take most of the machine's memory, as by default."""
    if is_kind("duckdb", pipeline):
        with pipeline.sql_client() as client:
            client.execute_sql("RESET GLOBAL memory_limit")


def take_back(pipeline: dlt.Pipeline) -> None:
    """Delete the rows that unfinished load packages appended, so that these can be loaded again."""
    if not is_kind("duckdb", pipeline):
        # A file that is written again replaces the first.
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
    # Only after that: a job that is new again counts as never appended.
    for _, job in begun:
        (package / PackageStorage.PENDING_TRANSITIONS_FOLDER / job.name).unlink(missing_ok=True)
        job.rename(package / PackageStorage.NEW_JOBS_FOLDER / job.name)
