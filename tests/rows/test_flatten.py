"""Recorded items are loaded value by value; unknown fields are loaded too, if only into `extra`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from letta_source.demo.shapes import recorded
from letta_source.items import split_page
from letta_source.rows.flatten import Rows, positions_and_sequence, without_credentials
from letta_source.schema.resources import RESOURCES

Json = dict[str, Any]
Cells = dict[str, list[Json]]

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
    r"/v1/blocks/": "blocks",
    r"/v1/agents/([^/]+)/core-memory/blocks": "agent_blocks",
    r"/v1/steps/([^/]+)/metrics": "step_metrics",
    r"/v1/tools/": "tools",
    r"/v1/identities/": "identities",
    r"/v1/archives/": "archives",
    r"/v1/agents/([^/]+)/archival-memory": "passages",
}
DOUBLES = {"tool_call", "tool_return", "status", "tool_call_id", "stdout", "stderr"}
CHILDREN = {"content", "tool_calls", "tool_returns", "approvals"}
LEFT_OUT = {"embedding"}


def _pages() -> Iterator[tuple[str, str, list[Json]]]:
    """Yield each recorded page after its resource and the id in its path."""
    for file in ("agents", "agent_messages", "agent_messages_default_rendering", "all_messages",
                 "batch_messages", "conversations", "group_messages", "memory", "step_messages"):  # fmt: skip
        for answer in recorded(file):
            for path, resource in PATHS.items():
                match = re.fullmatch(path, answer["path"])
                if match and answer["status"] == 200:
                    body = answer["body"]
                    items = body if isinstance(body, list) else body.get("messages", [body])
                    yield resource, "".join(match.groups()), items


PAGES = [page for page in _pages() if page[2]]


def _cells(rows: Rows) -> Cells:
    return {name: table.to_pylist() for name, table in rows.tables("load-1")}


def _landed(resource: str, *items: Json, parent: str = "", read_again: bool = False) -> Cells:
    rows = Rows(RESOURCES[resource], tombstones=True)
    rows.add(items, parent, read_again)
    return _cells(rows)


def _extra(resource: str, item: Json, parent: str = "") -> Any:
    (row,) = _landed(resource, item, parent=parent)[resource]
    return row["extra"] and json.loads(row["extra"])


def _says(cell: Any, sent: Any) -> bool:
    if isinstance(cell, datetime):
        moment = datetime.fromisoformat(sent.replace("Z", "+00:00"))
        return cell == (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
    return bool((json.loads(cell) if isinstance(sent, (dict, list)) else cell) == sent)


def _child(one: Json) -> Json:
    """Return the expected row of one object of a child's list, without nulls."""
    row = {**one, **one.get("function", {}), **one.get("source", {})}
    if "source" in one:
        row |= {"type": one["type"], "source_type": one["source"]["type"]}
    if "function" in one:
        row["tool_call_id"] = one["id"]
    if "func_response" in one:
        row["tool_return"] = one["func_response"]
    if "arguments" in row:
        row["arguments_json"] = json.loads(row["arguments"])
    return {
        k: v
        for k, v in row.items()
        if v is not None and k not in ("function", "source", "id", "func_response")
    }


def _children(item: Json, child: str) -> list[Json]:
    sent = item.get(child) or []
    return [{"type": "text", "text": sent}] if isinstance(sent, str) else [_child(one) for one in sent]


@pytest.mark.parametrize("resource", sorted(RESOURCES.keys() - {"message_search"}))
def test_recorded_items_are_loaded_value_by_value(resource: str) -> None:
    pages = [page for page in PAGES if page[0] == resource]
    assert pages
    for _, parent_id, items in pages:
        rows = _landed(resource, *items, parent=parent_id)[resource]
        parent = RESOURCES[resource].parent
        for item, row in zip(items, rows, strict=True):
            assert row["extra"] is None
            assert parent is None or row[parent.name] == parent_id
            for field, value in item.items():
                column = {"date": "created_at", "limit": "char_limit", "metadata_": "metadata"}.get(
                    field, field
                )
                if parent and field == parent.name:
                    assert value in (parent_id, None)
                elif column in row:
                    assert _says(row[column], value), field
                else:
                    assert field in CHILDREN | DOUBLES | LEFT_OUT


