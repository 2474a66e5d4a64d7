"""Calls of tools, what they returned, and decisions about them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from .base import ToolStatus, Unknown, Wire, read
from .content import Content


class ToolCall(Wire):
    """A call as LettaMessages have it. In streams any field may be null: a delta."""

    name: str | None = Field(None, description="The tool.")
    arguments: str | None = Field(None, description="JSON text as the model wrote it; it may not parse.")
    tool_call_id: str | None = Field(None, description="The call's id.")


# The calls of a message. In streams a single delta may stand in place of the list.
ToolCalls: TypeAlias = Annotated[
    Annotated[list[ToolCall], Tag("list")] | Annotated[ToolCall, Tag("delta")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "delta"),
]


class OpenAIFunction(Wire):
    name: str | None = Field(None, description="The tool; null in a delta.")
    arguments: str | None = Field(None, description="JSON text as the model wrote it; it may not parse.")


class OpenAIToolCall(Wire):
    """A call as Messages have it (batches, search)."""

    id: str = Field(description="The call's id.")
    function: OpenAIFunction = Field(description="What is called, and with what.")
    type: Literal["function"] = Field(description="Always `function`.")


class _Returned(Wire):
    status: ToolStatus = Field(description="How the tool ended.")
    stdout: list[str] | None = Field(None, description="What it printed.")
    stderr: list[str] | None = Field(None, description="What it printed as errors.")


class ToolReturn(_Returned):
    """A tool's result as LettaMessages have it."""

    type: Literal["tool"] | None = Field(None, description="Always `tool`.")
    tool_call_id: str = Field(description="The call it answers.")
    tool_return: Content = Field(description="The result; parts where it has images.")


class MessageToolReturn(_Returned):
    """A tool's result as Messages have it (batches, search); without a `type`."""

    tool_call_id: object = Field(None, description="The call it answers; the reference allows any type.")
    func_response: Content | None = Field(None, description="The result; text is JSON: status, message.")


class Approval(Wire):
    """A decision about a call that waited for one."""

    type: Literal["approval"] | None = Field(None, description="Always `approval`.")
    tool_call_id: str = Field(description="The call.")
    approve: bool = Field(description="Whether it may run.")
    reason: str | None = Field(None, description="Why.")


def _approval_form(value: object) -> str:
    kind = read(value, "type")
    if kind is not None:
        return str(kind) if kind in ("approval", "tool") else "unknown"
    if read(value, "approve") is not None:
        return "approval"
    # The form of Messages has no type at all: func_response tells it from the form of LettaMessages.
    return "tool" if read(value, "tool_return") is not None else "message_tool"


# A decision, or the result of a tool that the client ran itself.
ApprovalResult: TypeAlias = Annotated[
    Annotated[Approval, Tag("approval")]
    | Annotated[ToolReturn, Tag("tool")]
    | Annotated[MessageToolReturn, Tag("message_tool")]
    | Annotated[Unknown, Tag("unknown")],
    Discriminator(_approval_form),
]
