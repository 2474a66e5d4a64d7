"""When a row is added, and when the destination is asked whether it has the row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.extract.append_only import AppendOnly
from letta_source.plan.job import Job, Moves, nothing
from letta_source.rows.mask import Mask
from letta_source.schema.resources import RESOURCES
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.wire import settings

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
OLD = NOW - timedelta(days=1)
AHEAD = datetime(2999, 1, 1, tzinfo=timezone.utc)


def item(name: str, created: datetime | None = OLD, **more: Any) -> dict[str, Any]:
    return {"id": name, "created_at": created and created.isoformat(), "status": "completed", **more}


def job(moves: Moves, name: str = "", key: str = "", created: datetime | None = OLD) -> Job:
    return Job(name, nothing, moves, key, item(name, created))


class Load:
    """A load of one resource into a destination that has the rows `there`.

    Attributes:
        asked: the parents for which it was asked.
    """

    def __init__(
        self, name: str, there: Sequence[str] = (), stored: dict[str, Any] | None = None, **given: Any
    ) -> None:
        self.asked: list[str] = []
        session = Session(started_at=NOW)
        session.settings = settings(lag="10m", **given)
        self.host = session.host
        self.state = ResourceState(session, {} if stored is None else stored, adds_only=True)

        def loaded(parent_id: str) -> set[str]:
            self.asked.append(parent_id)
            return {*there}

        resource = RESOURCES[name]
        self.rows = AppendOnly(resource, self.state, loaded, Mask(resource, session.settings))

    def page(
        self, of: Job, *items: dict[str, Any], parent: str = "", passed: int = 99, in_order: bool = True
    ) -> list[str]:
        found = self.rows.page(of, parent, items, min(passed, len(items)), in_order)
        return [one["id"] for one in found]

    def end(self, of: Job, finished: bool = True) -> list[str]:
        return [one["id"] for _, items, _ in self.rows.end(of, finished) for one in items]


def test_messages_are_added_up_to_the_overlap() -> None:
    load, agent = Load("agent_messages", ["a"]), job("cursor", "agent-1")
    assert load.page(agent, item("a"), item("b"), item("c"), parent="agent-1", passed=2) == ["a", "b"]
    assert load.page(agent, item("d"), parent="agent-1", passed=0) == []
    # Cursors tell that these are new.
    assert load.asked == []


def test_messages_of_one_second_come_again() -> None:
    load = Load("conversation_messages", ["a"])
    assert load.page(job("cursor", "c"), item("a"), item("b"), parent="c") == ["b"]
    assert load.asked == ["c"]


def test_what_a_gap_held_waits_for_its_rest() -> None:
    load, agent = Load("agent_messages"), job("cursor", "agent-1")
    assert load.page(agent, item("a"), parent="agent-1", in_order=False) == []
    assert [(of, [*items]) for of, items, _ in load.rows.gap_retried(agent)] == [("agent-1", [item("a")])]
    assert [*load.rows.gap_retried(agent)] == []
    # Without it, a later load reads them again.
    load.page(agent, item("b"), parent="agent-1", in_order=False)
    assert load.end(agent) == []
    assert [*load.rows.gap_retried(agent)] == []


def test_runs_are_added_once_they_are_finished() -> None:
    load, of = Load("runs", ["b"]), job("worklist")
    assert load.page(of, item("a"), item("b"), item("c", status="running")) == ["a", "b"]
    assert load.asked == []
    # One without a date, or dated ahead of the server's clock, may be listed again.
    for odd in (item("d", None), item("d", AHEAD)):
        assert Load("runs", ["b", "d"]).page(of, item("a"), item("b"), odd) == ["a"]
    # So may one that is read by its id.
    assert load.page(of, item("b"), item("e"), in_order=False) == ["e"]


def test_items_of_a_run_are_added_once_it_is_finished() -> None:
    load, run = Load("step_messages", ["b"]), job("parent", "run-1")
    assert load.page(run, item("a"), item("b"), parent="step-1") == []
    assert load.end(run, finished=False) == []
    assert load.page(run, item("a"), item("b"), parent="step-1") == []
    assert load.end(run) == ["a", "b"]
    # The same run may come twice in a list.
    assert load.page(run, item("a"), parent="step-1") == []
    assert load.end(run) == []


@pytest.mark.parametrize("what", ["has_restarted_list", "lists_steps"])
def test_where_steps_may_come_again_the_destination_is_asked(what: str) -> None:
    load, run = Load("step_messages", ["b"]), job("parent", "run-1")
    setattr(load.host, what, True)
    load.page(run, item("a"), item("b"), parent="step-1")
    assert load.end(run) == ["a"]
    assert load.asked == ["step-1"]


@pytest.mark.parametrize("moves", ["parent", "cursor"])
def test_a_parent_that_is_read_again_is_asked_for(moves: Moves) -> None:
    load, of = Load("step_messages" if moves == "parent" else "agent_messages", ["a"]), job(moves, "one")
    if moves == "parent":
        load.page(of, item("lost"), parent="one")
    load.rows.restart(of, "one")
    found = load.page(of, item("a"), item("b"), parent="one")
    assert (load.end(of) if moves == "parent" else found) == ["b"]


def test_items_that_are_always_listed_whole_are_asked_for() -> None:
    load, search = Load("message_search", ["a"]), job("nothing", "words")
    assert load.page(search, item("a"), item("b"), parent="words") == ["b"]
    assert load.page(search, item("b"), item("c"), parent="words") == ["c"]
    # An empty page asks for nothing.
    load.asked.clear()
    assert load.page(search, parent="words") == []
    assert load.asked == []


def test_agents_are_added_each_time_they_changed() -> None:
    stored: dict[str, Any] = {}
    for title, added in (("one", ["a"]), ("one", []), ("two", ["a"])):
        load = Load("agents", stored=stored)
        assert load.page(job("nothing"), item("a", description=title)) == added
        load.state.commit()
    assert [*stored["digests"]] == ["a"]


def test_several_parents_may_have_the_same_item() -> None:
    name = next(one.name for one in RESOURCES.values() if one.walk == "each_list" and one.parent)
    load = Load(name)
    both = [load.page(job("nothing", one), item("a"), parent=one) for one in ("agent-1", "agent-2")]
    assert both == [["a"], ["a"]]


@pytest.mark.parametrize(
    ("created", "until", "asks"),
    [
        (OLD, NOW, True),
        (OLD, OLD, True),
        (OLD, OLD - timedelta(seconds=1), False),
        (None, OLD - timedelta(seconds=1), True),
        (AHEAD, OLD - timedelta(seconds=1), True),
    ],
)
def test_rows_that_a_load_of_some_agents_may_have_added_are_asked_for(
    created: datetime | None, until: datetime, asks: bool
) -> None:
    stored = {"added_until": until.isoformat()}
    load = Load("agent_messages", ["a"], stored)
    young = NOW - timedelta(hours=1)
    found = load.page(
        job("cursor", "agent-1", created=young),
        item("y", young),
        item("a", created or None),
        parent="agent-1",
    )
    # What has no date has its parent's.
    asks = asks and created is not None
    assert (found, load.asked) == ((["y"], ["agent-1"]) if asks else (["y", "a"], []))


def test_items_have_the_date_of_their_parent() -> None:
    stored = {"added_until": OLD.isoformat()}
    for created, asked in ((OLD, ["s"]), (NOW - timedelta(hours=1), []), (None, ["s"])):
        load, run = Load("step_messages", ["a"], stored), job("parent", "run-1", created=created)
        load.page(run, item("a", None), parent="s")
        load.end(run)
        assert load.asked == asked


def test_lists_of_some_agents_have_cursors_of_their_own() -> None:
    """The whole list may have been loaded before."""
    whole = {"cursors": {"": [OLD.isoformat(), "z"]}}
    for moves, key, stored, asks in (
        ("worklist", "agent-1", whole, True),
        ("worklist", "", whole, False),
        ("worklist", "agent-1", {}, False),
    ):
        load = Load("runs", ["a"], dict(stored))
        assert load.page(job(moves, key=key), item("a")) == ([] if asks else ["a"])  # type: ignore[arg-type]


def test_only_added_rows_are_noted() -> None:
    for there, noted in ((["a"], None), ([], NOW)):
        load = Load("agent_messages", there, start_date="2026-05-01")
        load.page(job("cursor", "agent-1"), item("a"), parent="agent-1")
        assert load.state.added_until == noted
