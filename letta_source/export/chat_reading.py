"""Read conversations from the tables: items of one answer together, calls with their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import dlt

from letta_source.errors import Changed, ConfigError
from letta_source.export.chat_model import Chat, LeftOut, Message, ToolCall, windows
from letta_source.export.pairing import ROOT, TOOL_CALLS
from letta_source.export.query import Reader
from letta_source.export.readers import open_reader
from letta_source.export.selection import Selection, select
from letta_source.export.stream import loads_of, rows_of
from letta_source.export.transcript import event_of

Images = Literal["links", "drop"]

_COLUMNS = (
    *("agent_id", "id", "position", "created_at", "message_type", "run_id", "text", "reasoning"),
    *("hidden_reasoning", "summary", "event_data"),
)
_CALL_COLUMNS = (
    *("agent_id", "message_id", "position", "idx", "tool_call_id", "tool_name", "arguments", "outcome"),
    *("decision_reason", "decided_at", "is_returned", "returned_at", "return_status", "tool_return"),
)
_REASONING = ("reasoning_message", "hidden_reasoning_message")
_CALLING = ("tool_call_message", "approval_request_message")
# Shown with the call that they belong to.
_ANSWERS = ("tool_return_message", "approval_response_message")


@dataclass(frozen=True)
class ChatSelection:
    """The items to read.

    Attributes:
        calls: calls within the same dates, so the message of each is read, too; a result may come later.
    """

    messages: Selection
    calls: Selection
    turns: int | None
    images: Images


def select_chats(
    agent_ids: Sequence[str] | None = None,
    start_date: str | date | None = None,
    end_date: str | date | None = None,
    turns: int | None = None,
    images: str | None = None,
) -> ChatSelection:
    """Check the options and return the selection, before anything is opened.

    Raises:
        ConfigError: an option is wrong.
    """
    if turns is not None and not (isinstance(turns, int) and turns >= 1):
        raise ConfigError(f"turns must be 1 or more, not {turns!r}")
    if images not in (None, "links", "drop"):
        raise ConfigError(f"images are links or drop, not {images!r}")
    filters: dict[str, Any] = {"agent_ids": agent_ids, "start_date": start_date, "end_date": end_date}
    return ChatSelection(
        select(ROOT, _COLUMNS, ["content"], **filters),
        select(TOOL_CALLS.name, _CALL_COLUMNS, **filters),
        turns,
        "drop" if images == "drop" else "links",
    )


def read_chats(
    pipeline: dlt.Pipeline, selection: ChatSelection, left_out: LeftOut, folder: Path | None = None
) -> Iterator[Chat]:
    """Yield complete chats, agent by agent; memory holds the messages of one agent.

    Raises:
        ConfigError: no messages were loaded.
        Changed: at the end: a load changed the tables while they were read.
    """
    with open_reader(pipeline, folder) as reader:
        loads = loads_of(reader, selection.messages)
        conversations = _conversations(reader)
        calls = _ByAgent(reader, selection.calls)
        for agent_id, rows in _ByAgent(reader, selection.messages):
            agent = _Agent(agent_id, conversations, selection.images, left_out)
            for call in calls.of(agent_id):
                agent.add_call(call)
            for row in rows:
                agent.add(row)
            for chat in agent.chats():
                for window in windows(chat, selection.turns):
                    if window.is_complete:
                        yield window
                    else:
                        left_out.chats += 1
        if calls.has_more or loads_of(reader, selection.messages) != loads:
            raise Changed


def _conversations(reader: Reader) -> dict[str, str]:
    """Map runs to their conversations; empty if runs were not loaded."""
    try:
        reader.columns_of("runs")
    except ConfigError:
        return {}
    rows = _dicts(reader, select("runs", ["id", "conversation_id"]))
    return {row["id"]: row["conversation_id"] for row in rows if row["conversation_id"]}


def _dicts(reader: Reader, selection: Selection) -> Iterator[dict[str, Any]]:
    for batch in rows_of(reader, selection):
        yield from batch.to_pylist()


class _ByAgent:
    """Rows sorted by agent, read one agent at a time."""

    def __init__(self, reader: Reader, selection: Selection) -> None:
        self._rows = _dicts(reader, selection)
        self._next = next(self._rows, None)

    @property
    def has_more(self) -> bool:
        return self._next is not None

    def __iter__(self) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
        while self._next is not None:
            agent_id = self._next["agent_id"]
            yield agent_id, self.of(agent_id)

    def of(self, agent_id: str) -> Iterator[dict[str, Any]]:
        """Yield the next rows while they belong to the agent."""
        while self._next is not None and self._next["agent_id"] == agent_id:
            row, self._next = self._next, next(self._rows, None)
            yield row


class _Agent:
    """Gathers the items of one agent into messages, conversation by conversation."""

    def __init__(
        self, agent_id: str, conversations: dict[str, str], images: Images, left_out: LeftOut
    ) -> None:
        self._agent_id = agent_id
        self._conversations = conversations
        self._images = images
        self._left_out = left_out
        self._messages: dict[str | None, list[Message]] = {}
        self._last: dict[str | None, tuple[str, str | None]] = {}
        self._calls: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def add_call(self, call: dict[str, Any]) -> None:
        self._calls.setdefault((call["message_id"], call["position"]), []).append(call)

    def add(self, row: dict[str, Any]) -> None:
        """Add an item, as a message of its own or as a part of the last one."""
        conversation_id = self._conversations.get(row["run_id"])
        message = self._message(row)
        if message is None or message.role not in ("system", "event"):
            # Several messages of one request are one turn.
            this = row["message_type"], row["run_id"]
            begins = this[0] == "user_message" and self._last.get(conversation_id) != this
            self._last[conversation_id] = this
            message = replace(message, begins_turn=begins) if message else None
        if message is None:
            return
        messages = self._messages.setdefault(conversation_id, [])
        last = messages[-1] if messages else None
        # Items of one id are one answer of the model; reasoning alone belongs to the item that follows.
        if (
            last
            and last.role == message.role == "assistant"
            and (last.id == message.id or not (last.text or last.calls))
        ):
            messages[-1] = replace(
                last,
                id=message.id,
                text=_joined(last.text, message.text),
                reasoning=_joined(last.reasoning, message.reasoning),
                calls=(*last.calls, *message.calls),
            )
        else:
            messages.append(message)

    def chats(self) -> Iterator[Chat]:
        """Yield a chat for each conversation, with its system messages or, without any, the agent's first.

        System messages have no run, so those of all conversations are with the messages in no conversation.
        """
        everything = [one for messages in self._messages.values() for one in messages]
        prompt = [one for one in everything if one.role == "system"][:1]
        for conversation_id, own in self._messages.items():
            texts: set[str] = set()
            has_own = any(one.role == "system" for one in own)
            messages = [] if has_own else list(prompt)
            for one in own:
                if one.role != "system" or one.text not in texts:
                    messages.append(one)
                if one.role == "system":
                    texts.add(one.text)
            yield Chat(self._agent_id, conversation_id, tuple(messages))

    def _message(self, row: dict[str, Any]) -> Message | None:
        kind = row["message_type"]
        message = Message(row["id"], "event", row["created_at"], row["text"] or "")
        if kind == "user_message":
            if event_of(message.text):
                return message
            links, others = _pictures(row["content"], self._images)
            text = _joined(message.text, *["[image]"] * others)
            return replace(message, role="user", text=text, images=links)
        if kind == "system_message":
            return replace(message, role="system")
        if kind in ("summary_message", "event_message"):
            return replace(message, text=row["summary"] or message.text or row["event_data"] or "")
        if kind in _REASONING:
            thought = row["reasoning"] or row["hidden_reasoning"] or ""
            return replace(message, role="assistant", text="", reasoning=thought) if thought else None
        if kind == "assistant_message":
            return replace(message, role="assistant") if message.text else None
        if kind in _CALLING:
            calls = tuple(self._answered(row))
            return replace(message, role="assistant", text="", calls=calls) if calls else None
        if kind not in _ANSWERS:
            self._left_out.items[str(kind)] += 1
        return None

    def _answered(self, row: dict[str, Any]) -> Iterator[ToolCall]:
        for call in self._calls.pop((row["id"], row["position"]), ()):
            is_denied = call["outcome"] == "denied"
            if not (call["is_returned"] or is_denied):
                self._left_out.calls += 1
                continue
            why = f": {call['decision_reason']}" if call["decision_reason"] else "."
            result = call["tool_return"] or (f"Denied by the user{why}" if is_denied else "")
            status = call["return_status"]
            yield ToolCall(
                call["tool_call_id"] or "call",
                call["tool_name"] or "unknown",
                call["arguments"] or "{}",
                result,
                False if is_denied else None if status is None else status == "success",
                call["returned_at"] or call["decided_at"],
            )


def _pictures(parts: list[dict[str, Any]], images: Images) -> tuple[tuple[str, ...], int]:
    """Return the URLs of images, and the number of images without one."""
    urls = [part["url"] for part in parts if part["type"] == "image"]
    if images == "drop":
        return (), 0
    links = tuple(url for url in urls if url and url.startswith(("https://", "http://")))
    return links, len(urls) - len(links)


def _joined(*texts: str) -> str:
    return "\n".join(text for text in texts if text)
