"""Which rows are gathered: repeats, lists that did not change, what the settings and erasures leave out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.extract.gathered_rows import GatheredRows, Repeats
from letta_source.plan.job import Job, nothing
from letta_source.rows.mask import Mask
from letta_source.schema.resources import RESOURCES
from letta_source.state.counts import Counts
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.wire import settings

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
LIST = Job("", nothing)


class Load:
    """A load of one resource."""

    def __init__(
        self,
        name: str,
        stored: dict[str, Any] | None = None,
        empty: bool = False,
        erased: Sequence[str] = (),
        adds_only: bool = False,
        tombstones: bool = True,
        **given: Any,
    ) -> None:
        self.session = Session(started_at=NOW)
        self.session.settings = settings(**given)
        self.session.before.erased = frozenset(erased)
        if empty:
            self.session.before.empty.add(name)
        self.state = ResourceState(self.session, {} if stored is None else stored, adds_only)
        resource, self.counts = RESOURCES[name], Counts()
        mask = Mask(resource, self.session.settings)
        self.rows = GatheredRows(resource, self.state, self.counts, mask, tombstones)
        self._name = name

    def add(self, *items: dict[str, Any], parent: str = "", job: Job = LIST) -> None:
        self.rows.add([(parent, items, 10)], job)

    def ids(self) -> list[str]:
        """Return the ids of the root rows gathered."""
        tables = dict(self.rows.tables("load"))
        return tables[self._name].column("id").to_pylist() if self._name in tables else []

    def has_tombstones(self) -> bool:
        """Return True if one of the child rows removes others."""
        children = [rows for name, rows in self.rows.tables("load") if name != self._name]
        return any(any(rows.column("_deleted").to_pylist()) for rows in children)


def message(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "message_type": "user_message", "date": "2026-05-01T00:00:00Z", **more}


def test_a_message_read_twice_is_a_repeat() -> None:
    repeats = Repeats()
    assert repeats.take("agent-1", ["a", "b"])
    assert repeats.take("agent-1", ["c"])
    assert repeats.take("agent-2", ["a"])
    assert not repeats.take("agent-1", ["d", "a"])
    # Once a parent was read, nothing of it should come.
    repeats.end("agent-2")
    assert not repeats.take("agent-2", ["z"])


def test_rows_of_empty_tables_remove_others_only_after_a_repeat() -> None:
    again = Job("agent-1", nothing, "cursor", read_again=True)
    merging = Load("agent_messages")
    merging.add(message("a"), parent="agent-1", job=again)
    assert merging.has_tombstones()
    never = Load("agent_messages", tombstones=False)
    never.add(message("a"), parent="agent-1", job=again)
    assert not never.has_tombstones()
    first = Load("agent_messages", empty=True)
    for name in ("a", "b"):
        first.add(message(name), parent="agent-1", job=again)
        assert not first.has_tombstones()
    # The message may have had more parts when it was read before.
    first.add(message("a"), parent="agent-1", job=Job("agent-1", nothing, "cursor"))
    assert first.has_tombstones()
    assert first.session.before.empty == set()


def test_a_parent_that_ended_is_not_expected_again() -> None:
    load, job = Load("agent_messages", empty=True), Job("agent-1", nothing, "cursor")
    load.add(message("a"), parent="agent-1", job=job)
    load.rows.end(job)
    load.add(message("b"), parent="agent-1", job=job)
    assert load.session.before.empty == set()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, ["old", "new"]),
        ({"start_date": "2026-05-01"}, ["new"]),
        ({"agent_ids": ["agent-1"]}, ["new"]),
    ],
)
def test_only_what_the_settings_ask_for_is_kept(given: dict[str, Any], kept: list[str]) -> None:
    old = {"id": "old", "agent_id": "agent-2", "created_at": "2026-04-01T00:00:00Z"}
    new = {"id": "new", "agent_id": "agent-1", "created_at": "2026-05-02T00:00:00Z"}
    load = Load("runs", **given)
    load.add(old, new)
    assert (load.ids(), load.counts.items) == (kept, len(kept))


@pytest.mark.parametrize(
    "erased", ["a", "agent-1", "conversation-1", "run-1", "run-2", "identity-1", "of-the-job", "parent"]
)
def test_what_was_erased_stays_out(erased: str) -> None:
    mine = message(
        "a", agent_id="agent-1", conversation_id="conversation-1", run_id="run-2", sender_id="identity-1"
    )
    job = Job("run-1", nothing, "parent", parent={"id": "run-1", "agent_id": "of-the-job"})
    load = Load("agent_messages", erased=[erased])
    load.add(mine, parent="parent", job=job)
    load.add(message("b", agent_id=5), parent="other")
    assert load.ids() == ["b"]


def listed(
    stored: dict[str, Any], *items: str, name: str = "agents", whole: bool = True, **how: Any
) -> list[str]:
    """Complete a load of a list; return the ids that are written."""
    load = Load(name, stored, **how)
    load.add(*({"id": one, "name": one} for one in items))
    load.rows.end_list() if whole else load.rows.give_up_list()
    found = load.ids()
    load.state.finish()
    return found


def test_a_list_that_did_not_change_is_not_written() -> None:
    stored: dict[str, Any] = {}
    assert [listed(stored, "a", "b") for _ in range(2)] == [["a", "b"], []]
    assert listed(stored, "a", "c") == ["a", "c"]
    # What was written of a list that broke off is not known.
    assert listed(stored, "a", "c", whole=False) == ["a", "c"]
    assert [listed(stored, "a", "c") for _ in range(2)] == [["a", "c"], []]


def test_a_list_read_from_its_start_again_is_not_known() -> None:
    stored: dict[str, Any] = {}
    load = Load("agents", stored)
    load.add({"id": "a"})
    load.rows.give_up_list()
    load.add({"id": "a"}, {"id": "b"})
    load.rows.end_list()
    load.state.finish()
    assert load.ids() == ["a", "a", "b"]
    assert "list_digest" not in stored


@pytest.mark.parametrize(
    "how",
    [
        {"adds_only": True},
        {"agent_ids": ["a"]},
        {"start_date": "2026-05-01"},
        {"changes": "on"},
        {"refresh": True},
    ],
    ids=str,
)
def test_loads_of_other_kinds_write_lists(how: dict[str, Any]) -> None:
    hour_ago = (NOW - timedelta(hours=1)).isoformat()
    stored: dict[str, Any] = {"changes": {"since": hour_ago}}
    assert [listed(stored, "a") for _ in range(2)] == [["a"], []]
    stored["swept"] = {"": hour_ago, "a": hour_ago}
    assert listed(stored, "a", **how) == ["a"]
    # They may have written other rows.
    assert listed(stored, "a") == ([] if "refresh" in how else ["a"])


def test_lists_with_cursors_are_written_as_they_come() -> None:
    load = Load("runs")
    load.add({"id": "a"})
    assert load.rows.count == 1
    held = Load("agents")
    held.add({"id": "a"})
    assert (held.rows.count, held.counts.items) == (0, 0)


def test_a_list_larger_than_the_memory_is_not_held() -> None:
    load = Load("agents")
    most = load.session.server.memory.enough_rows
    load.rows.add([("", [{"id": "a"}], most)], LIST)
    assert load.rows.count == 0
    load.rows.add([("", [{"id": "b"}], 1)], LIST)
    load.rows.add([("", [{"id": "c"}], 1)], LIST)
    assert load.ids() == ["a", "b", "c"]
    load.rows.end_list()
    assert load.ids() == []
