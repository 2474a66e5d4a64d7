"""Turns, tool calls and costs of a Letta, computed from its content: what the models must show."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from letta_source.demo import Letta
from letta_source.demo.shapes import Json, moment
from tests.support.dbt_project import PACKAGE

SERVERS_OWN = ("login", "heartbeat", "system_alert")


class Where(NamedTuple):
    """The place of a turn: its agent, its conversation, and its number there."""

    agent_id: str
    conversation_id: str | None
    number: int


@dataclass
class Turn:
    messages: int = 0
    run_ids: list[str] = field(default_factory=list)
    tool_calls: int = 0
    tool_errors: int = 0
    total_tokens: int | None = None
    cost: float | None = None
    latency: float | None = None


@dataclass
class Call:
    """One call of a tool; `ended` is True after a return or a denial."""

    where: Where
    name: str
    asks: bool
    denied: bool = False
    status: str | None = None

    @property
    def ended(self) -> bool:
        return self.denied or self.status is not None


@dataclass
class ExpectedModels:
    turns: dict[Where, Turn] = field(default_factory=lambda: defaultdict(Turn))
    calls: list[Call] = field(default_factory=list)
    costs: dict[str, float | None] = field(default_factory=dict)

    def usage(self) -> set[tuple[str, str, int, int, int, int]]:
        """Return rows of (agent, tool, calls, errors, never returned, denied)."""
        by_tool = defaultdict(list)
        for call in self.calls:
            by_tool[call.where.agent_id, call.name].append(call)
        return {
            (
                *key,
                len(calls),
                sum(call.status == "error" for call in calls),
                sum(call.status is None for call in calls),
                sum(call.denied for call in calls),
            )
            for key, calls in by_tool.items()
        }


def expected(letta: Letta) -> ExpectedModels:
    made = ExpectedModels()
    made.costs = _costs(letta)
    runs = letta.tables["runs"].rows
    turn_of: dict[str, Where] = {}
    for agent_id in letta.tables["agents"].rows:
        for where, item in _placed(letta, agent_id):
            if where.number:
                made.turns[where].messages += 1
                for one in (item["run_id"], item["step_id"]):
                    if one:
                        turn_of.setdefault(one, where)
    for agent_id in letta.tables["agents"].rows:
        made.calls += _calls(letta, agent_id)
    for call in made.calls:
        if call.where.number:
            turn = made.turns[call.where]
            turn.tool_calls += 1
            turn.tool_errors += call.status == "error"
    for step_id, step in letta.tables["steps"].rows.items():
        found = turn_of.get(step_id) or turn_of.get(step["run_id"])
        if found:
            turn = made.turns[found]
            turn.total_tokens = (turn.total_tokens or 0) + step["total_tokens"]
            cost = made.costs[step_id]
            turn.cost = turn.cost if cost is None else (turn.cost or 0) + cost
    for run_id, where in turn_of.items():
        if run_id.startswith("run-"):
            made.turns[where].run_ids.append(run_id)
    for turn in made.turns.values():
        took = [_duration(runs.get(run_id)) for run_id in turn.run_ids]
        known = [one for one in took if one is not None]
        turn.latency = sum(known) if took and len(known) == len(took) else None
    return made


def _placed(letta: Letta, agent_id: str) -> Iterator[tuple[Where, Json]]:
    """Yield the items of an agent by date, with their turns."""
    messages = (message for message in letta.messages.rows.values() if message.agent_id == agent_id)
    in_order = [item for message in sorted(messages, key=lambda m: m.sequence) for item in message.items]
    # The sort is stable: within a second the server's order stays.
    in_order.sort(key=lambda item: datetime.fromisoformat(item["date"]))
    indexes: Counter[str | None] = Counter()
    last: dict[str | None, tuple[str, str | None]] = {}
    for item in in_order:
        run = letta.tables["runs"].rows.get(item["run_id"], {})
        conversation_id = run.get("conversation_id")
        if not _is_systems(item):
            this = item["message_type"], item["run_id"]
            if item["message_type"] == "user_message" and last.get(conversation_id) != this:
                indexes[conversation_id] += 1
            last[conversation_id] = this
        yield Where(agent_id, conversation_id, indexes[conversation_id]), item


def _is_systems(item: Json) -> bool:
    if item["message_type"] != "user_message":
        return bool(item["message_type"] == "system_message")
    try:
        said = json.loads(item["content"])
    except (TypeError, ValueError):
        return False
    return isinstance(said, dict) and said.get("type") in SERVERS_OWN


def _calls(letta: Letta, agent_id: str) -> list[Call]:
    made: list[Call] = []
    by_id: dict[str, list[Call]] = defaultdict(list)
    denied_last: dict[str, Call] = {}
    for where, item in _placed(letta, agent_id):
        kind = item["message_type"]
        if kind in ("tool_call_message", "approval_request_message"):
            for one in item["tool_calls"]:
                earlier = by_id[one["tool_call_id"]]
                denied_last.pop(one["tool_call_id"], None)
                if earlier and earlier[-1].asks and not earlier[-1].ended:
                    earlier[-1].asks = kind == "approval_request_message"
                    continue
                call = Call(where, one["name"], kind == "approval_request_message")
                earlier.append(call)
                made.append(call)
        elif kind == "approval_response_message":
            for one in item["approvals"]:
                if not one["approve"]:
                    call = next(call for call in by_id[one["tool_call_id"]] if not call.ended)
                    call.denied = True
                    denied_last[one["tool_call_id"]] = call
        elif kind == "tool_return_message":
            for one in item["tool_returns"]:
                found = denied_last.pop(one["tool_call_id"], None) or next(
                    call for call in by_id[one["tool_call_id"]] if not call.ended
                )
                found.status = one["status"]
    return made


def _costs(letta: Letta) -> dict[str, float | None]:
    """Return the cost of each step in US dollars."""
    with (PACKAGE / "seeds" / "letta_model_prices.csv").open() as file:
        prices = {row["model"]: row for row in csv.DictReader(file)}
    made: dict[str, float | None] = {}
    for step_id, step in letta.tables["steps"].rows.items():
        price = prices.get(step["model_handle"]) or prices.get(step["model"])
        cached, written = step["cached_input_tokens"] or 0, step["cache_write_tokens"] or 0
        made[step_id] = None
        if price:
            made[step_id] = (
                (step["prompt_tokens"] - cached - written) * float(price["input_price"])
                + cached * float(price["cached_input_price"])
                + written * float(price["cache_write_price"])
                + step["completion_tokens"] * float(price["output_price"])
            ) / 1e6
    return made


def _duration(run: Json | None) -> float | None:
    """Return the seconds of a run; None if it is unfinished or unknown."""
    if run and run["total_duration_ns"]:
        return float(run["total_duration_ns"]) / 1e9
    if not run or not run["completed_at"]:
        return None
    return (moment(run["completed_at"]) - moment(run["created_at"])).total_seconds()
