"""A small Letta with memory, and with changes that the demo does not play."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from letta_source.demo import Letta
from letta_source.demo.shapes import Json, assistant_item, memory_template, user_item, wire_time

_TOOLS = "/v1/tools/"


class FullLetta(Letta):
    """A small Letta with mutators of blocks, archives, passages, tools and identities, and later changes.

    Each change moves only the dates that the real server moves; most move none that lists are ordered by.
    """

    def add_block(
        self,
        value: str,
        label: str = "human",
        agent_ids: Sequence[str] = (),
        *,
        hidden: bool = False,
        template: bool = False,
    ) -> str:
        """Create a block, and put it into the prompts of agents."""
        with self.lock:
            own: Json = {"id": self.new_id("block"), "label": label, "value": value}
            own |= {"hidden": hidden or None, "is_template": template}
            self.put("blocks", {**memory_template("/v1/blocks/"), **own})
            for agent_id in agent_ids:
                self._add_to("agent blocks", agent_id, own["id"], own["id"])
            return str(own["id"])

    def edit_block(self, block_id: str, value: str) -> None:
        """Replace the value of a block, as an agent's tool or a person does."""
        with self.lock:
            self.replace_row("blocks", block_id, value=value)

    def detach_block(self, agent_id: str, block_id: str) -> None:
        """Take a block out of an agent's prompt; the block stays."""
        with self.lock:
            self.list_of("agent blocks", agent_id).remove([block_id])

    def add_tool(self, name: str, *, own: bool = False) -> str:
        """Add a tool, or one of Letta's own."""
        with self.lock:
            tool_id = self.new_id("tool")
            template = memory_template(_TOOLS, 0 if own else 1)
            schema = {**template["json_schema"], "name": name}
            self.put("tools", {**template, "id": tool_id, "name": name, "json_schema": schema})
            return tool_id

    def add_identity(self, key: str, name: str) -> str:
        """Add an identity."""
        with self.lock:
            identity_id = self.new_id("identity")
            own = {"id": identity_id, "identifier_key": key, "name": name}
            self.put("identities", {**memory_template("/v1/identities/"), **own})
            return identity_id

    def add_archive(self, name: str, agent_ids: Sequence[str] = ()) -> str:
        """Create an archive, and give it to agents."""
        with self.lock:
            archive_id, created = self.new_id("archive"), wire_time(self.now())
            own = {"id": archive_id, "name": name, "created_at": created, "updated_at": created}
            self.put("archives", {**memory_template("/v1/archives/"), **own})
            for agent_id in agent_ids:
                self._add_to("agent archives", agent_id, archive_id, archive_id)
            return archive_id

    def add_passage(self, archive_id: str, text: str, date: datetime | None = None) -> str:
        """Store a passage in an archive: all agents with the archive get it."""
        with self.lock:
            passage_id, created = self.new_id("passage"), date or self.now()
            own = {"id": passage_id, "archive_id": archive_id, "text": text}
            times = {"created_at": wire_time(created), "updated_at": wire_time(created)}
            self.put("passages", {**memory_template("/archival-memory"), **own, **times})
            for agent_id in self.tables["agents"].ids():
                if self.list_of("agent archives", agent_id).rank(archive_id) is not None:
                    self._add_to("agent passages", agent_id, (created, passage_id), passage_id)
            return passage_id

    def delete_passage(self, passage_id: str) -> None:
        """Delete a passage: a cursor on it gives an empty page."""
        with self.lock:
            for agent_id in self.tables["agents"].ids():
                self.list_of("agent passages", agent_id).remove([passage_id])
            self.tables["passages"].remove([passage_id])

    def change_agent(self, agent_id: str, **changes: Any) -> None:
        """Change an agent through its own endpoint: name, tags, …; `updated_at` moves."""
        with self.lock:
            self.replace_row("agents", agent_id, **changes)
            self.touch(agent_id)

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
