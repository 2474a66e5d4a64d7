"""Load into Iceberg tables: add new columns first, then replace and add rows in one commit."""

from __future__ import annotations

from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import iceberg_library
from letta_source.destinations.open_tables import is_one_of
from letta_source.rows.arrow import empty
from letta_source.schema.resources import all_tables

# dlt's own function, once it was replaced: pyiceberg is imported only where it is used.
_merge_by_dlt: list[Any] = []


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


def merge_in_one_commit() -> None:
    """From now on, have dlt replace and add the rows of an Iceberg table in one commit.

    dlt merges them by pyiceberg's upsert, 1,000 at a time with a filter that names each row, which takes more
    than ten minutes for 50,000. A commit arrives whole or not at all: a load that goes on after a kill finds
    its rows, and replaces them.
    """
    library = iceberg_library()
    if library.merge_iceberg_table is not _merged:
        _merge_by_dlt.append(library.merge_iceberg_table)
        library.merge_iceberg_table = _merged


def _merged(table: Any, data: pa.Table, schema: Any, load_table_name: str) -> None:
    keys = {one.name: list(one.primary_key) for one in all_tables()}.get(load_table_name, [])
    if not (keys and data.num_rows and _are_unique(data, keys)):
        _merge_by_dlt[0](table=table, data=data, schema=schema, load_table_name=load_table_name)
        return
    rows = iceberg_library().ensure_iceberg_compatible_arrow_data(data)
    with table.update_schema() as update:
        update.union_by_name(rows.schema)
    if _is_empty(table):
        table.append(rows)
        return
    # By one column of the key alone: pyiceberg takes long for filters with many parts.
    column = max(keys, key=lambda name: pc.count_distinct(data[name]).as_py())
    is_similar = is_one_of(column, data[column].unique().to_pylist())
    similar = table.scan(row_filter=is_similar).to_arrow()
    with table.transaction() as change:
        if similar.num_rows:
            change.delete(is_similar)
            if (others := _without(similar, data, keys)).num_rows:
                change.append(others)
        change.append(rows)


def _are_unique(data: pa.Table, keys: list[str]) -> bool:
    """Return True if no two rows have the same key and none has a NULL in it, which equals nothing."""
    has_null = any(data[name].null_count for name in keys)
    return not has_null and data.group_by(keys).aggregate([]).num_rows == data.num_rows


def _without(rows: pa.Table, others: pa.Table, keys: list[str]) -> pa.Table:
    """Return the rows whose keys the others do not have."""
    named = others.select(keys)
    places = pa.array(range(rows.num_rows), pa.int64())
    numbered = rows.select(keys).cast(named.schema).append_column("row", places)
    return rows.take(numbered.join(named, keys, join_type="left anti")["row"])


def _is_empty(table: Any) -> bool:
    if (snapshot := table.current_snapshot()) is None:
        return True
    # Other writers may leave it out.
    return bool(snapshot.summary) and snapshot.summary.get("total-records") == "0"
