"""The state of one resource between loads: no more than it needs, and only of what was read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.shards import bucket_of
from letta_source.state.resource_state import _MANY_AGENTS, ResourceState
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


@pytest.mark.parametrize(
    ("given", "agents", "tracks"),
    [
        ({"changes": "on"}, 0, True),
        ({"changes": "off"}, 999, False),
        ({}, _MANY_AGENTS + 1, True),
        ({}, _MANY_AGENTS, False),
        ({"changes": "on", "refresh": True}, 0, False),
        ({"changes": "on", "start_date": "2026-05-01"}, 0, False),
        # What changed of some agents is not listed.
        ({"changes": "on", "agent_ids": ["agent-1"]}, 0, False),
    ],
)
def test_which_loads_ask_only_for_changes(given: dict[str, Any], agents: int, tracks: bool) -> None:
    hour_ago = (NOW - timedelta(hours=1)).isoformat()
    scope = ",".join(given.get("agent_ids", ()))
    stored = {"changes": {"since": hour_ago, "agents": agents}, "swept": {scope: hour_ago}}
    state = opened(stored, **given)
    assert (state.tracks_changes, state.asks_for_changes) == (tracks, tracks)
    # A sweep and a first load ask for everything.
    later = opened(stored, NOW + timedelta(days=9), **given)
    assert (later.tracks_changes, later.asks_for_changes) == (tracks, False)
    first = opened({"changes": {"agents": agents}}, **given)
    assert (first.tracks_changes, first.asks_for_changes) == (tracks, False)


def test_agents_are_many_by_the_list_the_last_load_or_the_cursors() -> None:
    many = _MANY_AGENTS + 1
    dated: dict[str, Any] = {f"agent-{number}": ["2026-05-01T00:00:00Z", "m"] for number in range(many)}
    assert opened({"cursors": dated}).has_many_agents
    stored = {"changes": {"agents": many}}
    assert opened(stored).has_many_agents
    state = opened(stored)
    # What the server says now counts.
    state.note_agents(3, whole=True)
    assert not state.has_many_agents
    state.note_agents(many, whole=True)
    assert state.has_many_agents


def test_a_server_that_ignores_the_order_is_read_from_the_start() -> None:
    stored = {"cursors": {"agent-1": ["2026-05-01T00:00:00Z", "m"]}}
    session = Session(started_at=NOW)
    session.settings = settings(lag="10m")
    session.server.ignores_order = True
    state = ResourceState(session, stored)
    assert (state.rereads, state.cursors.get("agent-1"), state.worklist("").cursor) == (True, None, None)
    state.cursors.observe("agent-1", [{"id": "n", "date": "2026-05-02T00:00:00Z"}])
    state.finish()
    assert stored["cursors"] == {"agent-1": ["2026-05-01T00:00:00Z", "m"]}


@pytest.mark.parametrize(
    ("given", "hours", "sweeps"),
    [
        ({}, 23, False),
        ({}, 24, True),
        # Its clock was set back.
        ({}, -1, True),
        ({"start_date": "2026-05-01"}, 24, False),
    ],
)
def test_when_a_sweep_is_due(given: dict[str, Any], hours: int, sweeps: bool) -> None:
    stored = {"swept": {"": NOW.isoformat()}}
    state = opened(stored, NOW + timedelta(hours=hours), sweep_interval="1d", **given)
    assert state.sweeps == sweeps
    assert state.since_sweep == timedelta(hours=hours)
    assert not opened({}, **given).sweeps
    assert opened({}, **given).since_sweep == timedelta(0)
    # Each choice of agents has sweeps of its own, whatever their order.
    both = {"swept": {"agent-1,agent-2": NOW.isoformat()}}
    for agent_ids in (["agent-1", "agent-2"], ["agent-2", "agent-1"]):
        of_both = opened(both, NOW + timedelta(days=9), agent_ids=agent_ids, **given)
        assert of_both.sweeps == (not given)


def test_which_sweeps_are_noted() -> None:
    now = NOW.isoformat()
    before = (NOW - timedelta(days=9)).isoformat()
    later = (NOW - timedelta(hours=1)).isoformat()
    for stored, given, kept in (
        ({}, {}, {"": now}),
        ({}, {"agent_ids": ["agent-1"]}, {"agent-1": now}),
        ({"": later, "agent-1": before}, {}, {"": later, "agent-1": before}),
        # A sweep of all includes that of one.
        ({"": before, "agent-1": before}, {}, {"": now}),
        ({"": before, "agent-1": before}, {"agent_ids": ["agent-1"]}, {"": before, "agent-1": now}),
        ({"": later}, {"refresh": True}, {"": now}),
        ({"": before}, {"start_date": "2026-05-01"}, {"": before}),
    ):
        state: dict[str, Any] = {"swept": dict(stored)}
        opened(state, **given).finish()
        assert state["swept"] == kept


KNOWN = {"agent-1": ["2026-05-01T00:00:00+00:00", "m"], "agent-2": ["2026-05-01T00:00:00+00:00", "m"]}
SWEPT = {"": (NOW - timedelta(days=9)).isoformat()}


@pytest.mark.parametrize(
    ("named", "all_named", "given", "kept", "lost"),
    [
        (["agent-1", "agent-9"], True, {}, {"agent-1"}, 0),
        # The list was not read to its end, or only some agents were asked for.
        (["agent-1"], False, {}, {"agent-1", "agent-2"}, 0),
        (["agent-1"], True, {"agent_ids": ["agent-1"]}, {"agent-1", "agent-2"}, 0),
        # Another server, perhaps.
        (["agent-9"], True, {}, {"agent-1", "agent-2"}, 2),
        (["agent-9"], False, {}, {"agent-1", "agent-2"}, 0),
        (["agent-9"], True, {"refresh": True}, {"agent-1", "agent-2"}, 0),
        (["agent-9"], True, {"agent_ids": ["agent-9"]}, {"agent-1", "agent-2"}, 0),
    ],
)
def test_a_sweep_forgets_parents_that_the_server_no_longer_names(
    named: list[str], all_named: bool, given: dict[str, Any], kept: set[str], lost: int
) -> None:
    scope = ",".join(given.get("agent_ids", ()))
    stored: dict[str, Any] = {"cursors": dict(KNOWN), "swept": {scope: SWEPT[""]}}
    state = opened(stored, **given)
    for one in named:
        state.note_parent(one)
    if all_named:
        state.note_all_named()
    state.finish()
    assert (set(stored["cursors"]), state.lost) == (kept, lost)


def test_loads_between_sweeps_forget_no_parent() -> None:
    stored: dict[str, Any] = {"cursors": dict(KNOWN)}
    state = opened(stored)
    state.note_parent("agent-1")
    state.note_parent("agent-9")
    state.note_all_named()
    state.finish()
    assert (set(stored["cursors"]), state.lost) == ({*KNOWN}, 0)


@pytest.mark.parametrize(
    ("count", "whole", "given", "lost"),
    [(0, True, {}, 7), (0, False, {}, 0), (1, True, {}, 0), (0, True, {"refresh": True}, 0)],
)
def test_a_server_without_any_agent_has_lost_them(
    count: int, whole: bool, given: dict[str, Any], lost: int
) -> None:
    stored: dict[str, Any] = {"changes": {"agents": 7}}
    state = opened(stored, **given)
    state.note_agents(count, whole)
    state.finish()
    assert (state.lost, stored["changes"]["agents"]) == (lost, count or 7)


def test_a_load_of_some_agents_leaves_the_changes_of_all() -> None:
    stored: dict[str, Any] = {"changes": {"agents": 7, "since": NOW.isoformat()}}
    later = opened(stored, NOW + timedelta(hours=1), agent_ids=["agent-1"], changes="on")
    later.note_agents(1, whole=True)
    later.finish()
    assert stored["changes"] == {"agents": 7, "since": NOW.isoformat()}


def test_the_start_is_kept_for_the_next_load_that_asks_for_changes() -> None:
    hour = timedelta(hours=1)
    for changes, since in (("on", NOW + hour), ("off", NOW)):
        stored: dict[str, Any] = {"changes": {"since": NOW.isoformat(), "open": ["agent-1"]}}
        state = opened(stored, NOW + hour, changes=changes)
        # Young messages leave an agent open.
        for one in ("agent-3", "agent-2"):
            state.cursors.observe(one, [{"id": "m", "date": (NOW + hour).isoformat()}])
        state.finish()
        assert stored["changes"] == {"since": since.isoformat(), "open": ["agent-2", "agent-3"]}
        opened(stored, NOW + hour, changes=changes).finish()
        assert "open" not in stored["changes"]
    first: dict[str, Any] = {}
    opened(first, changes="off").finish()
    assert first["changes"] == {"since": NOW.isoformat()}