@pytest.mark.parametrize("resource", [name for name, of in RESOURCES.items() if of.children])
@pytest.mark.parametrize("child", sorted(CHILDREN))
def test_recorded_children_are_loaded_value_by_value_and_once(resource: str, child: str) -> None:
    for _, parent_id, items in (page for page in PAGES if page[0] == resource):
        landed = _landed(resource, *items, parent=parent_id)
        rows = landed.get(f"{resource}__{child}", [])
        expected = [
            {"message_id": row["id"], "position": row["position"], "idx": idx, **one}
            for item, row in zip(items, landed[resource], strict=True)
            for idx, one in enumerate(_children(item, child))
        ]
        parent = RESOURCES[resource].parent
        for row, sent in zip(rows, expected, strict=True):
            filled = {k: v for k, v in row.items() if v is not None}
            assert filled.pop("_dlt_load_id") == "load-1"
            assert parent is None or filled.pop(parent.name) == parent_id
            assert filled.keys() == sent.keys()
            assert all(_says(filled[name], value) for name, value in sent.items())


def test_recorded_text_is_the_content_or_its_text_parts() -> None:
    for resource, parent_id, items in PAGES:
        if RESOURCES[resource].children:
            for item, row in zip(items, _landed(resource, *items, parent=parent_id)[resource], strict=True):
                content = item.get("content")
                parts = content if isinstance(content, list) else []
                joined = "\n".join(part["text"] for part in parts if part["type"] == "text")
                assert row["text"] == (content if isinstance(content, str) else joined or None)


def test_recorded_keys_are_unique() -> None:
    for resource, parent_id, items in PAGES:
        landed = _landed(resource, *items, parent=parent_id)
        for table in RESOURCES[resource].tables:
            keys = [tuple(row[name] for name in table.primary_key) for row in landed.get(table.name, [])]
            assert len(set(keys)) == len(keys)


def test_an_item_has_the_same_position_on_every_endpoint() -> None:
    found: dict[str, dict[Any, int]] = {"agent_messages": {}, "step_messages": {}}
    for resource, parent_id, items in PAGES:
        if resource in found:
            rows = _landed(resource, *items, parent=parent_id)[resource]
            found[resource] |= {(row["id"], row["otid"]): row["position"] for row in rows if row["otid"]}
    agents, steps = found.values()
    both = agents.keys() & steps.keys()
    assert any(steps[key] for key in both)
    assert any(id_ == otid for id_, otid in both), "no request for approval"
    assert {key: steps[key] for key in both} == {key: agents[key] for key in both}


CALL = {"name": "roll", "arguments": "{}", "tool_call_id": "c"}
OTHER = {"name": "stop", "arguments": "{}", "tool_call_id": "d"}
BACK = {"tool_return": "4", "status": "success", "tool_call_id": "c", "stdout": ["a"], "stderr": []}


