"""A selection's rows, streamed from an opened destination."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dlt
import pyarrow as pa

from letta_source.errors import Changed
from letta_source.export.nesting import Child, nested
from letta_source.export.query import Queries
from letta_source.export.readers import opened
from letta_source.export.selection import Selection, lists_of
from letta_source.export.values import widened


def read(
    pipeline: dlt.Pipeline, selection: Selection, folder: Path | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a selection; `folder` is that of `letta_source.export.readers.opened`."""
    with opened(pipeline, folder) as reader:
        queries = Queries(selection, reader)
        if (found := queries.rows()) is None:
            return
        rows = reader.stream(*found)
        # Children are read by queries of their own, which see what a load did meanwhile.
        loads = reader.row(queries.loads()) if selection.children else None
        if selection.children:
            children = {}
            for name, table in selection.children.items():
                asked = queries.child(name)
                stream = reader.stream(*asked) if asked else iter(())
                children[name] = Child(stream, table.primary_key[:-1], lists_of(table))
            rows = nested(rows, selection.root.primary_key, children)
        for batch in rows:
            yield widened(batch, selection.schema)
        if loads and reader.row(queries.loads()) != loads:
            raise Changed


def arrow(pipeline: dlt.Pipeline, selection: Selection) -> pa.Table:
    """All of them at once."""
    return pa.Table.from_batches(read(pipeline, selection), selection.schema)
