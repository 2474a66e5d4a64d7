"""The shapes that Letta's API answers with, one model each: to read, and for the ``validate`` setting.

- Required is what makes a row or carries an item's meaning; everything else may be null or absent.
- Fields not declared here are kept, at every depth: Letta adds some between releases. For the same reason a
  ``message_type`` or ``type`` not declared here becomes ``UnknownMessage`` or ``Unknown`` and is no error.
- A declared field of a wrong type is an error; nothing is coerced (``"5"`` is no ``int``).
- Vocabularies that grow with Letta (stop reasons, agent types) are plain strings, the known words named.
- Free-form objects stay dictionaries: what is in them is the user's or the model provider's.
- Deprecated fields are doubles of newer ones, kept because servers still send them.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter

from .base import Unknown, Wire
from .content import (
    Base64Image,
    Content,
    ContentPart,
    ImageContent,
    ImageSource,
    LettaImage,
    OmittedReasoningContent,
    ReasoningContent,
    RedactedReasoningContent,
    SummarizedReasoningContent,
    SummaryPart,
    TextContent,
    ToolCallContent,
    ToolReturnContent,
    UrlImage,
)
from .entities import Agent, Batch, Conversation, Group, Run, Step
from .messages import (
    ApprovalRequestMessage,
    ApprovalResponseMessage,
    AssistantMessage,
    EventMessage,
    HiddenReasoningMessage,
    LettaMessage,
    ReasoningMessage,
    SummaryMessage,
    SystemMessage,
    ToolCallMessage,
    ToolReturnMessage,
    UnknownMessage,
    UserMessage,
)
from .stored import Message, MessageSearchItem, MessageSearchResult, SearchHit
from .tools import (
    Approval,
    ApprovalResult,
    MessageToolReturn,
    OpenAIFunction,
    OpenAIToolCall,
    ToolCall,
    ToolCalls,
    ToolReturn,
)

__all__ = [
    "WIRE",
    "Agent",
    "Approval",
    "ApprovalRequestMessage",
    "ApprovalResponseMessage",
    "ApprovalResult",
    "AssistantMessage",
    "Base64Image",
    "Batch",
    "Content",
    "ContentPart",
    "Conversation",
    "EventMessage",
    "Group",
    "HiddenReasoningMessage",
    "ImageContent",
    "ImageSource",
    "LettaImage",
    "LettaMessage",
    "Message",
    "MessageSearchItem",
    "MessageSearchResult",
    "MessageToolReturn",
    "OmittedReasoningContent",
    "OpenAIFunction",
    "OpenAIToolCall",
    "ReasoningContent",
    "ReasoningMessage",
    "RedactedReasoningContent",
    "Run",
    "SearchHit",
    "Step",
    "SummarizedReasoningContent",
    "SummaryMessage",
    "SummaryPart",
    "SystemMessage",
    "TextContent",
    "ToolCall",
    "ToolCallContent",
    "ToolCallMessage",
    "ToolCalls",
    "ToolReturn",
    "ToolReturnContent",
    "ToolReturnMessage",
    "Unknown",
    "UnknownMessage",
    "UrlImage",
    "UserMessage",
    "Wire",
]

_DEFER: Final = ConfigDict(defer_build=True)
_LETTA_MESSAGE: Final[TypeAdapter[Any]] = TypeAdapter(LettaMessage, config=_DEFER)

WIRE: Final[dict[str, TypeAdapter[Any]]] = {
    "agents": TypeAdapter(Agent),
    "groups": TypeAdapter(Group),
    "runs": TypeAdapter(Run),
    "steps": TypeAdapter(Step),
    "conversations": TypeAdapter(Conversation),
    "batches": TypeAdapter(Batch),
    "agent_messages": _LETTA_MESSAGE,
    "group_messages": _LETTA_MESSAGE,
    "step_messages": _LETTA_MESSAGE,
    "conversation_messages": _LETTA_MESSAGE,
    "messages": _LETTA_MESSAGE,
    "batch_messages": TypeAdapter(Message),
    "message_search": TypeAdapter(SearchHit, config=_DEFER),
}
"""By resource: ``WIRE[resource].validate_python(item)`` gives the model, or raises ``ValidationError``."""
