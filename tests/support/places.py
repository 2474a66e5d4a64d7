"""The destinations of loads: how the command line is pointed at each, and a reader of it without dlt.

`ALL_DESTINATIONS` chooses, as in dlt's own tests: a list, in JSON or separated by commas, of the names here
or of dlt's (`sqlalchemy`, `filesystem`).
"""

from __future__ import annotations

import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

import duckdb
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2.extras import register_default_json, register_default_jsonb

from tests.support.library_loads import TABLES, Row, columns_of, in_order

Kind = Literal["replaces", "upserts", "appends"]
"""Effect of a row that comes again: its message is replaced, the row is replaced, or both rows stay."""

Types = dict[str, frozenset[str]]
"""By a type of ours, what a destination calls it."""
Wanted = Mapping[str, Sequence[str]]
"""Columns by table."""
Query = Callable[[str], list[Row]]


class Place(ABC):
    """An empty destination of one test.

    Attributes:
        folder: where a load runs; a local destination is below it.
        options, environment: the user's settings for loading into it.
        types: the names that a column of each of our types may have there.
    """

    kind: Kind = "replaces"
    options: tuple[str, ...] = ()
    types: Types

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}

    def rows(self, table: str, *columns: str) -> list[Row]:
        """Return the sorted rows as Python values: the named columns, or all but the load's id."""
        return self._rows({table: columns or columns_of(table)})[table]

    def everything(self) -> dict[str, list[Row]]:
        return self._rows({table: columns_of(table) for table in TABLES})

    def _rows(self, wanted: Wanted) -> dict[str, list[Row]]:
        made = {}
        for table, rows in self._read(wanted).items():
            by_name = {column.name: column.type for column in TABLES[table].columns}
            types = [by_name[name] for name in wanted[table]]
            made[table] = in_order(
                tuple(plain(type_, value) for type_, value in zip(types, row, strict=True)) for row in rows
            )
        return made

    def close(self) -> None:  # noqa: B027  # most leave nothing behind
        """Remove what is not below its folder."""

    @abstractmethod
    def _read(self, wanted: Wanted) -> dict[str, Iterable[Sequence[Any]]]:
        """Return columns of tables as they are stored; no rows for a missing table."""

    @abstractmethod
    def column_types(self, table: str) -> dict[str, str]:
        """Return the destination's name for the type of each column."""


def _called(**types: str) -> Types:
    """Return the type names by type; alternatives are separated by `|`."""
    return {type_: frozenset(names.split("|")) for type_, names in types.items()}


def plain(type_: str, value: Any) -> Any:
    """Return a value in the form common to all destinations: times in UTC, json with sorted keys.

    Raises:
        ValueError: it is not a time, or not json.
    """
    if value is None:
        return None
    if type_ == "timestamp":
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    if type_ == "bool":
        # Some databases have no booleans: their BOOLEAN is 0 and 1.
        return {0: False, 1: True}.get(value, value)
    if type_ == "json":
        return json.dumps(json.loads(value), sort_keys=True, ensure_ascii=False)
    return value


class _Database(Place):
    """A database that answers queries."""

    schema = "letta"
    catalog = "SELECT table_name, column_name, data_type FROM information_schema.columns"
    column = '"{}"'

    @abstractmethod
    @contextmanager
    def _connected(self) -> Iterator[Query]:
        """Yield a function that answers a query."""

    def _read(self, wanted: Wanted) -> dict[str, Iterable[Sequence[Any]]]:
        with self._connected() as query:
            there = self._types(query)
            return {
                table: query(self._select(table, columns, there[table])) if table in there else []
                for table, columns in wanted.items()
            }

    def column_types(self, table: str) -> dict[str, str]:
        with self._connected() as query:
            return self._types(query)[table]

    def _types(self, query: Query) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for table, column, type_ in query(f"{self.catalog} WHERE table_schema = '{self.schema}'"):
            found.setdefault(table, {})[column] = type_
        return found

    def _select(self, table: str, columns: Sequence[str], types: Mapping[str, str]) -> str:
        listed = ", ".join(self.column.format(one) if one in types else "NULL" for one in columns)
        return f"SELECT {listed} FROM {self.schema}.{table}"


