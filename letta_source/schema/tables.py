"""Every table: its columns, types, keys and a line of description each.

The pyarrow schemas, dlt's hints, `letta-source discover` and the flattening all read this module, so a
column exists in one place. Tables are named in dlt's manner: the child `tool_calls` of `agent_messages` is
`agent_messages__tool_calls`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from letta_source.models import (
    Agent,
    ApprovalResult,
    Batch,
    ContentPart,
    Conversation,
    Group,
    LettaMessage,
    Message,
    MessageToolReturn,
    OpenAIToolCall,
    Run,
    SearchHit,
    Step,
    ToolCall,
    ToolReturn,
    Wire,
)
from letta_source.schema.columns import (
    ARGUMENTS_JSON,
    DELETED,
    EXTRA,
    INDEX,
    ITEM_POSITION,
    LOAD_ID,
    POSITION,
    SEQUENCE,
    TEXT,
    Column,
    text,
    timestamp,
)
from letta_source.schema.wire import columns_of

if TYPE_CHECKING:
    import pyarrow as pa
    from dlt.common.schema.typing import TColumnSchema


@dataclass(frozen=True)
class Table:
    """One table: what dlt, pyarrow and a reader need to know of it.

    `merge_key` is a part of `primary_key`. Merging on both keeps rows unique when a file was staged twice
    after a kill, and takes out what a message no longer has.
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
        """dlt's column hints: only what pyarrow's types cannot say.

        Args:
            json_is_text: json columns are declared as text.
            hard_delete: rows that are marked as deleted take others out.
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


def _by_shape(model: Any, computed: Mapping[str, Column] | None = None) -> tuple[Column, ...]:
    return tuple(replace(column, source=None) for column in columns_of(model, computed))


@dataclass(frozen=True)
class Resource:
    """One dlt resource: a root table and, for messages, its children.

    `endpoint` is where its items come from. `parent` is the column that names what the rows hang from, or
    None where nothing does. `divided` resources are read by all shards, each its parents; shard 0 reads the
    others.
    """

    name: str
    endpoint: str
    root: Table
    model: Any
    parent: Column | None = None
    children: Mapping[str, Table] | None = None
    on_request: bool = False

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Validates an item as the server sends it: `adapter.validate_python(item)`."""
        return TypeAdapter(self.model)

    @property
    def divided(self) -> bool:
        return self.parent is not None and self.parent.name != "query"

    @property
    def tables(self) -> tuple[Table, ...]:
        return (self.root, *(self.children or {}).values())


# A child's columns are filled by the shape of what was sent, so none names a field.
CHILDREN: dict[str, tuple[str, tuple[Column, ...]]] = {
    "content": (
        "Parts of a message's content; a string content is one part of type text.",
        (*_by_shape(ContentPart), EXTRA),
    ),
    "tool_calls": (
        "Tools that a message calls, or asks approval for.",
        _by_shape(ToolCall | OpenAIToolCall, {"arguments": ARGUMENTS_JSON}),
    ),
    "tool_returns": ("What tools returned.", _by_shape(ToolReturn | MessageToolReturn)),
    "approvals": ("Answers to requests for approval.", _by_shape(ApprovalResult)),
}


def _entity(name: str, endpoint: str, description: str, model: type[Wire]) -> Resource:
    columns = (*_with_key(columns_of(model), "id"), EXTRA, LOAD_ID)
    return Resource(name, endpoint, Table(name, description, columns, primary_key=("id",)), model)


def _messages(
    name: str,
    endpoint: str,
    description: str,
    parent: Column | None,
    model: Any,
    on_request: bool = False,
) -> Resource:
    key = (parent,) if parent else ()
    parent_key = tuple(c.name for c in key)
    sent = {column.name: column for column in _with_key(columns_of(model, {"content": TEXT}), "id")}
    # An endpoint's own copy of the parent's id is the parent column.
    fields = [column for name, column in sent.items() if name not in ("id", *parent_key)]
    root = Table(
        name,
        description,
        (*key, sent["id"], POSITION, SEQUENCE, *fields, EXTRA, LOAD_ID),
        primary_key=(*parent_key, "id", "position"),
        merge_key=(*parent_key, "id"),
    )
    message_id = text("message_id", "The message it belongs to.", nullable=False, references=f"{name}.id")
    children = {
        child: Table(
            f"{name}__{child}",
            child_description,
            (*key, message_id, ITEM_POSITION, INDEX, *columns, DELETED, LOAD_ID),
            primary_key=(*parent_key, "message_id", "position", "idx"),
            merge_key=(*parent_key, "message_id"),
        )
        for child, (child_description, columns) in CHILDREN.items()
    }
    return Resource(name, endpoint, root, model, parent, children, on_request)


