"""Compare the actual tables with the destination's stored copy of the schema.

dlt trusts that copy: a table that somebody dropped or renamed would stay missing for ever, or come back
without its earlier rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationException
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import dialect_of, sql_client_of
from letta_source.destinations.dlt_storage import (
    LOADS,
    STATES,
    VERSIONS,
    make_tables_again,
    stored_columns,
    stored_schema,
)
from letta_source.errors import ConfigError
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES, LOAD_LOG
from letta_source.shards import Shard

_DLTS = (LOADS, STATES)
# MySQL has neither type.
_OF_MYSQL = {"bool": "bigint", "json": "text"}
# Types that are stored as others, by dialect. The types of further dialects have not been compared with those
# that dlt reads back.
_STORED_AS: Mapping[str, Mapping[str, str]] = {
    "duckdb": {},
    "postgres": {},
    "sqlite": {},
    "mysql": _OF_MYSQL,
    "mariadb": _OF_MYSQL,
}


@dataclass(frozen=True)
class Drift:
    """Differences between the tables and the stored schema: somebody changed them by hand.

    Attributes:
        tables: missing tables.
        columns: missing columns, as `table.column`.
        types: columns and tables of another type, as `table.column is text, not bigint`.
        left: tables that are still there; known only for files.
        formats: table format of each of these; None for plain files.
    """

    tables: Collection[str] = ()
    columns: Collection[str] = ()
    types: Collection[str] = ()
    left: Collection[str] = ()
    formats: Mapping[str, str | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns or self.types)

    def __str__(self) -> str:
        parts = [f"{one} is missing" for one in (*self.tables, *self.columns)]
        return ", ".join([*parts, *self.types])

    def resources(self) -> set[str]:
        """Return the resources whose rows are gone, in whole or in part."""
        tables = {*self.tables, *(column.partition(".")[0] for column in self.columns)}
        return {
            name
            for name, resource in RESOURCES.items()
            if not tables.isdisjoint(table.name for table in resource.tables)
        }

    def assert_format(self, wanted: str | None) -> None:
        """Check that tables in files keep their format: in another, dlt starts new ones beside them.

        Raises:
            ConfigError: a table has another format; says what to do.
        """
        for table, found in self.formats.items():
            if found != wanted:
                keep = f"give --table-format {found}" if found else "leave out --table-format"
                old, new = found or "plain", wanted or "plain"
                raise ConfigError(
                    f"{table} is in {old} files, and a new table in {new} files would not have its rows:"
                    f" {keep}, or load into another dataset"
                )

    def assert_mendable(self, dataset: str, refresh: bool, appends: bool) -> None:
        """Check that the next load can create again what is missing, without doubling rows.

        Args:
            refresh: everything is read again.
            appends: rows are only added to files.

        Raises:
            ConfigError: it cannot; says what to do.
        """
        if self.types:
            raise ConfigError(
                f"{dataset}: {self}: change it back, or drop the table or view: the next run creates it again"
                " and reads all of its rows"
            )
        if self.columns and not refresh:
            raise ConfigError(
                f"{dataset}: {self}, though it was loaded: rename it back, or run with --refresh, which"
                " creates it again and reads everything"
            )
        if self and appends and (left := self._left_of_resources()):
            raise ConfigError(
                f"{dataset}: {self}, though it was loaded, and the files are append-only: delete"
                f" {', '.join(left)} too, so that everything is read again, or restore it"
            )

    def _left_of_resources(self) -> list[str]:
        """Return the remaining tables of resources that have lost one."""
        names = {table.name for name in self.resources() for table in RESOURCES[name].tables}
        return sorted(names.intersection(self.left))


def changed_by_hand(pipeline: dlt.Pipeline, resources: Collection[str]) -> Drift:
    """Return how the tables of these resources, and dlt's own, differ from the stored schema."""
    wanted = {LOAD_ISSUES.name, *(table.name for name in resources for table in RESOURCES[name].tables)}
    with Files.opened(pipeline) as files:
        if files:
            known = files.loaded_tables() if files.stored_tables() else {}
            made = [name for name in sorted(wanted & known.keys()) if _has_seen_rows(known[name])]
            gone = [name for name in made if not files.of_table(name)]
            left = [name for name in made if name not in gone]
            return Drift(gone, left=left, formats={name: known[name].get("table_format") for name in left})
    with pipeline.destination_client() as client:
        if (sql_client := sql_client_of(client)) is None or not client.is_storage_initialized():
            return Drift()
        known = _known(client, pipeline, wanted)
        changed = _compared(stored_columns(client, known), known, _STORED_AS.get(dialect_of(sql_client)))
        views = [f"{name} is a view, not a table" for name in _views(sql_client) if name in known]
        shorter = [
            f"{table}.{name} is text of {length} characters"
            for table, name, length in _short_texts(sql_client)
            if _is_long_text(known.get(table, {}).get("columns", {}).get(name, {}))
        ]
        return replace(changed, types=[*changed.types, *views, *shorter])


