"""A first load into DuckDB appends its messages, as there is nothing to replace.

Appending takes less than half the time of a merge. Each row still arrives exactly once: rows that were read
twice are merged after all (`extract.gathered_rows`), and rows that a killed load had appended are deleted
before its package is loaded again. Other destinations are not safe for this: a connection may break after a
statement was done, and dlt itself may send it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation

from letta_source.destinations.dlt_internals import (
    PackageStorage,
    SqlClientBase,
    is_kind,
    local_value,
    table_of_job,
)
from letta_source.destinations.dlt_storage import normalized_packages
from letta_source.schema.columns import LOAD_ID
from letta_source.schema.resources import RESOURCES, all_tables

# Set in the local state once large rows were loaded.
_LARGE_ROWS = "letta_source_large_rows"
# Bytes.
_APPENDING = 150_000_000
# DuckDB's log may take one of so many parts of its memory: writing the log holds it and its rows twice.
_PARTS = 5
# DuckDB's other names of settings.
_ALIASES = {"max_memory": "memory_limit", "worker_threads": "threads"}
_SETTING = re.compile(r"\b(?:set|pragma)\s+(?:(?:global|session|local)\s+)?(\w+)", re.I)
_NAME = re.compile(r"\W.*", re.S)


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
    with pipeline.sql_client() if is_kind("duckdb", pipeline) else nullcontext() as client:
        if client and local_value(pipeline, _LARGE_ROWS):
            _keep_row_groups(client)
        yield


@contextmanager
def memory_limited(pipeline: dlt.Pipeline, most: int | None = None) -> Iterator[None]:
    """Have DuckDB load with little memory and one thread per table while the block runs.

    By default it takes most of the machine's memory. Tables are loaded in parallel; a thread with a table to
    itself fills whole row groups, which are written to disk once, and not to the log first.

    Args:
        most: limit in bytes, for large rows: DuckDB always holds 2,048 values of a column at once, or those
            of a row group that has fewer.
    """
    if not is_kind("duckdb", pipeline):
        yield
        return
    with pipeline.sql_client() as client:
        # Other connections of this process share this database and its settings.
        limit = max(_APPENDING, most or 0)
        _set(client, memory_limit=f"{limit}B", threads="1")
        if most:
            # Compression, with its output, takes twice as much.
            _set(client, force_compression="uncompressed")
        yield
        if most:
            _write_log(client, limit // _PARTS)
            # Have it release memory until it loads again.
            with suppress(DatabaseException):
                _set(client, memory_limit=f"{limit // 2}B")


@contextmanager
def kept_for_large_rows(pipeline: dlt.Pipeline, most: int) -> Iterator[None]:
    """Keep DuckDB's database open while the block runs; each part of its log becomes a row group.

    DuckDB writes its log into the database whenever the last connection closes. From now on, later loads too
    leave small row groups as they are, so that none of them writes the large rows again.
    """
    if not is_kind("duckdb", pipeline):
        yield
        return
    with pipeline.sql_client() as client:
        pipeline.set_local_state_val(_LARGE_ROWS, True)
        _keep_row_groups(client)
        try:
            yield
        finally:
            # Rows that do not fit the limit are written when the connection closes, without a limit.
            with suppress(DatabaseException):
                _set(client, memory_limit=f"{max(_APPENDING, most)}B")
                _write_log(client)
            _reset(client, "memory_limit")


def _keep_row_groups(client: SqlClientBase[Any]) -> None:
    """Have DuckDB leave small row groups as they are, until the last connection closes.

    Else each checkpoint merges them with the new rows. For that it holds 2,048 values of each column, 600 MB
    of messages with images, and writes all of them again.
    """
    _set(client, max_vacuum_tasks="0")


def lift_memory_limit(pipeline: dlt.Pipeline) -> None:
    """Let DuckDB take most of the machine's memory, as by default."""
    if is_kind("duckdb", pipeline):
        with pipeline.sql_client() as client:
            _reset(client, "memory_limit")


def _write_log(client: SqlClientBase[Any], least: int = 0) -> None:
    """Write DuckDB's log into the database, once it has that many bytes."""
    log = Path(f"{client.credentials.database}.wal")
    with suppress(FileNotFoundError):
        if log.stat().st_size > least:
            client.execute_sql("CHECKPOINT")


def _set(client: SqlClientBase[Any], **values: str) -> None:
    """Set what the user has not set."""
    for name in values.keys() - _set_by_user(client.credentials):
        client.execute_sql(f"SET GLOBAL {name} = '{values[name]}'")


def _reset(client: SqlClientBase[Any], name: str) -> None:
    if name not in _set_by_user(client.credentials):
        client.execute_sql(f"RESET GLOBAL {name}")


def _set_by_user(credentials: Any) -> set[str]:
    """Return the names of DuckDB's settings in dlt's credentials; a pragma may be `name=value` or a call."""
    pragmas = [_NAME.sub("", pragma) for pragma in credentials.pragmas or ()]
    statements = [found[1] for text in credentials.statements or () for found in _SETTING.finditer(text)]
    names = [*(credentials.global_config or ()), *(credentials.local_config or ()), *pragmas, *statements]
    return {_ALIASES.get(name.lower(), name.lower()) for name in names}


def delete_unfinished(pipeline: dlt.Pipeline) -> None:
    """Delete the rows that unfinished load packages appended, so that these can be loaded again."""
    if not is_kind("duckdb", pipeline):
        # A file that is written again replaces the first.
        return
    for package in normalized_packages(pipeline.working_dir).glob(f"*/{PackageStorage.SCHEMA_FILE_NAME}"):
        tables = json.loads(package.read_text("utf-8"))["tables"]
        _delete_unfinished(pipeline, package.parent, tables)


def _delete_unfinished(pipeline: dlt.Pipeline, package: Path, tables: Mapping[str, Any]) -> None:
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
