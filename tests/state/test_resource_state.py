"""The state of one resource between loads: no more than it needs, and only of what was read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.shards import bucket_of
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.wire import settings

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
LAG = timedelta(minutes=10)
AGAIN: list[dict[str, Any]] = [{"refresh": True}, {"start_date": "2026-05-01"}]


def opened(stored: dict[str, Any], now: datetime = NOW, **given: Any) -> ResourceState:
    session = Session(started_at=now)
    session.settings = settings(lag="10m", **given)
    return ResourceState(session, stored)


def listing(stored: dict[str, Any], now: datetime, last_id: str | None, **given: Any) -> None:
    """Complete a load that read a list without dates."""
    state = opened(stored, now, **given)
    state.note_last_listed("", last_id)
    state.finish()


def test_a_list_without_dates_continues_before_the_overlap() -> None:
    stored: dict[str, Any] = {}
    for minutes in range(0, 60, 4):
        listing(stored, NOW + timedelta(minutes=minutes), f"step-{minutes}")
    last = NOW + timedelta(minutes=60)
    assert opened(stored, last).listed_to("") == "step-48"
    assert opened(stored, last).listed_to("agent-1") is None
    # However many loads there were, it keeps the newest before the overlap, and those since.
    kept = [last_id for _, last_id in stored["listed"][""]]
    assert kept == ["step-44", "step-48", "step-52", "step-56"]
    assert all(opened(stored, last, **again).listed_to("") is None for again in AGAIN)


@pytest.mark.parametrize(("seconds", "reached"), [(-1, None), (0, None), (1, "step-1")])
def test_items_at_the_edge_of_the_overlap_are_listed_again(seconds: int, reached: str | None) -> None:
    stored: dict[str, Any] = {}
    listing(stored, NOW, "step-1")
    assert opened(stored, NOW + LAG + timedelta(seconds=seconds)).listed_to("") == reached


def test_a_list_without_news_keeps_its_position() -> None:
    stored: dict[str, Any] = {}
    listing(stored, NOW, "step-1")
    listing(stored, NOW + 2 * LAG, None)
    assert [last_id for _, last_id in stored["listed"][""]] == ["step-1", "step-1"]
    listing(stored, NOW + 4 * LAG, "step-2", start_date="2026-05-01")
    assert "step-2" not in str(stored)
    empty: dict[str, Any] = {}
    listing(empty, NOW, None)
    assert "listed" not in empty


def test_digests_are_stored_after_the_rows_were_handed_over() -> None:
    stored: dict[str, Any] = {}
    state = opened(stored)
    assert state.has_changed("agent-1", "old")
    assert not state.has_changed("agent-1", "old")
    assert "digests" not in stored
    state.commit()
    assert stored["digests"] == {"agent-1": "old"}
    again = opened(stored)
    assert not again.has_changed("agent-1", "old")
    assert again.has_changed("agent-1", "new")
    assert not again.has_changed("agent-1", "new")
    assert again.has_changed("agent-2", "old")
    again.commit()
    assert stored["digests"] == {"agent-1": "new", "agent-2": "old"}


def test_a_window_keeps_no_digests() -> None:
    stored: dict[str, Any] = {"digests": {"agent-1": "old"}}
    state = opened(stored, start_date="2026-05-01")
    assert state.has_changed("agent-1", "new")
    state.finish()
    assert stored["digests"] == {"agent-1": "old"}


def moved(ahead: str, cursor: str | None) -> dict[str, Any]:
    """Return the state of a shard that is behind another one, for the bucket of `run-1`."""
    cursors = {"": [cursor, "run-0"]} if cursor else {}
    return {"cursors": cursors, "ahead": {"": {str(bucket_of("run-1")): [ahead, "run-9"], "-": ["~", ""]}}}


def test_another_shards_cursor_is_kept_until_it_is_reached() -> None:
    early, late = "2026-05-01T00:00:00+00:00", "2026-05-02T00:00:00+00:00"
    stored = moved(late, early)
    state = opened(stored)
    assert state.read_to("", "run-1") == (late, "run-9")
    other = next(one for one in map(str, range(999)) if bucket_of(one) != bucket_of("run-1"))
    assert (state.read_to("", other), state.read_to("agent-1", "run-1")) == (None, None)
    state.finish()
    assert set(stored["ahead"][""]) == {str(bucket_of("run-1")), "-"}
    for cursor in (late, "2026-05-03T00:00:00+00:00"):
        reached = moved(late, cursor)
        opened(reached).finish()
        assert set(reached["ahead"][""]) == {"-"}
    undated = moved(late, early)
    undated["cursors"][""][0] = None
    opened(undated).finish()
    assert set(undated["ahead"][""]) == {str(bucket_of("run-1")), "-"}
    unread = moved(late, None)
    opened(unread).finish()
    del unread["swept"], unread["changes"], unread["has_family"]
    assert unread == moved(late, None) | {"unsettled": {"": {}}}


def test_finish_stores_the_last_rows_handed_over() -> None:
    stored: dict[str, Any] = {}
    state = opened(stored)
    state.cursors.observe("agent-1", [{"id": "message-1", "date": "2026-05-01T00:00:00Z"}])
    state.has_changed("agent-1", "new")
    state.finish()
    assert (stored["cursors"]["agent-1"][1], stored["digests"]) == ("message-1", {"agent-1": "new"})


@pytest.mark.parametrize("given", AGAIN, ids=str)
def test_a_refresh_ignores_another_shards_cursor(given: dict[str, Any]) -> None:
    assert opened(moved("2026-05-02", "2026-05-01"), **given).read_to("", "run-1") is None


def test_runs_that_another_shard_left_unfinished_are_read() -> None:
    stored = moved("2026-05-02", "2026-05-01") | {"unsettled": {"": {"run-1": None}}}
    assert opened(stored).read_to("", "run-1") is None


@pytest.mark.parametrize(
    ("given", "elsewhere", "rereads", "loaded_before"),
    [
        ({}, False, False, False),
        ({}, True, False, True),
        ({"refresh": True}, False, True, True),
        ({"end_date": "2026-05-01"}, False, True, True),
    ],
)
def test_what_may_have_been_loaded_before(
    given: dict[str, Any], elsewhere: bool, rereads: bool, loaded_before: bool
) -> None:
    state = opened({}, **given)
    state.session.before.from_elsewhere = elsewhere
    assert (state.rereads, state.loaded_before) == (rereads, loaded_before)


def test_the_next_package_continues_with_the_state() -> None:
    """Each load package has a state of its own, which starts as a copy of the previous one's."""
    first: dict[str, Any] = {}
    state = opened(first)
    run = {"id": "run-1", "status": "completed", "created_at": "2026-05-01T00:00:00Z"}
    late = {"id": "run-2", "status": "running", "created_at": "2026-05-02T00:00:00Z"}
    state.cursors.observe("agent-1", [{"id": "message-1", "date": "2026-05-01T00:00:00Z"}])
    state.worklist("").add(run)
    state.worklist("").close(run)
    state.commit()
    second: dict[str, Any] = {"cursors": dict(first["cursors"]), "unsettled": {"": {}}}
    state.bind(second)
    state.has_changed("agent-1", "new")
    state.cursors.observe("agent-1", [{"id": "message-2", "date": "2026-05-02T00:00:00Z"}])
    state.worklist("").add(late)
    state.worklist("").close(late)
    state.changes.note(agents=3)
    state.changes.finish(datetime(2026, 5, 2, tzinfo=timezone.utc), (), is_used=True)
    state.commit()
    assert (first["cursors"]["agent-1"][1], first["cursors"][""][1]) == ("message-1", "run-1")
    assert (second["cursors"]["agent-1"][1], second["cursors"][""][1]) == ("message-2", "run-2")
    assert (first["unsettled"], list(second["unsettled"][""])) == ({"": {}}, ["run-2"])
    assert second["digests"] == {"agent-1": "new"}
    assert (first.get("changes"), second["changes"]["agents"]) == (None, 3)
