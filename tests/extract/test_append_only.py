"""Append-only destinations: each row is loaded once, whatever makes the server return it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from letta_source.demo import Letta, Server
from letta_source.extract.collect import extract
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES
from letta_source.settings import make_settings
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.library_loads import TABLES, Merged, quiet_agent
from tests.support.socketless import serve_without_sockets

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
NAMES = [name for name in RESOURCES if name not in ("message_search", "messages")]
AS_THEY_ARE_NOW = ("agents", "groups", "conversations")


class Added:
    """An append-only warehouse."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        self.states: dict[str, dict[str, Any]] = {}

    def load(self, server: Server, *names: str, **settings: Any) -> Session:
        session = Session()
        session.settings = make_settings({"base_url": server.base_url, **settings}, {})
        session.enter("load")
        for name in names or NAMES:
            self._load(name, session)
        return session

    def _load(self, name: str, session: Session) -> None:
        resource = RESOURCES[name]
        parent = resource.parent.name if resource.parent else None
        held = list(self.rows[name])

        def loaded(parent_id: str) -> set[str]:
            return {row["id"] for row in held if parent is None or row[parent] == parent_id}

        state = orjson.loads(orjson.dumps(self.states.get(name, {})))
        tracked = ResourceState(session, state, adds_only=True)
        for tables in extract(resource, tracked, session.begin(name), tombstones=False, loaded=loaded):
            for table, arrow in tables:
                self.rows[table].extend(arrow.to_pylist())
            tracked.commit()
        self.states[name] = state

    def ids(self, table: str) -> list[str]:
        return sorted(row["id"] for row in self.rows[table])

    def twice(self) -> list[str]:
        """Return the tables in which a key occurs more than once."""
        found = []
        for name, rows in self.rows.items():
            keys = Counter(tuple(row[key] for key in TABLES[name].primary_key) for row in rows)
            if name not in (*AS_THEY_ARE_NOW, LOAD_ISSUES.name) and len(keys) < len(rows):
                found.append(name)
        return found


@pytest.fixture
def letta() -> Letta:
    return Letta(seed=0)


@pytest.fixture(params=["self-hosted", "cloud"])
def server(request: pytest.FixtureRequest, letta: Letta) -> Iterator[Server]:
    with serve_without_sockets(letta, request.param) as server:
        yield server


def talks(letta: Letta, hours: int = 3, days: int = 0) -> str:
    agent = quiet_agent(letta)
    for hour in range(hours):
        letta.talk(agent, "hi", tools=["roll"], date=OLD + timedelta(days=days, hours=hour))
    return agent


def stored(letta: Letta, agent: str) -> list[str]:
    return letta.list_of("agent", agent).ids()


def whole(server: Server) -> Merged:
    merged = Merged()
    merged.load(server, *NAMES)
    return merged


def test_old_messages_are_loaded_once(letta: Letta, server: Server) -> None:
    talks(letta)
    letta.add_batch(letta.add_agent())
    added = Added()
    for _ in range(3):
        added.load(server, page_size=2)
    assert added.twice() == []
    assert set(added.ids("step_messages")) == set(whole(server).ids("step_messages"))
    assert added.ids("steps") == whole(server).ids("steps") != []


def test_young_messages_are_loaded_once_they_are_old(letta: Letta, server: Server) -> None:
    agent = talks(letta)
    young = letta.add_message(agent)
    behind = letta.add_message(agent, date=OLD)
    run = letta.talk(agent, "now", date=OLD, finished=False)
    added = Added()
    added.load(server)
    assert {young, behind}.isdisjoint(added.ids("agent_messages"))
    assert run not in added.ids("runs")
    letta.finish_run(run)
    added.load(server, lag=0)
    assert added.twice() == []
    assert set(added.ids("agent_messages")) == set(stored(letta, agent))
    assert run in added.ids("runs")


def test_a_vanished_cursor_repeats_nothing(letta: Letta, server: Server) -> None:
    agent = talks(letta)
    added = Added()
    added.load(server)
    letta.delete_message(stored(letta, agent)[-1])
    news = letta.add_message(agent, date=OLD + timedelta(days=1))
    added.load(server)
    assert added.twice() == []
    assert news in added.ids("agent_messages")


def test_a_list_read_again_repeats_nothing(letta: Letta, server: Server) -> None:
    talks(letta)
    doomed = talks(letta, 4)
    added = Added()
    added.load(server)
    # The cursor of the list of runs disappears with this agent's runs.
    letta.delete_agent(doomed)
    talks(letta, days=1)
    added.load(server)
    assert added.twice() == []
    assert set(whole(server).ids("step_messages")) <= set(added.ids("step_messages"))


