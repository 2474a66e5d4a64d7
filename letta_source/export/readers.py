"""Open a loaded dataset: DuckDB, files, or any database that dlt has a driver for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import (
    connection_of,
    dialect_of,
    read_only,
    server_cursor,
    sql_client_of,
)
from letta_source.errors import ConfigError
from letta_source.export.files import mounted
from letta_source.export.query import LOADS, Query, Reader
from letta_source.export.values import conformed, from_rows, utc
from letta_source.schema.columns import Column
from letta_source.times import written

ROWS = 1000
"""Maximum rows per batch: rows with images are MBs each."""
# MB for each query, beyond which DuckDB sorts on disk. More threads need more memory.
_MEMORY, _THREADS = 512, 4
_UNITS = {"KiB": 2**-10, "MiB": 1, "GiB": 2**10, "TiB": 2**20}


@contextmanager
def open_reader(pipeline: dlt.Pipeline, folder: Path | None = None) -> Iterator[Reader]:
    """Open the dataset of a pipeline for reading.

    Args:
        folder: where DuckDB puts data that does not fit into memory; its database file is then opened
            read-only. By default the data goes beside the file.

    Raises:
        ConfigError: it is no pipeline, nothing was loaded yet, or the destination cannot be read.
    """
    if not isinstance(pipeline, dlt.Pipeline):
        raise ConfigError(f"{pipeline!r} is not an opened dataset: letta_source.open_dataset() returns one")
    with ExitStack() as stack:
        reader = _reader(pipeline, folder, stack)
        if not reader.columns_of(LOADS):
            raise ConfigError(
                f"nothing was loaded into the dataset {pipeline.dataset_name} yet: `letta-source run` does so"
            )
        yield reader


def _reader(pipeline: dlt.Pipeline, folder: Path | None, stack: ExitStack) -> Reader:
    if files := stack.enter_context(Files.opened(pipeline)):
        spill = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = mounted(files, stack)
        return DuckDB(found.connection, spill, None, found.appends, found.known)
    sql_client = sql_client_of(pipeline.destination_client())
    if sql_client is None:
        raise ConfigError("this destination answers no SQL: its rows cannot be exported")
    # MotherDuck counts, too.
    is_duckdb = dialect_of(sql_client) == "duckdb"
    if is_duckdb and folder:
        read_only(sql_client)
    stack.enter_context(sql_client)
    if not is_duckdb:
        return Database(pipeline, sql_client)
    return DuckDB(connection_of(sql_client), folder, sql_client)


class DuckDB(Reader):
    """Reads DuckDB, and files through its views; rows stay in Arrow.

    Args:
        spill: folder for what does not fit into memory; by default beside the database's file.
        client: client that qualifies table names; without one they stay as they are.
        known: tables that were loaded, though those without rows may have no files.
    """

    def __init__(
        self,
        connection: Any,
        spill: Path | None,
        client: Any,
        appends: bool = False,
        known: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(client, appends)
        self._connection = connection
        self._known = known
        self._most = _megabytes(self._setting("memory_limit"))
        self._memory = 0
        self._set("threads", min(_THREADS, int(self._setting("threads"))))
        # Allow more than 2 GB of text per batch.
        self._set("arrow_large_buffer_size", True)
        if spill:
            self._set("temp_directory", str(spill))

    def _setting(self, name: str) -> Any:
        return self._connection.execute(f"SELECT current_setting('{name}')").fetchone()[0]

    def _set(self, name: str, value: str | int) -> None:
        literal = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else value
        self._connection.execute(f"SET {name} = {literal}")

    def _add_memory(self, megabytes: int) -> None:
        self._memory = min(self._memory + megabytes, self._most)
        self._set("memory_limit", f"{self._memory}MiB")

    def table(self, name: str) -> str:
        return super().table(name) if self._client else f'"{name}"'

    def column(self, name: str) -> str:
        return f'"{name}"'

    def selected(self, expression: str, column: Column) -> str:
        return f"CAST({expression} AS VARCHAR)" if column.type == "json" else expression

    def _found_columns(self, table: str) -> list[str]:
        import duckdb

        with suppress(duckdb.CatalogException):
            return list(self._connection.sql(f"SELECT * FROM {self.table(table)} LIMIT 0").columns)
        return _absent(table, table in self._known)

    def row(self, sql: str) -> tuple[Any, ...]:
        with self._connection.cursor() as cursor:
            return tuple(cursor.execute(sql).fetchone())

    def stream(self, query: Query, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
        import duckdb

        self._add_memory(_MEMORY)
        sql, values = query
        sent = 0
        while True:
            # Each query has a connection of its own: the next query would end the previous one.
            with self._connection.cursor() as cursor:
                try:
                    # Not by `execute`, which would load all rows first.
                    rows = cursor.sql(f"{sql.replace('%s', '?')} OFFSET {sent}", params=values)
                    for batch in rows.to_arrow_reader(ROWS):
                        yield from conformed(batch, columns)
                        sent += batch.num_rows
                    return
                except (OSError, duckdb.OutOfMemoryException) as error:
                    # pyarrow raises DuckDB's error as one of its own.
                    if "Out of Memory" not in str(error) or self._memory == self._most:
                        raise
            # A sort needs more memory for more rows. Their order is stable, so reading continues at `sent`.
            self._add_memory(self._memory)


def _megabytes(size: str) -> int:
    """Parse a size of DuckDB, such as `488.2 MiB`, to MiB."""
    number, unit = size.split()
    return int(float(number) * _UNITS[unit])


class Database(Reader):
    """Reads any other database through its driver's cursors."""

    def __init__(self, pipeline: dlt.Pipeline, client: Any) -> None:
        super().__init__(client, appends=not client.capabilities.supported_merge_strategies)
        self._pipeline = pipeline
        self._dialect = dialect_of(client)

    def selected(self, expression: str, column: Column) -> str:
        is_parsed = column.type == "json" and self._dialect == "postgres"
        return f"CAST({expression} AS text)" if is_parsed else expression

    def sorted(self, expression: str) -> str:
        return f'{expression} COLLATE "C"' if self._dialect == "postgres" else expression

    def moment(self, time: datetime) -> Any:
        if self._dialect == "sqlite":
            # SQLite stores times as text.
            return written(utc(time), "microseconds")
        # MySQL's times have no zone.
        return utc(time).replace(tzinfo=None) if self._dialect in ("mysql", "mariadb") else utc(time)

    def _found_columns(self, table: str) -> list[str]:
        with (
            suppress(DestinationUndefinedEntity),
            self._client.execute_query(f"SELECT * FROM {self.table(table)} WHERE 1 = 0") as cursor,
        ):
            return list(cursor.columns_schema)
        return _absent(table, False)

    def row(self, sql: str) -> tuple[Any, ...]:
        with self._pipeline.sql_client() as client, client.execute_query(sql) as cursor:
            return tuple(cursor.fetchone() or ())

    def stream(self, query: Query, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
        with self._cursor(query) as cursor:
            while rows := cursor.fetchmany(ROWS):
                yield from_rows(rows, columns)

    @contextmanager
    def _cursor(self, query: Query) -> Iterator[Any]:
        sql, values = query
        # A driver may allow one open result per connection.
        with self._pipeline.sql_client() as client:
            if self._dialect in ("postgres", "redshift"):
                with server_cursor(client, "letta_export") as cursor:
                    cursor.itersize = ROWS
                    cursor.execute(sql, values)
                    yield cursor
                return
            if hasattr(client, "dialect_name"):
                # SQLAlchemy, whose driver would load all rows first.
                connection_of(client).execution_options(stream_results=True)
            with client.execute_query(sql, *values) as cursor:
                yield cursor


def has_table(reader: Reader, table: str) -> bool:
    """Return True if the dataset has a table; resources that the host lacks have none."""
    try:
        return bool(reader.columns_of(table))
    except ConfigError:
        return False


def _absent(table: str, was_loaded: bool) -> list[str]:
    if was_loaded or table == LOADS or "__" in table:
        return []
    raise ConfigError(f"{table} was not loaded: `letta-source run --resources {table}` loads it")
