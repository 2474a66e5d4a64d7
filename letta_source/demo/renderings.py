"""Render a stored message as each endpoint does, from its lossless items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from .shapes import SEND_MESSAGE, Json, batch_message_template, indexed_otid

Text = Literal["as stored", "assistant", "reasoning"]
"""The kind of message that an answer's text becomes: it depends on the endpoint, not the agent's type."""

_COMMON = ("id", "date", "name", "otid", "sender_id", "step_id", "is_err", "seq_id", "run_id")
_ROLES = {
    "system_message": "system",
    "user_message": "user",
    "tool_return_message": "tool",
    "approval_request_message": "approval",
    "approval_response_message": "approval",
}


class UnreadableMessageError(Exception):
    """A stored message that the server cannot render.

    Args:
        status: The HTTP status that every page holding the message answers with.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"a stored message cannot be rendered ({status})")
        self.status = status


def render(
    messages: Sequence[list[Json]], *, text: Text, use_assistant_message: bool, reverse_items: bool
) -> list[Json]:
    """Return the LettaMessage items of a page.

    Args:
        messages: The lossless items of each message of the page.
        text: The kind of message that an answer's text becomes.
        use_assistant_message: True to turn calls of send_message into assistant messages and hide returns.
        reverse_items: True to return the items of one id last first.

    Raises:
        UnreadableMessageError: The arguments of a send_message call are not JSON.
    """
    if use_assistant_message:
        messages = _without_sent_returns(messages)
    rendered = []
    for items in messages:
        if text != "as stored":
            items = [_renamed(item, text) for item in items]
        if use_assistant_message:
            items = [shown for item in items for shown in _spoken(item)]
        rendered += items[::-1] if reverse_items else items
    return rendered


def calls_of(item: Json) -> list[Json]:
    """Return the tool calls of an item, from the plural field or else from its deprecated singular."""
    return item.get("tool_calls") or [call for call in [item.get("tool_call")] if call]


def _without_sent_returns(messages: Sequence[list[Json]]) -> list[list[Json]]:
    """Leave out returns of send_message whose call is in the same page: the server hides only those."""
    sent: set[str] = set()
    for items in messages:
        for item in items:
            if item["message_type"] == "tool_call_message":
                calls = calls_of(item)
                if any(call["name"] == SEND_MESSAGE for call in calls):
                    sent.update(call["tool_call_id"] for call in calls)
    return [
        items
        for items in messages
        if items[0]["message_type"] != "tool_return_message" or items[0].get("tool_call_id") not in sent
    ]


def _renamed(item: Json, text: Text) -> Json:
    common = {field: item.get(field) for field in _COMMON}
    if text == "reasoning" and item["message_type"] == "assistant_message":
        thought = {"source": "non_reasoner_model", "reasoning": item["content"], "signature": None}
        return {**common, "message_type": "reasoning_message", **thought}
    if text == "assistant" and _is_plain_text(item):
        return {**common, "message_type": "assistant_message", "content": item["reasoning"]}
    return item


def _is_plain_text(item: Json) -> bool:
    return bool(item["message_type"] == "reasoning_message" and item.get("source") == "non_reasoner_model")


def _spoken(item: Json) -> Iterator[Json]:
    """Yield an item, or its parts if it calls send_message, perhaps mixed with other tools."""
    calls = calls_of(item) if item["message_type"] == "tool_call_message" else []
    if not any(call["name"] == SEND_MESSAGE for call in calls):
        yield item
        return
    common = {field: item.get(field) for field in _COMMON}
    parts: list[Json] = []
    others: list[Json] = []
    for call in calls:
        if call["name"] != SEND_MESSAGE:
            others.append(call)
            continue
        if others:
            parts.append({"message_type": "tool_call_message", "tool_call": others[0], "tool_calls": others})
            others = []
        text = sent_text(call)
        if text is not None:
            parts.append({"message_type": "assistant_message", "content": text})
    if others:
        parts.append({"message_type": "tool_call_message", "tool_call": others[0], "tool_calls": others})
    for place, part in enumerate(parts):
        otid = indexed_otid(item["id"], int(item["otid"][-2:], 16) + place) if place else item["otid"]
        yield {**common, **part, "otid": otid}


def sent_text(call: Json) -> str | None:
    """Return the text of a send_message call, or None if its arguments hold no message.

    Raises:
        UnreadableMessageError: The arguments are not JSON.
    """
    try:
        text: str | None = json.loads(call["arguments"]).get("message")
    except ValueError as error:
        raise UnreadableMessageError(400) from error
    return text


def internal_message(items: Sequence[Json], **fields: Any) -> Json:
    """Return the server's own Message shape, as batches and the search return it.

    Args:
        items: The lossless items of one message.
        **fields: Fields that the items lack: agent_id, created_at, batch_item_id and the like.
    """
    first = items[0]
    calls = [call for item in items for call in calls_of(item)]
    returns = [one for item in items for one in item.get("tool_returns") or []]
    approvals = [one for item in items for one in item.get("approvals") or []]
    kinds = [item["message_type"] for item in items]
    role = next((_ROLES[kind] for kind in kinds if kind in _ROLES), "assistant")
    return {
        **batch_message_template(),
        "id": first["id"],
        "role": role,
        "content": [part for item in items for part in _content(item)],
        "name": first.get("name"),
        "tool_calls": [_openai_call(call) for call in calls] or None,
        "tool_call_id": returns[0]["tool_call_id"] if returns else None,
        "tool_returns": [_internal_return(one) for one in returns],
        "step_id": first.get("step_id"),
        "run_id": first.get("run_id"),
        "otid": first.get("otid") if role == "user" else None,
        "approve": first.get("approve"),
        "approval_request_id": first.get("approval_request_id"),
        "denial_reason": first.get("reason"),
        "approvals": approvals,
        **fields,
    }


def _openai_call(call: Json) -> Json:
    function = {"arguments": call["arguments"], "name": call["name"]}
    return {"id": call["tool_call_id"], "function": function, "type": "function"}


def _func_response(one: Json) -> str:
    status = "OK" if one["status"] == "success" else "Failed"
    return json.dumps({"status": status, "message": one["tool_return"]}, ensure_ascii=False)


def _internal_return(one: Json) -> Json:
    kept = {field: one.get(field) for field in ("tool_call_id", "status", "stdout", "stderr")}
    return {**kept, "func_response": _func_response(one)}


def _content(item: Json) -> list[Json]:
    kind = item["message_type"]
    if kind == "tool_return_message":
        return [_text_part(_func_response(one)) for one in item["tool_returns"]]
    if kind == "hidden_reasoning_message":
        if item["state"] == "redacted":
            return [{"type": "redacted_reasoning", "data": item["hidden_reasoning"]}]
        return [{"type": "omitted_reasoning", "signature": None}]
    if kind == "reasoning_message" and not _is_plain_text(item):
        reasoning = {"reasoning": item["reasoning"], "signature": item.get("signature")}
        return [{"type": "reasoning", "is_native": True, **reasoning}]
    content = item["reasoning"] if kind == "reasoning_message" else item.get("content")
    if content is None:
        return []
    return [_text_part(content)] if isinstance(content, str) else content


def _text_part(text: str) -> Json:
    return {"type": "text", "text": text, "signature": None}
