"""Any item with an id lands whole: each field is found again in its column or in extra."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letta_source.flatten import Rows
from letta_source.tables import RESOURCES, Column, Resource

Json = dict[str, Any]

MESSAGES = ["agent_messages", "batch_messages", "messages", "message_search"]
CREDENTIALS = {"secrets", "tool_exec_environment_variables"}
UNSAFE = re.compile("[\0\ud800-\udfff]")
# The singular doubles, and the child whose first object they repeat.
DOUBLES = dict.fromkeys(["tool_return", "status", "tool_call_id", "stdout", "stderr"], "tool_returns")
PART_NAMES = """type text signature reasoning is_native data source tool_call_id name is_error id input summary
    content encrypted_content extra _deleted message_id position idx arguments arguments_json function
    tool_return func_response status stdout stderr approve reason agent_id"""
PART_TYPES = ["text", "image", "tool_call", "tool_return", "reasoning", "summarized_reasoning", "function"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53 + 1, 2**63, -(2**70), "2026-11-21T08:09:28", "2026-11-21T08:09:28Z", ""])
    | st.floats(allow_nan=False, allow_infinity=False)
)


def _items(resource: Resource, texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[Json]]:
    """Pages of items whose fields, known or not, hold anything; also what only looks like their children."""
    plain = scalars | texts
    nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=4)
    names = st.sampled_from(PART_NAMES.split()) | texts
    part = st.dictionaries(names, nested | st.dictionaries(names, nested, max_size=3), max_size=5)
    typed = st.builds(lambda part, type_: {**part, "type": type_}, part, st.sampled_from(PART_TYPES))
    fields = [column.field for column in resource.root.columns]
    if resource.children:
        fields += [*resource.children, *DOUBLES, "tool_call", "approve", "role"]
    item = st.dictionaries(
        st.sampled_from([field for field in fields if field not in CREDENTIALS]) | texts,
        nested | part | st.lists(part | typed | nested, max_size=3),
        max_size=8,
    )
    ids = st.sampled_from(["message-a", "message-b"]) | texts.filter(bool)
    return st.lists(st.builds(lambda item, id_: {**item, "id": id_}, item, ids), min_size=1, max_size=3)


def _landed(resource: Resource, items: list[Json]) -> dict[str, list[Json]]:
    rows = Rows(resource, "load-1", tombstones=True)
    rows.add(items, "parent-1", read_again=True)
    tables = rows.tables()
    for _, table in tables:
        table.validate(full=True)
    return {name: table.to_pylist() for name, table in tables}


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _loads(cell: str | None) -> Any:
    return None if cell is None else json.loads(cell)


def _holds(column: Column, cell: Any, sent: Any) -> bool:
    """Whether the cell says all that was sent."""
    if sent is None or cell is None:
        return sent is cell
    if column.type == "timestamp":
        return isinstance(cell, datetime) and isinstance(sent, str)
    if column.type == "text" and isinstance(sent, str):
        return bool(cell == sent)
    if column.type == "double":
        return bool(cell == sent) and type(sent) in (int, float)
    return _same(json.loads(cell) if column.type in ("text", "json") else cell, sent)


class _Found:
    """What one root row and its children say."""

    def __init__(self, resource: Resource, landed: dict[str, list[Json]], row: Json) -> None:
        self.extra: Json = _loads(row["extra"]) or {}
        self.children: dict[str, list[Json]] = {}
        self._columns: dict[str, dict[str, Column]] = {}
        for child, table in (resource.children or {}).items():
            self._columns[child] = {column.name: column for column in table.columns}
            self.children[child] = [
                one
                for one in landed.get(table.name, [])
                if (one["message_id"], one["position"]) == (row["id"], row["position"])
            ]

    def whole(self, child: str, sent: Any) -> bool:
        """Whether the rows of a child, or extra, say all that was sent as one."""
        listed = sent if isinstance(sent, list) else [sent]
        if child == "content" and isinstance(sent, str):
            listed = [{"type": "text", "text": sent}]
        rows = self.children[child]
        if len(rows) != len(listed):
            return False
        if child in self.extra:
            return _same(self.extra[child], listed)
        says = self._part if child == "content" else self._call
        return all(says(child, row, one) for row, one in zip(rows, listed, strict=True))

    def _call(self, child: str, row: Json, sent: Json) -> bool:
        if isinstance(sent.get("function"), dict):
            sent = {**sent, **sent["function"], "tool_call_id": sent.get("id")}
            sent = {name: value for name, value in sent.items() if name not in ("function", "id")}
        renamed = {"func_response": "tool_return"}
        return all(self._field(child, row, renamed.get(name, name), value) for name, value in sent.items())

    def _part(self, child: str, row: Json, sent: Any) -> bool:
        extra = _loads(row["extra"])
        if not isinstance(sent, dict):
            return _same(extra, sent)
        renamed = {
            "tool_call": {"id": "tool_call_id"},
            "tool_return": {"content": "text"},
            "summarized_reasoning": {"id": "content_id"},
        }.get(str(sent.get("type")), {})
        for name, value in sent.items():
            if sent.get("type") == "image" and name == "source" and isinstance(value, dict):
                beyond = (extra or {}).get("source", {})
                for inner, said in value.items():
                    column = "source_type" if inner == "type" else inner
                    if not (
                        _same(beyond[inner], said)
                        if inner in beyond
                        else self._field(child, row, column, said)
                    ):
                        return False
            elif name in (extra or {}):
                if not _same(extra[name], value):
                    return False
            elif not self._field(child, row, renamed.get(name, name), value):
                return False
        return True

    def _field(self, child: str, row: Json, name: str, sent: Any) -> bool:
        return _holds(self._columns[child][name], row[name], sent)


@pytest.mark.parametrize("name", ["agents", *MESSAGES])
@settings(deadline=None)
@given(data=st.data())
def test_every_field_sent_is_found_again(name: str, data: st.DataObject) -> None:
    resource = RESOURCES[name]
    columns = {column.field: column for column in resource.root.columns if column.name != "extra"}
    items = data.draw(_items(resource, st.text(st.characters(exclude_characters="\0"))))
    landed = _landed(resource, items)
    assert len(landed[name]) == len(items)
    for item, row in zip(items, landed[name], strict=True):
        found = _Found(resource, landed, row)
        for field, sent in item.items():
            if sent is None or field in found.extra and field not in found.children:
                assert _same(found.extra.get(field), sent)
            elif field in found.children:
                assert sent == [] or found.whole(field, sent)
            elif resource.children and field == "tool_call":
                assert found.whole("tool_calls", item.get("tool_calls") or sent)
            elif resource.children and field in DOUBLES and field not in columns:
                assert found.children["tool_returns"]
            elif resource.parent and field == resource.parent.name:
                assert sent == row[field] == "parent-1"
            else:
                assert _holds(columns[field], row[columns[field].name], sent)


@pytest.mark.parametrize("name", ["agents", *MESSAGES])
@settings(deadline=None)
@given(data=st.data())
def test_no_cell_holds_nul_or_lone_surrogates(name: str, data: st.DataObject) -> None:
    texts = st.text(st.characters(exclude_categories=()) | st.sampled_from("\0\ud800\udfff"))
    items = data.draw(_items(RESOURCES[name], texts))
    for rows in _landed(RESOURCES[name], items).values():
        for row in rows:
            for column, cell in row.items():
                assert not isinstance(cell, str) or not UNSAFE.search(cell)
                if column in (
                    "extra",
                    "input",
                    "summary",
                    "stdout",
                    "stderr",
                    "arguments_json",
                    "event_data",
                ):
                    assert not UNSAFE.search(json.dumps(_loads(cell), ensure_ascii=False))
