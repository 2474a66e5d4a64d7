"""Columns of messages and their children, and how a column is written down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Type = Literal["text", "bigint", "double", "bool", "timestamp", "json"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        source: the field of the wire it comes from, where that has another name.
        content: it holds what was said, thought, called or returned, or what may quote that.
        references: `table.column` of what it names. That may be missing: a part of a server's tables may be
            loaded, and what is deleted there is not listed any more.
    """

    name: str
    type: Type
    description: str
    nullable: bool = True
    source: str | None = None
    content: bool = False
    references: str | None = None

    @property
    def field(self) -> str:
        return self.source or self.name

    @property
    def arrow_type(self) -> pa.DataType:
        """Json is a text; timestamps are microseconds UTC."""
        return _arrow_types()[self.type]


@cache
def _arrow_types() -> dict[Type, pa.DataType]:
    import pyarrow as pa

    return {
        "text": pa.string(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "json": pa.string(),
    }


def text(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "text", description, **kwargs)


def json(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "json", description, **kwargs)


def bigint(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "bigint", description, **kwargs)


def boolean(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "bool", description, **kwargs)


def timestamp(name: str, description: str, **kwargs: Any) -> Column:
    return Column(name, "timestamp", description, **kwargs)


LOAD_ID = text("_dlt_load_id", "The load that wrote this row; `_dlt_loads.load_id`.", nullable=False)
DELETED = boolean("_deleted", "Always null: marks rows that a merge takes out.")
EXTRA = json(
    "extra",
    "Every field that this version has no column for, and values that fit no column's type.",
    content=True,
)
ID = text("id", "Letta's id.", nullable=False)
CREATED_AT = timestamp("created_at", "When it was created.")
AUDIT = (
    CREATED_AT,
    timestamp("updated_at", "When it was last changed; messages an agent gets do not change it."),
    text("created_by_id", "Who created it."),
    text("last_updated_by_id", "Who changed it last."),
)

_MESSAGE = (
    text("name", "Of the sender; for tool returns the tool's name."),
    text("otid", "Offline threading id: set by the caller, or the message id ending in the item's index."),
    text("sender_id", "Identity or agent that sent it."),
    text("run_id", "The run it was created in.", references="runs.id"),
    text("step_id", "The step it was created in.", references="steps.id"),
    boolean("is_err", "Part of a step that failed."),
)
_TEXT = text(
    "text", "The readable text: a string content, or its text parts joined by a line break.", content=True
)
_APPROVAL = (
    boolean("approve", "Whether the tool call was approved."),
    text("approval_request_id", "What is answered: a message id, or a tool call id."),
)
POSITION = bigint("position", "0, 1, … among the items of one message id.", nullable=False)
# Dates are whole seconds, and the API shows no number of its own.
SEQUENCE = bigint(
    "sequence", "Grows in the order the server gave the rows of one parent: sorts those of one second."
)

LETTA_MESSAGE = (
    Column("created_at", "timestamp", "When it was created, in whole seconds.", source="date"),
    text("message_type", "system_message, user_message, assistant_message, reasoning_message, …"),
    *_MESSAGE,
    bigint("seq_id", "Position in the stream, where it was streamed."),
    _TEXT,
    text("reasoning", "What the model thought.", content=True),
    text("source", "Of the reasoning: reasoner_model or non_reasoner_model."),
    text("signature", "The model's signature of the reasoning.", content=True),
    text("state", "Of hidden reasoning: redacted or omitted."),
    text("hidden_reasoning", "The reasoning as redacted by the provider.", content=True),
    *_APPROVAL,
    text("reason", "Why the approval was given or denied.", content=True),
    text("summary", "Of a summary message.", content=True),
    text("event_type", "Of an event message: compaction, …"),
    json("event_data", "Of an event message.", content=True),
)
MESSAGE = (
    CREATED_AT,
    text("role", "assistant, user, tool, function, system or approval."),
    *_MESSAGE,
    text("agent_id", "The agent it belongs to.", references="agents.id"),
    text("group_id", "The group it was sent in.", references="groups.id"),
    text("conversation_id", "The conversation it belongs to.", references="conversations.id"),
    text("model", "The model that made it."),
    _TEXT,
    *_APPROVAL,
    text("denial_reason", "Why the approval was denied.", content=True),
    text("batch_item_id", "The item of the provider's batch it answers."),
    text("tool_call_id", "Of role tool: the call it answers."),
    text("created_by_id", "Who created it."),
    text("last_updated_by_id", "Who changed it last."),
    timestamp("updated_at", "When it was last changed."),
)
SEARCH = (
    text("embedded_text", "The text that was searched.", content=True),
    Column("rrf_score", "double", "Reciprocal rank fusion of the two ranks."),
    bigint("fts_rank", "Rank in the full-text search."),
    bigint("vector_rank", "Rank in the vector search."),
)

CHILDREN: dict[str, tuple[str, tuple[Column, ...]]] = {
    "content": (
        "Parts of a message's content; a string content is one part of type text.",
        (
            text("type", "text, image, tool_call, tool_return, reasoning, redacted_reasoning, …"),
            text("text", "Of text; of tool_return what was returned.", content=True),
            text("signature", "The model's signature.", content=True),
            text("reasoning", "Of reasoning.", content=True),
            boolean("is_native", "Reasoning by the model itself, not by prompting."),
            text("data", "Base64 of an image, or redacted reasoning.", content=True),
            text("source_type", "Of image: url, base64 or letta."),
            text("url", "Of an image by URL.", content=True),
            text("media_type", "Of an image."),
            text("file_id", "Of an image stored by Letta."),
            text("detail", "Of an image: low, high or auto."),
            text("tool_call_id", "Of tool_call and tool_return."),
            text("name", "Of tool_call: the tool."),
            json("input", "Of tool_call: its arguments.", content=True),
            boolean("is_error", "Of tool_return."),
            text("content_id", "Of summarized_reasoning."),
            json("summary", "Of summarized_reasoning.", content=True),
            text("encrypted_content", "Of summarized_reasoning.", content=True),
            EXTRA,
        ),
    ),
    "tool_calls": (
        "Tools that a message calls, or asks approval for.",
        (
            text("tool_call_id", "Pairs the call with its return and approval."),
            text("name", "The tool."),
            text("arguments", "As sent: a JSON text that may not parse.", content=True),
            json("arguments_json", "The same as json; null where it does not parse.", content=True),
            text("type", "function, where the API says it."),
        ),
    ),
    "tool_returns": (
        "What tools returned.",
        (
            text("tool_call_id", "The call it answers."),
            text("status", "success or error."),
            text("tool_return", "What was returned; parts of content as a JSON text.", content=True),
            json("stdout", "Captured lines.", content=True),
            json("stderr", "Captured lines.", content=True),
            text("type", "tool, where the API says it."),
        ),
    ),
    "approvals": (
        "Answers to requests for approval.",
        (
            text("tool_call_id", "The call that was asked for."),
            text("type", "approval, or tool where the caller ran the tool."),
            boolean("approve", "Approved or denied."),
            text("reason", "Why.", content=True),
            text("status", "Of a tool that the caller ran: success or error."),
            text("tool_return", "Of a tool that the caller ran.", content=True),
            json("stdout", "Of a tool that the caller ran.", content=True),
            json("stderr", "Of a tool that the caller ran.", content=True),
        ),
    ),
}
