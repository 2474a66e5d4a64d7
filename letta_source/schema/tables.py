"""Tables, each with its columns, types, keys and a one-line description.

Names follow dlt: the child `tool_calls` of `agent_messages` is `agent_messages__tool_calls`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from letta_source.models import (
    ApprovalResult,
    ContentPart,
    MessageToolReturn,
    OpenAIToolCall,
    ToolCall,
    ToolReturn,
)
from letta_source.schema.columns import (
    ARGUMENTS_JSON,
    DELETED,
    EXTRA,
    GONE,
    INDEX,
    ITEM_POSITION,
    LOAD_ID,
    POSITION,
    SEQUENCE,
    TEXT,
    Column,
    bigint,
    boolean,
    double,
    text,
    timestamp,
)
from letta_source.schema.wire import columns_of

if TYPE_CHECKING:
    import pyarrow as pa
    from dlt.common.schema.typing import TColumnSchema


@dataclass(frozen=True)
class Table:
    """One table, with what dlt, pyarrow and a reader need to know about it.

    `merge_key` is a part of `primary_key`. Merging on both keeps rows unique when a file was staged twice
    after a kill, and removes rows that a message no longer has.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    merge_key: tuple[str, ...] = ()

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The pyarrow schema; key columns are not nullable, timestamps are microseconds UTC."""
        import pyarrow as pa

        return pa.schema([pa.field(c.name, c.arrow_type, nullable=c.nullable) for c in self.columns])

    def dlt_columns(self, json_is_text: bool = False, hard_delete: bool = True) -> dict[str, TColumnSchema]:
        """Return dlt's column hints: only what pyarrow's types cannot express.

        Args:
            json_is_text: True to declare json columns as text.
            hard_delete: True if rows marked as deleted remove others.
        """
        hints: dict[str, TColumnSchema] = {}
        for column in self.columns:
            hint: TColumnSchema = {"name": column.name, "description": column.description}
            if column.type == "json":
                hint["data_type"] = "text" if json_is_text else "json"
            if column.name == DELETED.name:
                hint["hard_delete"] = hard_delete
            hints[column.name] = hint
        return hints


def _by_shape(shape: Any, computed: Mapping[str, Column] | None = None) -> tuple[Column, ...]:
    # A child's columns are filled by the shape of the objects sent, not each from one field.
    return tuple(replace(column, source=None) for column in columns_of(shape, computed))


CHILDREN: dict[str, tuple[str, tuple[Column, ...]]] = {
    "content": (
        "Parts of a message's content; a string content is one part of type text.",
        (*_by_shape(ContentPart), EXTRA),
    ),
    "tool_calls": (
        "Tool calls of a message, and calls that it requests approval for.",
        _by_shape(ToolCall | OpenAIToolCall, {"arguments": ARGUMENTS_JSON}),
    ),
    "tool_returns": ("Results of tool calls.", _by_shape(ToolReturn | MessageToolReturn)),
    "approvals": ("Decisions on requests for approval.", _by_shape(ApprovalResult)),
}
"""Description and columns of each child that every message table has, by name."""


def entity_table(name: str, description: str, shape: Any, parent: Column | None = None) -> Table:
    """Return a table with one row for each item, keyed by id.

    Args:
        parent: The column of the parent's id, first in the key; it may be the item's own id.
    """
    columns = {column.name: column for column in (*([parent] if parent else []), *_with_id(shape))}
    if parent:
        # The parent column replaces an endpoint's own copy of the parent's id.
        columns[parent.name] = parent
    key = tuple(dict.fromkeys((*([parent.name] if parent else []), "id")))
    return Table(name, description, (*columns.values(), EXTRA, GONE, LOAD_ID), primary_key=key)


def message_table(name: str, description: str, shape: Any, parent: Column | None) -> Table:
    """Return a table of messages.

    Args:
        parent: The column of the parent's id, first in each key.
    """
    key = (parent,) if parent else ()
    id_, *fields = _with_id(shape, {"content": TEXT})
    # The parent column replaces an endpoint's own copy of the parent's id.
    fields = [column for column in fields if parent is None or column.name != parent.name]
    return Table(
        name,
        description,
        (*key, id_, POSITION, SEQUENCE, *fields, EXTRA, GONE, LOAD_ID),
        primary_key=(*(column.name for column in key), "id", "position"),
        merge_key=(*(column.name for column in key), "id"),
    )


def child_tables(root: str, parent: Column | None) -> dict[str, Table]:
    """Return the child tables of a message table, by their names in `CHILDREN`."""
    message_id = text("message_id", "The message it belongs to.", nullable=False, references=f"{root}.id")
    key = (*([parent] if parent else []), message_id)
    names = tuple(column.name for column in key)
    return {
        child: Table(
            f"{root}__{child}",
            description,
            (*key, ITEM_POSITION, INDEX, *columns, DELETED, LOAD_ID),
            primary_key=(*names, "position", "idx"),
            merge_key=names,
        )
        for child, (description, columns) in CHILDREN.items()
    }


def _with_id(shape: Any, computed: Mapping[str, Column] | None = None) -> list[Column]:
    """Return the columns of a shape, its id first."""
    columns = {column.name: column for column in columns_of(shape, computed)}
    return [replace(columns.pop("id"), nullable=False, source=None), *columns.values()]


LOAD_ISSUES = Table(
    "load_issues",
    "Parents and messages that could not be read: one row for each attempt.",
    (
        timestamp("load_started_at", "When the load began.", nullable=False),
        text("resource", "The resource that was read.", nullable=False),
        text("parent_id", "The agent, group, …; empty if the whole resource is affected.", nullable=False),
        text("kind", "unreadable, no_progress, not_found, missing, no_id, invalid, …", nullable=False),
        text("detail", "The server's error message.", content=True),
        text("after_id", "Everything up to this id was read.", nullable=False),
        text("before_id", "Everything from this id on was read.", nullable=False),
        boolean("known", "True if an earlier load had the issue, too; null if it is not retried."),
        timestamp("next_try_at", "Earliest time of the next retry."),
        boolean("resolved", "True if it was read later; else null."),
        LOAD_ID,
    ),
    primary_key=("load_started_at", "resource", "parent_id", "kind", "after_id", "before_id"),
)

ISSUE_KEY = ("resource", "parent_id", "kind", "after_id", "before_id")
"""The columns of load_issues that identify an issue, which has a row for each attempt."""
CURRENT_ISSUES = "load_issues_current"
"""The view of the issues that are open now."""

LOAD_LOG = Table(
    "load_log",
    "Runs of `letta-source run` and `letta_source.load`: one row per run and resource.",
    (
        text("run_id", "The run; later runs sort after it.", nullable=False),
        text("resource", "The resource.", nullable=False),
        text("load_ids", "The loads that the run completed, separated by commas; empty for none."),
        timestamp("began_at", "When the run began.", nullable=False),
        timestamp("ended_at", "When it ended; null if it was interrupted."),
        double("seconds", "Seconds spent reading the resource."),
        text("mode", "Kind of load: incremental, sweep, window or refresh."),
        bigint("missed", "Items that only a sweep found; null if that is unknown."),
        text("host", "The server, as `LETTA_BASE_URL` names it."),
        text("project", "The project, if one is set."),
        text("shard", "The shard, such as `0/4`; null without sharding."),
        bigint("parents", "Number of agents, groups, …; 0 for a plain list."),
        bigint("items", "Items read, including those of the overlap."),
        bigint("rows_written", "Rows written to all tables of the resource."),
        bigint("requests", "Requests, including retries."),
        bigint("retries", "Retried requests."),
        double("waited", "Seconds of all workers spent waiting before retries or at the server's request."),
        bigint("bytes", "Bytes of the decoded responses."),
        bigint("new_problems", "New rows of load_issues."),
        bigint("known_problems", "Issues that an earlier run had, too."),
        text("outcome", "loaded, incomplete, absent, failed, not_read or interrupted.", nullable=False),
        bigint("exit_code", "Exit code of the run; null if it was interrupted."),
        text("reason", "Why the run failed; null if it did not, or was stopped."),
        text("version", "The version of this program."),
        text("masks", "The masks in force, and where each comes from."),
    ),
    primary_key=("run_id", "resource"),
)
"""Written by `letta_source.loading.load_log`, not by dlt's loads, so it has no load id of its own."""

ERASED = Table(
    "erased",
    "What `letta-source erase` removed; loads leave it out.",
    (
        text("kind", "agent, conversation or identity, or a run, message or item of them.", nullable=False),
        text("id", "Its id; nothing else of it is kept.", nullable=False),
        text("erased_at", "When, in UTC.", nullable=False),
    ),
    primary_key=("id",),
)
