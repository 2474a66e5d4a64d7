"""Loaded rows as pandas, as Arrow, and as a readable conversation.

    from letta_source.export import to_pandas

    messages = to_pandas(letta_source.open_dataset(), "agent_messages", children=["tool_calls"])

The types are those of `letta_source.schema.tables` for every destination: times are UTC with microseconds,
json is parsed in pandas and text in Arrow. Rows are ordered by parent, `created_at`, `sequence` and key, null
first. Only completed loads count: while one runs, a message that it has already replaced is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    import dlt
    import pandas as pd
    import pyarrow as pa
    from typing_extensions import Unpack

    from letta_source.export.chat_model import LeftOut
    from letta_source.export.transcript import Conversation

__all__ = ["Options", "batches", "chats", "conversation", "to_arrow", "to_pandas", "tool_calls_sql"]

Names = Sequence[str]
Date = str | date


class Options(TypedDict, total=False):
    """Columns and filters of a table; a row is returned if it meets all filters.

    Attributes:
        columns: in the given order; by default all except `_deleted`.
        agent_ids: compared with `agent_id`; for messages of steps and conversations, that of the parent.
        start_date, end_date: `created_at` is at or after the first, before the second; for steps, the run's.
        message_types: such as `user_message`.
        children: children of a messages table, such as `tool_calls`, or True for all: each is a column of
            lists of structs, empty if there are none. A child's own table is filtered by its messages.
    """

    columns: Names | None
    agent_ids: Names | None
    start_date: Date | None
    end_date: Date | None
    message_types: Names | None
    children: bool | Names


def to_pandas(pipeline: dlt.Pipeline, table: str, **options: Unpack[Options]) -> pd.DataFrame:
    """Return rows of one table, selected by `Options`.

    Integers and booleans have pandas' nullable types; json is parsed to dicts, lists and the like; children
    are lists of dicts.
    """
    from letta_source.export.dataframes import to_frame
    from letta_source.export.selection import select
    from letta_source.export.stream import arrow

    selection = select(table, **options)
    return to_frame(arrow(pipeline, selection), selection)


def to_arrow(pipeline: dlt.Pipeline, table: str, **options: Unpack[Options]) -> pa.Table:
    """Return rows of one table, selected by `Options`."""
    from letta_source.export.selection import select
    from letta_source.export.stream import arrow

    return arrow(pipeline, select(table, **options))


def batches(pipeline: dlt.Pipeline, table: str, **options: Unpack[Options]) -> Iterator[pa.RecordBatch]:
    """Yield rows of one table, a thousand at a time; memory holds few more.

    Args:
        pipeline: such as `letta_source.open_dataset()`; needs no state, only its destination and dataset.
        table: any that `letta-source discover` lists, or `tool_calls`: a row for each tool call, with its
            approval and its result; see `letta_source.export.pairing`.

    Raises:
        ConfigError: a name is unknown, the table lacks the column to filter by, or nothing was loaded.
        Changed: at the end, with `children`: a load changed the tables while they were read.
    """
    from letta_source.export.selection import select
    from letta_source.export.stream import read

    return read(pipeline, select(table, **options))


def conversation(
    pipeline: dlt.Pipeline,
    agent_id: str,
    conversation_id: str | None = None,
    *,
    start_date: Date | None = None,
    end_date: Date | None = None,
    full: bool = False,
) -> Conversation:
    """Return an agent's messages, reasoning and tool calls; `str` of it is Markdown, `.html()` a page.

    Args:
        conversation_id: only this one; `default` means messages in none. By default all messages, by date.
        start_date, end_date: only messages at or after the first and before the second.
        full: True to keep reasoning and system messages whole; else they are cut after some 300 characters.

    Raises:
        ConfigError: no such agent or conversation was loaded, or the agent's messages were not.
    """
    from letta_source.export.transcript import read_conversation

    return read_conversation(pipeline, agent_id, conversation_id, start_date, end_date, full)


def chats(
    pipeline: dlt.Pipeline,
    format: Literal["chat", "sharegpt", "trajectory"] = "chat",
    *,
    agent_ids: Names | None = None,
    start_date: Date | None = None,
    end_date: Date | None = None,
    turns: int | None = None,
    images: Literal["links", "drop"] = "links",
    reasoning: bool | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[Any]:
    """Yield conversations for training and evaluation; memory holds the messages of one agent.

    Args:
        format: OpenAI's messages; ShareGPT with tools as Hermes writes them; Letta's trajectory v1.
        agent_ids, start_date, end_date: as in `Options`.
        turns: maximum number of turns per line; by default whole conversations.
        images: `links` keeps image URLs, and images without one become `[image]`; `drop` removes images.
        reasoning: True to include the model's reasoning; by default only in trajectories.
        left_out: receives the counts of conversations, calls and items that are left out.

    Raises:
        ConfigError: an option is wrong, or no messages were loaded.
        Changed: at the end: a load changed the tables while they were read.
    """
    from letta_source.errors import ConfigError
    from letta_source.export.chat_formats import FORMATS
    from letta_source.export.chat_model import LeftOut
    from letta_source.export.chat_reading import read_chats, select_chats

    if format not in FORMATS:
        raise ConfigError(f"there is no format {format!r}: there are {', '.join(FORMATS)}")
    selection = select_chats(agent_ids, start_date, end_date, turns, images)
    conversations = read_chats(pipeline, selection, left_out or LeftOut())
    with_reasoning = format == "trajectory" if reasoning is None else reasoning
    return (FORMATS[format](one, with_reasoning) for one in conversations)


def tool_calls_sql(dataset: str = "letta") -> str:
    """Return the query of `tool_calls`, for a view in DuckDB, PostgreSQL or others with window functions.

    Args:
        dataset: the schema of the tables, all of which must exist.
    """
    from letta_source.export.pairing import CHILDREN, ROOT, query

    tables = {name.rpartition("__")[2]: f"{dataset}.{name}" for name in (ROOT, *CHILDREN)}
    return query(tables, f"SELECT load_id FROM {dataset}._dlt_loads WHERE status = 0")
