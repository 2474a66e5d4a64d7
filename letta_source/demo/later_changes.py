"""Changes to stored objects without a turn; each moves only the dates that the real server moves."""

from __future__ import annotations

from .messages import Messages
from .shapes import system_item, wire_time


class LaterChanges(Messages):
    """Mutators of existing objects; `Letta` adds those that create them.

    Attributes:
        tools_stored: How often a list of tools stored Letta's own tools again.
    """

    tools_stored = 0

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
