"""Every table: its columns, types, keys and a line of description each.

The pyarrow schemas, dlt's hints, `letta-source discover` and the flattening all read this module, so a
column exists in one place. Tables are named in dlt's manner: the child `tool_calls` of `agent_messages` is
`agent_messages__tool_calls`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa
    from dlt.common.schema.typing import TColumnSchema

Type = Literal["text", "bigint", "double", "bool", "timestamp", "json"]

CHILDREN = ("content", "tool_calls", "tool_returns", "approvals")


@dataclass(frozen=True)
class Column:
    """One column. `source` is the field of the wire it comes from where that has another name."""

    name: str
    type: Type
    description: str
    nullable: bool = True
    source: str | None = None

    @property
    def field(self) -> str:
        return self.source or self.name


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

        types = {
            "text": pa.string(),
            "bigint": pa.int64(),
            "double": pa.float64(),
            "bool": pa.bool_(),
            "timestamp": pa.timestamp("us", "UTC"),
            "json": pa.string(),
        }
        return pa.schema([pa.field(c.name, types[c.type], nullable=c.nullable) for c in self.columns])

    @cached_property
    def dlt_columns(self) -> dict[str, TColumnSchema]:
        """dlt's column hints: only what pyarrow's types cannot say."""
        hints: dict[str, TColumnSchema] = {}
        for column in self.columns:
            hint: TColumnSchema = {"name": column.name, "description": column.description}
            if column.type == "json":
                hint["data_type"] = "json"
            if column.name == DELETED.name:
                hint["hard_delete"] = True
            hints[column.name] = hint
        return hints


@dataclass(frozen=True)
class Resource:
    """One dlt resource: a root table and, for messages, its children.

    `parent` is the column that names what the rows hang from, or None where nothing does.
    """

    name: str
    root: Table
    parent: Column | None = None
    children: Mapping[str, Table] | None = None
    on_request: bool = False

    @property
    def tables(self) -> tuple[Table, ...]:
        return (self.root, *(self.children or {}).values())


def _text(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "text", description, **kwargs)


def _json(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "json", description, **kwargs)


def _int(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "bigint", description, **kwargs)


def _bool(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "bool", description, **kwargs)


def _time(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "timestamp", description, **kwargs)


LOAD_ID = _text("_dlt_load_id", "The load that wrote this row; `_dlt_loads.load_id`.", nullable=False)
DELETED = _bool("_deleted", "Always null: marks rows that a merge takes out.")
EXTRA = _json(
    "extra", "Every field that this version has no column for, and values that fit no column's type."
)
ID = _text("id", "Letta's id.", nullable=False)
CREATED_AT = _time("created_at", "When it was created.")
_AUDIT = (
    CREATED_AT,
    _time("updated_at", "When it was last changed; messages an agent gets do not change it."),
    _text("created_by_id", "Who created it."),
    _text("last_updated_by_id", "Who changed it last."),
)

_MESSAGE = (
    _text("name", "Of the sender; for tool returns the tool's name."),
    _text("otid", "Offline threading id: set by the caller, or the message id ending in the item's index."),
    _text("sender_id", "Identity or agent that sent it."),
    _text("run_id", "The run it was created in."),
    _text("step_id", "The step it was created in."),
    _bool("is_err", "Part of a step that failed."),
)
_TEXT = _text("text", "The readable text: a string content, or its text parts joined by a line break.")
_APPROVAL = (
    _bool("approve", "Whether the tool call was approved."),
    _text("approval_request_id", "What is answered: a message id, or a tool call id."),
)
_POSITION = _int("position", "0, 1, … among the items of one message id.", nullable=False)

LETTA_MESSAGE = (
    Column("created_at", "timestamp", "When it was created, in whole seconds.", source="date"),
    _text("message_type", "system_message, user_message, assistant_message, reasoning_message, …"),
    *_MESSAGE,
    _int("seq_id", "Position in the stream, where it was streamed."),
    _TEXT,
    _text("reasoning", "What the model thought."),
    _text("source", "Of the reasoning: reasoner_model or non_reasoner_model."),
    _text("signature", "The model's signature of the reasoning."),
    _text("state", "Of hidden reasoning: redacted or omitted."),
    _text("hidden_reasoning", "The reasoning as redacted by the provider."),
    *_APPROVAL,
    _text("reason", "Why the approval was given or denied."),
    _text("summary", "Of a summary message."),
    _text("event_type", "Of an event message: compaction, …"),
    _json("event_data", "Of an event message."),
)
MESSAGE = (
    CREATED_AT,
    _text("role", "assistant, user, tool, function, system or approval."),
    *_MESSAGE,
    _text("agent_id", "The agent it belongs to."),
    _text("group_id", "The group it was sent in."),
    _text("conversation_id", "The conversation it belongs to."),
    _text("model", "The model that made it."),
    _TEXT,
    *_APPROVAL,
    _text("denial_reason", "Why the approval was denied."),
    _text("batch_item_id", "The item of the provider's batch it answers."),
    _text("tool_call_id", "Of role tool: the call it answers."),
    _text("created_by_id", "Who created it."),
    _text("last_updated_by_id", "Who changed it last."),
    _time("updated_at", "When it was last changed."),
)
_SEARCH = (
    _text("embedded_text", "The text that was searched."),
    Column("rrf_score", "double", "Reciprocal rank fusion of the two ranks."),
    _int("fts_rank", "Rank in the full-text search."),
    _int("vector_rank", "Rank in the vector search."),
)

_CHILD_COLUMNS: dict[str, tuple[str, tuple[Column, ...]]] = {
    "content": (
        "Parts of a message's content; a string content is one part of type text.",
        (
            _text("type", "text, image, tool_call, tool_return, reasoning, redacted_reasoning, …"),
            _text("text", "Of text; of tool_return what was returned."),
            _text("signature", "The model's signature."),
            _text("reasoning", "Of reasoning."),
            _bool("is_native", "Reasoning by the model itself, not by prompting."),
            _text("data", "Base64 of an image, or redacted reasoning."),
            _text("source_type", "Of image: url, base64 or letta."),
            _text("url", "Of an image by URL."),
            _text("media_type", "Of an image."),
            _text("file_id", "Of an image stored by Letta."),
            _text("detail", "Of an image: low, high or auto."),
            _text("tool_call_id", "Of tool_call and tool_return."),
            _text("name", "Of tool_call: the tool."),
            _json("input", "Of tool_call: its arguments."),
            _bool("is_error", "Of tool_return."),
            _text("content_id", "Of summarized_reasoning."),
            _json("summary", "Of summarized_reasoning."),
            _text("encrypted_content", "Of summarized_reasoning."),
            EXTRA,
        ),
    ),
    "tool_calls": (
        "Tools that a message calls, or asks approval for.",
        (
            _text("tool_call_id", "Pairs the call with its return and approval."),
            _text("name", "The tool."),
            _text("arguments", "As sent: a JSON text that may not parse."),
            _json("arguments_json", "The same as json; null where it does not parse."),
            _text("type", "function, where the API says it."),
        ),
    ),
    "tool_returns": (
        "What tools returned.",
        (
            _text("tool_call_id", "The call it answers."),
            _text("status", "success or error."),
            _text("tool_return", "What was returned; parts of content as a JSON text."),
            _json("stdout", "Captured lines."),
            _json("stderr", "Captured lines."),
            _text("type", "tool, where the API says it."),
        ),
    ),
    "approvals": (
        "Answers to requests for approval.",
        (
            _text("tool_call_id", "The call that was asked for."),
            _text("type", "approval, or tool where the caller ran the tool."),
            _bool("approve", "Approved or denied."),
            _text("reason", "Why."),
            _text("status", "Of a tool that the caller ran: success or error."),
            _text("tool_return", "Of a tool that the caller ran."),
            _json("stdout", "Of a tool that the caller ran."),
            _json("stderr", "Of a tool that the caller ran."),
        ),
    ),
}


def _messages(
    name: str, description: str, parent: Column | None, fields: tuple[Column, ...], on_request: bool = False
) -> Resource:
    key = (parent,) if parent else ()
    # An endpoint's own copy of the parent's id is the parent column.
    fields = tuple(c for c in fields if parent is None or c.name != parent.name)
    parent_key = tuple(c.name for c in key)
    root = Table(
        name,
        description,
        (*key, ID, _POSITION, *fields, EXTRA, LOAD_ID),
        primary_key=(*parent_key, "id", "position"),
        merge_key=(*parent_key, "id"),
    )
    message_id = _text("message_id", f"`{name}.id`.", nullable=False)
    position = _int("position", f"`{name}.position`.", nullable=False)
    idx = _int("idx", "0, 1, … within its item.", nullable=False)
    children = {
        child: Table(
            f"{name}__{child}",
            child_description,
            (*key, message_id, position, idx, *columns, DELETED, LOAD_ID),
            primary_key=(*parent_key, "message_id", "position", "idx"),
            merge_key=(*parent_key, "message_id"),
        )
        for child, (child_description, columns) in _CHILD_COLUMNS.items()
    }
    return Resource(name, root, parent, children, on_request)


def _entity(name: str, description: str, *columns: Column) -> Resource:
    return Resource(name, Table(name, description, (ID, *columns, EXTRA, LOAD_ID), primary_key=("id",)))


_PROJECT = (
    _text("project_id", "Cloud: the project."),
    _text("template_id", "Cloud: the template it was made from."),
    _text("base_template_id", "Cloud: the base template."),
    _text("deployment_id", "Cloud: the deployment."),
)
_CALLBACK = (
    _text("callback_url", "Called when it ends."),
    _time("callback_sent_at", "When that was last tried."),
    _int("callback_status_code", "HTTP status of the callback."),
    _text("callback_error", "Why the callback failed."),
    _int("ttft_ns", "Time to first token, nanoseconds."),
    _int("total_duration_ns", "Whole time, nanoseconds."),
)

_ENTITIES = (
    _entity(
        "agents",
        "Agents, as they are now.",
        _text("name", "Its name."),
        _text("agent_type", "letta_v1_agent, memgpt_v2_agent, …"),
        _text("description", "Its description."),
        *_AUDIT,
        _text("model", "Handle of its model, provider/model."),
        _text("embedding", "Handle of its embedding model."),
        _text("system", "Its system prompt."),
        _json("tags", "Its tags."),
        _json("message_ids", "Messages in its context window."),
        _json("tool_rules", "Rules between its tools."),
        _json("llm_config", "Settings of the model."),
        _json("embedding_config", "Settings of the embedding model."),
        _json("model_settings", "Settings of the model, newer form."),
        _json("compaction_settings", "How its context is compacted."),
        _json("response_format", "Format it must answer in."),
        _json("metadata", "Free-form."),
        _json("memory", "Its core memory."),
        _json("blocks", "Memory blocks; empty unless the server sends them."),
        _json("tools", "Tools; empty unless the server sends them."),
        _json("sources", "Sources; empty unless the server sends them."),
        _json("tool_exec_environment_variables", "Variables of its tools, without their values."),
        _json("secrets", "Secrets of its tools, without their values."),
        *_PROJECT,
        _text("entity_id", "Cloud: the entity."),
        _json("identity_ids", "Identities it belongs to."),
        _json("identities", "Identities; empty unless the server sends them."),
        _json("pending_approval", "The approval it waits for."),
        _bool("message_buffer_autoclear", "Forgets messages after each turn."),
        _bool("enable_sleeptime", "Has a sleep-time agent."),
        _json("multi_agent_group", "The group it manages, older form."),
        _json("managed_group", "The group it manages."),
        _time("last_run_completion", "When its last run ended; may be null though it ran."),
        _int("last_run_duration_ms", "Of its last run, milliseconds."),
        _text("last_stop_reason", "Of its last run."),
        _text("timezone", "Its time zone."),
        _int("max_files_open", "Files it may have open."),
        _int("per_file_view_window_char_limit", "Characters it sees of a file."),
        _bool("hidden", "Not shown in Letta's own interface."),
    ),
    _entity(
        "groups",
        "Multi-agent groups, as they are now.",
        _text("manager_type", "round_robin, supervisor, dynamic, sleeptime, …"),
        _text("description", "Its description."),
        _json("agent_ids", "Its agents."),
        _text("manager_agent_id", "The agent that manages it."),
        _text("termination_token", "Ends a turn of a dynamic group."),
        _int("max_turns", "Turns before it stops."),
        _int("sleeptime_agent_frequency", "Turns between two runs of the sleep-time agent."),
        _int("turns_counter", "Turns so far."),
        _text("last_processed_message_id", "Of the sleep-time agent."),
        _int("max_message_buffer_length", "Longest message buffer."),
        _int("min_message_buffer_length", "Shortest message buffer."),
        _json("shared_block_ids", "Deprecated: memory blocks it shares."),
        *_PROJECT,
        _bool("hidden", "Not shown in Letta's own interface."),
    ),
    _entity(
        "runs",
        "Runs: one call of an agent, of one or more steps.",
        _text("agent_id", "The agent that ran."),
        _text("conversation_id", "The conversation it ran in."),
        _text("status", "created, running, completed, failed or cancelled."),
        CREATED_AT,
        _time("completed_at", "When it ended."),
        _text("stop_reason", "Why it ended."),
        _bool("background", "Ran in the background."),
        _text("base_template_id", "Cloud: the base template."),
        _json("metadata", "Free-form."),
        _json("request_config", "Settings of the request."),
        *_CALLBACK,
    ),
    _entity(
        "steps",
        "Steps: one call of a model. The API gives them no date; their run has one.",
        _text("run_id", "Its run."),
        _text("agent_id", "Its agent."),
        _text("status", "pending, success, failed or cancelled."),
        _text("stop_reason", "Why it ended."),
        _text("model", "The model that was called."),
        _text("model_handle", "The same as provider/model."),
        _text("model_endpoint", "URL of the model."),
        _text("provider_id", "The provider as configured."),
        _text("provider_name", "openai, anthropic, …"),
        _text("provider_category", "base or byok."),
        _int("context_window_limit", "Tokens."),
        _int("prompt_tokens", "Tokens."),
        _int("completion_tokens", "Tokens."),
        _int("total_tokens", "Tokens."),
        _int("cached_input_tokens", "Tokens read from the provider's cache."),
        _int("cache_write_tokens", "Tokens written to the provider's cache."),
        _int("reasoning_tokens", "Tokens spent on reasoning."),
        _json("prompt_tokens_details", "As the provider details them."),
        _json("completion_tokens_details", "As the provider details them."),
        _text("origin", "Where it was started from."),
        _text("organization_id", "The organization."),
        _text("project_id", "Cloud: the project."),
        _text("tid", "Transaction id."),
        _text("trace_id", "Trace id."),
        _text("request_id", "Cloud: the request."),
        _json("tags", "Its tags."),
        _json("messages", "Deprecated: empty."),
        _text("feedback", "positive or negative."),
        _text("error_type", "Class of the error."),
        _json("error_data", "Details of the error."),
    ),
    _entity(
        "conversations",
        "Conversations, as they are now.",
        _text("agent_id", "Its agent."),
        *_AUDIT,
        _text("summary", "Its title."),
        _time("last_message_at", "When it got its last message."),
        _json("in_context_message_ids", "Messages in its context window."),
        _json("isolated_block_ids", "Memory blocks of its own."),
        _text("model", "Handle of its model, where it has its own."),
        _json("model_settings", "Settings of that model."),
    ),
    _entity(
        "batches",
        "Batches: many agents' turns sent to a provider at once.",
        _text("status", "created, running, pending, completed, failed, cancelled or expired."),
        *_AUDIT,
        _time("completed_at", "When it ended."),
        _text("stop_reason", "Why it ended."),
        _text("job_type", "batch."),
        _text("user_id", "Who sent it."),
        _text("agent_id", "The agent, where there is one."),
        _bool("background", "Ran in the background."),
        _json("metadata", "Free-form."),
        *_CALLBACK,
    ),
)


def _parent(name: str, description: str) -> Column:
    return _text(name, description, nullable=False)


_MESSAGES = (
    _messages(
        "agent_messages",
        "Messages by agent, those of all its conversations. One stored message is one or more rows.",
        _parent("agent_id", "`agents.id`."),
        LETTA_MESSAGE,
    ),
    _messages("group_messages", "Messages by group.", _parent("group_id", "`groups.id`."), LETTA_MESSAGE),
    _messages(
        "step_messages",
        "Messages by step; the API renders them unlike those of agents.",
        _parent("step_id", "`steps.id`."),
        LETTA_MESSAGE,
    ),
    _messages("batch_messages", "Messages by batch.", _parent("batch_id", "`batches.id`."), MESSAGE),
    _messages(
        "conversation_messages",
        "Messages by conversation; a forked one shares messages with its origin.",
        _parent("conversation_id", "`conversations.id`."),
        LETTA_MESSAGE,
        on_request=True,
    ),
    _messages(
        "messages", "Messages of all agents; the API names no agent.", None, LETTA_MESSAGE, on_request=True
    ),
    _messages(
        "message_search",
        "What `POST /v1/messages/search` answers (Cloud only).",
        _parent("query", "What was searched for."),
        (*_SEARCH, *MESSAGE),
        on_request=True,
    ),
)

RESOURCES: dict[str, Resource] = {resource.name: resource for resource in (*_ENTITIES, *_MESSAGES)}

LOAD_ISSUES = Table(
    "load_issues",
    "What could not be read: a row for each parent or message.",
    (
        _time("load_started_at", "When the load began.", nullable=False),
        _text("resource", "The resource that was read.", nullable=False),
        _text("parent_id", "The agent, group, …; empty for a whole resource.", nullable=False),
        _text("kind", "unreadable, no_progress, not_found, no_id, invalid, …", nullable=False),
        _text("detail", "What the server answered."),
        _text("after_id", "Everything up to this id was read.", nullable=False),
        _text("before_id", "Everything from this id on was read.", nullable=False),
        LOAD_ID,
    ),
    primary_key=("load_started_at", "resource", "parent_id", "kind", "after_id", "before_id"),
)


def all_tables() -> Iterator[Table]:
    for resource in RESOURCES.values():
        yield from resource.tables
    yield LOAD_ISSUES
