"""A Letta that changes: its mutators simulate what happens on a real one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from .messages import Messages
from .shapes import (
    Json,
    agent_template,
    batch_template,
    conversation_template,
    group_template,
    moment,
    run_template,
    step_template,
    system_item,
    wire_naive,
    wire_time,
)
from .turns import batch_drafts, boot_drafts, turn_drafts

AgentType = Literal["letta_v1_agent", "memgpt_v2_agent"]

_MANAGED = {"supervisor", "dynamic", "sleeptime"}


class Letta(Messages):
    """A small Letta in memory.

    Args:
        seed: Makes the ids of a sequence of mutators repeatable.
    """

    def add_agent(
        self,
        agent_type: AgentType = "letta_v1_agent",
        name: str | None = None,
        hidden: bool = False,
        tags: Sequence[str] = (),
    ) -> str:
        """Create an agent with its system message; a memgpt agent gets its boot messages, too.

        A hidden one is left out of the list, unless the query asks for hidden ones.
        """
        with self.lock:
            agent_id, created = self.new_id("agent"), self.now()
            template = agent_template(agent_type)
            times = {"created_at": wire_time(created), "updated_at": wire_time(created)}
            name = name or f"agent {len(self.tables['agents']) + 1}"
            own: Json = {"id": agent_id, "name": name, "message_ids": [], "hidden": hidden or None}
            own["tags"] = list(tags)
            self.put("agents", {**template, **times, **own})
            self._system_message(agent_id, created)
            for items in boot_drafts(self.new_call_id) if agent_type == "memgpt_v2_agent" else ():
                self.add_message(agent_id, items, date=created)
            return agent_id

    def talk(
        self,
        agent_id: str,
        text: str,
        *,
        tools: Sequence[str] = (),
        approval: bool = False,
        reasoning: bool = False,
        date: datetime | None = None,
        conversation_id: str | None = None,
        finished: bool = True,
        streamed: bool = True,
    ) -> str:
        """Play one whole turn: the run, its steps and their messages, a microsecond apart.

        Args:
            agent_id: The agent that the user talks to.
            text: What the user says.
            tools: The tools that the agent calls before it answers.
            approval: True if it also calls a tool that must be approved. The approval starts a second run.
            reasoning: True if the model shows its native reasoning.
            date: When the turn begins, now by default.
            conversation_id: The conversation that the turn belongs to.
            finished: True if the (last) run and its last step are finished; see `finish_run`.
            streamed: True if the answer is streamed. If not, a conversation's turn leaves its run in status
                `created` forever, without the conversation, and the agent's `updated_at` does not move.

        Returns:
            The id of the (last) run.
        """
        with self.lock:
            clock = date or self.now()
            drafts = turn_drafts(
                self.tables["agents"].rows[agent_id]["agent_type"],
                text,
                tools=tools,
                approval=approval,
                reasoning=reasoning,
                otid=self.new_uuid(),
                new_call_id=self.new_call_id,
            )
            runs: list[str] = []
            steps: list[str] = []
            for draft in drafts:
                if draft.run == len(runs):
                    if runs:
                        self._end_run(runs[-1], "completed", "requires_approval", clock)
                    runs.append(self._start_run(agent_id, conversation_id, clock))
                if draft.step == len(steps):
                    if steps:
                        self.replace_row("steps", steps[-1], status="success")
                    steps.append(self._start_step(agent_id, runs[-1], clock))
                self.add_message(
                    agent_id,
                    draft.items,
                    date=clock,
                    step_id=steps[draft.step],
                    run_id=runs[-1],
                    conversation_ids=[conversation_id] if conversation_id else (),
                )
                if conversation_id:
                    self.replace_row("conversations", conversation_id, last_message_at=wire_time(clock))
                clock += timedelta(microseconds=1)
            if conversation_id and not streamed:
                self.replace_row("runs", runs[-1], status="created", conversation_id=None)
                return runs[-1]
            self.touch(agent_id)
            if finished:
                self._end_run(runs[-1], "completed", "end_turn", clock)
            return runs[-1]

    def finish_run(self, run_id: str, status: str = "completed") -> None:
        """Finish a run and its pending steps."""
        with self.lock:
            self._end_run(run_id, status, "end_turn" if status == "completed" else "error", self.now())

    def delete_message(self, message_id: str) -> None:
        """Delete one message: a cursor on it then points to nothing."""
        with self.lock:
            self.drop([self.messages.rows[message_id]])

    def reset_messages(self, agent_id: str) -> None:
        """Delete all messages of an agent, and store a new system message."""
        with self.lock:
            self.drop([self.messages.rows[one] for one in self.list_of("agent", agent_id).ids()])
            self._system_message(agent_id, self.now())
            self.touch(agent_id)

    def delete_agent(self, agent_id: str) -> None:
        """Delete an agent with its messages, runs and conversations; its steps stay, without a run."""
        with self.lock:
            self.drop([self.messages.rows[one] for one in self.list_of("agent", agent_id).ids()])
            for kind in ("runs", "conversations", "steps"):
                table = self.tables[kind]
                mine = [row_id for row_id, row in table.rows.items() if row["agent_id"] == agent_id]
                if kind != "steps":
                    table.remove(mine)
                    continue
                for step_id in mine:
                    self.replace_row("steps", step_id, run_id=None)
            self.tables["agents"].remove([agent_id])
            # Its blocks, archives and passages stay.
            self.detach_memory(agent_id)

    def add_group(
        self, agent_ids: Sequence[str], manager_type: str = "round_robin", hidden: bool = False
    ) -> str:
        """Create a group. In a supervisor, dynamic or sleeptime group, the first agent is the manager.

        A hidden one is left out of the list, unless the query asks for hidden ones.
        """
        with self.lock:
            managed = manager_type in _MANAGED
            manager = agent_ids[0] if managed else None
            group = {
                **group_template(),
                "id": self.new_id("group"),
                "manager_type": manager_type,
                "manager_agent_id": manager,
                "agent_ids": list(agent_ids[1:] if managed else agent_ids),
                "hidden": hidden or None,
            }
            self.put("groups", group)
            if manager:
                self.replace_row("agents", manager, managed_group=group, multi_agent_group=group)
            return str(group["id"])

    def add_conversation(self, agent_id: str) -> str:
        """Open a conversation of an agent, with its own system message."""
        with self.lock:
            created = self.now()
            times = {"created_at": wire_time(created), "updated_at": wire_time(created)}
            conversation_id = self.new_id("conv")
            row = {**conversation_template(), **times, "id": conversation_id, "agent_id": agent_id}
            self.put("conversations", row)
            self.add_message(
                agent_id, [self._system_item(agent_id)], date=created, conversation_ids=[conversation_id]
            )
            return conversation_id

    def fork_conversation(self, conversation_id: str) -> str:
        """Open a conversation that shares the context of another one except the system message."""
        with self.lock:
            fork_id = self.add_conversation(self.tables["conversations"].rows[conversation_id]["agent_id"])
            for message_id in self.in_context(conversation_id)[1:]:
                self.share(message_id, fork_id)
            return fork_id

    def add_batch(self, agent_id: str, messages: int = 4, status: str = "running") -> str:
        """Create a batch whose answers belong to an agent."""
        with self.lock:
            created = wire_time(self.now())
            times = {"created_at": created, "updated_at": created}
            batch_id = self.new_id("job")
            row = {**batch_template(), **times, "id": batch_id, "status": status, "agent_id": agent_id}
            self.put("batches", row)
            self.add_batch_messages(batch_id, messages)
            return batch_id

    def add_batch_messages(self, batch_id: str, n: int) -> None:
        """Store n more messages of a batch: alternately an answer with a tool call, and its return."""
        with self.lock:
            agent_id = self.tables["batches"].rows[batch_id]["agent_id"]
            agent_type = self.tables["agents"].rows[agent_id]["agent_type"]
            for items in batch_drafts(agent_type, n, self.new_call_id):
                batch_item_id = self.new_id("batch_item")
                self.add_message(agent_id, items, batch_id=batch_id, batch_item_id=batch_item_id)

    def finish_batch(self, batch_id: str) -> None:
        """Finish a batch: it leaves the list but can still be requested by its id."""
        with self.lock:
            self.replace_row("batches", batch_id, status="completed", updated_at=wire_time(self.now()))

    def poison(self, message_id: str, status: int = 500) -> None:
        """Make a message unreadable: every page that holds it answers with an error."""
        with self.lock:
            self.poisoned[message_id] = status

    def cure(self, message_id: str) -> None:
        """Make an unreadable message readable again."""
        with self.lock:
            del self.poisoned[message_id]

    def _system_item(self, agent_id: str) -> Json:
        return system_item(self.tables["agents"].rows[agent_id]["system"])

    def _system_message(self, agent_id: str, date: datetime) -> None:
        message_id = self.add_message(agent_id, [self._system_item(agent_id)], date=date)
        self.replace_row("agents", agent_id, message_ids=[message_id])

    def _start_run(self, agent_id: str, conversation_id: str | None, started: datetime) -> str:
        run_id = self.new_id("run")
        run = {
            **run_template(),
            "id": run_id,
            "agent_id": agent_id,
            "conversation_id": conversation_id,
            "created_at": wire_time(started),
            "status": "running",
            "stop_reason": None,
            "completed_at": None,
            "total_duration_ns": None,
        }
        self.put("runs", run)
        return run_id

    def _start_step(self, agent_id: str, run_id: str, started: datetime) -> str:
        step_id = self.new_id("step")
        owner = {"agent_id": agent_id, "run_id": run_id}
        unfinished = {"status": "pending", "stop_reason": None}
        self.put("steps", {**step_template(), **owner, **unfinished, "id": step_id}, started)
        return step_id

    def _end_run(self, run_id: str, status: str, stop_reason: str, ended: datetime) -> None:
        started = moment(self.tables["runs"].rows[run_id]["created_at"])
        duration = (ended - started) // timedelta(microseconds=1) * 1000
        end = {"completed_at": wire_naive(ended), "total_duration_ns": duration}
        self.replace_row("runs", run_id, status=status, stop_reason=stop_reason, **end)
        step_status = "success" if status == "completed" else "failed"
        for step_id in self.list_of("run steps", run_id).ids():
            if self.tables["steps"].rows[step_id]["status"] == "pending":
                self.replace_row("steps", step_id, status=step_status, stop_reason=stop_reason)
