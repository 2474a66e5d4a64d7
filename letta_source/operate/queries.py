"""Small query results from a warehouse, as Python values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from letta_source.export.query import Reader
from letta_source.schema.columns import Column


def query(
    reader: Reader, sql: str, columns: Sequence[Column], values: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """Return all rows of a query, which must have an order.

    Args:
        columns: of the result; times are in UTC.
    """
    batches = list(reader.stream((sql, list(values)), columns))
    names = [column.name for column in columns]
    rows = pa.Table.from_batches(batches).to_pylist() if batches else []
    return [dict(zip(names, map(_aware, row.values()), strict=True)) for row in rows]


def _aware(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return value
