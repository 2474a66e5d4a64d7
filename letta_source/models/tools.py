"""Tool calls, their results, and decisions about them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from .base import ToolStatus, Unknown, Wire, read
from .content import Content, ToolName
from .marks import CLEAR, COLUMNS, CONTENT, AsColumn

_RESULT = AsColumn(content=True, name="tool_return", type="text")
_Arguments: TypeAlias = Annotated[
    str | None,
    CONTENT,
    Field(description="The arguments: JSON text as the model wrote it, possibly invalid."),
]
_Status: TypeAlias = Annotated[ToolStatus, CLEAR, Field(description="Outcome of the tool: success or error.")]
_Stdout: TypeAlias = Annotated[list[str] | None, CONTENT, Field(description="Standard output of the tool.")]
_Stderr: TypeAlias = Annotated[
    list[str] | None, CONTENT, Field(description="Standard error output of the tool.")
]


class ToolCall(Wire):
    """A tool call in a LettaMessage. In streams it is a delta, and any field may be null."""

    tool_call_id: Annotated[str | None, CLEAR] = Field(
        None, description="The call's id; pairs it with its result and its approval."
    )
    name: ToolName = None
    arguments: _Arguments = None


# The calls of a message. In streams a single delta may stand in place of the list.
ToolCalls: TypeAlias = Annotated[
    Annotated[list[ToolCall], Tag("list")] | Annotated[ToolCall, Tag("delta")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "delta"),
]


class OpenAIFunction(Wire):
    """The function that an OpenAI tool call names. In streams it is a delta, and any field may be null."""

    name: ToolName = None
    arguments: _Arguments = None


class OpenAIToolCall(Wire):
    """A tool call in a Message (batches, search)."""

    id: Annotated[str, AsColumn(content=False, name="tool_call_id")] = Field(description="The call's id.")
    function: Annotated[OpenAIFunction, COLUMNS] = Field(description="The function and its arguments.")
    type: Annotated[Literal["function"], CLEAR] = Field(
        description="Always `function`; LettaMessages have none."
    )


class ToolReturn(Wire):
    """A tool's result in a LettaMessage."""

    tool_call_id: Annotated[str, CLEAR] = Field(description="The call that the result answers.")
    status: _Status
    tool_return: Annotated[Content, _RESULT] = Field(
        description="The result; if it has images, its content parts as JSON text."
    )
    stdout: _Stdout = None
    stderr: _Stderr = None
    type: Annotated[Literal["tool"] | None, CLEAR] = Field(
        None, description="Always `tool`; Messages have none."
    )


class MessageToolReturn(Wire):
    """A tool's result in a Message (batches, search); it has no `type`."""

    tool_call_id: Annotated[object, AsColumn(content=False, type="text")] = Field(
        None, description="The call that it answers; the API reference allows any type."
    )
    status: _Status
    func_response: Annotated[Content | None, _RESULT] = Field(
        None, description="The result; text is JSON with status and message."
    )
    stdout: _Stdout = None
    stderr: _Stderr = None


class Approval(Wire):
    """A decision about a tool call that waited for one."""

    tool_call_id: Annotated[str, CLEAR] = Field(description="The call to decide about.")
    type: Annotated[Literal["approval"] | None, CLEAR] = Field(
        None, description="`approval`, or `tool` for the result of a tool that the client ran itself."
    )
    approve: bool = Field(description="True if the call may run.")
    reason: Annotated[str | None, CONTENT] = Field(None, description="The reason of the decision.")


def _approval_form(value: object) -> str:
    kind = read(value, "type")
    if kind is not None:
        return str(kind) if kind in ("approval", "tool") else "unknown"
    if read(value, "approve") is not None:
        return "approval"
    # Results in Messages have no type at all; those in LettaMessages have a tool_return.
    return "tool" if read(value, "tool_return") is not None else "message_tool"


# A decision, or the result of a tool that the client ran itself.
ApprovalResult: TypeAlias = Annotated[
    Annotated[Approval, Tag("approval")]
    | Annotated[ToolReturn, Tag("tool")]
    | Annotated[MessageToolReturn, Tag("message_tool")]
    | Annotated[Unknown, Tag("unknown")],
    Discriminator(_approval_form),
]