class DuckDB(_Database):
    types = _called(
        timestamp="TIMESTAMP WITH TIME ZONE",
        bool="BOOLEAN",
        json="JSON",
        bigint="BIGINT",
        text="VARCHAR",
        double="DOUBLE",
    )

    @contextmanager
    def _connected(self) -> Iterator[Query]:
        with duckdb.connect(str(self.folder / "letta_db.duckdb"), read_only=True) as connection:
            yield lambda query: connection.execute(query).fetchall()


class Postgres(_Database):
    options = ("--destination", "postgres")
    types = _called(
        timestamp="timestamp with time zone",
        bool="boolean",
        json="json|jsonb",
        bigint="bigint",
        text="character varying|text",
        double="double precision",
    )

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self._url = url
        self.environment = {"DESTINATION__POSTGRES__CREDENTIALS": url}

    @contextmanager
    def _connected(self) -> Iterator[Query]:
        with closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            for register in (register_default_json, register_default_jsonb):
                # As text, as all other destinations return it.
                register(connection, loads=str)

            def answer(query: str) -> list[Row]:
                cursor.execute(query)
                return cursor.fetchall()

            yield answer


class SQLite(_Database):
    options = ("--destination", "sqlalchemy")
    types = _called(
        timestamp="DATETIME|TIMESTAMP",
        bool="BOOLEAN",
        json="JSON|TEXT",
        bigint="BIGINT",
        text="TEXT|VARCHAR",
        double="DOUBLE|FLOAT",
    )
    schema = "main"
    catalog = (
        "SELECT tables.name, columns.name, columns.type FROM"
        " (SELECT name, 'main' AS table_schema FROM sqlite_master) AS tables"
        " JOIN pragma_table_info(tables.name) AS columns"
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environment = {"DESTINATION__SQLALCHEMY__CREDENTIALS": f"sqlite:///{folder / 'warehouse.db'}"}

    @contextmanager
    def _connected(self) -> Iterator[Query]:
        # dlt gives each dataset a file of its own.
        with closing(sqlite3.connect(self.folder / "warehouse__letta.db")) as connection:
            yield lambda query: connection.execute(query).fetchall()


class MySQL(_Database):
    """A server such as MariaDB. Each test creates a database, and drops it."""

    types = _called(
        timestamp="datetime|timestamp",
        bool="tinyint",
        json="json|longtext",
        bigint="bigint",
        text="longtext|text|varchar",
        double="double",
    )
    column = "`{}`"

    def __init__(self, folder: Path, url: str) -> None:
        from sqlalchemy import create_engine

        super().__init__(folder)
        self.schema = f"letta_{uuid4().hex[:12]}"
        self.options = ("--destination", "sqlalchemy", "--dataset-name", self.schema)
        self.environment = {"DESTINATION__SQLALCHEMY__CREDENTIALS": url}
        self._engine = create_engine(url)

    @contextmanager
    def _connected(self) -> Iterator[Query]:
        with self._engine.connect() as connection:
            yield lambda query: [tuple(row) for row in connection.exec_driver_sql(query)]

    def close(self) -> None:
        with self._engine.begin() as connection:
            for name in (self.schema, f"{self.schema}__letta_staging"):
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        self._engine.dispose()


class _Files(Place):
    """Files in one folder, with a subfolder for each table."""

    options: tuple[str, ...] = ("--destination", "filesystem")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lake = folder / "lake"
        self.environment = {"DESTINATION__FILESYSTEM__BUCKET_URL": self.lake.as_uri()}

    def _read(self, wanted: Wanted) -> dict[str, Iterable[Sequence[Any]]]:
        return {table: self._read_one(table, columns) for table, columns in wanted.items()}

    def _read_one(self, table: str, columns: Sequence[str]) -> list[Row]:
        rows: list[Row] = []
        for held in self._arrow(self.lake / "letta" / table):
            # Files of an older version lack columns.
            missing = pa.nulls(held.num_rows)
            values = [(held[one] if one in held.column_names else missing).to_pylist() for one in columns]
            rows += zip(*values, strict=True)
        return rows

    def column_types(self, table: str) -> dict[str, str]:
        found = self._arrow(self.lake / "letta" / table)
        return {field.name: str(field.type) for field in found[-1].schema} if found else {}

    @abstractmethod
    def _arrow(self, folder: Path) -> list[pa.Table]: ...


class Parquet(_Files):
    kind = "appends"
    types = _called(
        timestamp="timestamp[us, tz=UTC]",
        bool="bool",
        json="string|json",
        bigint="int64",
        text="string",
        double="double",
    )

    def _arrow(self, folder: Path) -> list[pa.Table]:
        files = sorted(one for one in folder.rglob("*") if one.is_file())
        assert {one.suffix for one in files} <= {".parquet"}, files
        return [pq.ParquetFile(file).read() for file in files]


class Delta(_Files):
    kind = "upserts"
    options = (*_Files.options, "--table-format", "delta")
    types = Parquet.types | _called(json="string")

    def _arrow(self, folder: Path) -> list[pa.Table]:
        # Imported here and below, because it takes a second that other tests need not spend.
        from deltalake import DeltaTable

        return [DeltaTable(folder).to_pyarrow_table()] if (folder / "_delta_log").is_dir() else []


class Iceberg(_Files):
    kind = "upserts"
    options = (*_Files.options, "--table-format", "iceberg")
    types = Parquet.types | _called(json="string|large_string", text="string|large_string")

    def _arrow(self, folder: Path) -> list[pa.Table]:
        from pyiceberg.table import StaticTable

        versions = (folder / "metadata").glob("*.metadata.json")
        newest = max(versions, key=lambda file: file.name, default=None)
        return [StaticTable.from_metadata(str(newest)).scan().to_arrow()] if newest else []


class Servers(Protocol):
    """Database servers, started on first use."""

    def postgres(self) -> str:
        """Return the URL of an empty database."""
        ...

    def mysql(self) -> str:
        """Return the URL of a server, without a database."""
        ...


_PLACES: dict[str, Callable[[Path, Servers], Place]] = {
    "duckdb": lambda folder, servers: DuckDB(folder),
    "postgres": lambda folder, servers: Postgres(folder, servers.postgres()),
    "sqlite": lambda folder, servers: SQLite(folder),
    "mysql": lambda folder, servers: MySQL(folder, servers.mysql()),
    "parquet": lambda folder, servers: Parquet(folder),
    "delta": lambda folder, servers: Delta(folder),
    "iceberg": lambda folder, servers: Iceberg(folder),
}
_AS_DLT_SAYS = {"sqlalchemy": ["sqlite", "mysql"], "filesystem": ["parquet", "delta", "iceberg"]}


def make_place(name: str, folder: Path, servers: Servers) -> Place:
    """Return an empty place."""
    return _PLACES[name](folder, servers)


def chosen(said: str = os.environ.get("ALL_DESTINATIONS", "")) -> list[str]:
    """Return the destinations that the environment selects; all by default.

    Raises:
        ValueError: a name is unknown.
    """
    names = (
        json.loads(said) if said.startswith("[") else [one.strip() for one in said.split(",") if one.strip()]
    )
    found = [name for one in names or _PLACES for name in _AS_DLT_SAYS.get(one, [one])]
    if unknown := set(found) - set(_PLACES):
        raise ValueError(f"ALL_DESTINATIONS: {', '.join(sorted(unknown))} is none of {', '.join(_PLACES)}")
    return found
