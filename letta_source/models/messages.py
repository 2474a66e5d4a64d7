"""The items that lists of messages answer with: LettaMessage, one class for each `message_type`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, Tag

from .base import JsonObject, Timestamp, ToolStatus, Wire, pick
from .content import Content
from .tools import ApprovalResult, ToolCall, ToolCalls, ToolReturn


class UnknownMessage(Wire):
    """An item of a type that is not declared here: only what its row needs is asked of it."""

    id: str = Field(description="The stored message.")
    message_type: str = Field(description="The type's name.")


class Sent(Wire):
    """What an item of a message and a stored message have in common."""

    id: str = Field(description="The stored message.")
    name: str | None = Field(None, description="Who speaks; for a tool's result, the tool.")
    # 7 bits, not two hex digits: the index is the last byte modulo 128, its top bit is still the id's.
    otid: str | None = Field(
        None,
        description="The id with its last 7 bits replaced by the item's index. But user messages have the "
        "sender's or null, approval requests the id itself, system messages and approval responses null.",
    )
    sender_id: str | None = Field(None, description="The identity or agent that sent it.")
    run_id: str | None = Field(None, description="The run it is from.")
    step_id: str | None = Field(None, description="The step it is from.")
    is_err: bool | None = Field(None, description="True in a failed step; LettaMessages have null for false.")


class _Item(Sent):
    """An item of a stored message: reasoning, text and calls of one turn are items with one `id`."""

    date: Timestamp = Field(description="In whole seconds, so items tie. Lists are not ordered by it.")
    seq_id: int | None = Field(None, description="Position in a stream; null in lists.")


class SystemMessage(_Item):
    message_type: Literal["system_message"] = Field(description="A system prompt.")
    content: Content = Field(description="The prompt; only ever seen as a string.")


class UserMessage(_Item):
    message_type: Literal["user_message"] = Field(description="A user's words; in lists also a summary.")
    content: Content = Field(description="A string, or text and image parts.")


class AssistantMessage(_Item):
    message_type: Literal["assistant_message"] = Field(description="The agent's words.")
    content: Content = Field(description="A string, or text parts.")


class ReasoningMessage(_Item):
    message_type: Literal["reasoning_message"] = Field(description="Reasoning; from steps also plain text.")
    reasoning: str = Field(description="The reasoning.")
    source: Literal["reasoner_model", "non_reasoner_model"] | None = Field(None, description="Native or not.")
    signature: str | None = Field(None, description="The provider's seal on it.")


class HiddenReasoningMessage(_Item):
    message_type: Literal["hidden_reasoning_message"] = Field(description="Reasoning that cannot be read.")
    state: Literal["redacted", "omitted"] = Field(description="Made unreadable, or not sent at all.")
    hidden_reasoning: str | None = Field(None, description="The unreadable form; null where omitted.")


class ToolCallMessage(_Item):
    message_type: Literal["tool_call_message"] = Field(description="Calls of tools.")
    tool_calls: ToolCalls | None = Field(None, description="The calls.")
    tool_call: ToolCall | None = Field(None, deprecated=True, description="The first of `tool_calls`.")


class ToolReturnMessage(_Item):
    message_type: Literal["tool_return_message"] = Field(description="Results of tools.")
    tool_returns: list[ToolReturn] | None = Field(None, description="The results.")
    tool_return: str | None = Field(None, deprecated=True, description="Of the first result, as text.")
    status: ToolStatus | None = Field(None, deprecated=True, description="Of the first result.")
    tool_call_id: str | None = Field(None, deprecated=True, description="Of the first result.")
    stdout: list[str] | None = Field(None, deprecated=True, description="Of the first result.")
    stderr: list[str] | None = Field(None, deprecated=True, description="Of the first result.")


class ApprovalRequestMessage(_Item):
    message_type: Literal["approval_request_message"] = Field(description="Calls that wait for a decision.")
    tool_calls: ToolCalls | None = Field(None, description="The calls.")
    tool_call: ToolCall | None = Field(None, deprecated=True, description="The first of `tool_calls`.")


class ApprovalResponseMessage(_Item):
    message_type: Literal["approval_response_message"] = Field(description="Decisions about calls.")
    approvals: list[ApprovalResult] | None = Field(None, description="One for each call.")
    approve: bool | None = Field(None, deprecated=True, description="Of the first decision.")
    approval_request_id: str | None = Field(
        None,
        deprecated=True,
        description="Of the first decision: the call's id, not a message's as documented.",
    )
    reason: str | None = Field(None, deprecated=True, description="Of the first decision.")


# Of the two spellings each of these types has, the first is the server's, the second the reference's.
class SummaryMessage(_Item):
    message_type: Literal["summary_message", "summary"] = Field(description="What a compaction left.")
    summary: str = Field(description="The summary.")
    compaction_stats: JsonObject | None = Field(None, description="Tokens and messages before and after.")


class EventMessage(_Item):
    message_type: Literal["event_message", "event"] = Field(description="What happened to the agent.")
    event_type: str = Field(description="So far only `compaction`.")
    event_data: JsonObject = Field(description="Details of the event.")


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
