"""The memory of a Letta: its rows, its messages, and the lists that they are paged in."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from fractions import Fraction
from typing import Any, Literal, get_args

from .index import Index, Table
from .renderings import internal_message
from .shapes import Json, moment, wire_time

Kind = Literal[
    "agents",
    "groups",
    "runs",
    "steps",
    "conversations",
    "batches",
    "blocks",
    "tools",
    "identities",
    "archives",
    "passages",
]

_NO_MESSAGES = Index()


@dataclass(frozen=True)
class Message:
    """A stored message. `raw` is its internal shape, if that was recorded."""

    id: str
    agent_id: str
    items: list[Json]
    created_at: datetime
    sequence: int | Fraction
    step_id: str | None = None
    run_id: str | None = None
    group_ids: tuple[str, ...] = ()
    conversation_ids: tuple[str, ...] = ()
    batch_id: str | None = None
    batch_item_id: str | None = None
    raw: Json | None = field(default=None, repr=False)

    def internal(self) -> Json:
        """Return the message in the server's own shape."""
        return self.raw or internal_message(
            self.items,
            agent_id=self.agent_id,
            created_at=wire_time(self.created_at),
            updated_at=wire_time(self.created_at),
            step_id=self.step_id,
            run_id=self.run_id,
            group_id=next(iter(self.group_ids), None),
            conversation_id=next(iter(self.conversation_ids), None),
            batch_item_id=self.batch_item_id,
        )


class Store:
    """Agents, groups, runs, steps, conversations, batches, messages and memory.

    Rows are replaced, never changed in place, so that an answer can be written out while a test mutates.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tables: dict[Kind, Table[Json]] = {kind: Table() for kind in get_args(Kind)}
        self.messages: Table[Message] = Table()
        self.step_dates: dict[str, datetime] = {}
        self.poisoned: dict[str, int] = {}
        self._lists: dict[tuple[str, str], Index] = {}
        # The messages of each conversation that are in its context.
        self._in_context: dict[str, list[str]] = {}
        self._counter = 0

    def list_of(self, parent: str, parent_id: str) -> Index:
        """Return the messages of an agent, group, …, a run's steps, or an agent's blocks or passages."""
        return self._lists.get((parent, parent_id), _NO_MESSAGES)

    def put(self, kind: Kind, row: Json, created: datetime | None = None) -> None:
        """Add a row as it is.

        Args:
            kind: The kind of the row.
            row: The row as sent over the wire. Groups have no date and are ordered as they are added.
            created: When a step was created, now by default: the server knows it but does not show it.
        """
        with self.lock:
            self._counter += 1
            if kind == "steps":
                created = self.step_dates[row["id"]] = created or datetime.now(timezone.utc)
            elif "created_at" in row:
                created = moment(row["created_at"])
            rank = (created, self._counter) if created else self._counter
            self.tables[kind].put(rank, row["id"], row)
            if kind == "steps" and row["run_id"]:
                self._add_to("run steps", row["run_id"], rank, row["id"])

    def store(self, message: Message) -> None:
        """Add a message as it is, to every list it belongs to."""
        with self.lock:
            sequence, by_date = message.sequence, (message.created_at, message.id)
            self.messages.put(sequence, message.id, message)
            self._add_to("agent", message.agent_id, sequence, message.id)
            if message.run_id:
                self._add_to("run", message.run_id, sequence, message.id)
            if message.batch_id:
                self._add_to("batch", message.batch_id, sequence, message.id)
            # The server orders the messages of steps and of groups without a manager by date and id.
            if message.step_id:
                self._add_to("step", message.step_id, by_date, message.id)
            for group_id in message.group_ids:
                self._add_to("group", group_id, by_date, message.id)
                if self.tables["groups"].rows[group_id]["manager_agent_id"] == message.agent_id:
                    self._add_to("managed group", group_id, sequence, message.id)
            for conversation_id in message.conversation_ids:
                self._add_to_conversation(conversation_id, message.id)

    def next_sequence(self) -> int | Fraction:
        """Return the sequence number of a message that is stored last."""
        return int(self.messages.last_rank() or 0) + 1

    def sequence_before(self, message_id: str) -> Fraction:
        """Return a sequence number just below that of a stored message."""
        target = self.messages.rows[message_id].sequence
        previous = self.messages.rank_before(target)
        return (Fraction(target - 1 if previous is None else previous) + target) / 2

    def share(self, message_id: str, conversation_id: str) -> None:
        """Put a stored message into one more conversation."""
        with self.lock:
            old = self.messages.rows[message_id]
            ids = (*old.conversation_ids, conversation_id)
            self.messages.rows[message_id] = replace(old, conversation_ids=ids)
            self._add_to_conversation(conversation_id, message_id)

    def replace_row(self, kind: Kind, row_id: str, **changes: Any) -> None:
        """Change fields of a row."""
        rows = self.tables[kind].rows
        rows[row_id] = {**rows[row_id], **changes}

    def drop(self, messages: Collection[Message]) -> None:
        """Delete messages from every list."""
        touched: dict[tuple[str, str], set[str]] = {}
        for message in messages:
            for parent in _parents(message):
                touched.setdefault(parent, set()).add(message.id)
            self.poisoned.pop(message.id, None)
        for parent, message_ids in touched.items():
            if parent in self._lists:
                self._lists[parent].remove(message_ids)
            if parent[0] == "conversation" and (held := self._in_context.get(parent[1])):
                self._in_context[parent[1]] = [one for one in held if one not in message_ids]
        self.messages.remove([message.id for message in messages])

    def _add_to(self, parent: str, parent_id: str, rank: Any, row_id: str) -> None:
        self._lists.setdefault((parent, parent_id), Index()).add(rank, row_id)

    def _add_to_conversation(self, conversation_id: str, message_id: str) -> None:
        in_context = self._in_context.setdefault(conversation_id, [])
        # Messages that were deleted left their numbers unused.
        last = self.list_of("conversation", conversation_id).rank(in_context[-1]) if in_context else None
        in_context.append(message_id)
        self._place(conversation_id, message_id, last[0] + 1 if last else 0)

    def put_in_context(self, conversation_id: str, message_ids: Sequence[str]) -> None:
        """Let a conversation's context hold these messages alone.

        They are numbered from 0 on; those that went out of context keep their numbers, which others share.
        """
        with self.lock:
            self._in_context[conversation_id] = list(message_ids)
            self.list_of("conversation", conversation_id).remove(message_ids)
            for number, message_id in enumerate(message_ids):
                self._place(conversation_id, message_id, number)

    def in_context(self, conversation_id: str) -> list[str]:
        """The ids of the messages in a conversation's context, in order."""
        return list(self._in_context.get(conversation_id, ()))

    def _place(self, conversation_id: str, message_id: str, number: int) -> None:
        self._counter += 1
        self._add_to("conversation", conversation_id, (number, self._counter), message_id)


def _parents(message: Message) -> Iterator[tuple[str, str]]:
    yield "agent", message.agent_id
    single = {"run": message.run_id, "step": message.step_id, "batch": message.batch_id}
    for parent, parent_id in single.items():
        if parent_id:
            yield parent, parent_id
    for group_id in message.group_ids:
        yield "group", group_id
        yield "managed group", group_id
    for conversation_id in message.conversation_ids:
        yield "conversation", conversation_id
