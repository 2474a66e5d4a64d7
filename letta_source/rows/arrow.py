"""Lists by column to pyarrow tables, whatever the server put in them.

Values that fit their column's type take the fast way, a column at a time. Only where pyarrow refuses a
column are its values looked at one by one; one that does not fit goes to the row's `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from letta_source.safe_text import clean, to_json
from letta_source.schema.columns import EXTRA, LOAD_ID, Column
from letta_source.schema.tables import Table
from letta_source.times import parse_time

Values = Sequence[Any]
Arrays = dict[str, pa.Array]
Columns = Mapping[str, Values | pa.Array]
"""By name, a value for each row."""
Extras = dict[int, dict[str, Any]]
"""By row, fields and their values."""

# pyarrow's own errors, and those of encoding, are among them.
_REFUSED = (TypeError, ValueError, OverflowError)
_BIGINT = range(-(2**63), 2**63)
# Integers that a double holds as they are.
_EXACT = range(-(2**53), 2**53 + 1)


class _Misfit(Exception):
    """A value that its column's type cannot hold."""


def to_arrays(table: Table, columns: Columns, extras: Extras | None = None) -> Arrays:
    """The columns as pyarrow arrays; what is one already stays.

    Args:
        extras: by row, what stands in `extra`; values that fit no column join it.
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
    """No rows, with all columns: so that the table exists."""
    return table.arrow_schema.empty_table()


def table_of(table: Table, parts: Sequence[tuple[int, Arrays]], load_id: str) -> pa.Table:
    """A pyarrow table of `table.arrow_schema`.

    Args:
        parts: how many rows there are, and their columns; one that is missing is null.
        load_id: of the load package, for `_dlt_load_id`.
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
            chunks = [pa.repeat(pa.scalar(load_id, pa.string()), nulls)]
        elif nulls:
            chunks.append(pa.nulls(nulls, field.type))
        columns.append(pa.chunked_array(chunks, field.type))
    return pa.Table.from_arrays(columns, schema=table.arrow_schema)


def _array(column: Column, values: Values, misfits: Extras) -> pa.Array:
    type_ = column.arrow_type
    try:
        if column.type in ("text", "json"):
            return _text_array(values)
        if column.type == "timestamp":
            return _to_times(pa.array(values, pa.string()), type_)
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


def _to_times(texts: pa.Array, type_: pa.DataType) -> pa.TimestampArray:
    """ISO 8601 texts as times.

    Raises:
        ValueError: one is no time or has no zone.
        OverflowError: one lies in a year that Python does not know.
    """
    times = texts.cast(type_)
    # pyarrow takes years 0 and 10000, which few readers do: as_py refuses them.
    pc.min_max(times).as_py()
    return times


def _number_array(values: Values, type_: pa.DataType) -> pa.Array:
    array = pa.array(values)
    # Told the type, pyarrow would cut 1.5 to 1 and take true for 1.
    if array.type != type_ and not pa.types.is_null(array.type):
        raise TypeError
    return array.cast(type_)


def _text_array(values: Values) -> pa.Array:
    # Texts of more than 2 GB come as several chunks.
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
