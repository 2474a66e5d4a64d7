"""The shapes of Letta's objects. New objects are copied from recorded ones, so that no field is invented."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SEND_MESSAGE = "send_message"
_RECORDINGS = Path(__file__).with_name("recordings")


@cache
def recorded(name: str) -> tuple[Json, ...]:
    """Return the recorded requests and answers of one file, in the order in which they were made."""
    with (_RECORDINGS / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def wire_time(moment: datetime) -> str:
    """Return the `created_at` of any other object: UTC with microseconds."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """Parse a date of the API as an aware datetime."""
    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


@cache
def agent_template(agent_type: str) -> Json:
    """Return a recorded agent of a type, to be copied.

    Raises:
        ValueError: No agent of this type was recorded.
    """
    agents = [agent for line in recorded("agents")[1:] for agent in line["body"]]
    for agent in agents:
        if agent["agent_type"] == agent_type:
            blank = dict.fromkeys(("managed_group", "multi_agent_group", "last_stop_reason"))
            return {**agent, **blank, "tool_rules": []}
    raise ValueError(f"no recorded agent of type {agent_type!r}")


@cache
def batch_message_template() -> Json:
    """Return a recorded message of a batch, to be copied."""
    message: Json = recorded("batch_messages")[2]["body"]["messages"][0]
    return message


@cache
def memory_template(path: str, place: int = 0) -> Json:
    """Return an object recorded under a path, to be copied; a passage's vector has only a few numbers."""
    bodies = [line["body"] for line in recorded("memory") if line["path"].endswith(path)]
    found: Json = bodies[0] if isinstance(bodies[0], dict) else bodies[0][place]
    return found


def indexed_otid(message_id: str, index: int) -> str:
    """Return the otid of an item: the message's uuid with an index in the low seven bits of its last byte."""
    uuid_text = message_id.partition("-")[2]
    return f"{uuid_text[:-2]}{int(uuid_text[-2:], 16) & 0x80 | index:02x}"
