"""Any item with an id is loaded whole: each field is in its column or in `extra`."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letta_source.rows.flatten import Rows
from letta_source.schema.card import Resource
from letta_source.schema.columns import Column
from letta_source.schema.resources import RESOURCES

Json = dict[str, Any]
Cells = dict[str, list[Json]]

UNSAFE = re.compile("[\0\ud800-\udfff]")
SAFE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
ANY_TEXT = st.text(st.characters(exclude_categories=()) | st.sampled_from("\0\ud800\udfff"), max_size=5)
# Credentials of agents are removed, which test_flatten.py tests.
CREDENTIALS = {"secrets", "tool_exec_environment_variables"}
CHILDREN = ("tool_calls", "tool_returns", "approvals")
RETURN_DOUBLES = ("tool_return", "status", "tool_call_id", "stdout", "stderr")
NAMES = """type text signature reasoning is_native data source url tool_call_id name is_error id input summary
    content encrypted_content extra _deleted message_id position idx arguments arguments_json function
    tool_return func_response status stdout stderr approve reason agent_id"""
TYPES = ("text", "image", "tool_call", "tool_return", "reasoning", "summarized_reasoning", "function")
RENAMED = {
    "tool_call": {"id": "tool_call_id"},
    "tool_return": {"content": "text"},
    "summarized_reasoning": {"id": "content_id"},
}
each_resource = pytest.mark.parametrize(
    "name", ["agents", "agent_messages", "batch_messages", "messages", "message_search"]
)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _items(resource: Resource, texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[Json]]:
    """Return pages of items whose fields, known or not, hold anything, sometimes lookalikes of children."""
    plain = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts
        | st.sampled_from(["", "2026-11-21T08:09:28", "2026-11-21T08:09:28Z", 2**53 + 1, 2**63, -(2**70)])
    )
    names = st.sampled_from(NAMES.split()) | texts
    source = st.dictionaries(names, plain, max_size=3)
    nested = plain | source | st.lists(plain, max_size=2)
    part = st.dictionaries(names, nested, max_size=5)
    typed = st.builds(lambda part, type_: {**part, "type": type_}, part, st.sampled_from(TYPES))
    fields = {column.field for column in resource.root.columns} - CREDENTIALS
    if resource.children:
        fields |= {*resource.children, *RETURN_DOUBLES, "tool_call"}
    item = st.dictionaries(
        st.sampled_from(sorted(fields)) | texts,
        nested | part | st.lists(part | typed | nested, max_size=3),
        max_size=8,
    )
    ids = st.sampled_from(["message-a", "message-b"]) | texts.filter(bool)
    return st.lists(st.builds(lambda item, id_: {**item, "id": id_}, item, ids), min_size=1, max_size=3)


def _landed(resource: Resource, items: list[Json]) -> Cells:
    rows = Rows(resource, tombstones=True)
    rows.add(items, "parent-1", read_again=True)
    tables = rows.tables("load-1")
    for _, table in tables:
        table.validate(full=True)
    return {name: table.to_pylist() for name, table in tables}


def _same(one: Any, other: Any) -> bool:
    """Return True if two values are equal, with 1, 1.0 and true all different."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _loads(cell: str | None) -> Any:
    return None if cell is None else json.loads(cell)


def _listed(sent: Any) -> list[Any]:
    return sent if isinstance(sent, list) else [] if sent is None else [sent]


def _holds(column: Column, cell: Any, sent: Any) -> bool:
    """Return True if the cell holds all that was sent."""
    if sent is None or cell is None:
        return sent is cell
    if column.type == "timestamp":
        return isinstance(cell, datetime) and isinstance(sent, str)
    if column.type == "double" or (column.type == "text" and isinstance(sent, str)):
        return bool(cell == sent)
    return _same(json.loads(cell) if column.type in ("text", "json") else cell, sent)


def _row_holds(columns: dict[str, Column], row: Json, sent: Json, extra: Json) -> bool:
    """Return True if each field is in its column, or unchanged in `extra`."""
    return all(
        _same(extra[name], value) if name in extra else _holds(columns[name], row[name], value)
        for name, value in sent.items()
    )


