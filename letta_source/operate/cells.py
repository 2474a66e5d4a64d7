"""Compare the values of a column or a row between server and warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from letta_source.safe_text import parse_json
from letta_source.schema.columns import EXTRA, Column
from letta_source.times import parse_time


def unequal(column: Column, sent: pa.ChunkedArray, held: pa.ChunkedArray) -> Iterator[tuple[int, Any, Any]]:
    """Yield the positions at which two columns differ, and both values."""
    held = held.cast(sent.type)
    both_null = pc.and_(pc.is_null(sent), pc.is_null(held))
    same = pc.or_(pc.fill_null(pc.equal(sent, held), False), both_null)
    if pc.all(same).as_py():
        return
    for at in pc.indices_nonzero(pc.invert(same)).to_pylist():
        new, old = sent[at].as_py(), held[at].as_py()
        if column.type == "json" and None not in (new, old) and _parsed(new) == _parsed(old):
            continue
        if column.type == "double" and new != new and old != old:
            continue
        yield at, new, old


def really_edited(names: list[str], sent: pa.Table, held: pa.Table) -> list[str]:
    """Return the columns that differ, apart from values that an older version kept in `extra` instead."""
    new, old = (_parsed(one.column(EXTRA.name)[0].as_py() or "{}") for one in (sent, held))
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return names
    moved = {name for name in old.keys() - new.keys() if name in sent.column_names}
    same = {
        name for name in moved if held.column(name)[0].as_py() is None and _is_value(sent, name, old[name])
    }
    if {name: value for name, value in old.items() if name not in same} == new:
        same.add(EXTRA.name)
    return [name for name in names if name not in same]


def _is_value(sent: pa.Table, name: str, value: Any) -> bool:
    """Return True if a column of a single row holds this JSON value."""
    found = sent.column(name)[0].as_py()
    if isinstance(found, datetime) and isinstance(value, str):
        with suppress(ValueError):
            return parse_time(value) == found
    return bool(found == value) or (isinstance(found, str) and _parsed(found) == value)


def _parsed(text: str) -> Any:
    try:
        return parse_json(text.encode())
    except ValueError:
        return text
