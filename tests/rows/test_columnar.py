"""Whether a page goes to Arrow at once or item by item, the same rows come of it."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letta_source.items import ids_of
from letta_source.rows.columnar import Columnar, read_columnar
from letta_source.rows.flatten import Rows
from letta_source.safe_text import parse_json
from letta_source.schema.tables import RESOURCES
from letta_source.state.cursors import Cursors
from tests.rows.test_flatten import PAGES

Json = dict[str, Any]

COLUMNAR = ("agent_messages", "group_messages", "conversation_messages", "messages")
MESSAGE = "message-00000000-0000-4000-8000-0000000000"
CALL = {"name": "roll", "arguments": '{"sides": 6}', "tool_call_id": "call-1"}
RETURNED = {
    "tool_return": "four",
    "status": "success",
    "tool_call_id": "call-1",
    "stdout": ["a\nb"],
    "stderr": [],
}


def _item(kind: str, number: int = 0, **fields: Any) -> Json:
    return {
        "id": f"{MESSAGE}{number:02x}",
        "date": "2026-11-20T12:00:00+00:00",
        "message_type": kind,
        "name": None,
        "otid": f"{MESSAGE[8:]}{number:02x}",
        "seq_id": None,
        **fields,
    }


KINDS = (
    _item("user_message", 0x80, content='naïve 🎲\n"quoted" \\'),
    _item("reasoning_message", 0, reasoning="hm", source="reasoner_model", signature=None),
    _item("assistant_message", 1, content=""),
    _item("hidden_reasoning_message", 2, state="omitted", hidden_reasoning=None, is_err=False),
    _item("tool_call_message", 3, tool_call=CALL, tool_calls=[CALL]),
    _item("tool_call_message", 4, tool_call=CALL, tool_calls=[CALL, {**CALL, "arguments": "not {json"}]),
    _item("tool_return_message", 5, **RETURNED, tool_returns=[{"type": "tool", **RETURNED}]),
    _item("tool_return_message", 6, tool_returns=[{"type": "tool", **RETURNED, "stdout": None}, {}]),
    _item("system_message", 7, content="be kind", seq_id=2**40, otid=None, run_id="run-1"),
    _item("summary_message", 8, summary="so far", approvals=None, event_data=None, tool_calls=[]),
)


def _body(items: list[Any]) -> bytes:
    return json.dumps(items, ensure_ascii=False).encode(errors="surrogatepass")


def _landed(items: Any, resource: str = "agent_messages") -> dict[str, list[Json]]:
    rows = Rows(RESOURCES[resource], tombstones=True)
    rows.add(items, "agent-1")
    made = rows.tables("load-1")
    for name, table in made:
        table.validate(full=True)
        (known,) = (t for t in RESOURCES[resource].tables if t.name == name)
        assert table.schema == known.arrow_schema
    return {name: table.to_pylist() for name, table in made}


def _read(items: list[Any]) -> Columnar:
    page = read_columnar(_body(items))
    assert page is not None
    return page


def _is_the_same(body: bytes, resource: str = "agent_messages") -> bool:
    """Asserts that the page lands as its items do; whether it can be read at once."""
    page = read_columnar(body)
    if page is None:
        return False
    items = parse_json(body)
    assert page.ids == ids_of(items)
    assert len(page) == len(items)
    assert list(page) == items
    assert _landed(page, resource) == _landed(items, resource)
    return True


@pytest.mark.parametrize("item", KINDS, ids=lambda item: f"{item['message_type']}-{item['id'][-2:]}")
def test_plain_messages_are_read_at_once(item: Json) -> None:
    assert _is_the_same(_body([item]))


def test_one_page_of_all_of_them() -> None:
    assert _is_the_same(_body([*KINDS]))
    assert _is_the_same(json.dumps(KINDS, indent=1).encode())


@pytest.mark.parametrize("resource", COLUMNAR)
def test_in_the_tables_of_other_parents(resource: str) -> None:
    assert _is_the_same(_body([*KINDS]), resource)


def test_the_items_of_one_message_have_their_otids_order() -> None:
    items = [_item("reasoning_message", 0x80) | {"otid": f"{MESSAGE[8:]}{n:02x}"} for n in (0x82, 0x80, 0x81)]
    assert _is_the_same(_body(items))
    assert [row["position"] for row in _landed(_read(items))["agent_messages"]] == [2, 0, 1]


@pytest.mark.parametrize(("resource", "parent", "items"), PAGES)
def test_recorded_pages(resource: str, parent: str, items: list[Json]) -> None:
    if resource in COLUMNAR:
        assert _is_the_same(_body(items), resource) == all(map(_is_plain, items))


def _is_plain(item: Json) -> bool:
    return isinstance(item.get("content"), str | None) and not item.get("approvals")


NOT_PLAIN: dict[str, Json] = {
    "content in parts": {"content": [{"type": "text", "text": "hi"}]},
    "an unknown field": {"new": None},
    "approvals": {"approvals": [], "approve": True},
    "an approval": {"approve": False},
    "event data": {"event_data": {"a": 1}},
    "NUL": {"content": "a\0b"},
    "a lone surrogate": {"content": "\ud83d"},
    "no id": {"id": None},
    "an id that no URL can hold": {"id": "a/b"},
    "a number for a text": {"content": 5},
    "a text for a number": {"seq_id": "5"},
    "no whole number": {"seq_id": 5.0},
    "a large number": {"seq_id": 2**63},
    "a number for a truth": {"is_err": 1},
    "no time": {"date": "yesterday"},
    "a time without a zone": {"date": "2026-11-20T12:00:00"},
    "a year beyond Python's": {"date": "9999-12-31T23:00:00-02:00"},
    "a call that only the singular has": {"tool_call": CALL, "tool_calls": None},
    "a call that the plural has otherwise": {"tool_call": CALL, "tool_calls": [{**CALL, "name": "x"}]},
    "a call without a name": {"tool_call": None, "tool_calls": [{"arguments": "", "tool_call_id": ""}]},
    "a call with another field": {"tool_calls": [{**CALL, "type": "function"}]},
    "no call": {"tool_calls": [None]},
    "a return that only the singular has": {"tool_return": "four"},
    "a return that the plural has otherwise": {**RETURNED, "tool_returns": [{**RETURNED, "stderr": ["!"]}]},
    "a status of nothing": {"status": "success", "tool_returns": []},
    "a return in parts": {"tool_returns": [{"tool_return": [{"type": "text", "text": "four"}]}]},
    "no return": {"tool_returns": [None]},
}


@pytest.mark.parametrize("field", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_other_pages_go_item_by_item(field: Json) -> None:
    assert not _is_the_same(_body([*KINDS, {**KINDS[1], **field}]))


@pytest.mark.parametrize(
    "body",
    [
        b"null", b"[]", b"[null]", b"{}", b'{"detail": "no"}', b"[1]", b"[", b"", b'[]}{"items":[]',
        b'[{"id":"a","date":"2026-11-20T12:00:00Z"}]}{"items":[{"id":"b","date":"2026-11-20T12:00:00Z"}]',
        b'[{"id":"a","id":"b","date":"2026-11-20T12:00:00Z"}]',
        b'[{"id":"a","date":"2026-11-20T12:00:00Z","content":"\xff"}]',
    ],
)  # fmt: skip
def test_what_is_no_page_is_left_to_others(body: bytes) -> None:
    assert read_columnar(body) is None


ANYTHING: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(
        ["2026-11-20T12:00:00.5Z", "2026-11-20", "{}", '"\\ud800"', [], {}, [None], [{}], ["a"]]
    )
    | st.sampled_from([CALL, [CALL, CALL], RETURNED, [RETURNED], [RETURNED, {"type": "tool"}]])
)
FIELDS = sorted({name for item in KINDS for name in item} | {"approve", "reason", "created_at", "new"})
ITEMS = st.lists(
    st.builds(
        lambda item, number, changed, without: {
            name: value
            for name, value in {**deepcopy(item), "id": f"{MESSAGE}{number:02x}", **changed}.items()
            if name not in without
        },
        st.sampled_from(KINDS),
        st.integers(0, 2),
        st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=2) | st.just({}),
        st.sets(st.sampled_from(FIELDS), max_size=2),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=ITEMS, ascii=st.booleans())
def test_any_page_that_is_read_at_once_lands_as_its_items_do(items: list[Json], ascii: bool) -> None:
    _is_the_same(json.dumps(items, ensure_ascii=ascii).encode(errors="surrogatepass"))


@given(
    days=st.lists(st.integers(1, 28) | st.none(), min_size=1, max_size=4),
    settled=st.integers(1, 28),
)
def test_a_cursor_moves_as_over_its_items(days: list[int | None], settled: int) -> None:
    items = [
        _item("user_message", at, date=day and f"2026-11-{day:02}T12:00:00+00:00")
        for at, day in enumerate(days)
    ]
    moment = datetime(2026, 11, settled, 12, tzinfo=timezone.utc)
    states: list[Json] = []
    for observed in (items, _read(items).since(moment)):
        states.append({})
        cursors = Cursors(states[-1], moment)
        cursors.observe("agent-1", observed)
        cursors.commit()
    assert states[0] == states[1]
