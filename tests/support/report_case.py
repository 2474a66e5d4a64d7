"""Conversations for a report, one line each, and the facts they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from letta_source.report.facts import Facts, find
from letta_source.report.model import Price, build, keep_only
from letta_source.report.period import Period
from letta_source.report.store import NEEDED, fill, open_store
from tests.support.busy_month import Rows, batches

# A Monday.
NOON = datetime(2026, 3, 2, 12)
MARCH = Period(datetime(2026, 3, 1, tzinfo=timezone.utc), datetime(2026, 3, 31, tzinfo=timezone.utc))


class Case:
    """Rows of the tables; times are seconds after `NOON`, and calls come in the server's order."""

    def __init__(self) -> None:
        self.rows: Rows = {table: [] for table in NEEDED}
        self.own: list[dict[str, Any]] = []
        self._agent = "agent-1"

    def agent(self, agent_id: str, name: str | None = None) -> None:
        """Set the agent of the messages that follow."""
        self._agent = agent_id
        if name is not None:
            self.rows["agents"].append({"id": agent_id, "name": name})

    def say(self, kind: str, at: float, run: str | None = None, step: str | None = None, **more: Any) -> str:
        """Add a message; `kind` is its type without `_message`."""
        count = len(self.rows["agent_messages"])
        row = {
            "agent_id": self._agent,
            "id": f"message-{count}",
            "position": 0,
            "sequence": count,
            "created_at": NOON + timedelta(seconds=at),
            "message_type": f"{kind}_message",
            "run_id": run,
            "step_id": step,
            **more,
        }
        self.rows["agent_messages"].append(row)
        return str(row["id"])

    def event(self, at: float, run: str | None = None) -> None:
        """Add a user message that Letta itself wrote: a heartbeat, a login."""
        message_id = self.say("user", at, run)
        text = '{"type": "heartbeat", "reason": "go on"}'
        self.own.append({"agent_id": self._agent, "id": message_id, "position": 0, "text": text})

    def call(self, at: float, tool: str, *ids: str | None, kind: str = "tool_call", **more: Any) -> None:
        """Add a message that calls a tool, once for each id."""
        self._child(
            "tool_calls", self.say(kind, at, **more), [{"tool_call_id": id_, "name": tool} for id_ in ids]
        )

    def answer(self, at: float, status: str | None, *ids: str | None, **more: Any) -> None:
        """Add a message of the tool."""
        children = [{"tool_call_id": id_, "status": status} for id_ in ids]
        self._child("tool_returns", self.say("tool_return", at, **more), children)

    def decide(self, at: float, *answers: dict[str, Any]) -> None:
        """Add an approval response with rows of `__approvals`."""
        self._child("approvals", self.say("approval_response", at), list(answers))

    def run(self, run_id: str, at: float = 0, seconds: float | None = None, **more: Any) -> None:
        row = {"id": run_id, "agent_id": self._agent, "created_at": NOON + timedelta(seconds=at), **more}
        if seconds is not None:
            row["completed_at"] = NOON + timedelta(seconds=at + seconds)
        self.rows["runs"].append(row)

    def step(self, step_id: str, **row: Any) -> None:
        self.rows["steps"].append({"id": step_id, "agent_id": self._agent, **row})

    def facts(
        self,
        period: Period = MARCH,
        prices: list[Price] | None = None,
        oldest: datetime = datetime(2025, 1, 1),
        agents: Sequence[str] = (),
    ) -> Facts:
        with open_store() as (store, _):
            for table in NEEDED:
                fill(store, table, batches(self.rows, table))
            for row in self.own:
                store.execute("INSERT INTO user_text VALUES ($agent_id, $id, $position, $text)", row)
            build(store, prices or [])
            if agents:
                keep_only(store, agents)
            return find(store, period, oldest)

    def _child(self, name: str, message_id: str, children: list[dict[str, Any]]) -> None:
        key = {"agent_id": self._agent, "message_id": message_id, "position": 0}
        rows = [{**key, "idx": idx, **child} for idx, child in enumerate(children)]
        self.rows[f"agent_messages__{name}"] += rows
