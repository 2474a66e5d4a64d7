"""The tables as they are, beside what the destination's own copy of the schema says of them.

dlt takes its word: a table that somebody dropped or renamed is not there for ever, or comes back without the
rows of before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
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
from letta_source.destinations.dlt_internals import (
    dialect_of,
    sql_client_of,
)
from letta_source.destinations.dlt_storage import make_tables_again, stored_columns, stored_schema
from letta_source.schema.resources import RESOURCES
from letta_source.shards import Shard

_SCHEMA = "letta"
_DLTS = ("_dlt_loads", "_dlt_pipeline_state")
# Of others, what they call types has not been held against what dlt makes of it.
_KNOWN_TYPES = ("duckdb", "postgres")


@dataclass(frozen=True)
class Changed:
    """Changes that somebody made to the tables by hand.

    Attributes:
        tables: that are gone.
        columns: that are gone, as `table.column`.
        types: of columns that are others now, as `table.column is text, not bigint`.
        left: tables that are as they were.
    """

    tables: Collection[str] = ()
    columns: Collection[str] = ()
    types: Collection[str] = ()
    left: Collection[str] = ()

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns or self.types)

    def __str__(self) -> str:
        parts = [f"{one} is not there" for one in (*self.tables, *self.columns)]
        return ", ".join([*parts, *self.types])

    def resources(self) -> set[str]:
        """Return the resources whose rows are gone, in whole or in part."""
        tables = {*self.tables, *(column.partition(".")[0] for column in self.columns)}
        return {
            name
            for name, resource in RESOURCES.items()
            if not tables.isdisjoint(table.name for table in resource.tables)
        }

    def left_of_resources(self) -> list[str]:
        """Return the tables that are left of resources that have lost one."""
        names = {table.name for name in self.resources() for table in RESOURCES[name].tables}
        return sorted(names.intersection(self.left))


def changed_by_hand(pipeline: dlt.Pipeline, resources: Collection[str]) -> Changed:
    """Return how the tables of these resources, and dlt's own, differ from the schema stored there."""
    wanted = {"load_issues", *(table.name for name in resources for table in RESOURCES[name].tables)}
    with Files.opened(pipeline) as files:
        if files:
            known = files.loaded_tables(_SCHEMA) if files.stored_tables(_SCHEMA) else {}
            made = [name for name in sorted(wanted & known.keys()) if _has_seen_rows(known[name])]
            gone = [name for name in made if not files.of_table(name)]
            return Changed(gone, left=[name for name in made if name not in gone])
    with pipeline.destination_client() as client:
        if (sql_client := sql_client_of(client)) is None or (
            schema := stored_schema(client, _SCHEMA)
        ) is None:
            return Changed()
        known = {
            name: table for name, table in schema.tables.items() if name in wanted and _has_seen_rows(table)
        }
        known |= {name: schema.tables[name] for name in _DLTS if name in schema.tables}
        return _compared(stored_columns(client, known), known, dialect_of(sql_client) in _KNOWN_TYPES)


def _has_seen_rows(table: Any) -> bool:
    # dlt makes a table with its first rows.
    return bool(table.get("x-normalizer", {}).get("seen-data"))


def _compared(there: dict[str, dict[str, Any]], known: dict[str, Any], with_types: bool) -> Changed:
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
            elif with_types and (other := _other_type(column, now)):
                types.append(f"{table}.{name} is {other}, not {column['data_type']}")
    return Changed(gone, columns, types)


def _other_type(column: Any, now: Any) -> str | None:
    if now.get("data_type") != column["data_type"]:
        return str(now.get("data_type"))
    # A text that is no longer than so many characters.
    is_shorter = column["data_type"] == "text" and now.get("precision") and not column.get("precision")
    return f"text of {now['precision']} characters" if is_shorter else None


def make_again(pipeline: dlt.Pipeline) -> None:
    """Make tables and columns that are gone, though the destination's copy of the schema has them."""
    make_tables_again(pipeline, None)


def mend_staging(pipeline: dlt.Pipeline) -> None:
    """Make tables and columns that somebody dropped in the staging dataset again; no row of it matters."""
    with pipeline.destination_client() as client:
        if sql_client_of(client) is None:
            return
        schema = pipeline.default_schema if pipeline.default_schema_name else None
        if schema is None or not stored_columns(client, ["_dlt_version"], staging=True).get("_dlt_version"):
            return
        known = {name: schema.tables[name] for name in schema.data_table_names(seen_data_only=True)}
        changed = _compared(stored_columns(client, known, staging=True), known, with_types=False)
    if changed:
        make_tables_again(pipeline, [*known, "_dlt_version"], staging=True)


def make_tables(pipeline: dlt.Pipeline, shard: Shard) -> None:
    """Makes dataset and tables, or adds columns, before rows come.

    None of that is safe against another shard that does it at the same moment; who tries again finds it done.
    """
    tries = Retrying(
        retry=retry_if_exception_type(DestinationException),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_attempt(1) if shard.is_whole else stop_after_delay(60),
        reraise=True,
    )
    tries(pipeline.sync_schema)
