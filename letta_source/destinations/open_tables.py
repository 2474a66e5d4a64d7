"""Change Delta and Iceberg tables, which take no SQL: set a time in rows, add columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import iceberg_library
from letta_source.rows.arrow import empty
from letta_source.schema.resources import all_tables
from letta_source.schema.tables import Table

Rows = Sequence[Mapping[str, Sequence[str]]]
"""Allowed values by column; a row matches if, for one mapping, each column has one of its values."""

# dlt's own function, once it was replaced: pyiceberg is imported only where it is used.
_merge_by_dlt: list[Any] = []


def set_time(
    pipeline: dlt.Pipeline,
    table: Table,
    column: str,
    time: datetime,
    rows: Rows,
) -> None:
    """Set a time in the matching rows that have none; add the column if it is missing.

    Raises:
        LookupError: there is no such table in either format.
    """
    with Files.opened(pipeline) as files:
        if files and files.stored_tables():
            if delta := files.open_table("delta", table.name):
                _set_in_delta(delta, column, time, rows)
                return
            if iceberg := files.open_table("iceberg", table.name, table.arrow_schema):
                _set_in_iceberg(iceberg, table, column, time, rows)
                return
    raise LookupError(f"{table.name} is not a Delta or Iceberg table")


def add_columns(pipeline: dlt.Pipeline) -> None:
    """Add the columns that this version has and the destination's Iceberg tables lack, in a snapshot.

    dlt adds columns too, but merges at once: pyiceberg then compares rows of the new schema with those of
    the last snapshot, which has the old schema, and fails.
    """
    schema = pipeline.default_schema
    with Files.opened(pipeline) as files:
        if files is None or files.has_schema(schema.version_hash):
            return
        for table in all_tables():
            if table.name in schema.tables:
                rows = empty(table)
                if found := files.open_table("iceberg", table.name, rows.schema):
                    # Adds no rows, but a snapshot.
                    found.append(rows)


def append_to_empty_tables() -> None:
    """Have dlt append the first rows of an Iceberg table in one snapshot, from now on.

    dlt merges them by pyiceberg's upsert, 1,000 at a time, which takes more than ten minutes for 200,000.
    A snapshot arrives whole or not at all: a load that goes on after a kill finds the table empty, or merges.
    """
    library = iceberg_library()
    if library.merge_iceberg_table is not _merged:
        _merge_by_dlt.append(library.merge_iceberg_table)
        library.merge_iceberg_table = _merged


def _merged(table: Any, data: pa.Table, schema: Any, load_table_name: str) -> None:
    keys = {one.name: list(one.primary_key) for one in all_tables()}.get(load_table_name)
    # An append would keep both copies of a row that comes twice.
    if keys and _is_empty(table) and data.group_by(keys).aggregate([]).num_rows == data.num_rows:
        library = iceberg_library()
        rows = library.ensure_iceberg_compatible_arrow_data(data)
        with table.update_schema() as update:
            update.union_by_name(rows.schema)
        table.append(rows)
    else:
        _merge_by_dlt[0](table=table, data=data, schema=schema, load_table_name=load_table_name)


def _is_empty(table: Any) -> bool:
    if (snapshot := table.current_snapshot()) is None:
        return True
    # Other writers may leave it out.
    return bool(snapshot.summary) and snapshot.summary.get("total-records") == "0"


def _set_in_delta(delta: Any, column: str, time: datetime, rows: Rows) -> None:
    from deltalake.schema import Field, PrimitiveType

    if column not in {field.name for field in delta.schema().fields}:
        delta.alter.add_columns([Field(column, PrimitiveType("timestamp"))])
    meant = " OR ".join(
        "("
        + " AND ".join(f"{name} IN ({', '.join(map(_quoted, values))})" for name, values in one.items())
        + ")"
        for one in rows
    )
    delta.update(new_values={column: time}, predicate=f"{column} IS NULL AND ({meant})")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _set_in_iceberg(iceberg: Any, table: Table, column: str, time: datetime, rows: Rows) -> None:
    from pyiceberg import expressions

    # pyiceberg's types do not say that these accept a column's name.
    is_one_of: Any = expressions.In
    is_null: Any = expressions.IsNull
    # A new column must be in a snapshot first.
    iceberg.append(empty(table))
    for one in rows:
        meant: Any = is_null(column)
        for name, values in one.items():
            meant = expressions.And(meant, is_one_of(name, values))
        found = iceberg.scan(row_filter=meant).to_arrow()
        if not found.num_rows:
            continue
        at = found.schema.get_field_index(column)
        type_ = found.schema.field(at).type
        marked = found.set_column(
            at, found.schema.field(at), pa.repeat(pa.scalar(time, type_), found.num_rows)
        )
        iceberg.overwrite(marked, overwrite_filter=meant)
