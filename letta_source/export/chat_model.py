"""A conversation: messages with their tool calls and results, in the server's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

Role = Literal["user", "assistant", "system", "event"]


@dataclass(frozen=True)
class ToolCall:
    """A tool call with its result.

    Attributes:
        id: unique within its chat.
        result: what the tool returned; for a denied call, the denial and its reason.
        is_ok: None if the server did not say.
    """

    id: str
    name: str
    arguments: str
    result: str
    is_ok: bool | None
    returned_at: datetime | None


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        role: `event` is a message from Letta itself: heartbeats, logins, alerts, summaries.
        images: URLs; an image without one is `[image]` in the text.
    """

    id: str
    role: Role
    created_at: datetime | None
    text: str = ""
    reasoning: str = ""
    images: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    begins_turn: bool = False


@dataclass(frozen=True)
class Chat:
    """One conversation, or some turns of it, in the server's order.

    Attributes:
        conversation_id: None for messages in no conversation.
    """

    agent_id: str
    conversation_id: str | None
    messages: tuple[Message, ...]

    @property
    def is_complete(self) -> bool:
        """True if it has a person's message and an agent's answer."""
        roles = {one.role for one in self.messages if one.role != "assistant" or one.text or one.calls}
        return {"user", "assistant"} <= roles


@dataclass
class LeftOut:
    """Counts of what an export of chats leaves out.

    Attributes:
        chats: conversations or windows without a person's message or without an answer.
        calls: tool calls without a result: never answered, or not yet.
        items: items of types that this version does not know, by type.
    """

    chats: int = 0
    calls: int = 0
    items: Counter[str] = field(default_factory=Counter)


def windows(chat: Chat, turns: int | None) -> Iterator[Chat]:
    """Cut a chat after every `turns` turns; each window begins with the last system message before it."""
    begins = [at for at, one in enumerate(chat.messages) if one.begins_turn]
    cuts = begins[turns::turns] if turns else []
    for start, end in zip([0, *cuts], [*cuts, len(chat.messages)], strict=True):
        head = tuple(one for one in chat.messages[:start] if one.role == "system")[-1:]
        yield replace(chat, messages=tuple(_with_unique_ids(head + chat.messages[start:end])))


def _with_unique_ids(messages: tuple[Message, ...]) -> Iterator[Message]:
    """Give each call a unique id: ids repeat."""
    used: set[str] = set()
    for message in messages:
        calls = []
        for call in message.calls:
            id_, number = call.id, 1
            while id_ in used:
                number += 1
                id_ = f"{call.id}_{number}"
            used.add(id_)
            calls.append(replace(call, id=id_))
        yield replace(message, calls=tuple(calls))
