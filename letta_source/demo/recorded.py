"""The Letta whose answers were recorded, rebuilt from those answers; and one with a made-up month besides."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from .letta import Letta
from .shapes import Json, agent_template, moment, recorded, wire_time
from .store import Message

MONTH = Path(__file__).with_name("month.jsonl.gz")
"""A month of conversations, one stored object a line; `tests/support/month` makes them up."""
_PLAIN_TEXT = {"message_type": "reasoning_message", "source": "non_reasoner_model", "signature": None}


def month_letta() -> Letta:
    """Return a Letta that holds a month of made-up conversations and everything recorded."""
    letta = Letta()
    with gzip.open(MONTH, "rt", encoding="utf-8") as lines:
        for kind, row, created in map(json.loads, lines):
            if kind == "messages":
                lists = {name: tuple(row[name]) for name in ("group_ids", "conversation_ids")}
                letta.store(Message(**{**row, **lists, "created_at": moment(row["created_at"])}))
            else:
                letta.put(kind, row, datetime.fromisoformat(created) if created else None)
    return recorded_letta(letta)


def recorded_letta(letta: Letta | None = None) -> Letta:
    """Return a Letta that holds everything recorded; later additions come after that, with random ids.

    Args:
        letta: A Letta that already holds something, by default a new one.
    """
    letta = letta or Letta()
    for agent in _rows("agents", "/v1/agents/"):
        letta.put("agents", agent)
    for group in _rows("group_messages", "/v1/groups/"):
        letta.put("groups", group)
    for run in recorded("step_messages")[2]["body"]:
        letta.put("runs", run)
    for line in recorded("step_messages"):
        if line["path"].endswith("/steps"):
            for step in line["body"]:
                run = letta.tables["runs"].rows[step["run_id"]]
                letta.put("steps", step, moment(run["created_at"]))
    for line in recorded("batch_messages"):
        if _parent_id(line, "batches") and not line["path"].endswith("/messages"):
            letta.put("batches", line["body"])
    _store_agents_messages(letta)
    _store_conversations(letta)
    return letta


def _rows(name: str, path: str) -> Iterator[Json]:
    for line in recorded(name):
        if line["path"] == path:
            yield from line["body"]


def _parent_id(line: Json, kind: str) -> str | None:
    """Return the id that follows a kind in the path of a recorded request."""
    _, found, rest = line["path"].partition(f"/{kind}/")
    return rest.partition("/")[0] if found else None


def _parents(name: str, kind: str) -> dict[str, str]:
    """Map each message in the recorded lists of one kind to its parent."""
    return {
        item["id"]: parent_id
        for line in recorded(name)
        if line["path"].endswith("/messages") and line["status"] == 200
        if (parent_id := _parent_id(line, kind))
        for item in line["body"]
    }


def _by_id(items: list[Json]) -> dict[str, list[Json]]:
    grouped: dict[str, list[Json]] = {}
    for item in items:
        grouped.setdefault(item["id"], []).append(item)
    return grouped


def _store_agents_messages(letta: Letta) -> None:
    """Store the agents' messages in the order of the list of all messages."""
    steps = _parents("step_messages", "steps")
    groups = _parents("group_messages", "groups")
    batches = {
        message["id"]: (_parent_id(line, "batches"), message)
        for line in recorded("batch_messages")
        if line["path"].endswith("/messages") and line["status"] == 200
        for message in line["body"]["messages"]
    }
    for agent_id, items in _in_sequence():
        first = items[0]
        message_id, sequence = first["id"], int(letta.next_sequence())
        step_id = steps.get(message_id, first["step_id"])
        batch_id, raw = batches.get(message_id, (None, None))
        # Dates on the wire are whole seconds: the sequence stands in for the microseconds that order a step.
        created = moment(first["date"]) + timedelta(microseconds=sequence if step_id else 0)
        letta.store(
            Message(
                id=message_id,
                agent_id=agent_id,
                items=items,
                created_at=created,
                sequence=sequence,
                step_id=step_id,
                run_id=next((item["run_id"] for item in items), None),
                group_ids=(groups[message_id],) if message_id in groups else (),
                batch_id=batch_id,
                batch_item_id=raw["batch_item_id"] if raw else None,
                raw=raw,
            )
        )


def _in_sequence() -> Iterator[tuple[str, list[Json]]]:
    """Yield the agent's id and the lossless items of each message, in the order of the server's sequence."""
    lossless = {
        line["path"].split("/")[3]: _by_id(line["body"])
        for line in recorded("agent_messages")
        if line["params"]["limit"] == 1000 and "after" not in line["params"]
    }
    owner = {message_id: agent_id for agent_id, messages in lossless.items() for message_id in messages}
    everything = _by_id(list(_rows("all_messages", "/v1/messages/")))
    waiting = {agent_id: iter(messages.items()) for agent_id, messages in lossless.items()}
    pending = {agent_id: next(messages) for agent_id, messages in waiting.items()}
    for message_id, items in everything.items():
        agent_id = owner.get(message_id)
        if agent_id is None:
            # Only the sleeptime agent's own list was not recorded. Its text is rendered as reasoning.
            yield _sleeptime_agent(), [_as_stored(item) for item in items]
            continue
        yield agent_id, pending.pop(agent_id)[1]
        for following_id, following in waiting[agent_id]:
            if following_id in everything:
                pending[agent_id] = following_id, following
                break
            # The list of all messages hides the returns of send_message, which follow their call.
            yield agent_id, following


def _sleeptime_agent() -> str:
    agents = _rows("agents", "/v1/agents/")
    return next(str(agent["id"]) for agent in agents if agent["agent_type"] == "sleeptime_agent")


def _as_stored(item: Json) -> Json:
    if item["message_type"] != "assistant_message":
        return item
    common = {name: value for name, value in item.items() if name != "content"}
    return {**common, **_PLAIN_TEXT, "reasoning": item["content"]}


def _store_conversations(letta: Letta) -> None:
    """Store the conversations and their agent, of which nothing else was recorded."""
    conversations = list(_rows("conversations", "/v1/conversations/"))
    for conversation in conversations:
        letta.put("conversations", conversation)
    members: dict[str, list[str]] = {}
    messages: dict[str, list[Json]] = {}
    for conversation in conversations:
        path = f"/v1/conversations/{conversation['id']}/messages"
        found = _by_id(list(_rows("conversations", path)))
        members[conversation["id"]] = list(found)
        messages |= found
    agent_id = conversations[0]["agent_id"]
    born = wire_time(moment(next(iter(messages.values()))[0]["date"]))
    times = {"created_at": born, "updated_at": born}
    letta.put("agents", {**agent_template("letta_v1_agent"), **times, "id": agent_id, "name": "talkative"})
    for message_id, items in sorted(messages.items(), key=lambda message: str(message[1][0]["date"])):
        sequence = letta.next_sequence()
        letta.store(
            Message(
                id=message_id,
                agent_id=agent_id,
                items=items,
                created_at=moment(items[0]["date"]) + timedelta(microseconds=int(sequence)),
                sequence=sequence,
                step_id=items[0]["step_id"],
                run_id=items[0]["run_id"],
            )
        )
    # A conversation has an order of its own: a fork begins with the system message that was stored last.
    for conversation_id, message_ids in members.items():
        for message_id in message_ids:
            letta.share(message_id, conversation_id)
