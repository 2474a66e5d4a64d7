"""A Letta that stores messages, and changes stored objects without a turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from random import Random
from uuid import UUID

from .shapes import Json, indexed_otid, system_item, user_item, wire_date, wire_time
from .store import Message, Store


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Messages(Store):
    """Stores messages and makes ids; each change moves only the dates that the real server moves.

    Args:
        seed: Makes the ids of a sequence of mutators repeatable.
        now: Returns the server's time. It may be replaced later, separately from `touched_at`, which dates
            what a turn moves.

    Attributes:
        tools_stored: How often a list of tools stored Letta's own tools again.
    """

    tools_stored = 0

    def __init__(self, seed: int | None = None, now: Callable[[], datetime] = _utc_now) -> None:
        super().__init__()
        self.now = self.touched_at = now
        self._random = Random(seed)

    def add_message(
        self,
        agent_id: str,
        items: list[Json] | None = None,
        *,
        text: str = "hello",
        date: datetime | None = None,
        before: str | None = None,
        step_id: str | None = None,
        run_id: str | None = None,
        group_ids: Sequence[str] = (),
        conversation_ids: Sequence[str] = (),
        batch_id: str | None = None,
        batch_item_id: str | None = None,
    ) -> str:
        """Store one message.

        Args:
            agent_id: The agent that it belongs to.
            items: Its items as sent over the wire; missing fields (id, date, otid…) are filled in.
            text: What the user says, if no items are given.
            date: An aware datetime, now by default.
            before: Store it earlier in the sequence than this message: a late commit.
            step_id: Its step.
            run_id: Its run.
            group_ids: Its groups.
            conversation_ids: Its conversations.
            batch_id: Its batch.
            batch_item_id: Its item of that batch.

        Returns:
            The message's id.
        """
        with self.lock:
            given = items or [user_item(text)]
            message_id = given[0].get("id") or self.new_id("message")
            created = date or self.now()
            message = Message(
                id=message_id,
                agent_id=agent_id,
                items=filled(given, message_id, created, step_id, run_id),
                created_at=created,
                sequence=self.sequence_before(before) if before else self.next_sequence(),
                step_id=step_id,
                run_id=run_id,
                group_ids=tuple(group_ids),
                conversation_ids=tuple(conversation_ids),
                batch_id=batch_id,
                batch_item_id=batch_item_id,
            )
            self.store(message)
            return message_id

    def replace_items(self, message_id: str, items: list[Json]) -> None:
        """Replace the items of a message in place and fill in missing fields; nothing else moves."""
        with self.lock:
            old = self.messages.rows[message_id]
            given = filled(items, message_id, old.created_at, old.step_id, old.run_id)
            self.messages.rows[message_id] = replace(old, items=given, raw=None)

    def touch(self, agent_id: str) -> None:
        """Move an agent's `updated_at`, as a turn does."""
        with self.lock:
            self.replace_row("agents", agent_id, updated_at=wire_time(self.touched_at()))

    def edit_system_message(self, agent_id: str, text: str) -> str:
        """Rewrite an agent's stored system message, as a changed memory block does; return its id."""
        with self.lock:
            message_id = self.list_of("agent", agent_id).ids()[0]
            self.replace_items(message_id, [system_item(text)])
            return message_id

    def give_feedback(self, step_id: str, feedback: str | None = "positive") -> None:
        """Give feedback on a step, however long it has been finished."""
        with self.lock:
            self.replace_row("steps", step_id, feedback=feedback)

    def detach_memory(self, agent_id: str) -> None:
        """Detach all memory from an agent; the memory stays."""
        for parent in ("agent blocks", "agent archives", "agent passages"):
            held = self.list_of(parent, agent_id)
            held.remove(held.ids())

    def new_uuid(self) -> str:
        """Return a random UUID."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def new_id(self, prefix: str) -> str:
        """Return the id of a new row, such as `agent-UUID`."""
        return f"{prefix}-{self.new_uuid()}"

    def new_call_id(self) -> str:
        """Return the id of a new tool call."""
        return f"call_{self._random.getrandbits(96):024x}"


def filled(
    items: Sequence[Json], message_id: str, created: datetime, step_id: str | None, run_id: str | None
) -> list[Json]:
    """Return the items with their missing fields filled in."""
    base = {
        "id": message_id,
        "date": wire_date(created),
        "name": None,
        "sender_id": None,
        "step_id": step_id,
        "is_err": None,
        "seq_id": None,
        "run_id": run_id,
    }
    return [
        {**base, "otid": _default_otid(item["message_type"], message_id, place), **item}
        for place, item in enumerate(items)
    ]


def _default_otid(message_type: str, message_id: str, place: int) -> str | None:
    if message_type in ("system_message", "user_message", "approval_response_message"):
        return None
    # The otid of an approval request is the message's id.
    return message_id if message_type == "approval_request_message" else indexed_otid(message_id, place)