def test_a_requested_batch_repeats_nothing(letta: Letta) -> None:
    batch = letta.add_batch(letta.add_agent())
    letta.finish_batch(batch)
    added = Added()
    with serve_without_sockets(letta) as server:
        for _ in range(2):
            added.load(server, "batches", "batch_messages", batch_ids=[batch], lag=0)
    assert added.ids("batches") == [batch]
    assert added.ids("batch_messages") != []
    assert added.twice() == []


@pytest.mark.parametrize("again", [{"refresh": True}, {"start_date": "2024-01-01"}])
def test_a_refresh_adds_nothing_twice(letta: Letta, server: Server, again: Any) -> None:
    talks(letta)
    letta.add_batch(letta.add_agent())
    added = Added()
    added.load(server)
    added.load(server, **again)
    added.load(server)
    assert added.twice() == []


@pytest.mark.parametrize("part", ["window", "agents"])
def test_partial_and_complete_loads_add_nothing_twice(letta: Letta, server: Server, part: str) -> None:
    """A window moves no cursor, and lists of some agents have cursors of their own."""
    agents = [talks(letta, hours=1), talks(letta, hours=1)]
    part_of: dict[str, Any] = {"window": {"start_date": OLD}, "agents": {"agent_ids": agents[:1]}}
    added = Added()
    for day, settings in enumerate((part_of[part], {}, part_of[part], {}), 2):
        letta.talk(agents[0], "more", tools=["roll"], date=OLD + timedelta(days=day))
        added.load(server, "runs", "steps", "step_messages", "agent_messages", **settings)
        assert added.twice() == []
    assert added.ids("runs") == sorted(letta.tables["runs"].ids())
    assert added.ids("steps") == sorted(letta.tables["steps"].ids())
    for table in ("agent_messages", "step_messages"):
        assert set(added.ids(table)) == set(letta.messages.ids())


def test_groups_of_other_agents_come_with_a_load_of_all(letta: Letta, server: Server) -> None:
    agents = [letta.add_agent() for _ in range(2)]
    added = Added()
    added.load(server, "agents", "conversations", agent_ids=agents[:1])
    groups = [letta.add_group([agent]) for agent in agents]
    with serve_without_sockets(letta) as self_hosted:
        for agent_ids in (agents[:1], [], []):
            added.load(self_hosted, "groups", agent_ids=agent_ids)
    assert added.ids("groups") == sorted(groups)


def test_messages_beyond_an_unreadable_one_are_loaded_once(
    letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else the third load would be too early for a retry.
    monkeypatch.setattr("letta_source.state.known_issues._FIRST_WAIT", timedelta())
    agent = talks(letta)
    first, bad, *_, last = stored(letta, agent)
    letta.poison(bad)
    added = Added()
    for _ in range(2):
        assert added.load(server, "agent_messages", retries=0).problems == 1
    assert added.twice() == []
    assert {first, last} <= set(added.ids("agent_messages"))
    letta.cure(bad)
    for _ in range(2):
        added.load(server, "agent_messages")
    assert added.twice() == []
    assert set(added.ids("agent_messages")) == set(stored(letta, agent))


def test_agents_are_added_each_time_they_change(letta: Letta, server: Server) -> None:
    agent, _ = letta.add_agent(), letta.add_agent()
    added = Added()
    for _ in range(2):
        added.load(server, "agents")
    assert len(added.rows["agents"]) == 2
    letta.tables["agents"].rows[agent]["name"] = "another"
    for _ in range(2):
        added.load(server, "agents")
    assert [row["name"] for row in added.rows["agents"] if row["id"] == agent][1:] == ["another"]
    assert len(added.rows["agents"]) == 3


def test_erased_items_are_dropped_from_held_pages(letta: Letta, server: Server) -> None:
    """Messages of steps wait until these have ended, and are handed on from another place."""
    agent, other = talks(letta), letta.add_agent()
    letta.talk(other, "hi", date=OLD)

    class Erased(Added):
        def _load(self, name: str, session: Session) -> None:
            session.before.erased = frozenset({agent})
            super()._load(name, session)

    known, added = Added(), Erased()
    known.load(server, "steps", "step_messages")
    added.load(server, "step_messages")
    agents = {row["id"]: row["agent_id"] for row in known.rows["steps"]}
    assert {agents[row["step_id"]] for row in known.rows["step_messages"]} == {agent, other}
    assert {agents[row["step_id"]] for row in added.rows["step_messages"]} == {other}