@pytest.mark.parametrize(
    ("item", "ids"),
    [
        ({"tool_call": CALL}, ["c"]),
        ({"tool_calls": CALL}, ["c"]),
        ({"tool_calls": [], "tool_call": CALL}, ["c"]),
        ({"tool_calls": None, "tool_call": CALL}, ["c"]),
        ({"tool_calls": [CALL], "tool_call": CALL}, ["c"]),
        ({"tool_calls": [CALL, OTHER], "tool_call": CALL}, ["c", "d"]),
        (BACK, ["c"]),
        ({"tool_returns": BACK}, ["c"]),
        ({**BACK, "tool_returns": [BACK]}, ["c"]),
        ({**BACK, "tool_returns": [BACK, {**BACK, "tool_call_id": "d"}]}, ["c", "d"]),
        ({"approve": False, "approval_request_id": "c", "reason": "no"}, ["c"]),
        ({"approvals": [{"type": "tool", "tool_call_id": "c"}]}, ["c"]),
        (
            {
                "approve": True,
                "approval_request_id": "c",
                "approvals": [{"approve": True, "tool_call_id": "c"}],
            },
            ["c"],
        ),
    ],
)
def test_deprecated_singulars_make_rows_only_if_the_plural_is_missing(item: Json, ids: list[str]) -> None:
    root, *children = _landed("messages", {"id": "m", **item}).values()
    assert [[row["tool_call_id"] for row in rows] for rows in children] == [ids]
    assert root[0]["extra"] is None


def test_a_singular_fills_the_same_columns_as_the_plural() -> None:
    for singular, plural in (
        ({"tool_call": CALL}, {"tool_calls": [CALL]}),
        (BACK, {"tool_returns": [BACK]}),
    ):
        assert _landed("messages", {"id": "m", **singular}) == _landed("messages", {"id": "m", **plural})
    denial = {"approve": False, "approval_request_id": "c", "denial_reason": "no"}
    (row,) = _landed("batch_messages", {"id": "m", **denial})["batch_messages__approvals"]
    assert (row["approve"], row["tool_call_id"], row["reason"]) == (False, "c", "no")


@pytest.mark.parametrize(
    ("item", "extra"),
    [
        (
            {"message_type": "tool_progress", "status": "running", "percent": 40},
            {"status": "running", "percent": 40},
        ),
        ({"tool_call_id": "c", "stdout": ["a"]}, {"tool_call_id": "c", "stdout": ["a"]}),
        ({"tool_calls": [CALL], "tool_call": OTHER}, {"tool_call": OTHER}),
        ({**BACK, "tool_returns": [{**BACK, "status": "error"}]}, {"status": "success"}),
        (
            {"text": "t", "position": 5, "extra": 1, "_letta_deleted_at": "2026-01-01", "_dlt_load_id": "x"},
            ...,
        ),
        ({"created_at": "2026-01-01"}, ...),
        ({"tool_calls": [CALL, {**OTHER, "index": 1}]}, ...),
        ({"tool_returns": ["4"]}, ...),
        ({"approvals": [{"approve": "yes"}]}, ...),
        ({"is_err": "yes", "seq_id": 1.5, "date": "soon"}, ...),
    ],
)
def test_fields_without_a_column_go_to_extra(item: Json, extra: Any) -> None:
    assert _extra("messages", {"id": "m", **item}) == (item if extra is ... else extra)


def test_a_root_column_does_not_count_as_a_deprecated_copy_of_a_return() -> None:
    item = {"id": "m", "role": "tool", "tool_call_id": "c"}
    (row,) = _landed("batch_messages", item)["batch_messages"]
    assert (row["tool_call_id"], row["extra"]) == ("c", None)


def test_unknown_types_fill_the_columns_that_they_have() -> None:
    item = {"id": "m", "message_type": "video_message", "content": "hi", "seq_id": 5, "frames": [1]}
    landed = _landed("messages", item)
    (row,), (part,) = landed["messages"], landed["messages__content"]
    assert (row["message_type"], row["text"], row["seq_id"]) == ("video_message", "hi", 5)
    assert json.loads(row["extra"]) == {"frames": [1]}
    assert part["text"] == "hi"


def test_an_items_own_copy_of_its_parents_id_is_the_parent_column() -> None:
    item = {"id": "m", "agent_id": "agent-1", "name": "n"}
    assert _extra("agent_messages", item, "agent-1") is None
    assert _extra("agent_messages", item, "agent-2") == {"agent_id": "agent-1"}


