"""The shapes of new objects, copied from recorded ones, so that no field is invented."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache

from letta_source.demo.shapes import Json, recorded


def wire_date(moment: datetime) -> str:
    """Return the `date` of a LettaMessage, which the server cuts to whole seconds."""
    return moment.astimezone(timezone.utc).replace(microsecond=0).isoformat()


def wire_naive(moment: datetime) -> str:
    """Return the `completed_at` of a run: UTC, but the server leaves the offset out."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat()


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
