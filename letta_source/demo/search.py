"""The search over all messages, which only Cloud has."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .letta import Letta
from .pages import unprocessable
from .renderings import UnreadableMessageError, sent_text
from .shapes import SEND_MESSAGE, Json, moment

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 100
_RRF_CONSTANT = 60


def search(letta: Letta, body: Any) -> list[Json]:
    """Return the newest messages whose text contains the query, ignoring case.

    Args:
        letta: The Letta to search.
        body: query, and optionally limit (1 to 100), start_date (later than), end_date (up to).

    Raises:
        Problem: 422 for a bad body.
    """
    request = body if isinstance(body, dict) else {}
    query, limit = request.get("query"), request.get("limit") or _DEFAULT_LIMIT
    if not isinstance(query, str):
        raise unprocessable("body", "query", "Field required")
    if not isinstance(limit, int) or not 1 <= limit <= _MAX_LIMIT:
        raise unprocessable("body", "limit", f"Input should be between 1 and {_MAX_LIMIT}")
    start, end = _date(request, "start_date"), _date(request, "end_date")
    results: list[Json] = []
    for message_id in reversed(letta.messages.ids()):
        stored = letta.messages.rows[message_id]
        if (start and stored.created_at <= start) or (end and stored.created_at > end):
            continue
        message = stored.internal()
        text = _text(message)
        if query.lower() not in text.lower():
            continue
        if message_id in letta.poisoned:
            raise UnreadableMessageError(letta.poisoned[message_id])
        rank = len(results) + 1
        score = {"rrf_score": 1 / (_RRF_CONSTANT + rank), "fts_rank": rank, "vector_rank": None}
        results.append({"embedded_text": text, "message": message, **score})
        if rank == limit:
            break
    return results


def _date(request: Json, name: str) -> datetime | None:
    try:
        return moment(request[name]) if request.get(name) else None
    except ValueError as error:
        raise unprocessable("body", name, "Input should be a valid datetime") from error


def _text(message: Json) -> str:
    parts = [part["text"] for part in message["content"] or [] if part.get("type") == "text"]
    for call in message["tool_calls"] or []:
        function = call["function"]
        if function["name"] == SEND_MESSAGE:
            parts.append(sent_text({"arguments": function["arguments"]}) or "")
    return "\n".join(parts)
