"""Messages as Letta stores them, which batches answer with, and what searches find."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Discriminator, Field, Tag

from .base import Record, Timestamp, Wire, read
from .content import Content, ContentPart
from .messages import Sent
from .tools import ApprovalResult, MessageToolReturn, OpenAIToolCall


class Message(Sent, Record):
    """A message as Letta stores it: what batches and the older search answer with."""

    role: str = Field(description="assistant, user, tool, function, system, approval, summary.")
    content: list[ContentPart] | None = Field(None, description="Always parts, never a string.")
    model: str | None = Field(None, description="The model that answered.")
    agent_id: str | None = Field(None, description="The agent.")
    group_id: str | None = Field(None, description="The group it was sent in.")
    conversation_id: str | None = Field(None, description="The conversation it was sent in.")
    batch_item_id: str | None = Field(None, description="The batch's request it answers.")
    tool_calls: list[OpenAIToolCall] | None = Field(None, description="The calls of role assistant.")
    tool_call_id: str | None = Field(None, description="The call that role tool answers.")
    tool_returns: list[MessageToolReturn] | None = Field(None, description="The results of role tool.")
    approvals: list[ApprovalResult] | None = Field(None, description="The decisions of role approval.")
    approve: bool | None = Field(None, description="The single decision of older messages.")
    approval_request_id: str | None = Field(None, description="What the single decision is about.")
    denial_reason: str | None = Field(None, description="Why the single decision was no.")


class MessageSearchResult(Wire):
    """A hit of an agent-level search, with its scores."""

    embedded_text: str = Field(description="The text that was searched.")
    message: Message = Field(description="The message.")
    rrf_score: float = Field(description="Reciprocal rank fusion of both ranks; more is better.")
    fts_rank: int | None = Field(None, description="Rank in the full-text search.")
    vector_rank: int | None = Field(None, description="Rank in the vector search.")


class MessageSearchItem(Wire):
    """A hit of `/v1/messages/search` by the server's source (0.16): an item of a message, without scores."""

    message_id: str = Field(description="The stored message; there is no `id`.")
    message_type: str = Field(description="Of LettaMessage; system, user, assistant, reasoning.")
    created_at: Timestamp = Field(description="When; there is no `date`.")
    agent_id: str | None = Field(None, description="The agent.")
    conversation_id: str | None = Field(None, description="The conversation it was sent in.")
    content: Content | None = Field(None, description="The words; null for reasoning.")
    reasoning: str | None = Field(None, description="The reasoning.")


SearchHit: TypeAlias = Annotated[
    Annotated[MessageSearchResult, Tag("scored")] | Annotated[MessageSearchItem, Tag("item")],
    Discriminator(lambda value: "item" if read(value, "message") is None else "scored"),
]
