"""Fields without a column in 0.1.0 have one now, and are no longer in `extra`."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from letta_source.rows.children import search_result
from letta_source.rows.flatten import Rows
from letta_source.schema.resources import RESOURCES

WHEN = "2026-03-04T05:06:07+00:00"
MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
STATS = {"trigger": "context_window_exceeded", "messages_count_before": 41, "messages_count_after": 9}


def _row(resource: str, item: dict[str, Any], parent_id: str = "") -> dict[str, Any]:
    rows = Rows(RESOURCES[resource], tombstones=False)
    rows.add([item], parent_id)
    (found,) = dict(rows.tables("1.0"))[resource].to_pylist()
    return {name: value for name, value in found.items() if value is not None}


def test_of_a_conversation() -> None:
    sent = {"archived": True, "archived_at": WHEN, "description": "chess", "context_window_limit": 32_000}
    row = _row("conversations", {"id": "conv-1", "agent_id": "agent-1", **sent})
    assert row | sent | {"archived_at": MOMENT} == row
    assert "extra" not in row


@pytest.mark.parametrize("resource", ["agent_messages", "step_messages", "messages"])
def test_of_a_summary(resource: str) -> None:
    item = {"id": "message-1", "date": WHEN, "message_type": "summary_message", "summary": "they talked"}
    row = _row(resource, {**item, "compaction_stats": STATS}, "parent-1" if resource != "messages" else "")
    assert json.loads(row["compaction_stats"]) == STATS
    assert "extra" not in row


def test_of_a_search_hit() -> None:
    hit = {"message_id": "message-1", "created_at": WHEN, "agent_id": "agent-1", "reasoning": "so it is"}
    row = _row("message_search", search_result({**hit, "message_type": "reasoning_message"}), "why?")
    assert (row["id"], row["message_type"], row["reasoning"]) == (
        "message-1",
        "reasoning_message",
        "so it is",
    )
    assert "extra" not in row


def test_of_an_agent_when_the_server_sends_them() -> None:
    lists = {"tags": ["a", "b"], "identity_ids": ["identity-1"], "identities": [{"id": "identity-1"}]}
    waits = {"id": "message-2", "date": WHEN, "message_type": "approval_request_message"}
    row = _row("agents", {"id": "agent-1", "name": "n", **lists, "pending_approval": waits})
    assert {name: json.loads(row[name]) for name in lists} == lists
    assert json.loads(row["pending_approval"]) == waits
