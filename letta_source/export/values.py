"""Convert values that databases send to the types of `letta_source.schema.tables`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa

from letta_source.safe_text import to_json
from letta_source.schema.columns import Column
from letta_source.times import parse_time

# pyarrow's strings hold up to 2 GB per batch.
_MOST_BYTES = 2**30


def conformed(batch: pa.RecordBatch, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
    """Yield an Arrow batch, whose columns are in the same order, as one or more of the columns' types."""
    if batch.nbytes > _MOST_BYTES and batch.num_rows > 1:
        half = batch.num_rows // 2
        yield from conformed(batch.slice(0, half), columns)
        yield from conformed(batch.slice(half), columns)
        return
    types = [one.arrow_type for one in columns]
    arrays = [
        array if array.type == type_ else array.cast(type_)
        for array, type_ in zip(batch.columns, types, strict=True)
    ]
    yield pa.RecordBatch.from_arrays(arrays, names=[one.name for one in columns])


def from_rows(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> pa.RecordBatch:
    """Convert rows of a DB-API driver, whose values are in the columns' order."""
    arrays = [_array(values, one) for values, one in zip(zip(*rows, strict=True), columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=[one.name for one in columns])


def widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch with the schema's columns, in the schema's order; missing columns are null."""
    names = set(batch.schema.names)
    arrays = [batch[one.name] if one.name in names else pa.nulls(batch.num_rows, one.type) for one in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], column: Column) -> pa.Array:
    type_ = column.arrow_type
    kinds = {type(value) for value in values} - {type(None)}
    if column.type == "timestamp" and str in kinds:
        values = [parse_time(value) if isinstance(value, str) else value for value in values]
    elif column.type == "bool" and kinds - {bool}:
        values = [None if value is None else bool(value) for value in values]
    elif column.type == "bigint" and kinds - {int}:
        values = [None if value is None else int(value) for value in values]
    elif column.type == "double" and Decimal in kinds:
        values = [None if value is None else float(value) for value in values]
    elif column.type == "json" and kinds - {str}:
        values = [value if isinstance(value, str) else to_json(value) for value in values]
    return pa.array(values, type_)


def utc(time: datetime) -> datetime:
    """Return the time in UTC; a time without a zone is taken as local time."""
    return time.astimezone(timezone.utc)
