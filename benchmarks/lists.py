"""A made-up fleet's lists of changes: all messages, agents by change, new runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TypeVar

from benchmarks.data import Agent

One = TypeVar("One")
Place = tuple[int, int]
"""Place of a message: its agent's number, and its number among the agent's messages."""


class Lists:
    """Changes since the server began.

    Each time an agent shows more messages, they belong to one finished run with one step.

    Args:
        ends: by agent, the number of messages it shows.
    """

    def __init__(self, agents: Sequence[Agent], ends: Sequence[int]) -> None:
        self._agents = agents
        self._ends = ends
        # By id, in order of arrival.
        self._messages: dict[str, Place] = {}
        self._by_change: dict[str, int] = {agent.id: at for at, agent in enumerate(agents)}
        self._runs: dict[str, bytes] = {}
        self._steps: dict[str, dict[str, bytes]] = {}
        self._of_step: dict[str, dict[str, Place]] = {}
        for at, end in enumerate(ends):
            self._messages |= self._places(at, 0, end)

    def show(self, ends: Sequence[int]) -> None:
        """Record how many messages each agent shows now."""
        now = datetime.now(timezone.utc).isoformat()
        moved: dict[str, int] = {}
        for at, (before, end) in enumerate(zip(self._ends, ends, strict=True)):
            if end > before:
                new = self._places(at, before, end)
                self._messages |= new
                self._run(at, new, now)
                moved[self._agents[at].id] = at
        self._by_change = moved | {one: at for one, at in self._by_change.items() if one not in moved}
        self._ends = ends

    def _places(self, at: int, begin: int, end: int) -> dict[str, Place]:
        return {self._agents[at].last_id(one + 1): (at, one) for one in range(begin, end)}

    def _run(self, at: int, messages: dict[str, Place], now: str) -> None:
        """Add the run and the step that the messages name, and update their agent."""
        agent = self._agents[at]
        first = json.loads(b"[%b]" % self._message(next(iter(messages.values()))))[0]
        run, step = first["run_id"], first["step_id"]
        owner = {"agent_id": agent.id, "status": "completed", "stop_reason": "end_turn"}
        self._runs[run] = _json({"id": run, **owner, "created_at": now, "completed_at": now})
        self._steps[run] = {step: _json({"id": step, "run_id": run, **owner})}
        self._of_step[step] = messages
        agent.listed = _json({**json.loads(agent.listed), "updated_at": now})

    def page(self, names: Sequence[str], query: Mapping[str, str]) -> bytes | None:
        """Return a page as JSON without its brackets; None for a list that is not here."""
        match names:
            case ["v1", "messages"]:
                return b",".join(map(self._message, _cut(self._messages, query)))
            case ["v1", "agents"] if query.get("order_by") == "updated_at":
                ascending = {**query, "order": "asc"}
                return b",".join(self._agents[at].listed for at in _cut(self._by_change, ascending))
            case ["v1", "runs"]:
                return b",".join(_cut({} if query.get("active") else self._runs, query))
            case ["v1", "runs", run_id, "steps"] if run_id in self._steps:
                return b",".join(_cut(self._steps[run_id], query))
            case ["v1", "steps", step_id, "messages"] if step_id in self._of_step:
                # For letta_v1 agents, this endpoint returns the assistant's messages as reasoning.
                page = b",".join(map(self._message, _cut(self._of_step[step_id], query)))
                said = (b'"message_type":"assistant_message"', b'"message_type":"reasoning_message"')
                return page.replace(*said).replace(b'"content":', b'"reasoning":')
            case ["v1", "groups" | "conversations"] | ["v1", "messages", "batches"]:
                return b""
        return None

    def _message(self, place: Place) -> bytes:
        at, one = place
        return bytes(self._agents[at].page(one, one + 1))


def _cut(rows: Mapping[str, One], query: Mapping[str, str]) -> list[One]:
    """Return the rows of a page; cursors advance in the requested order."""
    ids = list(rows)
    if query.get("order") == "desc":
        ids.reverse()
    begin = ids.index(query["after"]) + 1 if query.get("after") else 0
    end = ids.index(query["before"]) if query.get("before") else len(ids)
    return [rows[one] for one in ids[begin : min(begin + int(query.get("limit", 50)), end)]]


def _json(row: Mapping[str, object]) -> bytes:
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()
