"""What was loaded, as pandas, as Arrow, and as a conversation to read.

    from letta_source.export import to_pandas

    messages = to_pandas(dlt.attach("letta"), "agent_messages", agent_ids=["agent-…"], children=["tool_calls"])

The types are those of `letta_source.tables` whatever the destination: times are UTC with microseconds,
json is parsed in pandas and text in Arrow. Rows come by parent, `created_at`, `sequence` and key, null
first. Only finished loads count: while one runs, a message that it has replaced already is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import dlt
import pyarrow as pa

from letta_source.export.nesting import Child, nested
from letta_source.export.query import Queries
from letta_source.export.readers import opened
from letta_source.export.selection import Selection, lists_of, select
from letta_source.export.values import widened

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["batches", "to_arrow", "to_pandas"]

Names = Sequence[str]
Date = str | date


def to_pandas(
    pipeline: dlt.Pipeline,
    table: str,
    *,
    columns: Names | None = None,
    agent_ids: Names | None = None,
    start_date: Date | None = None,
    end_date: Date | None = None,
    message_types: Names | None = None,
    children: bool | Names = False,
) -> pd.DataFrame:
    """Rows of one table; the arguments are those of `batches`.

    Integers and booleans are pandas' own types that can be null; json is what it says, a dict, a list, …;
    children are lists of dicts.
    """
    from letta_source.export.frames import to_frame

    selection = select(
        table,
        columns,
        children,
        agent_ids=agent_ids,
        start_date=start_date,
        end_date=end_date,
        message_types=message_types,
    )
    return to_frame(pa.Table.from_batches(read(pipeline, selection), selection.schema), selection)


def to_arrow(
    pipeline: dlt.Pipeline,
    table: str,
    *,
    columns: Names | None = None,
    agent_ids: Names | None = None,
    start_date: Date | None = None,
    end_date: Date | None = None,
    message_types: Names | None = None,
    children: bool | Names = False,
) -> pa.Table:
    """Rows of one table; the arguments are those of `batches`."""
    selection = select(
        table,
        columns,
        children,
        agent_ids=agent_ids,
        start_date=start_date,
        end_date=end_date,
        message_types=message_types,
    )
    return pa.Table.from_batches(read(pipeline, selection), selection.schema)


def batches(
    pipeline: dlt.Pipeline,
    table: str,
    *,
    columns: Names | None = None,
    agent_ids: Names | None = None,
    start_date: Date | None = None,
    end_date: Date | None = None,
    message_types: Names | None = None,
    children: bool | Names = False,
) -> Iterator[pa.RecordBatch]:
    """Rows of one table, a thousand at a time, with memory for not many more.

    Args:
        pipeline: such as `dlt.attach("letta")`; needs no state, only its destination and dataset.
        table: any of `letta_source.tables`.
        columns: in the order given; by default all but `_deleted`.
        agent_ids: by the column `agent_id`; steps' and conversations' messages by what they hang from.
        start_date, end_date: from the one on, and before the other, by `created_at`; steps by their run's.
        message_types: such as `user_message`.
        children: of a messages table, names such as `tool_calls`, or True for all: each a column of lists of
            structs, empty where there are none. A child's own table is filtered by its messages.

    Raises:
        ConfigError: a name is unknown, there is nothing to filter by, or nothing was loaded.
        Changed: a load changed a message between the reads of it and of its children.
    """
    selection = select(
        table,
        columns,
        children,
        agent_ids=agent_ids,
        start_date=start_date,
        end_date=end_date,
        message_types=message_types,
    )
    return read(pipeline, selection)


def read(
    pipeline: dlt.Pipeline, selection: Selection, folder: Path | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a selection; `folder` is that of `letta_source.export.readers.opened`."""
    with opened(pipeline, folder) as reader:
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
