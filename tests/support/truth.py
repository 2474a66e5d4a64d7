"""The content of a Letta server, read from its own database to compare the connector's tables with it.

The items of a stored message are derived here from its row alone, as the lossless rendering
(`use_assistant_message=false`) makes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.extras import RealDictCursor

Row = Mapping[str, Any]

Items = dict[tuple[str, str], tuple[str, ...]]
"""The message types of the items of each (parent id, message id), in order."""


@dataclass(frozen=True)
class Truth:
    """All content of a server; ids are the server's.

    Attributes:
        agents: Agents' ids; `groups`, `runs`, `steps` and `conversations` likewise.
        batches: The status of each batch, by its id.
        roles: The role of each message, by its id, in the server's own order.
        agent_items: The items of each (agent id, message id).
        group_items: The items of each (group id, message id).
        step_messages: (step id, message id) of every message that becomes an item.
        conversation_messages: The same for (conversation id, message id).
        batch_messages: (batch id, message id, role).
        hidden_returns: The messages that return a `send_message` call. An endpoint without
            `use_assistant_message` also leaves them out of every page that contains the call.
        tool_calls: The ids of the tool calls of each message that has any, by its id, in order.
        tool_returns: The ids of the calls that each message returns, by its id, in order.
    """

    agents: set[str]
    groups: set[str]
    runs: set[str]
    steps: set[str]
    conversations: set[str]
    batches: dict[str, str]
    roles: dict[str, str]
    agent_items: Items
    group_items: Items
    step_messages: set[tuple[str, str]]
    conversation_messages: set[tuple[str, str]]
    batch_messages: set[tuple[str, str, str]]
    hidden_returns: set[str]
    tool_calls: dict[str, tuple[str, ...]]
    tool_returns: dict[str, tuple[str, ...]]

    def counts(self, items: Items) -> Counter[tuple[str, str, str]]:
        """Count items by (parent id, role of the message, message type)."""
        return Counter(
            (parent, self.roles[message], kind)
            for (parent, message), kinds in items.items()
            for kind in kinds
        )


def read_truth(database_url: str) -> Truth:
    """Read everything from the server's database, in one transaction."""
    with closing(psycopg2.connect(database_url)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor(cursor_factory=RealDictCursor) as cursor:
            return _read(_Reader(cursor))


def item_types(message: Row, *, text_is_answer: bool) -> tuple[str, ...]:
    """Return the message types of the items that a stored message becomes, in order.

    Args:
        message: Its row, with `role`, `content` and `tool_calls`.
        text_is_answer: True if the model's text is its answer, as for a letta_v1 agent, and not its
            reasoning.
    """
    role = message["role"]
    if role in ("assistant", "approval"):
        kinds = _content_types(message["content"] or (), text_is_answer)
        if role == "assistant":
            return (*kinds, "tool_call_message") if message["tool_calls"] else kinds
        return (*kinds, "approval_request_message" if message["tool_calls"] else "approval_response_message")
    # Unless asked otherwise, the server returns a summary as the user's message.
    return {
        "system": ("system_message",),
        "user": ("user_message",),
        "summary": ("user_message",),
        "tool": ("tool_return_message",),
    }[role]


def _content_types(parts: Iterable[Row], text_is_answer: bool) -> tuple[str, ...]:
    kinds: list[str] = []
    for part in parts:
        kind = part["type"]
        if kind == "text":
            item = "assistant_message" if text_is_answer else "reasoning_message"
            merges = text_is_answer
        elif kind == "reasoning":
            item, merges = "reasoning_message", True
        elif kind == "summarized_reasoning" and any(piece["text"] for piece in part["summary"]):
            item, merges = "reasoning_message", False
        elif kind in ("redacted_reasoning", "omitted_reasoning"):
            item, merges = "hidden_reasoning_message", False
        else:
            continue
        if not (merges and kinds and kinds[-1] == item):
            kinds.append(item)
    return tuple(kinds)


class _Reader:
    """Queries of the server's tables."""

    def __init__(self, cursor: RealDictCursor) -> None:
        self._cursor = cursor

    def rows(self, query: str) -> list[dict[str, Any]]:
        self._cursor.execute(query)
        return [dict(row) for row in self._cursor.fetchall()]

    def ids(self, table: str) -> set[str]:
        """Return the ids of a table's rows, without those that are marked as deleted."""
        return {row["id"] for row in self.rows(f"select id from {table} where not is_deleted")}


def _read(reader: _Reader) -> Truth:
    messages = reader.rows("select * from messages where not is_deleted order by sequence_id")
    agents = reader.rows("select id, agent_type from agents where not is_deleted")
    # A letta_v1 agent's text is its answer; a memgpt agent answers by calling `send_message`: its text is
    # reasoning.
    speaks = {agent["id"]: agent["agent_type"] == "letta_v1_agent" for agent in agents}
    # Whether a message becomes an item does not depend on what its text counts as.
    shown = {message["id"] for message in messages if item_types(message, text_is_answer=True)}
    linked = reader.rows(
        "select conversation_id, message_id from conversation_messages"
        " where conversation_id is not null and not is_deleted"
    )
    batched = reader.rows(
        "select job.letta_batch_job_id as batch_id, message.id, message.role from messages as message"
        " join llm_batch_items as item on item.id = message.batch_item_id"
        " join llm_batch_job as job on job.id = item.llm_batch_id where not message.is_deleted"
    )
    batches = reader.rows("select id, status from jobs where job_type = 'batch' and not is_deleted")
    return Truth(
        agents=set(speaks),
        groups=reader.ids("groups"),
        runs=reader.ids("runs"),
        steps=reader.ids("steps"),
        conversations=reader.ids("conversations"),
        batches={batch["id"]: batch["status"] for batch in batches},
        roles={message["id"]: message["role"] for message in messages},
        agent_items=_items((m["agent_id"], m, speaks[m["agent_id"]]) for m in messages),
        group_items=_group_items(reader, messages, speaks),
        step_messages={(m["step_id"], m["id"]) for m in messages if m["step_id"] and m["id"] in shown},
        conversation_messages={
            (link["conversation_id"], link["message_id"]) for link in linked if link["message_id"] in shown
        },
        batch_messages={(row["batch_id"], row["id"], row["role"]) for row in batched},
        hidden_returns=_hidden_returns(messages),
        tool_calls={
            m["id"]: tuple(call["id"] for call in m["tool_calls"]) for m in messages if m["tool_calls"]
        },
        tool_returns={m["id"]: _returned_calls(m) for m in messages if m["role"] == "tool"},
    )


def _items(messages: Iterable[tuple[str, Row, bool]]) -> Items:
    """Return the items of (parent id, message, whether its text is an answer); empty ones are left out."""
    rendered = {
        (parent, message["id"]): item_types(message, text_is_answer=answers)
        for parent, message, answers in messages
    }
    return {key: kinds for key, kinds in rendered.items() if kinds}


def _group_items(reader: _Reader, messages: list[dict[str, Any]], speaks: dict[str, bool]) -> Items:
    groups = reader.rows("select id, manager_agent_id from groups where not is_deleted")
    managers = {group["id"]: group["manager_agent_id"] for group in groups}
    # For a group with a manager, the server returns the group's part of the manager's messages, rendered
    # as for that agent. Without a manager it returns all agents' messages, and their text is reasoning.
    return _items(
        (message["group_id"], message, manager is not None and speaks[manager])
        for message in messages
        if message["group_id"] in managers
        for manager in [managers[message["group_id"]]]
        if manager in (None, message["agent_id"])
    )


def _hidden_returns(messages: list[dict[str, Any]]) -> set[str]:
    spoken = {
        call["id"]
        for message in messages
        if message["role"] == "assistant"
        and any(call["function"]["name"] == "send_message" for call in message["tool_calls"])
        for call in message["tool_calls"]
    }
    return {m["id"] for m in messages if m["role"] == "tool" and m["tool_call_id"] in spoken}


def _returned_calls(message: Row) -> tuple[str, ...]:
    returns = message["tool_returns"]
    # Older releases stored one return, as the message's text.
    return tuple(item["tool_call_id"] for item in returns) if returns else (message["tool_call_id"],)
