"""Each form of an object on the wire becomes one row, with a mark whether the row holds all of it."""

from __future__ import annotations

import json
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.rows import children
from letta_source.rows.flatten import positions_and_sequence
from letta_source.rows.messages import to_list
from letta_source.schema.resources import RESOURCES

Json = dict[str, Any]

CHILDREN = RESOURCES["messages"].children or {}
IMAGE = {"media_type": "image/png", "data": "aGk=", "detail": "low"}
LETTA_IMAGE = {**IMAGE, "file_id": "file-1"}
CALL_PART = {"type": "tool_call", "name": "roll", "signature": "s"}
RETURN_PART = {"type": "tool_return", "tool_call_id": "c", "is_error": False}
SUMMARIZED = {"type": "summarized_reasoning", "encrypted_content": "xx"}
ROLL: Json = {"name": "roll", "arguments": '{"sides": 6}'}
RETURNED = {"tool_call_id": "c", "status": "error", "tool_return": "4", "type": "tool"}
DECISION = {"type": "approval", "tool_call_id": "c", "reason": "no"}


def _shaped(shape: children.Shape, sent: Any) -> tuple[Json, bool]:
    """Return the row of one object, and True if it holds all of the object."""
    (piece,) = children.pieces_of([sent], shape)
    assert piece.places == [0]
    return {name: value for name, (value,) in piece.columns.items()}, piece.whole


def _filled(child: str, row: Json) -> Json:
    """Return the values of a row that are not null, after checking that its keys are columns of the table."""
    assert row.keys() <= {column.name for column in CHILDREN[child].columns} - {"_deleted"}
    return {name: value for name, value in row.items() if value is not None}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "hi", "signature": "s"},
        {"type": "reasoning", "is_native": True, "reasoning": "hm", "signature": "s"},
        {"type": "redacted_reasoning", "data": "xx"},
        {"type": "omitted_reasoning", "signature": "s"},
    ],
)
def test_parts_whose_columns_have_the_names_of_their_fields(part: Json) -> None:
    assert _filled("content", _shaped(children.content_parts, part)[0]) == part


@pytest.mark.parametrize(
    ("part", "row"),
    [
        ({"source": {"type": "url", "url": "u"}}, {"source_type": "url", "url": "u"}),
        ({"source": {"type": "base64", **IMAGE}}, {"source_type": "base64", **IMAGE}),
        ({"source": {"type": "letta", **LETTA_IMAGE}}, {"source_type": "letta", **LETTA_IMAGE}),
        ({**CALL_PART, "id": "c", "input": {"a": 1}}, {**CALL_PART, "tool_call_id": "c", "input": '{"a":1}'}),
        ({**RETURN_PART, "content": "4"}, {**RETURN_PART, "text": "4"}),
        ({**SUMMARIZED, "id": "r", "summary": [1]}, {**SUMMARIZED, "content_id": "r", "summary": "[1]"}),
    ],
)
def test_parts_whose_columns_have_other_names(part: Json, row: Json) -> None:
    typed: Json = {"type": "image"}
    assert _filled("content", _shaped(children.content_parts, {**typed, **part})[0]) == {**typed, **row}


@pytest.mark.parametrize(
    ("part", "row", "extra"),
    [
        ({"type": "video", "text": "t", "frames": 3}, {"type": "video", "text": "t"}, {"frames": 3}),
        ({"type": "video", "id": "v", "input": 1}, {"type": "video"}, {"id": "v", "input": 1}),
        (
            {"type": "image", "source": {"type": "url", "url": "u", "alt": "a"}, "dpi": 72},
            {"type": "image", "source_type": "url", "url": "u"},
            {"source": {"alt": "a"}, "dpi": 72},
        ),
        ({"type": "image", "source": "u"}, {"type": "image"}, {"source": "u"}),
        (
            {"type": "image", "data": "a", "source": {"data": "b"}},
            {"type": "image", "data": "a"},
            {"source": {"data": "b"}},
        ),
        ({**CALL_PART, "id": "a", "tool_call_id": "b"}, {**CALL_PART, "tool_call_id": "b"}, {"id": "a"}),
        ({"type": "tool_return", "is_error": "no"}, {"type": "tool_return"}, {"is_error": "no"}),
        ({"type": "reasoning", "is_native": 1}, {"type": "reasoning"}, {"is_native": 1}),
        ({"_deleted": True, "extra": 1}, {}, {"_deleted": True, "extra": 1}),
    ],
)
def test_unknown_parts_and_fields_go_to_extra(part: Any, row: Json, extra: Any) -> None:
    filled = _filled("content", _shaped(children.content_parts, part)[0])
    assert json.loads(filled.pop("extra")) == extra
    assert filled == row