@pytest.mark.parametrize(
    ("content", "text", "parts"),
    [
        (None, None, []),
        ("", "", [("text", "", None)]),
        ([], None, []),
        ({"type": "text", "text": "a"}, "a", [("text", "a", None)]),
        ([{"type": "text", "text": "a"}, {"type": "x", "text": "b"}, {"type": "text", "text": "c"}],
         "a\nc", [("text", "a", None), ("x", "b", None), ("text", "c", None)]),
        ([{"type": "text", "text": {"a": 1}}], None, [("text", '{"a":1}', None)]),
        (5, None, [(None, None, "5")]),
        (["bare"], None, [(None, None, '"bare"')]),
    ],
)  # fmt: skip
def test_contents_of_any_form(content: Any, text: str | None, parts: list[Any]) -> None:
    landed = _landed("messages", {"id": "m", "content": content})
    assert landed["messages"][0]["text"] == text
    rows = landed.get("messages__content", [])
    assert [(row["type"], row["text"], row["extra"]) for row in rows] == parts


@pytest.mark.parametrize("field", ["secrets", "tool_exec_environment_variables"])
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ([{"id": "1", "key": "TOKEN", "value": "sk", "value_enc": "sk"}], [{"id": "1", "key": "TOKEN"}]),
        ({"key": "TOKEN", "value": "sk"}, {"key": "TOKEN"}),
        ({"TOKEN": "sk", "OTHER": {"a": "sk"}}, {"TOKEN": None, "OTHER": None}),
        ([{"TOKEN": "sk"}], [{"TOKEN": None}]),
        (["sk"], [None]),
        ("sk", None),
        ([], []),
        (None, None),
    ],
)
def test_only_the_names_of_credentials_are_loaded(field: str, sent: Any, kept: Any) -> None:
    (row,) = _landed("agents", {"id": "agent-1", field: sent, "metadata": {"value": "v"}})["agents"]
    assert (row[field] and json.loads(row[field])) == kept
    assert "sk" not in str(row)
    assert json.loads(row["metadata"]) == {"value": "v"}


FILLED = {
    "id": "m",
    "content": "hi",
    "tool_calls": [CALL],
    "tool_returns": [BACK],
    "approvals": [{"approve": True}],
}


def _tombstones(landed: Cells) -> list[tuple[Any, ...]]:
    return sorted(
        (name.rpartition("__")[2], row["agent_id"], row["message_id"])
        for name, rows in landed.items()
        for row in rows
        if row.get("_deleted")
    )


@pytest.mark.parametrize("child", sorted(CHILDREN))
def test_a_message_read_again_gets_tombstones_for_children_it_lost(child: str) -> None:
    left = {**FILLED, child: None}
    landed = _landed("agent_messages", left, {**left, "otid": "b"}, parent="agent-1", read_again=True)
    assert _tombstones(landed) == [(child, "agent-1", "m")]
    (row,) = landed[f"agent_messages__{child}"]
    assert (row["position"], row["idx"], row["_deleted"]) == (-1, -1, True)


def test_a_child_of_any_item_of_the_message_prevents_the_tombstone() -> None:
    landed = _landed("agent_messages", {"id": "m"}, FILLED, {"id": "m"}, parent="agent-1", read_again=True)
    assert _tombstones(landed) == []


def test_first_reads_and_destinations_without_deletes_get_no_tombstones() -> None:
    assert _landed("agent_messages", {"id": "m"}, parent="agent-1").keys() == {"agent_messages"}
    rows = Rows(RESOURCES["agent_messages"], tombstones=False)
    rows.add([{"id": "m"}], "agent-1", read_again=True)
    assert _cells(rows).keys() == {"agent_messages"}


