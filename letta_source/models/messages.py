"""The items in lists of messages: LettaMessage, one class for each `message_type`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, Tag

from .base import Id, JsonObject, Timestamp, ToolStatus, Wire, pick, tags_of
from .content import Content, Signature
from .marks import CLEAR, CONTENT, REPEATED, ROWS, AsColumn, ref
from .tools import ApprovalResult, ToolCall, ToolCalls, ToolReturn

# Fields that items of messages and stored messages share.
Name: TypeAlias = Annotated[
    str | None, CONTENT, Field(description="Name of the sender; for a tool's result, of the tool.")
]
# 7 bits, not two hex digits: the index is the last byte modulo 128; the top bit is still the id's.
# Users may send anything, so it is content.
Otid: TypeAlias = Annotated[
    str | None,
    CONTENT,
    Field(
        description="Offline threading id: the id with its last 7 bits replaced by the item's index. But "
        "user messages have the sender's or null, approval requests have the id itself, and system messages "
        "and approval responses have null."
    ),
]
SenderId: TypeAlias = Annotated[str | None, CLEAR, Field(description="The identity or agent that sent it.")]
RunId: TypeAlias = Annotated[str | None, ref("runs.id"), Field(description="The run it was created in.")]
StepId: TypeAlias = Annotated[str | None, ref("steps.id"), Field(description="The step it was created in.")]
IsErr: TypeAlias = Annotated[
    bool | None, Field(description="True in a failed step; otherwise false or null.")
]
Approve: TypeAlias = Annotated[
    bool | None, Field(description="A single decision about a call: true for approved.")
]
ApprovalRequestId: TypeAlias = Annotated[
    str | None,
    CLEAR,
    Field(description="The tool call of a single decision: the call's id, not a message's id as documented."),
]
_FIRST_RESULT = "The first result's value."


class UnknownMessage(Wire):
    """An item of a type that is not declared here; only the fields that its row needs are required."""

    id: Id
    message_type: Annotated[str, CLEAR] = Field(description="Its type.")


class _Item(Wire):
    """An item of a stored message: reasoning, text and tool calls of one turn are items with one `id`."""

    id: Id
    date: Annotated[Timestamp, AsColumn(content=False, name="created_at")] = Field(
        description="When it was created, in whole seconds; many items share one. Lists are not sorted by it."
    )
    # Each subclass declares its own value.
    message_type: Annotated[str, CLEAR] = Field(description="The item's type.")
    name: Name = None
    otid: Otid = None
    sender_id: SenderId = None
    run_id: RunId = None
    step_id: StepId = None
    is_err: IsErr = None
    seq_id: int | None = Field(None, description="Position in a stream; null in lists.")


class SystemMessage(_Item):
    """A system prompt."""

    message_type: Annotated[Literal["system_message"], CLEAR] = Field(description="Always `system_message`.")
    content: Annotated[Content, ROWS] = Field(description="The prompt; only ever seen as a string.")


class UserMessage(_Item):
    """A user's message; in lists also a summary."""

    message_type: Annotated[Literal["user_message"], CLEAR] = Field(description="Always `user_message`.")
    content: Annotated[Content, ROWS] = Field(description="A string, or text and image parts.")


class AssistantMessage(_Item):
    """An agent's message."""

    message_type: Annotated[Literal["assistant_message"], CLEAR] = Field(
        description="Always `assistant_message`."
    )
    content: Annotated[Content, ROWS] = Field(description="A string, or text parts.")


class ReasoningMessage(_Item):
    """Reasoning; in lists by step also plain text."""

    message_type: Annotated[Literal["reasoning_message"], CLEAR] = Field(
        description="Always `reasoning_message`."
    )
    reasoning: Annotated[str, CONTENT] = Field(description="The reasoning text.")
    source: Annotated[Literal["reasoner_model", "non_reasoner_model"] | None, CLEAR] = Field(
        None, description="Source of the reasoning: reasoner_model or non_reasoner_model."
    )
    signature: Signature = None


class HiddenReasoningMessage(_Item):
    """Reasoning that cannot be read."""

    message_type: Annotated[Literal["hidden_reasoning_message"], CLEAR] = Field(
        description="Always `hidden_reasoning_message`."
    )
    state: Annotated[Literal["redacted", "omitted"], CLEAR] = Field(
        description="State of hidden reasoning: redacted (unreadable) or omitted (not sent)."
    )
    hidden_reasoning: Annotated[str | None, CONTENT] = Field(
        None, description="The unreadable form of redacted reasoning."
    )