@pytest.mark.parametrize(
    "sent",
    [
        {**ROLL, "tool_call_id": "c", "type": "function"},
        {"id": "c", "type": "function", "function": ROLL},
    ],
)
def test_tool_calls_in_lettas_form_and_in_openais(sent: Json) -> None:
    row, whole = _shaped(children.tool_calls, sent)
    assert row == {**ROLL, "tool_call_id": "c", "type": "function", "arguments_json": ROLL["arguments"]}
    assert whole


@pytest.mark.parametrize(
    ("arguments", "text", "parsed"),
    [
        ('{"si', '{"si', None),
        ("", "", None),
        (None, None, None),
        ({"a": 1}, '{"a":1}', '{"a":1}'),
        ('"\\ud800"', ..., '"\ufffd"'),
        ('"\ud800"', ..., '"\ufffd"'),
        ('{"a": NaN}', ..., '{"a":"NaN"}'),
        # Deeper nesting stays text.
        ("[" * 202 + "]" * 202, ..., "[" * 200 + '"[[]]"' + "]" * 200),
        # PostgreSQL rejects NUL in json, escaped or not.
        ('{"a": "x\\u0000y", "n": 99999999999999999999}', ..., '{"a":"x\ufffdy","n":99999999999999999999}'),
    ],
)
def test_arguments_stay_as_sent_beside_their_parsed_json(arguments: Any, text: Any, parsed: Any) -> None:
    row, whole = _shaped(children.tool_calls, {"name": None, "arguments": arguments})
    assert row["arguments"] == (arguments if text is ... else text)
    assert row.get("arguments_json") == parsed
    assert whole


@pytest.mark.parametrize(
    ("sent", "row"),
    [
        ({"name": "f", "index": 0}, {"name": "f"}),
        ({"id": "c", "function": {"name": "f", "strict": True}}, {"name": "f", "tool_call_id": "c"}),
        ({"id": "c", "index": 0, "function": {"name": "f"}}, {"name": "f", "tool_call_id": "c"}),
        ({"name": "f", "_deleted": True, "arguments_json": "no json"}, {"name": "f"}),
        ("roll", {}),
    ],
)
def test_tool_calls_with_fields_without_a_column(sent: Any, row: Json) -> None:
    shaped, whole = _shaped(children.tool_calls, sent)
    assert _filled("tool_calls", shaped) == row
    assert not whole


@pytest.mark.parametrize(
    ("sent", "row", "whole"),
    [
        ({**RETURNED, "stdout": ["a"], "stderr": []}, {**RETURNED, "stdout": '["a"]', "stderr": "[]"}, True),
        ({**RETURNED, "stdout": None, "stderr": None}, RETURNED, True),
        ({**RETURNED, "tool_return": [IMAGE]}, {**RETURNED, "tool_return": [IMAGE]}, True),
        ({"tool_call_id": "c", "func_response": "4"}, {"tool_call_id": "c", "tool_return": "4"}, True),
        ({"tool_return": "4", "func_response": "5"}, {"tool_return": "4"}, False),
        ({**RETURNED, "duration_ms": 5, "_deleted": True}, RETURNED, False),
        (["4"], {}, False),
    ],
)
def test_tool_returns_in_returns_and_approvals(sent: Any, row: Json, whole: bool) -> None:
    for child, shape in (("tool_returns", children.tool_returns), ("approvals", children.approvals)):
        shaped, complete = _shaped(shape, sent)
        assert (_filled(child, shaped), complete) == (row, whole)


