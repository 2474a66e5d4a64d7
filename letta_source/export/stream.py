"""Stream a selection's rows from an open destination."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa

from letta_source.errors import Changed
from letta_source.export.nesting import Child, nested
from letta_source.export.query import Queries, Reader
from letta_source.export.readers import open_reader
from letta_source.export.selection import Selection, lists_of
from letta_source.export.values import widened


def read(
    pipeline: dlt.Pipeline, selection: Selection, folder: Path | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a selection; for `folder` see `letta_source.export.readers.open_reader`."""
    with open_reader(pipeline, folder) as reader:
        # Children are read by queries of their own, which see the changes of a load in the meantime.
        loads = loads_of(reader, selection) if selection.children else None
        yield from rows_of(reader, selection)
        if loads and loads_of(reader, selection) != loads:
            raise Changed


def rows_of(reader: Reader, selection: Selection) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a selection, with their children as lists."""
    queries = Queries(selection, reader)
    if (found := queries.rows()) is None:
        return
    rows = reader.stream(*found)
    if selection.children:
        children = {}
        for name, table in selection.children.items():
            asked = queries.child(name)
            stream = reader.stream(*asked) if asked else iter(())
            children[name] = Child(stream, table.primary_key[:-1], lists_of(table))
        rows = nested(rows, selection.root.primary_key, children)
    for batch in rows:
        yield widened(batch, selection.schema)


def loads_of(reader: Reader, selection: Selection) -> tuple[Any, ...] | None:
    """Return counts that every load changes; None if there is no such table."""
    return reader.row(Queries(selection, reader).loads()) if reader.columns_of(selection.root.name) else None


def arrow(pipeline: dlt.Pipeline, selection: Selection) -> pa.Table:
    """Return all rows of a selection at once."""
    return pa.Table.from_batches(read(pipeline, selection), selection.schema)
