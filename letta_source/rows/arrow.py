"""Convert columns of values to pyarrow tables, whatever the server put in them.

Values that fit their column's type take the fast path, one column at a time. Only if pyarrow refuses a
column are its values checked one by one; a value that does not fit goes to the row's `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from letta_source.arrays import bool_array, number_array, text_array
from letta_source.safe_text import clean, to_json
from letta_source.schema.columns import EXTRA, LOAD_ID, Column
from letta_source.schema.tables import Table
from letta_source.times import from_microseconds, parse_time

Values = Sequence[Any]
Arrays = dict[str, pa.Array]
Columns = Mapping[str, Values | pa.Array]
"""Values by column name, one for each row."""
Extras = dict[int, dict[str, Any]]
"""Fields and their values for `extra`, by row index."""

# These include pyarrow's conversion errors and encoding errors.
_REFUSED = (TypeError, ValueError, OverflowError)
_BIGINT = range(-(2**63), 2**63)
# Integers that a double represents exactly.
_EXACT = range(-(2**53), 2**53 + 1)


class _Misfit(Exception):
    """A value that its column's type cannot hold."""


def to_arrays(table: Table, columns: Columns, extras: Extras | None = None) -> Arrays:
    """Convert the columns to pyarrow arrays; existing arrays stay as they are.

    Args:
        extras: fields for `extra` by row; values that do not fit their column are added.
    """
    arrays: Arrays = {}
    misfits: Extras = {}
    for column in table.columns:
        values = columns.get(column.name)
        if isinstance(values, pa.Array):
            arrays[column.name] = values
        elif values is not None:
            arrays[column.name] = _array(column, values, misfits)
    if extras or misfits:
        texts: list[str | None] = [None] * len(next(iter(arrays.values())))
        for row in {**(extras or {}), **misfits}:
            texts[row] = to_json({**(extras or {}).get(row, {}), **misfits.get(row, {})})
        arrays[EXTRA.name] = _text_array(texts)
    return arrays


def empty(table: Table) -> pa.Table:
    """Return a pyarrow table with all columns and no rows, so that the table is created."""
    return pa.Table.from_batches([], table.arrow_schema)


def table_of(table: Table, parts: Sequence[tuple[int, Arrays]], load_id: str) -> pa.Table:
    """Return a pyarrow table with `table.arrow_schema`.

    Args:
        parts: row counts, each with its columns; a missing column is null.
        load_id: id of the load package, for `_dlt_load_id`.
    """
    columns = []
    for field in table.arrow_schema:
        chunks: list[pa.Array] = []
        nulls = 0
        for count, arrays in parts:
            array = arrays.get(field.name)
            if array is None:
                nulls += count
                continue
            if nulls:
                chunks.append(pa.nulls(nulls, field.type))
                nulls = 0
            chunks += array.chunks if isinstance(array, pa.ChunkedArray) else [array]
        if field.name == LOAD_ID.name:
            chunks = [pa.repeat(text_array([load_id])[0], nulls)]
        elif nulls:
            chunks.append(pa.nulls(nulls, field.type))
        columns.append(pa.chunked_array(chunks, field.type))
    return pa.Table.from_arrays(columns, schema=table.arrow_schema)


def _array(column: Column, values: Values, misfits: Extras) -> pa.Array:
    try:
        return _fast_array(column, values)
    except _REFUSED:
        fitting: list[Any] = []
        for row, value in enumerate(values):
            try:
                fitting.append(None if value is None else _fit(column.type, value))
            except _Misfit:
                fitting.append(None)
                misfits.setdefault(row, {})[column.field] = value
        return _fast_array(column, fitting)


def _fast_array(column: Column, values: Values) -> pa.Array:
    if column.type in ("text", "json"):
        return _text_array(values)
    if column.type == "timestamp":
        return _to_times(text_array(values), column.arrow_type)
    if column.type == "bool":
        return bool_array(values)
    return number_array(values, column.arrow_type)


def _to_times(texts: pa.Array, type_: pa.DataType) -> pa.TimestampArray:
    """Convert ISO 8601 texts to times.

    Raises:
        ValueError: a text is not a time or has no zone.
        OverflowError: a time lies in a year that Python does not support.
    """
    times = texts.cast(type_)
    # pyarrow accepts the years 0 and 10000, which few readers support.
    bounds = pc.min_max(times.cast(pa.int64())).as_py()
    for microseconds in bounds.values():
        if microseconds is not None:
            from_microseconds(microseconds)
    return times


def _text_array(values: Values) -> pa.Array:
    array = text_array(values)
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    if any(b"\0" in chunk.buffers()[2].to_pybytes() for chunk in chunks):
        return text_array([None if v is None else clean(v) for v in values])
    return array


def _fit(type_: str, value: Any) -> Any:
    if type_ in ("text", "json"):
        return clean(value) if isinstance(value, str) else to_json(value)
    if type_ == "timestamp" and isinstance(value, datetime):
        return value.isoformat()
    if type_ == "timestamp" and isinstance(value, str):
        try:
            return parse_time(value).isoformat()
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