def _with_key(columns: Iterable[Column], key: str) -> Iterator[Column]:
    for column in columns:
        yield replace(column, nullable=False, source=None) if column.name == key else column


def _parent(name: str, description: str, references: str | None = None) -> Column:
    return text(name, description, nullable=False, references=references)


_ENTITIES = (
    _entity("agents", "GET /v1/agents/", "Agents, as they are now.", Agent),
    _entity("groups", "GET /v1/groups/", "Multi-agent groups, as they are now.", Group),
    _entity("runs", "GET /v1/runs/", "Runs: one call of an agent, of one or more steps.", Run),
    _entity(
        "steps",
        "GET /v1/steps/",
        "Steps: one call of a model. They have no date, their run has; self-hosted, it lists them.",
        Step,
    ),
    _entity("conversations", "GET /v1/conversations/", "Conversations, as they are now.", Conversation),
    _entity(
        "batches",
        "GET /v1/messages/batches",
        "Batches: many agents' turns sent to a provider at once.",
        Batch,
    ),
)
_MESSAGES = (
    _messages(
        "agent_messages",
        "GET /v1/agents/{agent_id}/messages",
        "Messages by agent, those of all its conversations. One stored message is one or more rows.",
        _parent("agent_id", "The agent whose messages were read.", "agents.id"),
        LettaMessage,
    ),
    _messages(
        "group_messages",
        "GET /v1/groups/{group_id}/messages",
        "Messages by group.",
        _parent("group_id", "The group whose messages were read.", "groups.id"),
        LettaMessage,
    ),
    _messages(
        "step_messages",
        "GET /v1/steps/{step_id}/messages",
        "Messages by step; the API renders them unlike those of agents.",
        _parent("step_id", "The step whose messages were read.", "steps.id"),
        LettaMessage,
    ),
    _messages(
        "batch_messages",
        "GET /v1/messages/batches/{batch_id}/messages",
        "Messages by batch.",
        _parent("batch_id", "The batch whose messages were read.", "batches.id"),
        Message,
    ),
    _messages(
        "conversation_messages",
        "GET /v1/conversations/{conversation_id}/messages",
        "Messages by conversation; a forked one shares messages with its origin.",
        _parent("conversation_id", "The conversation whose messages were read.", "conversations.id"),
        LettaMessage,
        on_request=True,
    ),
    _messages(
        "messages",
        "GET /v1/messages/",
        "Messages of all agents; the API names no agent.",
        None,
        LettaMessage,
        on_request=True,
    ),
    _messages(
        "message_search",
        "POST /v1/messages/search",
        "What a search finds (Cloud only).",
        _parent("query", "What was searched for."),
        SearchHit,
        on_request=True,
    ),
)

# Each parent's messages are one walk; others can be named twice by what lists them.
WALKED = ("agent_messages", "group_messages", "conversation_messages")

RESOURCES: dict[str, Resource] = {resource.name: resource for resource in (*_ENTITIES, *_MESSAGES)}

LOAD_ISSUES = Table(
    "load_issues",
    "What could not be read: a row for each parent or message.",
    (
        timestamp("load_started_at", "When the load began.", nullable=False),
        text("resource", "The resource that was read.", nullable=False),
        text("parent_id", "The agent, group, …; empty for a whole resource.", nullable=False),
        text("kind", "unreadable, no_progress, not_found, no_id, invalid, …", nullable=False),
        text("detail", "What the server answered.", content=True),
        text("after_id", "Everything up to this id was read.", nullable=False),
        text("before_id", "Everything from this id on was read.", nullable=False),
        LOAD_ID,
    ),
    primary_key=("load_started_at", "resource", "parent_id", "kind", "after_id", "before_id"),
)


def all_tables() -> Iterator[Table]:
    for resource in RESOURCES.values():
        yield from resource.tables
    yield LOAD_ISSUES
