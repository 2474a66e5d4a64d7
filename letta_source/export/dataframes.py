"""Convert Arrow to pandas: json is parsed, children are lists of dicts, numbers are nullable."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from letta_source.export.selection import Selection, child_columns
from letta_source.safe_text import parse_json

_TYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def to_frame(rows: pa.Table, selection: Selection) -> pd.DataFrame:
    """Convert to pandas' nullable types and parse JSON."""
    objects = {
        one.name: list(map(parsed, rows[one.name].to_pylist()))
        for one in selection.columns
        if one.type == "json"
    }
    for name, table in selection.children.items():
        json = [one.name for one in child_columns(table) if one.type == "json"]
        objects[name] = [
            [{**row, **{field: parsed(row[field]) for field in json}} for row in listed]
            for listed in rows[name].to_pylist()
        ]
    frame = rows.drop_columns(list(objects)).to_pandas(types_mapper=_TYPES.get)
    for name, values in objects.items():
        frame[name] = pd.Series(values, index=frame.index, dtype=object)
    return frame[rows.column_names]


def parsed(text: str | None) -> Any:
    """Parse a JSON text; None stays None."""
    return None if text is None else parse_json(text.encode())