def _known(client: Any, pipeline: dlt.Pipeline, wanted: Collection[str]) -> dict[str, Any]:
    """Return the tables that were created, by the schema stored in the dataset or else in the pipeline.

    If somebody dropped `_dlt_version` and the working folder is new, every table may have been.
    """
    own = pipeline.default_schema if pipeline.default_schema_name else None
    schema = stored_schema(client, own) or own
    if schema is None:
        was_loaded = any(stored_columns(client, _DLTS).values())
        return {name: {"columns": {}} for name in (*wanted, *_DLTS)} if was_loaded else {}
    # Runs only add rows to load_log, which fails without the table. Version 0.1 had none.
    wanted = {*wanted, LOAD_LOG.name}
    known = {name: table for name, table in schema.tables.items() if name in wanted and _has_seen_rows(table)}
    return known | {name: schema.tables[name] for name in _DLTS if name in schema.tables}


def _views(sql_client: Any) -> list[str]:
    """Return the dataset's views: a view in a table's place has its columns, but takes no rows."""
    dialect = dialect_of(sql_client)
    if dialect == "sqlite":
        place = sql_client.fully_qualified_dataset_name()
        rows = sql_client.execute_sql(f"SELECT name FROM {place}.sqlite_master WHERE type = 'view'")
    elif dialect in _STORED_AS:
        rows = sql_client.execute_sql(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_type = 'VIEW' AND table_schema = %s",
            sql_client.dataset_name,
        )
    else:
        rows = ()
    return [row[0] for row in rows or ()]


def _short_texts(sql_client: Any) -> list[Any]:
    """Return table, column and length of text columns that are shorter than dlt's shortest, 65,535 bytes."""
    if dialect_of(sql_client) not in ("postgres", "mysql", "mariadb"):
        return []
    rows = sql_client.execute_sql(
        "SELECT table_name, column_name, character_maximum_length FROM information_schema.columns"
        " WHERE character_maximum_length < 65535 AND table_schema = %s",
        sql_client.dataset_name,
    )
    return list(rows or ())


def _is_long_text(described: Any) -> bool:
    # MySQL cannot index long texts: dlt shortens unique columns.
    is_short = described.get("precision") or described.get("unique")
    return described.get("data_type") == "text" and not is_short


def _has_seen_rows(table: Any) -> bool:
    # dlt creates a table with its first rows.
    return bool(table.get("x-normalizer", {}).get("seen-data"))


def _compared(
    there: dict[str, dict[str, Any]], known: dict[str, Any], stored_as: Mapping[str, str] | None
) -> Drift:
    """Return the differences; types are compared only if `stored_as` is given."""
    gone, columns, types = [], [], []
    for table, described in known.items():
        if not there.get(table):
            gone.append(table)
            continue
        found = {name.casefold(): column for name, column in there[table].items()}
        for name, column in described["columns"].items():
            if "data_type" not in column:
                continue
            if (now := found.get(name.casefold())) is None:
                columns.append(f"{table}.{name}")
            elif stored_as is not None and (other := _other_type(column, now, stored_as)):
                types.append(f"{table}.{name} {other}")
    return Drift(gone, columns, types)


def _other_type(column: Any, now: Any, stored_as: Mapping[str, str]) -> str | None:
    found, described = now.get("data_type"), column["data_type"]
    if found not in (described, stored_as.get(described)):
        return f"is {found}, not {described}"
    if now.get("nullable") is False and column.get("nullable", True):
        return "is now NOT NULL"
    return None


def mend_staging(pipeline: dlt.Pipeline) -> None:
    """Create dropped tables and columns of the staging dataset again; its rows do not matter."""
    with pipeline.destination_client() as client:
        if sql_client_of(client) is None:
            return
        schema = pipeline.default_schema if pipeline.default_schema_name else None
        if schema is None or not stored_columns(client, [VERSIONS], staging=True).get(VERSIONS):
            return
        known = {name: schema.tables[name] for name in schema.data_table_names(seen_data_only=True)}
        changed = _compared(stored_columns(client, known, staging=True), known, stored_as=None)
    if changed:
        make_tables_again(pipeline, [*known, VERSIONS], staging=True)


def make_tables(pipeline: dlt.Pipeline, shard: Shard) -> None:
    """Create the dataset and its tables, or add columns, before rows are loaded.

    This may fail if another shard does it at the same moment; a retry finds it done.
    """
    tries = Retrying(
        retry=retry_if_exception_type(DestinationException),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_attempt(1) if shard.is_whole else stop_after_delay(60),
        reraise=True,
    )
    tries(pipeline.sync_schema)
