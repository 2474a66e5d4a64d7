"""One object of the wire to one row of a child table, whatever its form. Pure functions.

Each returns the row by column name, and whether the columns hold all that was sent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from letta_source.safe_text import MAX_DEPTH, parse_json, to_json

Item = dict[str, Any]
Row = dict[str, Any]

_TOOL_CALL = {"tool_call_id", "name", "arguments", "type"}
_OPENAI_TOOL_CALL = {"id", "function", "type"}
_FUNCTION = {"name", "arguments"}
_TOOL_RETURN = {"tool_call_id", "status", "tool_return", "stdout", "stderr", "type"}
_APPROVAL = _TOOL_RETURN | {"approve", "reason"}
_IMAGE_SOURCE = {"url", "data", "media_type", "file_id", "detail"}
_CONTENT_PART = {
    "type",
    "text",
    "signature",
    "reasoning",
    "is_native",
    "data",
    "tool_call_id",
    "name",
    "is_error",
    "encrypted_content",
}
# By type of the part: fields that have a column of another name.
_RENAMED = {
    "tool_call": {"id": "tool_call_id"},
    "tool_return": {"content": "text"},
    "summarized_reasoning": {"id": "content_id"},
}
_JSON = {"tool_call": "input", "summarized_reasoning": "summary"}
# An approval request, always its message's last item, has the message's id as otid.
_LAST = 0x80


def listed(value: Any) -> Sequence[Any]:
    """`value` as a list: the API sends one object, or null, where a list is documented."""
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def positions(ids: Sequence[str], otids: Sequence[Any]) -> list[int]:
    """The position of each item, given by its message id and otid, among those of its message id.

    One stored message comes back as several items of one id. Their otid is that id with its last seven
    bits replaced by the item's index; where all of a message's items carry one it gives the order, because
    `/v1/steps/{id}/messages` sends them in reverse. Otherwise they stay as they came.
    """
    found = [0] * len(ids)
    if len(set(ids)) == len(ids):
        return found
    members: dict[str, list[int]] = {}
    for at, message_id in enumerate(ids):
        members.setdefault(message_id, []).append(at)
    for ats in members.values():
        if len(ats) > 1:
            indexes = [index for at in ats if (index := otid_index(ids[at], otids[at])) is not None]
            if len(indexes) == len(ats):
                ats = [at for _, at in sorted(zip(indexes, ats, strict=True))]
            for position, at in enumerate(ats):
                found[at] = position
    return found


def sequences(ids: Sequence[str], positions: Sequence[int], first: int) -> list[int]:
    """Numbers from `first` on, message by message in the order they came, within each by position."""
    starts: dict[str, int] = {}
    return [
        first + starts.setdefault(message_id, at) + position
        for at, (message_id, position) in enumerate(zip(ids, positions, strict=True))
    ]


def otid_index(message_id: str, otid: Any) -> int | None:
    """The index in an item's otid, or None where its otid is not made of its id."""
    if otid == message_id:
        return _LAST
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
        row = {"tool_call_id": sent.get("id"), "type": sent.get("type"), **_only(_FUNCTION, function)}
        known = sent.keys() <= _OPENAI_TOOL_CALL and function.keys() <= _FUNCTION
    else:
        row = _only(_TOOL_CALL, sent)
        known = sent.keys() <= _TOOL_CALL
    arguments = row.get("arguments")
    if isinstance(arguments, str):
        row["arguments_json"] = parsing(arguments)
    elif arguments is not None:
        row["arguments"] = row["arguments_json"] = to_json(arguments)
    return row, known


def _only(names: Collection[str], sent: Item) -> Row:
    return {name: sent[name] for name in names if name in sent}


def parsing(text: str) -> str | None:
    """`text` if it is JSON that every warehouse takes, made so if need be; None if it is no JSON."""
    try:
        orjson.loads(text)
        if "\\u0000" not in text and text.count("[") + text.count("{") <= MAX_DEPTH:
            return text
    except ValueError:
        # It takes no lone surrogate.
        pass
    try:
        return to_json(parse_json(text.encode(errors="surrogatepass")))
    except ValueError:
        return None


def tool_return(sent: Any) -> tuple[Row, bool]:
    """A tool's return; batch messages call its text `func_response`."""
    return _returned(sent, _TOOL_RETURN)


def _returned(sent: Any, names: set[str]) -> tuple[Row, bool]:
    if not isinstance(sent, dict):
        return {}, False
    if "func_response" in sent and "tool_return" not in sent:
        sent = {"tool_return": sent["func_response"], **sent}
        del sent["func_response"]
    row = _only(names, sent)
    for stream in ("stdout", "stderr"):
        row[stream] = to_json(row.get(stream))
    return row, sent.keys() <= names


def approval(sent: Any) -> tuple[Row, bool]:
    """An answer to a request for approval, or the return of a tool that the caller ran."""
    row, whole = _returned(sent, _APPROVAL)
    approve = row.get("approve")
    fits = approve is None or isinstance(approve, bool)
    return {**row, "approve": approve if fits else None}, whole and fits


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
    row = _only(_CONTENT_PART, sent)
    kind = str(sent.get("type"))
    if kind == "image":
        row.update(_image_source(unknown, row))
    for field, column in _RENAMED.get(kind, {}).items():
        if field in unknown and column not in row:
            row[column] = unknown.pop(field)
    if kind in _JSON:
        row[_JSON[kind]] = to_json(unknown.pop(_JSON[kind], None))
    for name in ("is_native", "is_error"):
        if row.get(name) is not None and not isinstance(row[name], bool):
            unknown[name] = row.pop(name)
    row["extra"] = to_json(unknown) if unknown else None
    return row


def _image_source(unknown: dict[str, Any], taken: Collection[str]) -> Row:
    source = unknown.get("source")
    if not isinstance(source, dict):
        return {}
    names = _IMAGE_SOURCE - set(taken)
    del unknown["source"]
    if beyond := {k: v for k, v in source.items() if k not in names and k != "type"}:
        unknown["source"] = beyond
    return {**_only(names, source), "source_type": source.get("type")}


def search_result(sent: Any) -> Any:
    """The message with the ranks beside it; some servers send its id only, as `message_id`."""
    if not isinstance(sent, dict):
        return sent
    message = sent.get("message")
    if isinstance(message, dict):
        beside = {k: v for k, v in sent.items() if k != "message"}
        taken = {k: v for k, v in beside.items() if k in message}
        return {**beside, **message, **({"search_result": taken} if taken else {})}
    if "id" in sent:
        return sent
    return {"id": sent.get("message_id"), **{k: v for k, v in sent.items() if k != "message_id"}}
