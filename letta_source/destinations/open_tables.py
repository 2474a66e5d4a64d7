"""Change Delta and Iceberg tables, which take no SQL: set a time in rows, delete rows.

With deleted rows go the files of older versions that still hold them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa

from letta_source.destinations.dlt_files import Files
from letta_source.rows.arrow import empty
from letta_source.schema.tables import Table

Rows = Sequence[Mapping[str, Sequence[str]]]
"""Allowed values by column; a row matches if, for one mapping, each column has one of its values."""

Keys = Sequence[Mapping[str, Any]]
"""Keys of the rows to delete: texts by column name, with the same columns in each."""
# Parents in one filter; pyiceberg walks a filter recursively.
_TOGETHER = 100


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

    # Typed as in `is_one_of`.
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


def delete_rows(files: Files, table: str, keys: Keys) -> None:
    """Delete the rows with these keys from a table, and the files of its earlier versions.

    Raises:
        LookupError: there is no such table in either format.
    """
    if delta := files.open_table("delta", table):
        if keys:
            _delete_from_delta(delta, keys)
        _forget_delta(files, table, delta)
    elif iceberg := files.open_table("iceberg", table):
        for meant in _filters(keys):
            iceberg.delete(meant)
        _forget_iceberg(files, table, iceberg)
    else:
        raise LookupError(f"{table} is not a Delta or Iceberg table")


def _delete_from_delta(delta: Any, keys: Keys) -> None:
    source = pa.Table.from_pylist([dict(key) for key in keys])
    on = " AND ".join(f"target.{name} = source.{name}" for name in source.column_names)
    merger = delta.merge(source, on, source_alias="source", target_alias="target")
    merger.when_matched_delete().execute()


def _forget_delta(files: Files, table: str, delta: Any) -> None:
    delta.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    delta.update_incremental()
    # The log of earlier versions contains the smallest and the largest text of each data file.
    delta.create_checkpoint()
    version = delta.version()
    for path in files.below(table):
        found = re.search(r"/_delta_log/(\d{20})\.[^/]*$", path)
        if found and int(found[1]) < version:
            files.filesystem.rm_file(path)


def _filters(keys: Keys) -> Iterator[Any]:
    """Yield pyiceberg filters that match these rows, each for some of the parents."""
    from pyiceberg import expressions

    columns = list(keys[0]) if keys else []
    by_parent: dict[tuple[Any, ...], list[Any]] = {}
    for key in keys:
        *names, last = key.values()
        by_parent.setdefault(tuple(names), []).append(last)
    parents = list(by_parent.items())
    for begin in range(0, len(parents), _TOGETHER):
        meant: Any = expressions.AlwaysFalse()
        for parent, values in parents[begin : begin + _TOGETHER]:
            one: Any = is_one_of(columns[-1], values)
            for name, value in zip(columns, parent, strict=False):
                one = expressions.And(one, is_one_of(name, [value]))
            meant = expressions.Or(meant, one)
        yield meant


def _forget_iceberg(files: Files, table: str, iceberg: Any) -> None:
    snapshot = iceberg.current_snapshot()
    old = [one.snapshot_id for one in iceberg.metadata.snapshots if one != snapshot]
    if old:
        iceberg.maintenance.expire_snapshots().by_ids(old).commit()
    manifests = snapshot.manifests(iceberg.io) if snapshot else []
    needed = [
        iceberg.metadata_location,
        *([snapshot.manifest_list] if snapshot else []),
        *(one.manifest_path for one in manifests),
        *(entry.data_file.file_path for one in manifests for entry in one.fetch_manifest_entry(iceberg.io)),
    ]
    kept = {path.rpartition("/")[2] for path in needed}
    for path in files.below(table):
        # Each name contains an id that no other file has.
        if path.endswith((".json", ".avro", ".parquet")) and path.rpartition("/")[2] not in kept:
            files.filesystem.rm_file(path)


def is_one_of(column: str, values: Sequence[str]) -> Any:
    """Return pyiceberg's expression that a column has one of the values."""
    from pyiceberg import expressions

    # pyiceberg's types do not say that it accepts a column's name.
    is_one_of: Any = expressions.In
    return is_one_of(column, values)
