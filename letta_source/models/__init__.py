"""The shapes that Letta's API returns, one model each. Every field is described here and nowhere else.

The tables, their documentation, the dbt package, ``discover`` and ``validate`` are derived from them by
``letta_source.schema``; how a field is stored is marked in its annotation, see ``marks``.

- Fields that make a row or carry an item's meaning are required; all others may be null or absent.
- Fields not declared here are kept, at every depth: Letta adds some between releases. For the same reason a
  ``message_type`` or ``type`` not declared here becomes ``UnknownMessage`` or ``Unknown``, not an error.
- A declared field of a wrong type is an error; nothing is coerced (``"5"`` is not an ``int``).
- Vocabularies that grow with Letta (stop reasons, agent types) are plain strings; the known words are named.
- Free-form objects stay dictionaries: their content is the user's or the model provider's.
- Deprecated fields repeat newer ones; they are kept because servers still send them.
"""

from __future__ import annotations

from .agents import Agent, Conversation, Group
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
from .memory import Archive, Block, Identity, Passage, Tool
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
from .runs import Batch, Run, Step, StepMetrics
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
    "Agent",
    "Approval",
    "ApprovalRequestMessage",
    "ApprovalResponseMessage",
    "ApprovalResult",
    "Archive",
    "AssistantMessage",
    "Base64Image",
    "Batch",
    "Block",
    "Content",
    "ContentPart",
    "Conversation",
    "EventMessage",
    "Group",
    "HiddenReasoningMessage",
    "Identity",
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
    "Passage",
    "ReasoningContent",
    "ReasoningMessage",
    "RedactedReasoningContent",
    "Run",
    "SearchHit",
    "Step",
    "StepMetrics",
    "SummarizedReasoningContent",
    "SummaryMessage",
    "SummaryPart",
    "SystemMessage",
    "TextContent",
    "Tool",
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
