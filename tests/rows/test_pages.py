"""A page gives the rows that its messages give alone: other messages with other fields change nothing."""

from __future__ import annotations

from copy import deepcopy
from itertools import groupby
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letta_source.rows.flatten import Rows
from letta_source.schema.resources import RESOURCES

from .test_flatten import PAGES

Json = dict[str, Any]

LETTA_MESSAGES = ("agent_messages", "group_messages", "step_messages", "conversation_messages", "messages")
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


def _landed(resource: str, pages: list[list[Json]], read_again: bool = False) -> dict[str, list[Json]]:
    rows = Rows(RESOURCES[resource], tombstones=True)
    for page in pages:
        rows.add(page, "agent-1", read_again)
    made = dict(rows.tables("load-1"))
    for table in RESOURCES[resource].tables:
        if table.name in made:
            made[table.name].validate(full=True)
            assert made[table.name].schema == table.arrow_schema
    # Tombstones follow the rows of their page, so they are sorted last.
    return {name: sorted(table.to_pylist(), key=_is_deleted) for name, table in made.items()}


def _is_deleted(row: Json) -> bool:
    return bool(row.get("_deleted"))


def _assert_lands_as_alone(resource: str, page: list[Json], read_again: bool = False) -> None:
    page = sorted(page, key=itemgetter("id"))
    alone = [list(message) for _, message in groupby(page, key=itemgetter("id"))]
    # Compared by repr, because NaN does not equal itself.
    assert repr(_landed(resource, [page], read_again)) == repr(_landed(resource, alone, read_again))


@pytest.mark.parametrize("resource", LETTA_MESSAGES)
@pytest.mark.parametrize("read_again", [False, True])
def test_every_kind_of_message_among_all_others(resource: str, read_again: bool) -> None:
    _assert_lands_as_alone(resource, [*KINDS], read_again)


def test_items_of_one_message_are_ordered_by_their_otids() -> None:
    items = [_item("reasoning_message", 0x80) | {"otid": f"{MESSAGE[8:]}{n:02x}"} for n in (0x82, 0x80, 0x81)]
    rows = _landed("agent_messages", [[KINDS[1], *items, KINDS[2]]])["agent_messages"]
    assert [(row["position"], row["sequence"]) for row in rows] == [(0, 0), (2, 3), (0, 1), (1, 2), (0, 4)]


@pytest.mark.parametrize(("resource", "parent", "items"), PAGES)
def test_recorded_pages(resource: str, parent: str, items: list[Json]) -> None:
    _assert_lands_as_alone(resource, items)


ODD: dict[str, Json] = {
    "content in parts": {"content": [{"type": "text", "text": "hi"}]},
    "an unknown field": {"new": None},
    "approvals": {"approvals": [], "approve": True},
    "an approval": {"approve": False},
    "event data": {"event_data": {"a": 1}},
    "NUL": {"content": "a\0b"},
    "a lone surrogate": {"content": "\ud83d"},
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


@pytest.mark.parametrize("field", ODD.values(), ids=ODD)
@pytest.mark.parametrize("read_again", [False, True])
def test_an_unusual_item_does_not_affect_the_others(field: Json, read_again: bool) -> None:
    odd = {**KINDS[1], "id": f"{MESSAGE}{0x7F:02x}", **field}
    _assert_lands_as_alone("agent_messages", [*KINDS, odd], read_again)
    # The fields are the same; only a value is odd.
    _assert_lands_as_alone("agent_messages", [{**odd, "id": "message-a", **dict.fromkeys(field)}, odd])


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
        st.integers(0, 4),
        st.dictionaries(st.sampled_from(FIELDS).filter(lambda name: name != "id"), ANYTHING, max_size=2),
        st.sets(st.sampled_from(FIELDS).filter(lambda name: name != "id"), max_size=2),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("resource", ["agent_messages", "batch_messages"])
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=ITEMS, read_again=st.booleans())
def test_any_page_equals_its_messages_one_by_one(resource: str, items: list[Json], read_again: bool) -> None:
    _assert_lands_as_alone(resource, items, read_again)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pages=st.lists(
        st.tuples(st.sampled_from(["step-1", "step-2"]), ITEMS, st.booleans(), st.booleans()),
        min_size=2,
        max_size=4,
    )
)
def test_small_pages_of_several_parents_equal_each_page_alone(pages: Any) -> None:
    together = Rows(RESOURCES["step_messages"], tombstones=True)
    alone = Rows(RESOURCES["step_messages"], tombstones=True)
    each: dict[str, list[Json]] = {}
    for parent, items, names_its_step, read_again in pages:
        page = sorted(items, key=itemgetter("id"))
        if names_its_step:
            page = [{**item, "step_id": "step-1"} for item in page]
        together.add(page, parent, read_again)
        alone.add(page, parent, read_again)
        for name, table in alone.tables("load-1"):
            each.setdefault(name, []).extend(table.to_pylist())
    found = {name: table.to_pylist() for name, table in together.tables("load-1")}
    assert found.keys() == each.keys()
    for name, rows in each.items():
        assert repr(sorted(found[name], key=_is_deleted)) == repr(sorted(rows, key=_is_deleted))