def _part_holds(columns: dict[str, Column], row: Json, sent: Any) -> bool:
    extra = _loads(row["extra"])
    if not isinstance(sent, dict):
        return _same(extra, sent)
    extra = extra or {}
    names = RENAMED.get(str(sent.get("type")), {})
    rest: Json = {
        field if field in extra else names.get(field) or field: value for field, value in sent.items()
    }
    if sent.get("type") == "image" and isinstance(sent.get("source"), dict):
        as_source = {**row, "type": row["source_type"]}
        if not _row_holds(columns, as_source, rest.pop("source"), extra.get("source", {})):
            return False
    return _row_holds(columns, row, rest, extra)


def _call_holds(columns: dict[str, Column], row: Json, sent: Json) -> bool:
    if isinstance(sent.get("function"), dict):
        sent = {"tool_call_id": sent.get("id"), "type": sent.get("type"), **sent["function"]}
    elif "func_response" in sent:
        sent = {"tool_return": sent["func_response"], **sent}
        del sent["func_response"]
    return _row_holds(columns, row, sent, {})


def _child_holds(resource: Resource, landed: Cells, root: Json, child: str, sent: list[Any]) -> bool:
    """Return True if the child's rows, or else the root's `extra`, hold all objects that were sent."""
    table = (resource.children or {})[child]
    columns = {column.name: column for column in table.columns}
    key = (root["id"], root["position"])
    rows = [row for row in landed.get(table.name, []) if (row["message_id"], row["position"]) == key]
    extra = _loads(root["extra"]) or {}
    if child in extra:
        return len(rows) == len(sent) and _same(extra[child], sent)
    holds = _part_holds if child == "content" else _call_holds
    return all(holds(columns, row, one) for row, one in zip(rows, sent, strict=True))


def _item_holds(resource: Resource, landed: Cells, root: Json, item: Json) -> bool:
    columns = {column.field: column for column in resource.root.columns if column.name != "extra"}
    cells = {field: root[column.name] for field, column in columns.items()}
    rest = dict(item)
    if resource.parent and rest.get(resource.parent.name) is None:
        rest.pop(resource.parent.name, None)
    if not resource.children:
        return _row_holds(columns, cells, rest, _loads(root["extra"]) or {})
    content = rest.pop("content", None)
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    calls, returns, approvals = (_listed(rest.pop(name, None)) for name in CHILDREN)
    calls = calls or _listed(rest.get("tool_call"))
    if not returns and rest.get("tool_return") is not None:
        returns = [{name: rest[name] for name in RETURN_DOUBLES if name in rest}]
    sent = {"content": _listed(content), "tool_calls": calls, "tool_returns": returns}
    # Without approvals, the rows repeat fields that are columns of the root.
    sent |= {"approvals": approvals} if approvals else {}
    returned = returns[0] if returns and isinstance(returns[0], dict) else {}
    repeated = {
        "tool_call": calls[0] if calls else None,
        **{name: returned.get(name) for name in RETURN_DOUBLES},
    }
    rest = {
        field: value
        for field, value in rest.items()
        if field in cells or field not in repeated or value not in (None, repeated[field])
    }
    return _row_holds(columns, cells, rest, _loads(root["extra"]) or {}) and all(
        _child_holds(resource, landed, root, child, listed) for child, listed in sent.items()
    )


@each_resource
@quick
@given(data=st.data())
def test_every_field_is_loaded(name: str, data: st.DataObject) -> None:
    items = data.draw(_items(RESOURCES[name], SAFE_TEXT))
    landed = _landed(RESOURCES[name], items)
    for root, item in zip(landed[name], items, strict=True):
        assert _item_holds(RESOURCES[name], landed, root, item)


@each_resource
@quick
@given(data=st.data())
def test_no_cell_has_nul_or_lone_surrogates(name: str, data: st.DataObject) -> None:
    items = data.draw(_items(RESOURCES[name], ANY_TEXT))
    landed = _landed(RESOURCES[name], items)
    assert len(landed[name]) == len(items)
    for table in RESOURCES[name].tables:
        json_columns = [column.name for column in table.columns if column.type == "json"]
        for row in landed.get(table.name, []):
            texts = [cell for cell in row.values() if isinstance(cell, str)]
            texts += [json.dumps(_loads(row[column]), ensure_ascii=False) for column in json_columns]
            assert not any(UNSAFE.search(text) for text in texts)
