"""The shapes of Letta's objects. New objects are copied from recorded ones, so that no field is invented."""

from __future__ import annotations

import json
from collections.abc import Sequence
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


def wire_date(moment: datetime) -> str:
    """Return the `date` of a LettaMessage, which the server cuts to whole seconds."""
    return moment.astimezone(timezone.utc).replace(microsecond=0).isoformat()


def wire_time(moment: datetime) -> str:
    """Return the `created_at` of any other object: UTC with microseconds."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def wire_naive(moment: datetime) -> str:
    """Return the `completed_at` of a run: UTC, but the server leaves the offset out."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat()


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
def group_template() -> Json:
    """Return a recorded group, to be copied."""
    group: Json = recorded("group_messages")[0]["body"][0]
    return group


@cache
def run_template() -> Json:
    """Return a recorded run, to be copied."""
    run: Json = next(line["body"][0] for line in recorded("step_messages") if line["path"] == "/v1/runs/")
    return run


@cache
def step_template() -> Json:
    """Return a recorded step, to be copied."""
    lists = (line for line in recorded("step_messages") if line["path"].endswith("/steps"))
    step: Json = next(lists)["body"][0]
    return step


@cache
def conversation_template() -> Json:
    """Return a recorded conversation, to be copied."""
    conversation: Json = recorded("conversations")[0]["body"][0]
    return {**conversation, "summary": None, "last_message_at": None}


@cache
def batch_template() -> Json:
    """Return a recorded batch, to be copied."""
    batch: Json = recorded("batch_messages")[0]["body"][0]
    return batch


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


def system_item(text: str) -> Json:
    """Return the item of a system message."""
    return {"message_type": "system_message", "otid": None, "content": text}


def user_item(content: str | list[Json], otid: str | None = None) -> Json:
    """Return the item of a user message; its otid is the caller's choice."""
    return {"message_type": "user_message", "otid": otid, "content": content}


def assistant_item(text: str) -> Json:
    """Return the item of an answer's text."""
    return {"message_type": "assistant_message", "content": text}


def reasoning_item(text: str, *, native: bool = True) -> Json:
    """Return an item of reasoning: the model's own (native), or the text that a memgpt agent thinks in."""
    source = "reasoner_model" if native else "non_reasoner_model"
    return {"message_type": "reasoning_message", "source": source, "reasoning": text, "signature": None}


def call(name: str, arguments: str, tool_call_id: str) -> Json:
    """Return one tool call; its arguments are a JSON text."""
    return {"name": name, "arguments": arguments, "tool_call_id": tool_call_id}


def tool_call_item(calls: Sequence[Json], *, approval: bool = False) -> Json:
    """Return an item of tool calls, or of the request to approve them; the singular repeats the first."""
    message_type = "approval_request_message" if approval else "tool_call_message"
    return {"message_type": message_type, "tool_call": calls[0], "tool_calls": list(calls)}


def tool_return_item(calls: Sequence[Json], text: str) -> Json:
    """Return an item of successful returns; the deprecated singular fields repeat the first."""
    returns = [
        {
            "type": "tool",
            "tool_return": text,
            "status": "success",
            "tool_call_id": one["tool_call_id"],
            "stdout": [],
            "stderr": [],
        }
        for one in calls
    ]
    singular = {field: value for field, value in returns[0].items() if field != "type"}
    name = calls[0]["name"]
    return {"message_type": "tool_return_message", "name": name, **singular, "tool_returns": returns}


def approval_response_item(request: Json, *, approve: bool = True, reason: str | None = None) -> Json:
    """Return the answer to an approval request; the server leaves its step_id null."""
    call_id = request["tool_call_id"]
    return {
        "message_type": "approval_response_message",
        "otid": None,
        "step_id": None,
        "approvals": [{"type": "approval", "tool_call_id": call_id, "approve": approve, "reason": reason}],
        "approve": approve,
        "approval_request_id": call_id,
        "reason": reason,
    }


def indexed_otid(message_id: str, index: int) -> str:
    """Return the otid of an item: the message's uuid with an index in the low seven bits of its last byte."""
    uuid_text = message_id.partition("-")[2]
    return f"{uuid_text[:-2]}{int(uuid_text[-2:], 16) & 0x80 | index:02x}"
