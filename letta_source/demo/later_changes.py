"""Changes to a Letta without a turn: feedback, edits, archives, compactions, captured exchanges.

Each moves only the dates that the real server moves; most move none that a list could be ordered by.
"""

from __future__ import annotations

from typing import Any

from .memory import Memory
from .shapes import assistant_item, system_item, user_item, wire_time


class LaterChanges(Memory):
    """Mutators of existing objects; `Letta` adds those that create them."""

    def touch(self, agent_id: str) -> None:
        """Move an agent's `updated_at`, as a turn does."""
        with self.lock:
            self.replace_row("agents", agent_id, updated_at=wire_time(self.touched_at()))

    def change_agent(self, agent_id: str, **changes: Any) -> None:
        """Change an agent through its own endpoint: name, tags, …; `updated_at` moves."""
        with self.lock:
            self.replace_row("agents", agent_id, **changes)
            self.touch(agent_id)

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

    def archive_conversation(self, conversation_id: str, archived: bool = True) -> None:
        """Archive a conversation: on Cloud its list leaves it out, unless the query asks for all."""
        with self.lock:
            at = wire_time(self.now()) if archived else None
            self.replace_row("conversations", conversation_id, archived=archived, archived_at=at)

    def summarize(self, agent_id: str) -> str:
        """Summarize an agent's messages: one message without a run, and `updated_at` moves."""
        with self.lock:
            self.touch(agent_id)
            return self.add_message(agent_id, [user_item("A summary of what went before.")])

    def compact_conversation(self, conversation_id: str, kept: int = 0) -> str:
        """Compact a conversation: one message without a run, and no date moves.

        Its context is then the system message, the summary, and the `kept` last messages.
        """
        with self.lock:
            agent_id = self.tables["conversations"].rows[conversation_id]["agent_id"]
            in_context = self.in_context(conversation_id)
            # Both are empty once its messages were deleted.
            system, others = in_context[:1], in_context[1:]
            summary = [user_item("A summary of the conversation.")]
            message_id = self.add_message(agent_id, summary, conversation_ids=[conversation_id])
            last = others[max(len(others) - kept, 0) :]
            self.put_in_context(conversation_id, [*system, message_id, *last])
            return message_id

    def capture(self, agent_id: str, text: str = "captured") -> list[str]:
        """Store an exchange with another model: two messages without a run, and no date moves."""
        with self.lock:
            items = (user_item(text), assistant_item("answer"))
            return [self.add_message(agent_id, [item]) for item in items]
