"""Lists by column to pyarrow tables, whatever the server put in them.

Values that fit their column's type take the fast way, a column at a time. Only where pyarrow refuses a
column are its values looked at one by one; one that does not fit goes to the row's `extra`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from letta_source.rows.columnar import to_times
from letta_source.safe_text import clean, to_json
from letta_source.schema.columns import EXTRA, LOAD_ID, Column
from letta_source.schema.tables import Table
from letta_source.times import parse_time

# pyarrow's own errors, and those of encoding, are among them.
_REFUSED = (TypeError, ValueError, OverflowError)
_BIGINT = range(-(2**63), 2**63)
# Integers that a double holds as they are.
_EXACT = range(-(2**53), 2**53 + 1)


class _Misfit(Exception):
    """A value that its column's type cannot hold."""


def to_arrow(table: Table, columns: Mapping[str, list[Any]]) -> pa.Table:
    """A pyarrow table of `table.arrow_schema` but for `_dlt_load_id`; `columns` holds a list for each."""
    arrays: dict[str, pa.Array] = {}
    misfits: dict[int, dict[str, Any]] = {}
    for column in table.columns:
        if column.name in (LOAD_ID.name, EXTRA.name):
            continue
        values = columns[column.name]
        arrays[column.name] = _array(column, table.arrow_schema.field(column.name).type, values, misfits)
    if EXTRA.name in columns:
        arrays[EXTRA.name] = _text_array(_with_misfits(columns[EXTRA.name], misfits))
    return table_of(table, arrays)


def empty(table: Table) -> pa.Table:
    """No rows, with all columns: so that the table exists."""
    return table.arrow_schema.empty_table()


def table_of(table: Table, arrays: Mapping[str, pa.Array]) -> pa.Table:
    """A pyarrow table of `table.arrow_schema` but for `_dlt_load_id`, null where there is no array."""
    schema = pa.schema([field for field in table.arrow_schema if field.name != LOAD_ID.name])
    rows = max(map(len, arrays.values()))
    columns = [arrays[f.name] if f.name in arrays else pa.nulls(rows, f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def with_load_id(parts: Sequence[pa.Table], load_id: str) -> pa.Table:
    """One table of all parts, with the last column: of which load package it is."""
    rows = pa.concat_tables(parts)
    field = pa.field(LOAD_ID.name, pa.string(), nullable=False)
    return rows.append_column(field, pa.repeat(pa.scalar(load_id, pa.string()), rows.num_rows))


def _array(
    column: Column, type_: pa.DataType, values: list[Any], misfits: dict[int, dict[str, Any]]
) -> pa.Array:
    try:
        if column.type in ("text", "json"):
            return _text_array(values)
        if column.type == "timestamp":
            return to_times(pa.array(values, pa.string()), type_)
        if column.type in ("bigint", "double"):
            return _number_array(values, type_)
        return pa.array(values, type_)
    except _REFUSED:
        fitting = []
        for row, value in enumerate(values):
            try:
                fitting.append(None if value is None else _fit(column.type, value))
            except _Misfit:
                fitting.append(None)
                misfits.setdefault(row, {})[column.field] = value
        return pa.array(fitting, type_)


def _number_array(values: list[Any], type_: pa.DataType) -> pa.Array:
    array = pa.array(values)
    # Told the type, pyarrow would cut 1.5 to 1 and take true for 1.
    if array.type != type_ and not pa.types.is_null(array.type):
        raise TypeError
    return array.cast(type_)


def _text_array(values: list[Any]) -> pa.Array:
    # More than 2 GB come as several chunks.
    array = pa.array(values, pa.string())
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    if any(b"\0" in data.to_pybytes() for chunk in chunks if (data := chunk.buffers()[2]) is not None):
        return pa.array([None if v is None else clean(v) for v in values], pa.string())
    return array


def _fit(type_: str, value: Any) -> Any:
    if type_ in ("text", "json"):
        return clean(value) if isinstance(value, str) else to_json(value)
    if type_ == "timestamp" and isinstance(value, datetime):
        return value
    if type_ == "timestamp" and isinstance(value, str):
        try:
            return parse_time(value)
        except ValueError as error:
            raise _Misfit from error
    if type_ == "bool" and isinstance(value, bool):
        return value
    if type_ == "bigint" and isinstance(value, int) and not isinstance(value, bool) and value in _BIGINT:
        return value
    if type_ == "double" and isinstance(value, float):
        return value
    if type_ == "double" and isinstance(value, int) and not isinstance(value, bool) and value in _EXACT:
        return float(value)
    raise _Misfit


def _with_misfits(extra: list[str | None], misfits: Mapping[int, Mapping[str, Any]]) -> list[str | None]:
    if not misfits:
        return extra
    extra = list(extra)
    for row, values in misfits.items():
        # orjson would make a float of an integer beyond 64 bits.
        extra[row] = to_json({**json.loads(extra[row] or "{}"), **values})
    return extra