class ToolCallMessage(_Item):
    """Tool calls."""

    message_type: Annotated[Literal["tool_call_message"], CLEAR] = Field(
        description="Always `tool_call_message`."
    )
    tool_calls: Annotated[ToolCalls | None, ROWS] = Field(None, description="The calls.")
    tool_call: Annotated[ToolCall | None, REPEATED] = Field(
        None, deprecated=True, description="The first of `tool_calls`."
    )


class ToolReturnMessage(_Item):
    """Tool results."""

    message_type: Annotated[Literal["tool_return_message"], CLEAR] = Field(
        description="Always `tool_return_message`."
    )
    tool_returns: Annotated[list[ToolReturn] | None, ROWS] = Field(None, description="The results.")
    tool_return: Annotated[str | None, REPEATED] = Field(None, deprecated=True, description=_FIRST_RESULT)
    status: Annotated[ToolStatus | None, REPEATED] = Field(None, deprecated=True, description=_FIRST_RESULT)
    tool_call_id: Annotated[str | None, REPEATED] = Field(None, deprecated=True, description=_FIRST_RESULT)
    stdout: Annotated[list[str] | None, REPEATED] = Field(None, deprecated=True, description=_FIRST_RESULT)
    stderr: Annotated[list[str] | None, REPEATED] = Field(None, deprecated=True, description=_FIRST_RESULT)


class ApprovalRequestMessage(_Item):
    """Tool calls that wait for approval."""

    message_type: Annotated[Literal["approval_request_message"], CLEAR] = Field(
        description="Always `approval_request_message`."
    )
    tool_calls: Annotated[ToolCalls | None, ROWS] = Field(
        None, description="The calls that wait for approval."
    )
    tool_call: Annotated[ToolCall | None, REPEATED] = Field(
        None, deprecated=True, description="The first call that waits for approval."
    )


class ApprovalResponseMessage(_Item):
    """Decisions about tool calls."""

    message_type: Annotated[Literal["approval_response_message"], CLEAR] = Field(
        description="Always `approval_response_message`."
    )
    approvals: Annotated[list[ApprovalResult] | None, ROWS] = Field(
        None, description="The decisions, one for each call."
    )
    approve: Approve = Field(None, deprecated=True)
    approval_request_id: ApprovalRequestId = Field(None, deprecated=True)
    reason: Annotated[str | None, CONTENT] = Field(
        None, deprecated=True, description="The reason of a single decision."
    )


# Each of these types has two spellings: the first is the server's, the second the API reference's.
class SummaryMessage(_Item):
    """The summary left by a compaction."""

    message_type: Annotated[Literal["summary_message", "summary"], CLEAR] = Field(
        description="`summary_message` or `summary`."
    )
    summary: Annotated[str, CONTENT] = Field(description="The summary that a compaction left.")
    compaction_stats: Annotated[JsonObject | None, CLEAR] = Field(
        None, description="Figures of a compaction: trigger, tokens and messages before and after."
    )


class EventMessage(_Item):
    """An event in the agent's life, such as a compaction."""

    message_type: Annotated[Literal["event_message", "event"], CLEAR] = Field(
        description="`event_message` or `event`."
    )
    event_type: Annotated[str, CLEAR] = Field(description="Type of the event; so far only compaction.")
    event_data: Annotated[JsonObject, CONTENT] = Field(description="Details of the event.")


_KnownMessage: TypeAlias = (
    Annotated[SystemMessage, Tag("system_message")]
    | Annotated[UserMessage, Tag("user_message")]
    | Annotated[AssistantMessage, Tag("assistant_message")]
    | Annotated[ReasoningMessage, Tag("reasoning_message")]
    | Annotated[HiddenReasoningMessage, Tag("hidden_reasoning_message")]
    | Annotated[ToolCallMessage, Tag("tool_call_message")]
    | Annotated[ToolReturnMessage, Tag("tool_return_message")]
    | Annotated[ApprovalRequestMessage, Tag("approval_request_message")]
    | Annotated[ApprovalResponseMessage, Tag("approval_response_message")]
    | Annotated[SummaryMessage, Tag("summary_message")]
    | Annotated[SummaryMessage, Tag("summary")]
    | Annotated[EventMessage, Tag("event_message")]
    | Annotated[EventMessage, Tag("event")]
)
LettaMessage: TypeAlias = Annotated[
    _KnownMessage | Annotated[UnknownMessage, Tag("unknown")], pick("message_type", _KnownMessage)
]

MESSAGE_TYPES = tags_of(_KnownMessage)
"""The message types that this version knows."""