def test_parents_that_share_a_message_do_not_shadow_each_other() -> None:
    rows = Rows(RESOURCES["agent_messages"], tombstones=True)
    rows.add([FILLED], "agent-1", read_again=True)
    rows.add([{"id": "m"}], "agent-2", read_again=True)
    landed = _cells(rows)
    assert _tombstones(landed) == [(child, "agent-2", "m") for child in sorted(CHILDREN)]
    assert [row["position"] for row in landed["agent_messages"]] == [0, 0]


def test_rows_start_anew_after_tables_were_returned() -> None:
    rows = Rows(RESOURCES["agent_messages"], tombstones=True)
    assert rows.tables("load-1") == []
    rows.add([FILLED], "agent-1")
    assert rows.count == 1
    assert len(rows.tables("load-1")) == 5
    assert (rows.count, rows.tables("load-1")) == (0, [])


def test_sequence_grows_by_message_across_pages() -> None:
    rows = Rows(RESOURCES["step_messages"], tombstones=True, sequence=100)
    otid = "0f7b1a52-93c4-4d58-a51e-64a2e0b8d4"
    backwards = [{"id": f"message-{otid}00", "otid": f"{otid}{index}"} for index in ("02", "01", "00")]
    rows.add([{"id": "m"}, *backwards, {"id": "l"}], "step-1")
    rows.add([{"id": "n"}], "step-2")
    landed = _cells(rows)["step_messages"]
    assert [(row["position"], row["sequence"]) for row in landed] == [
        (0, 100), (2, 103), (1, 102), (0, 101), (0, 104), (0, 105),
    ]  # fmt: skip


def test_items_without_a_text_id_are_not_rows() -> None:
    others = [{"id": ""}, {"id": 5}, {"id": None}, {}, [], "a", None]
    a, b = {"id": "a"}, {"id": "b"}
    assert split_page([a, *others, b]) == ([a, b], [(others, "a")])
    assert split_page([{}, a, b, 1]) == ([a, b], [([{}], ""), ([1], "b")])
    assert split_page([1, 2]) == ([], [([1, 2], "")])
    assert split_page([]) == ([], [])


@pytest.mark.parametrize(
    "unfit", ["a\0", "\ud800", "a/b", "..", "a?b", "a#b", "a%2Fb", "a b", "a\n", "a" * 256]
)
def test_an_id_that_no_url_or_key_can_hold_is_invalid(unfit: str) -> None:
    assert split_page([{"id": unfit}]) == ([], [([{"id": unfit}], "")])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ([{"id": "env-1", "value": "canary"}], [{"id": "env-1"}]),
        ({"id": "env-1", "value_enc": "canary", "description": None}, {"id": "env-1", "description": None}),
        ([{"key": "TOKEN", "value": "canary", "agent_id": "a"}], [{"key": "TOKEN", "agent_id": "a"}]),
        ({"TOKEN": "canary", "value": "canary"}, {"TOKEN": None, "value": None}),
        ([["canary"], "canary", 5, None], [[None], None, None, None]),
    ],
)
def test_credentials_lose_their_values_in_any_form(sent: Any, kept: Any) -> None:
    assert without_credentials("secrets", sent) == kept
    assert without_credentials("tags", sent) == sent


@pytest.mark.parametrize(
    ("otids", "positions"),
    [
        # Chosen by the caller: that they end in hex digits gives no order.
        (["own-05", "own-03", "own-01"], [0, 1, 2]),
        (["f00d05", "f00d03", None], [0, 1, 2]),
        (["00000000-0000-4000-8000-000000000102", "00000000-0000-4000-8000-000000000101", "x"], [0, 1, 2]),
        (
            [f"00000000-0000-4000-8000-0000000001{index}" for index in ("82", "81", "80")],
            [2, 1, 0],
        ),
    ],
)
def test_only_otids_derived_from_the_id_give_an_order(otids: list[Any], positions: list[int]) -> None:
    ids = ["message-00000000-0000-4000-8000-000000000180"] * 3
    assert list(positions_and_sequence(ids, otids, 0)[0]) == positions
