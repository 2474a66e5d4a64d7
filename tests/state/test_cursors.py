"""Cursors of parents and lists: what advances them, what holds them, and what is read again."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.state.cursors import Cursors
from letta_source.state.worklist import Worklist, is_finished
from letta_source.times import Overlap

EDGE = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
OLD = EDGE - timedelta(hours=1)
OVERLAP = Overlap(EDGE, timedelta(0), now=lambda: EDGE + timedelta(minutes=10))


def item(name: str, date: datetime | None = OLD) -> dict[str, Any]:
    return {"id": name, "date": date.isoformat() if date else None}


def unit(
    name: str, status: Any = "completed", created: datetime | None = OLD, ended: datetime | None = None
) -> Any:
    times = {"created_at": created.isoformat() if created else None}
    return {"id": name, "status": status, **times, "completed_at": ended.isoformat() if ended else None}


def read(state: dict[str, Any], *units: dict[str, Any], key: str = "") -> Worklist:
    """Complete a load that lists these runs, steps or batches and reads all of them; return the next list."""
    tracked = Worklist(state, key, OVERLAP)
    for one in units:
        tracked.add(one)
        tracked.close(one)
    tracked.commit()
    return Worklist(state, key, OVERLAP)


def test_a_cursor_stops_before_the_first_young_item() -> None:
    state: dict[str, Any] = {}
    cursors = Cursors(state, OVERLAP)
    cursors.observe("agent", [item("a"), item("b"), item("young", EDGE), item("old again")])
    cursors.observe("agent", [item("old on the next page")])
    cursors.commit()
    assert state == {"cursors": {"agent": [OLD.isoformat(), "b"]}}
    assert Cursors(state, OVERLAP).get("agent") == (OLD.isoformat(), "b")


FORMS = st.sampled_from(
    [
        lambda moment: moment.isoformat(),
        lambda moment: moment.isoformat().replace("+00:00", "Z"),
        lambda moment: moment.replace(tzinfo=None).isoformat(),
        lambda moment: moment.astimezone(timezone(timedelta(hours=-9))).isoformat(),
        lambda moment: moment.strftime("%Y%m%dT%H%M%SZ"),
        lambda moment: moment.strftime("%G-W%V-%uT%H:%M:%S+00:00"),
        lambda moment: 5,
    ]
)


@given(
    ages=st.lists(st.integers(-3, 3), min_size=1, max_size=6),
    forms=st.lists(FORMS, min_size=6, max_size=6),
    before=st.just(EDGE) | st.just(EDGE + timedelta(microseconds=1)),
)
def test_a_page_moves_a_cursor_as_its_items_do_one_by_one(
    ages: list[int], forms: list[Any], before: datetime
) -> None:
    items = [
        {"id": str(place), "date": form(EDGE + timedelta(seconds=age))}
        for place, (age, form) in enumerate(zip(ages, forms, strict=False))
    ]
    at_once: dict[str, Any] = {}
    cursors = Cursors(at_once, Overlap(before, timedelta(0), now=lambda: EDGE + timedelta(hours=1)))
    passed = cursors.observe("agent", items)
    cursors.commit()
    one_by_one: dict[str, Any] = {}
    cursors = Cursors(one_by_one, Overlap(before, timedelta(0), now=lambda: EDGE + timedelta(hours=1)))
    assert passed == sum(cursors.observe("agent", [one]) for one in items)
    cursors.commit()
    assert at_once == one_by_one


@given(
    ages=st.lists(st.one_of(st.none(), st.integers(-3, 3))),
    page=st.integers(1, 4),
    commit=st.booleans(),
)
def test_a_cursor_never_passes_young_items(ages: list[int | None], page: int, commit: bool) -> None:
    items = [
        item(str(place), None if age is None else EDGE + timedelta(seconds=age))
        for place, age in enumerate(ages)
    ]
    young = next((place for place, age in enumerate(ages) if age is not None and age >= 0), len(ages))
    cursors = Cursors({}, OVERLAP)
    for start in range(0, len(items), page):
        cursors.observe("agent", items[start : start + page])
        if commit:
            cursors.commit()
    cursors.commit()
    cursor = cursors.get("agent")
    assert (cursor[1] if cursor else None) == (str(young - 1) if young else None)


def test_an_empty_page_passes_nothing() -> None:
    assert Cursors({}, OVERLAP).observe("agent", []) == 0


def test_items_may_be_dated_by_created_at() -> None:
    cursors = Cursors({}, OVERLAP)
    created = [{"id": "a", "created_at": OLD.isoformat()}, {"id": "b", "created_at": EDGE.isoformat()}]
    assert cursors.observe("runs", [*created, *created[:1]]) == 1


def test_a_retried_gap_leaves_the_others() -> None:
    state: dict[str, Any] = {}
    cursors = Cursors(state, OVERLAP)
    for number in range(3):
        cursors.meet_gap("agent", (f"a{number}", f"b{number}"))
        cursors.observe("agent", [item(f"b{number}")])
    cursors.replace_gap("agent", ("a1", "b1"), ("a1", "c1"))
    assert cursors.gaps("agent") == (("a0", "b0"), ("a1", "c1"), ("a2", "b2"))
    cursors.replace_gap("agent", ("a0", "b0"), None)
    cursors.commit()
    assert state["gaps"] == {"agent": [["a1", "c1"], ["a2", "b2"]]}
    assert state["cursors"]["agent"][1] == "b2"


def test_cursors_move_only_when_committed() -> None:
    state: dict[str, Any] = {}
    cursors = Cursors(state, OVERLAP)
    cursors.observe("agent", [item("a")])
    assert state == {"cursors": {}}
    cursors.commit()
    cursors.observe("agent", [item("b")])
    assert state["cursors"]["agent"][1] == "a"


def test_items_without_a_date_do_not_stop_a_cursor() -> None:
    cursors = Cursors({}, OVERLAP)
    cursors.observe("agent", [item("a"), item("b", None)])
    cursors.commit()
    assert cursors.get("agent") == (None, "b")


def test_parents_have_cursors_of_their_own() -> None:
    cursors = Cursors({}, OVERLAP)
    cursors.observe("young", [item("a", EDGE)])
    cursors.observe("old", [item("b")])
    cursors.commit()
    # The first is known but must be read from its start; the second was never seen.
    assert (cursors.get("young"), cursors.get("unknown")) == ((None, None), None)
    assert cursors.get("old") == (OLD.isoformat(), "b")


def test_a_stopped_cursor_stays() -> None:
    cursors = Cursors({"cursors": {"agent": [OLD.isoformat(), "a"]}}, OVERLAP)
    cursors.stop("agent")
    cursors.observe("agent", [item("b")])
    cursors.commit()
    assert cursors.get("agent") == (OLD.isoformat(), "a")


def test_a_restarted_cursor_begins_anew() -> None:
    cursors = Cursors({"cursors": {"agent": [OLD.isoformat(), "vanished"]}}, OVERLAP)
    cursors.observe("agent", [item("young", EDGE)])
    cursors.restart("agent")
    cursors.commit()
    assert cursors.get("agent") == (None, None)
    cursors.observe("agent", [item("b")])
    cursors.commit()
    assert cursors.get("agent") == (OLD.isoformat(), "b")


def test_a_restart_forgets_the_gap_that_was_met() -> None:
    """The walk starts over, and will reach what is still unreadable again."""
    state: dict[str, Any] = {"cursors": {"agent": [OLD.isoformat(), "a"]}, "gaps": {"agent": [["0", "1"]]}}
    cursors = Cursors(state, OVERLAP)
    cursors.meet_gap("agent", ("a", "c"))
    cursors.restart("agent")
    cursors.observe("agent", [item("c"), item("d")])
    cursors.commit()
    assert state["cursors"] == {"agent": [OLD.isoformat(), "d"]}
    assert not state["gaps"]
    assert Cursors(state, OVERLAP).gaps("agent") == ()


def test_a_known_gap_that_a_sweep_meets_again_is_kept_once() -> None:
    state: dict[str, Any] = {"gaps": {"agent": [["a", "c"]]}}
    cursors = Cursors(state, OVERLAP)
    cursors.meet_gap("agent", ("a", "c"))
    cursors.observe("agent", [item("c")])
    cursors.meet_gap("agent", ("c", "e"))
    cursors.observe("agent", [item("e")])
    cursors.commit()
    assert state["gaps"] == {"agent": [["a", "c"], ["c", "e"]]}


def test_a_gap_before_a_young_item_is_not_kept() -> None:
    state: dict[str, Any] = {}
    cursors = Cursors(state, OVERLAP)
    cursors.observe("agent", [item("a")])
    cursors.meet_gap("agent", ("a", "c"))
    cursors.observe("agent", [item("c", EDGE), item("d")])
    cursors.meet_gap("agent", ("d", "f"))
    cursors.observe("agent", [item("f")])
    cursors.commit()
    assert state == {"cursors": {"agent": [OLD.isoformat(), "a"]}}


def test_a_gap_at_the_end_of_the_list_is_not_kept() -> None:
    """Its end would be unknown; messages that share a place may still come after it."""
    state: dict[str, Any] = {}
    cursors = Cursors(state, OVERLAP)
    cursors.observe("agent", [item("a")])
    cursors.meet_gap("agent", ("a", ""))
    cursors.observe("agent", [item("b")])
    cursors.commit()
    assert state == {"cursors": {"agent": [OLD.isoformat(), "b"]}}


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(minutes=20), timedelta(days=9)])
def test_a_clock_that_turns_out_to_be_behind_moves_the_overlap(behind: timedelta) -> None:
    """The start was taken by this machine's clock; by the server's, it was earlier."""
    overlap = Overlap(EDGE, timedelta(minutes=10), now=lambda: EDGE - behind)
    assert overlap.start == EDGE - behind - timedelta(minutes=10)
    assert overlap.before_start(timedelta(days=7)) == EDGE - behind - timedelta(days=7)
    ahead = Overlap(EDGE, timedelta(minutes=10), now=lambda: EDGE + behind)
    assert ahead.start == EDGE - timedelta(minutes=10)


def test_a_forgotten_parent_leaves_the_state() -> None:
    state = {"cursors": {"agent": [OLD.isoformat(), "a"], "other": [OLD.isoformat(), "b"]}}
    cursors = Cursors(state, OVERLAP)
    cursors.restart("agent")
    cursors.forget("agent")
    cursors.commit()
    assert state == {"cursors": {"other": [OLD.isoformat(), "b"]}}


def test_a_window_neither_reads_nor_moves_cursors() -> None:
    state: dict[str, Any] = {"cursors": {"agent": [OLD.isoformat(), "a"]}}
    before = json.dumps(state)
    cursors, units = Cursors(state, OVERLAP, frozen=True), Worklist(state, "", OVERLAP, frozen=True)
    assert cursors.get("agent") is None
    cursors.observe("agent", [item("b")])
    units.add(unit("run"))
    units.close(unit("run", "running"))
    cursors.commit()
    units.commit()
    assert units.cursor is None
    assert json.dumps(state) == before


def test_a_refresh_reads_from_the_start_and_moves_the_cursor() -> None:
    state: dict[str, Any] = {"cursors": {"agent": [OLD.isoformat(), "z"]}}
    cursors = Cursors(state, OVERLAP, ignored=True)
    assert cursors.get("agent") is None
    cursors.observe("agent", [item("a"), item("b")])
    cursors.commit()
    assert state["cursors"]["agent"][1] == "b"


def test_a_refresh_and_a_window_meet_the_gaps_anew() -> None:
    state: dict[str, Any] = {"cursors": {}, "gaps": {"agent": [["0", "1"], ["4", "7"]]}}
    assert Cursors(state, OVERLAP).gaps("agent") == (("0", "1"), ("4", "7"))
    assert Cursors(state, OVERLAP).gaps("other") == ()
    assert Cursors(state, OVERLAP, ignored=True).gaps("agent") == ()
    assert Cursors(state, OVERLAP, frozen=True).gaps("agent") == ()


@pytest.mark.parametrize("status", ["created", "running", "pending", "queued", "unheard of", "", 7])
def test_unfinished_runs_are_read_again_until_they_finish(status: Any) -> None:
    state: dict[str, Any] = {}
    again = read(state, unit("a"), unit("unfinished", status), unit("c"))
    assert again.cursor == (OLD.isoformat(), "c")
    assert again.beyond_list() == again.unfinished == ("unfinished",)
    again.close(unit("unfinished"))
    again.commit()
    assert Worklist(state, "", OVERLAP).unfinished == ()


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "expired", "success"])
def test_a_terminal_status_is_an_end(status: str) -> None:
    assert is_finished({"status": status})


@pytest.mark.parametrize("status", [None, "requires_approval", "unheard of"])
def test_an_unknown_status_is_terminal_only_with_completed_at(status: str | None) -> None:
    assert not is_finished({"status": status, "completed_at": None, "stop_reason": None})
    assert is_finished({"status": status, "completed_at": "2026-05-04T11:00:00"})
    assert is_finished({"status": status, "stop_reason": "end_turn"}) == (status is None)


FAR = ["9999-12-31T23:59:59+00:00", "2099-01-01T00:00:00+00:00", "2026-05-04T12:10:01Z"]


@pytest.mark.parametrize("date", FAR)
def test_a_future_date_stops_no_cursor(date: str, caplog: pytest.LogCaptureFixture) -> None:
    state: dict[str, Any] = {}
    cursors = Cursors(state, OVERLAP)
    assert cursors.observe("agent", [item("a"), {"id": "ahead", "date": date}]) == 2
    cursors.commit()
    assert state["cursors"]["agent"] == [None, "ahead"]
    assert "ahead has a date in the future" in caplog.text
    assert cursors.observe("agent", [item("b"), item("young", EDGE + timedelta(minutes=10))]) == 1
    cursors.commit()
    assert state["cursors"]["agent"] == [OLD.isoformat(), "b"]


@pytest.mark.parametrize("date", FAR)
def test_a_list_by_date_continues_before_future_dates(date: str) -> None:
    """Items created before that date precede it in the list."""
    state: dict[str, Any] = {}
    ahead = {"id": "ahead", "status": "completed", "created_at": date}
    again = read(state, unit("a"), ahead)
    assert (again.cursor, again.unfinished) == ((OLD.isoformat(), "a"), ())
    assert read(state, unit("b"), ahead).cursor == (OLD.isoformat(), "b")


def test_a_run_that_ends_in_the_future_is_dated_by_its_creation() -> None:
    again = read({}, {**unit("a"), "completed_at": FAR[0]})
    assert (again.cursor, again.unfinished) == ((OLD.isoformat(), "a"), ())


@pytest.mark.parametrize("lag", [timedelta(days=999_999), timedelta.max])
def test_an_overlap_of_centuries_stops_every_cursor(lag: timedelta) -> None:
    overlap = Overlap(EDGE, lag)
    assert overlap.start == datetime.min.replace(tzinfo=timezone.utc)
    assert overlap.is_young(OLD)
    assert not overlap.is_ahead(EDGE + timedelta(days=366))


def test_an_unreadable_run_keeps_its_known_date() -> None:
    state: dict[str, Any] = {}
    again = read(state, unit("a", "running"), unit("b"))
    again.close({"id": "a"}, complete=False)
    again.commit()
    assert state["unsettled"][""] == {"a": OLD.isoformat()}


def test_runs_that_finished_just_now_are_read_once_more() -> None:
    state: dict[str, Any] = {}
    assert read(state, unit("a", ended=EDGE)).unfinished == ("a",)
    later = Worklist(state, "", Overlap(EDGE + timedelta(minutes=1), timedelta(0)))
    later.close(unit("a", ended=EDGE))
    later.commit()
    assert Worklist(state, "", OVERLAP).unfinished == ()


def test_the_list_is_read_again_from_its_first_young_run() -> None:
    again = read({}, unit("a"), unit("young", created=EDGE), unit("old again", "running"))
    assert again.cursor == (OLD.isoformat(), "a")
    assert again.unfinished == ("young", "old again")


def test_listed_runs_are_not_requested_by_id() -> None:
    later = OLD + timedelta(seconds=1)
    again = read({}, unit("before", "running"), unit("a", created=later), unit("young", created=EDGE))
    assert again.cursor == (later.isoformat(), "a")
    assert again.beyond_list() == ("before",)


def test_runs_without_a_date_are_requested_by_id() -> None:
    again = read({}, unit("a", "pending", created=None), unit("b", created=None))
    assert again.cursor == (None, "b")
    assert again.beyond_list() == ("a",)


def test_a_list_never_read_has_nothing_beyond_it() -> None:
    assert Worklist({"unsettled": {"": {"a": None}}}, "", OVERLAP).beyond_list() == ()


def test_the_cursor_waits_for_runs_that_were_not_read() -> None:
    state: dict[str, Any] = {}
    units = Worklist(state, "", OVERLAP)
    first, second, third = (unit(name) for name in "abc")
    for one in (first, second, third):
        units.add(one)
    units.close(first)
    units.close(third)
    units.commit()
    assert units.cursor == (OLD.isoformat(), "a")
    units.close(second)
    units.commit()
    assert units.cursor == (OLD.isoformat(), "c")


def test_a_run_read_in_part_is_read_again() -> None:
    state: dict[str, Any] = {}
    units = Worklist(state, "", OVERLAP)
    units.add(unit("a"))
    units.close(unit("a"), complete=False)
    units.commit()
    assert Worklist(state, "", OVERLAP).beyond_list() == ("a",)


def test_a_deleted_run_is_not_requested_again() -> None:
    state: dict[str, Any] = {}
    again = read(state, unit("a", "running"))
    again.forget("a")
    again.commit()
    assert Worklist(state, "", OVERLAP).unfinished == ()


def test_lists_with_other_filters_have_separate_worklists() -> None:
    state: dict[str, Any] = {}
    read(state, unit("a", "running"), key="agent")
    unfiltered = Worklist(state, "", OVERLAP)
    assert (unfiltered.cursor, unfiltered.unfinished) == (None, ())
    assert Worklist(state, "agent", OVERLAP).unfinished == ("a",)


def test_the_state_is_json() -> None:
    state: dict[str, Any] = {}
    read(state, unit("a", "running"), unit("b", "running", created=None), unit("c", created=EDGE))
    assert Worklist(json.loads(json.dumps(state)), "", OVERLAP).unfinished == ("a", "b", "c")
