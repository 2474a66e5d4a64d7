"""One object of the wire to one row of a child table, whatever its form. Pure functions.

Each returns the row by column name, and whether the columns hold all that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from letta_source.text import to_json

Item = dict[str, Any]
Row = dict[str, Any]

_TOOL_CALL = {"tool_call_id", "name", "arguments", "type"}
_OPENAI_TOOL_CALL = {"id", "function", "type"}
_FUNCTION = {"name", "arguments"}
_TOOL_RETURN = {"tool_call_id", "status", "tool_return", "func_response", "stdout", "stderr", "type"}
_APPROVAL = _TOOL_RETURN | {"approve", "reason"}
_IMAGE_SOURCE = {"type", "url", "data", "media_type", "file_id", "detail"}
_CONTENT_PART = {
    "type", "text", "signature", "reasoning", "is_native", "data", "tool_call_id", "name", "is_error", "encrypted_content",
}  # fmt: skip


def listed(value: Any) -> Sequence[Any]:
    """`value` as a list: the API sends one object, or null, where a list is documented."""
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def positions(items: Sequence[Item]) -> list[int]:
    """The position of each item among those of its message id.

    One stored message comes back as several items of one id. Their otid is that id with its last seven
    bits replaced by the item's index; where all of a message's items carry one it gives the order, because
    `/v1/steps/{id}/messages` sends them in reverse. Otherwise they stay as they came.
    """
    ids = [item["id"] for item in items]
    found = [0] * len(ids)
    if len(set(ids)) == len(ids):
        return found
    members: dict[str, list[int]] = {}
    for at, message_id in enumerate(ids):
        members.setdefault(message_id, []).append(at)
    for ats in members.values():
        if len(ats) > 1:
            indexes = [index for at in ats if (index := otid_index(items[at])) is not None]
            if len(indexes) == len(ats):
                ats = [at for _, at in sorted(zip(indexes, ats, strict=True))]
            for position, at in enumerate(ats):
                found[at] = position
    return found


def otid_index(item: Item) -> int | None:
    """The index in the item's otid, or None where its otid is not made of its id."""
    otid, message_id = item.get("otid"), item["id"]
    if not isinstance(otid, str) or otid[:-2] != message_id.removeprefix("message-")[:-2]:
        return None
    try:
        return int(otid[-2:], 16) & 0x7F
    except ValueError:
        return None


def tool_call(sent: Any) -> tuple[Row, bool]:
    """A tool call in Letta's form, or in OpenAI's as batch messages have it; deltas may lack a part."""
    if not isinstance(sent, dict):
        return {}, False
    function = sent.get("function")
    if isinstance(function, dict):
        row = {"tool_call_id": sent.get("id"), "type": sent.get("type"), **function}
        known = sent.keys() <= _OPENAI_TOOL_CALL and function.keys() <= _FUNCTION
    else:
        row = dict(sent)
        known = sent.keys() <= _TOOL_CALL
    arguments = row.get("arguments")
    if isinstance(arguments, str):
        row["arguments_json"] = arguments if parses(arguments) else None
    elif arguments is not None:
        row["arguments"] = row["arguments_json"] = to_json(arguments)
    return row, known


def parses(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def tool_return(sent: Any) -> tuple[Row, bool]:
    """A tool's return; batch messages call its text `func_response`."""
    if not isinstance(sent, dict):
        return {}, False
    row = dict(sent)
    if "tool_return" not in row:
        row["tool_return"] = row.get("func_response")
    for stream in ("stdout", "stderr"):
        row[stream] = to_json(row.get(stream))
    return row, sent.keys() <= _TOOL_RETURN


def approval(sent: Any) -> tuple[Row, bool]:
    """An answer to a request for approval, or the return of a tool that the caller ran."""
    row, _ = tool_return(sent)
    if not row:
        return row, False
    fits = row.get("approve") is None or isinstance(row["approve"], bool)
    if not fits:
        row["approve"] = None
    return row, fits and sent.keys() <= _APPROVAL


def singular_approval(item: Item) -> Row:
    """The deprecated double of `approvals`, which a message that answers a request has at its root."""
    return {
        "tool_call_id": item.get("approval_request_id"),
        "type": "approval",
        "approve": item.get("approve"),
        "reason": item.get("reason", item.get("denial_reason")),
    }


def content_part(sent: Any) -> Row:
    """A part of a message's content as a row of `content`, with its own `extra`."""
    if not isinstance(sent, dict):
        return {"extra": to_json(sent)}
    unknown = {k: v for k, v in sent.items() if k not in _CONTENT_PART}
    row: Row = {k: v for k, v in sent.items() if k in _CONTENT_PART}
    kind = sent.get("type")
    if kind == "image":
        row.update(_image_source(unknown))
    elif kind == "tool_call":
        row["tool_call_id"] = unknown.pop("id", row.get("tool_call_id"))
        row["input"] = to_json(unknown.pop("input", None))
    elif kind == "tool_return":
        row["text"] = unknown.pop("content", row.get("text"))
    elif kind == "summarized_reasoning":
        row["content_id"] = unknown.pop("id", None)
        row["summary"] = to_json(unknown.pop("summary", None))
    for name in ("is_native", "is_error"):
        if row.get(name) is not None and not isinstance(row[name], bool):
            unknown[name] = row.pop(name)
    row["extra"] = to_json(unknown) if unknown else None
    return row


def _image_source(unknown: dict[str, Any]) -> Row:
    source = unknown.get("source")
    if not isinstance(source, Mapping):
        return {}
    del unknown["source"]
    beyond = {k: v for k, v in source.items() if k not in _IMAGE_SOURCE}
    if beyond:
        unknown["source"] = beyond
    row = {k: source.get(k) for k in _IMAGE_SOURCE - {"type"}}
    return {**row, "source_type": source.get("type")}