@pytest.mark.parametrize(
    ("more", "approve", "whole"),
    [
        ({"approve": False}, False, True),
        ({"approve": True}, True, True),
        ({"approve": None}, None, True),
        ({"approve": "yes"}, None, False),
        ({"approve": 1}, None, False),
        ({"approve": True, "by": "user-1"}, True, False),
    ],
)
def test_approvals(more: Json, approve: bool | None, whole: bool) -> None:
    row, complete = _shaped(children.approvals, {**DECISION, **more})
    assert row.pop("approve", None) is approve
    assert _filled("approvals", row) == DECISION
    assert complete is whole


@pytest.mark.parametrize(("value", "expected"), [(None, []), ([1, 2], [1, 2]), ({}, [{}]), ("a", ["a"])])
def test_one_object_or_null_is_accepted_in_place_of_a_list(value: Any, expected: list[Any]) -> None:
    assert to_list(value) == expected


def _bits(message_id: str) -> int:
    return UUID(message_id.removeprefix("message-")).int & ~0x7F


def _item(message_id: str, index: int) -> Json:
    """Return an item with the otid that the server makes; 128 is the approval request at a message's end."""
    otid = message_id if index == 128 else str(UUID(int=_bits(message_id) | index))
    return {"id": message_id, "otid": otid, "index": index}


def _positions(items: list[dict[str, Any]]) -> list[int]:
    return list(
        positions_and_sequence([item["id"] for item in items], [item["otid"] for item in items], 0)[0]
    )


# The indexes of each message's items.
messages = st.dictionaries(
    st.uuids().map(lambda uuid: f"message-{uuid}"),
    st.sets(st.integers(0, 128), min_size=1, max_size=5),
    min_size=1,
    max_size=4,
)


@given(messages=messages, random=st.randoms())
def test_positions_follow_the_indexes_in_the_otids(messages: dict[str, set[int]], random: Random) -> None:
    items = [_item(message_id, index) for message_id, of in messages.items() for index in of]
    random.shuffle(items)
    ranks = [sorted(messages[item["id"]]).index(item["index"]) for item in items]
    assert _positions(items) == ranks


@given(
    messages=messages,
    other=st.none() | st.integers() | st.text() | st.uuids().map(str),
    random=st.randoms(),
)
def test_positions_follow_arrival_if_an_otid_lacks_an_index(
    messages: dict[str, set[int]], other: Any, random: Random
) -> None:
    items = [_item(message_id, index) for message_id, of in messages.items() for index in of]
    items += [{"id": message_id, "otid": other} for message_id in messages]
    random.shuffle(items)
    came: dict[str, int] = dict.fromkeys(messages, -1)
    for item, position in zip(items, _positions(items), strict=True):
        came[item["id"]] += 1
        assert position == came[item["id"]]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "message-a80"]), st.sampled_from(["", "a80", "a83", "azz", 5])))
)
def test_no_two_items_have_one_key(pairs: list[tuple[str, Any]]) -> None:
    items = [{"id": message_id, "otid": otid} for message_id, otid in pairs]
    keys = sorted((item["id"], position) for item, position in zip(items, _positions(items), strict=True))
    ids = sorted(message_id for message_id, _ in pairs)
    assert keys == [(message_id, at - ids.index(message_id)) for at, message_id in enumerate(ids)]


@pytest.mark.parametrize(
    ("sent", "item"),
    [
        ({"rrf_score": 1.5, "message": {"id": "m"}}, {"rrf_score": 1.5, "id": "m"}),
        ({"id": "r", "message": {"id": "m"}}, {"id": "m", "search_result": {"id": "r"}}),
        ({"message_id": "m", "content": "hi"}, {"id": "m", "content": "hi"}),
        ({"message_id": "m", "id": "r", "message": None}, {"message_id": "m", "id": "r", "message": None}),
        (5, 5),
    ],
)
def test_search_results_lose_nothing(sent: Any, item: Any) -> None:
    assert children.search_result(sent) == item
