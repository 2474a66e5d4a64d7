"""The place from which a sweep reads again."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.state.cursors import Cursors
from letta_source.times import Overlap

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
WEEK = 7 * DAY


def item(name: str, days: float | None) -> dict[str, Any]:
    return {"id": name, "date": None if days is None else (NOW - days * DAY).isoformat()}


def cursors(state: dict[str, Any], days_later: float = 0, sweeps: bool = False) -> Cursors:
    now = NOW + days_later * DAY
    overlap = Overlap(now, timedelta(minutes=10), now=lambda: now)
    return Cursors(state, overlap, window=WEEK, sweeps=sweeps)


def read(state: dict[str, Any], *pages: list[dict[str, Any]], **how: Any) -> None:
    load = cursors(state, **how)
    for page in pages:
        load.observe("agent", page)
    load.commit()


def again_from(state: dict[str, Any], days_later: float = 0) -> str | None:
    cursor = cursors(json.loads(json.dumps(state)), days_later, sweeps=True).get("agent")
    return cursor[1] if cursor else None


def test_a_sweep_reads_from_the_newest_item_before_the_window() -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 30), item("b", 8)], [item("c", 6), item("d", 7.5), item("e", 1)])
    assert again_from(state) == "b"
    assert cursors(state).get("agent") == ((NOW - DAY).isoformat(), "e")


def test_the_mark_has_the_date_of_its_item() -> None:
    state: dict[str, Any] = {}
    edge = {"id": "at the edge", "date": cursors({})._window_start.isoformat()}
    read(state, [item("a", 8), edge, item("c", 1)])
    assert state["reread"] == {"agent": [(NOW - 8 * DAY).isoformat(), "a"]}


def test_a_load_that_finds_nothing_new_keeps_the_mark() -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 8), item("b", 1)])
    read(state, [], days_later=1)
    assert again_from(state, 1) == "a"
    # Until the window has passed the last item.
    read(state, [], days_later=9)
    assert state["reread"] == {}


def test_a_parent_that_is_gone_has_no_mark() -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 8), item("b", 1)])
    load = cursors(state)
    load.observe("agent", [item("c", 0.5)])
    load.forget("agent")
    load.commit()
    assert state == {"cursors": {}, "reread": {}}


def test_a_sweep_moves_the_mark() -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 8), item("b", 6), item("c", 1)])
    read(state, [item("b", 6), item("c", 1)], days_later=2, sweeps=True)
    assert again_from(state, 2) == "b"
    read(state, [item("c", 1)], days_later=9, sweeps=True)
    assert "agent" not in state["reread"]
    assert again_from(state, 9) == "c"


def test_a_later_load_does_not_move_the_mark() -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 8), item("b", 6)])
    read(state, [item("c", 1)])
    assert again_from(state) == "a"


def test_an_old_date_after_young_ones_does_not_hide_them_from_a_sweep() -> None:
    """The order is the server's sequence, not the date."""
    state: dict[str, Any] = {}
    read(state, [item("a", 30), item("b", 2), item("imported", 20)])
    assert cursors(state).get("agent") == ((NOW - 20 * DAY).isoformat(), "imported")
    assert again_from(state) == "a"


def test_a_parent_entirely_in_the_window_is_read_from_the_start() -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 3), item("b", 1)])
    assert state["reread"] == {"agent": [None, None]}
    assert again_from(state) is None


def test_messages_read_by_an_earlier_version_are_not_read_again() -> None:
    state: dict[str, Any] = {"cursors": {"agent": [(NOW - 2 * DAY).isoformat(), "known"]}}
    read(state, [item("b", 1)])
    assert again_from(state) == "known"


def test_a_restarted_parent_has_a_new_mark() -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 8), item("b", 1)])
    load = cursors(state)
    load.observe("agent", [item("c", 0.5)])
    load.restart("agent")
    load.observe("agent", [item("d", 20), item("e", 0.4)])
    load.commit()
    assert again_from(state) == "d"


def test_quiet_parents_have_no_mark() -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 30), item("b", None)], [item("c", 8)])
    assert state.keys() == {"cursors"}


@given(
    ages=st.lists(st.none() | st.floats(0.1, 20), min_size=1, max_size=12),
    sizes=st.lists(st.integers(1, 4), min_size=12, max_size=12),
)
def test_nothing_of_the_window_lies_before_the_mark(ages: list[float | None], sizes: list[int]) -> None:
    items = [item(str(place), age) for place, age in enumerate(ages)]
    state: dict[str, Any] = {}
    load, rest = cursors(state), items
    for size in sizes:
        if rest:
            load.observe("agent", rest[:size])
            rest = rest[size:]
    load.commit()
    mark = again_from(state)
    start = next((place for place, one in enumerate(items) if one["id"] == mark), -1) + 1
    before = ages[:start] if "reread" in state else []
    assert not [age for age in before if age is not None and age <= 7]
    if "reread" not in state:
        assert ages[-1] is None or ages[-1] > 7 or not [age for age in ages if age and age <= 7]


@pytest.mark.parametrize("how", [{"frozen": True}, {"ignored": True}])
def test_windows_and_refreshes_ignore_the_marks(how: dict[str, bool]) -> None:
    state: dict[str, Any] = {}
    read(state, [item("a", 8), item("b", 1)])
    overlap = Overlap(NOW, timedelta(0), now=lambda: NOW)
    assert Cursors(state, overlap, window=WEEK, sweeps=True, **how).get("agent") is None
