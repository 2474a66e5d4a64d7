"""Messages as Letta stores them, which batches return, and hits of searches."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Discriminator, Field, Tag

from .base import (
    AgentId,
    ConversationId,
    CreatedAt,
    CreatedById,
    Id,
    LastUpdatedById,
    Timestamp,
    UpdatedAt,
    Wire,
    read,
)
from .content import Content, ContentPart
from .marks import CLEAR, COLUMNS, CONTENT, ROWS, AsColumn, ref
from .messages import ApprovalRequestId, Approve, IsErr, Name, Otid, RunId, SenderId, StepId
from .tools import ApprovalResult, MessageToolReturn, OpenAIToolCall


class Message(Wire):
    """A message as Letta stores it; batches and the older search return it."""

    id: Id
    created_at: CreatedAt = None
    role: Annotated[str, CLEAR] = Field(
        description="assistant, user, tool, function, system, approval or summary."
    )
    name: Name = None
    otid: Otid = None
    sender_id: SenderId = None
    run_id: RunId = None
    step_id: StepId = None
    is_err: IsErr = None
    agent_id: AgentId = None
    group_id: Annotated[str | None, ref("groups.id")] = Field(None, description="The group it was sent in.")
    conversation_id: ConversationId = None
    model: Annotated[str | None, CLEAR] = Field(None, description="The model that answered.")
    content: Annotated[list[ContentPart] | None, ROWS] = Field(
        None, description="Content parts, never a string."
    )
    tool_calls: Annotated[list[OpenAIToolCall] | None, ROWS] = Field(
        None, description="Tool calls of the role assistant."
    )
    tool_returns: Annotated[list[MessageToolReturn] | None, ROWS] = Field(
        None, description="Tool results of the role tool."
    )
    approvals: Annotated[list[ApprovalResult] | None, ROWS] = Field(
        None, description="Decisions of the role approval."
    )
    approve: Approve = None
    approval_request_id: ApprovalRequestId = None
    denial_reason: Annotated[str | None, CONTENT] = Field(None, description="The reason of a single denial.")
    batch_item_id: Annotated[str | None, CLEAR] = Field(
        None, description="The request of the batch that it answers."
    )
    tool_call_id: Annotated[str | None, CLEAR] = Field(
        None, description="The call that a message of role tool answers."
    )
    created_by_id: CreatedById = None
    last_updated_by_id: LastUpdatedById = None
    updated_at: UpdatedAt = None


class MessageSearchResult(Wire):
    """A hit of an agent-level search, with its scores."""

    embedded_text: Annotated[str, CONTENT] = Field(description="The text that was searched.")
    rrf_score: float = Field(description="Reciprocal rank fusion of both ranks; higher is better.")
    fts_rank: int | None = Field(None, description="Rank in the full-text search.")
    vector_rank: int | None = Field(None, description="Rank in the vector search.")
    message: Annotated[Message, COLUMNS] = Field(description="The message.")


class MessageSearchItem(Wire):
    """A hit of `/v1/messages/search`, from the server's source (0.16): a message item, without scores."""

    message_id: Annotated[str, AsColumn(content=False, name="id")] = Field(
        description="The stored message; there is no `id`."
    )
    message_type: Annotated[str, CLEAR] = Field(
        description="Type of the hit: system_message, user_message, assistant_message or reasoning_message."
    )
    created_at: Timestamp = Field(description="When it was created; there is no `date`.")
    agent_id: AgentId = None
    conversation_id: ConversationId = None
    content: Annotated[Content | None, ROWS] = Field(None, description="The text; null for reasoning.")
    reasoning: Annotated[str | None, CONTENT] = Field(None, description="The reasoning, if it was found.")


SearchHit: TypeAlias = Annotated[
    Annotated[MessageSearchResult, Tag("scored")] | Annotated[MessageSearchItem, Tag("item")],
    Discriminator(lambda value: "item" if read(value, "message") is None else "scored"),
]
