"""Everything that was recorded lands, value by value, where the contract says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from letta_source.demo.shapes import recorded
from letta_source.flatten import Rows, split_page, without_credentials
from letta_source.tables import RESOURCES

Json = dict[str, Any]
Cells = dict[str, list[Json]]

FILES = """agents agent_messages agent_messages_default_rendering group_messages step_messages batch_messages
    conversations all_messages"""
# The id of what a list hangs from is the path's.
PATHS = {
    r"/v1/agents/": "agents",
    r"/v1/groups/": "groups",
    r"/v1/runs/": "runs",
    r"/v1/runs/[^/]+/steps": "steps",
    r"/v1/conversations/": "conversations",
    r"/v1/messages/batches(?:/[^/]+)?": "batches",
    r"/v1/agents/([^/]+)/messages": "agent_messages",
    r"/v1/groups/([^/]+)/messages": "group_messages",
    r"/v1/steps/([^/]+)/messages": "step_messages",
    r"/v1/conversations/([^/]+)/messages": "conversation_messages",
    r"/v1/messages/batches/([^/]+)/messages": "batch_messages",
    r"/v1/messages/": "messages",
}
KEYS = {"agent_id", "group_id", "step_id", "conversation_id", "batch_id", "message_id", "position", "idx"}
DOUBLES = {"tool_call", "tool_return", "status", "tool_call_id", "stdout", "stderr"}
LISTS = {"content", "tool_calls", "tool_returns", "approvals"}


def _pages() -> Iterator[tuple[str, str, list[Json]]]:
    for answer in (answer for file in FILES.split() for answer in recorded(file) if answer["status"] == 200):
        for path, resource in PATHS.items():
            if match := re.fullmatch(path, answer["path"]):
                body = answer["body"]
                if isinstance(body, dict):
                    body = body["messages"] if resource == "batch_messages" else [body]
                yield resource, "".join(match.groups()), body


PAGES = list(_pages())


def _landed(resource: str, items: list[Json], parent: str = "", read_again: bool = False) -> Cells:
    rows = Rows(RESOURCES[resource], "load-1", tombstones=True)
    rows.add(items, parent, read_again)
    return _cells(rows)


def _cells(rows: Rows) -> Cells:
    return {name: table.to_pylist() for name, table in rows.tables()}


def _value(cell: Any, sent: Any) -> Any:
    """What a cell says, in the form of what was sent."""
    if isinstance(cell, datetime):
        moment = datetime.fromisoformat(str(sent).replace("Z", "+00:00"))
        assert cell == (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
        return sent
    return json.loads(cell) if isinstance(cell, str) and isinstance(sent, (dict, list)) else cell


def _children(landed: Cells, table: str, root: Json) -> list[Json]:
    """What is not null in the rows of one item."""
    rows = [
        row
        for row in landed.get(table, [])
        if (row["message_id"], row["position"]) == (root["id"], root["position"])
    ]
    assert [row["idx"] for row in rows] == list(range(len(rows)))
    return [{k: v for k, v in row.items() if v is not None and k not in {*KEYS, "_dlt_load_id"}} for row in rows]


def _sent(child: str, item: Json) -> list[Json]:
    """The rows that an item's children should be, from what is not null in them."""
    sent = item.get(child) or []
    if isinstance(sent, str):
        return [{"type": "text", "text": sent}]
    rows = []
    for one in sent:
        row = {**one, **one.get("function", {}), **one.get("source", {})}
        if "source" in one:
            row |= {"type": "image", "source_type": one["source"]["type"]}
        if "function" in one:
            row["tool_call_id"] = row.pop("id")
        if "func_response" in one:
            row["tool_return"] = row.pop("func_response")
        if "arguments" in row:
            row["arguments_json"] = json.loads(row["arguments"])
        rows.append({k: v for k, v in row.items() if v is not None and k not in ("function", "source")})
    return rows


def test_every_list_was_recorded() -> None:
    assert {resource for resource, _, page in PAGES if page} == set(RESOURCES) - {"message_search"}


@pytest.mark.parametrize("resource", sorted({resource for resource, _, _ in PAGES}))
def test_recorded_items_land_value_by_value(resource: str) -> None:
    parent = RESOURCES[resource].parent
    for _, parent_id, items in (page for page in PAGES if page[0] == resource and page[2]):
        landed = _landed(resource, items, parent_id)
        assert len(landed[resource]) == len(items)
        for item, row in zip(items, landed[resource], strict=True):
            assert row["extra"] is None
            assert row["_dlt_load_id"] == "load-1"
            assert not parent or row[parent.name] == parent_id
            for field, value in item.items():
                column = "created_at" if field == "date" else field
                if parent is None or field not in LISTS | DOUBLES - row.keys():
                    ...
