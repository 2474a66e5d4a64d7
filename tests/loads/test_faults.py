"""Faults of the network and the server in three of ten requests do not change the tables."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import count, cycle
from pathlib import Path
from typing import Any, get_args

import pytest

from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Dialect
from letta_source.demo.letta import AgentType
from letta_source.errors import FatalError
from letta_source.schema.resources import RESOURCES
from letta_source.state.session import Session
from tests.support.faults import FAULTS, Faults, route_of
from tests.support.library_loads import EVERY_RESOURCE, Merged, Row, Warehouse, columns_of, in_order

pytestmark = pytest.mark.usefixtures("waits")

OLD = datetime(2024, 5, 4, tzinfo=timezone.utc)
# Each stall or drip takes a whole time-out; on a busy machine, 0.3 s passed without any fault.
SETTINGS: dict[str, Any] = {"timeout": 1.0, "retries": 30}
QUICK = [fault for fault in FAULTS if fault not in ("stall", "drip")]
# Resources that later loads can still read: finished batches leave their list, and a conversation's pages
# hide some returns of send_message.
READ_ON = [
    name for name in EVERY_RESOURCE if name not in ("batches", "batch_messages", "conversation_messages")
]
MOST_LOADS = 100


class World:
    """A Letta with some of everything, and with unfinished runs and batches."""

    def __init__(self, agents: int) -> None:
        self.letta = Letta(seed=0)
        kinds = cycle(get_args(AgentType))
        managers = cycle(("round_robin", "supervisor"))
        self.agents = [self.letta.add_agent(next(kinds)) for _ in range(agents)]
        self._parents = [
            (agent, self.letta.add_conversation(agent), self.letta.add_group([agent], next(managers)))
            for agent in self.agents
        ]
        self._hours = count()
        self._runs: list[str] = []
        self._batches: list[str] = []
        self.talk()

    def talk(self) -> None:
        """Add turns and batches, which stay unfinished until the next call."""
        self.rest()
        date = OLD + timedelta(hours=next(self._hours))
        tools: list[str] = ["roll"]
        for agent, conversation, group in self._parents:
            date += timedelta(seconds=1)
            run = self.letta.talk(
                agent, "hi", tools=tools, date=date, conversation_id=conversation, finished=False
            )
            # Only the first agent's turn has more than one step.
            tools = []
            self._runs.append(run)
            self.letta.add_message(agent, date=date, group_ids=[group])
            self._batches.append(self.letta.add_batch(agent, messages=2))

    def rest(self) -> None:
        """Finish the runs and batches."""
        while self._runs:
            self.letta.finish_run(self._runs.pop())
            self.letta.finish_batch(self._batches.pop())


class Pair:
    """The same loads of one Letta with and without faults, which must give the same tables."""

    def __init__(self, calm: Server, stormy: Server, **settings: Any) -> None:
        self._calm, self._stormy, self._settings = calm, stormy, settings
        self._undisturbed, self._merged = Merged(), Merged()
        self.asks: dict[str, str] = {}
        """Each route that was asked, and a resource that asks it."""

    def load(self, resources: Collection[str]) -> None:
        for resource in resources:
            self._undisturbed.load(self._calm, resource, **self._settings)
            for request in self._calm.requests:
                self.asks.setdefault(route_of(request.path), resource)
            self._calm.requests.clear()
        # In parallel: while one waits for a time-out, another continues.
        with ThreadPoolExecutor(4) as pool:
            sessions = list(pool.map(self._load_stormy, resources))
        assert [session.problems for session in sessions] == [0] * len(sessions)
        assert self._merged.everything() == self._undisturbed.everything()
        assert _places(self._merged) == _places(self._undisturbed)

    def _load_stormy(self, resource: str) -> Session:
        return self._merged.load(
            self._stormy, resource, page_size=2, max_workers=2, **self._settings, **SETTINGS
        )


def _places(merged: Merged) -> dict[str, Any]:
    """Return the places from which the next load continues."""
    return {
        resource: {name: state.get(name) for name in ("cursors", "unsettled")}
        for resource, state in merged.states.items()
    }


@pytest.mark.proof
@pytest.mark.parametrize(
    ("dialect", "resources", "by_agent"),
    [
        pytest.param("self-hosted", EVERY_RESOURCE, False, id="self-hosted"),
        # Resources that only Cloud has, or that are read by agent.
        pytest.param("cloud", ["agents", "steps", "step_messages", "message_search"], True, id="cloud"),
    ],
)
def test_every_fault_at_every_endpoint_changes_nothing(
    dialect: Dialect, resources: list[str], by_agent: bool
) -> None:
    world, faults = World(agents=6), Faults(rate=0.3, seed=7)
    settings = {"agent_ids": world.agents, "search_query": "hi"} if by_agent else {}
    with serve(world.letta, dialect) as calm, serve(world.letta, dialect, between=faults) as stormy:
        pair = Pair(calm, stormy, lag=0, **settings)
        pair.load(resources)
        world.talk()
        pair.load(resources)
        for _ in range(MOST_LOADS):
            missing = {route for route in pair.asks if not all(faults.played[route, one] for one in FAULTS)}
            if not missing:
                return
            # Requests by id are repeated only while something is unfinished.
            if any("{id}" in route for route in missing):
                world.talk()
            else:
                world.rest()
            pair.load(sorted({pair.asks[route] for route in missing}))
    pytest.fail(f"not every fault came at {missing}")


@pytest.mark.whole
def test_faults_change_nothing_in_a_warehouse(tmp_path: Path) -> None:
    world, faults = World(agents=2), Faults(rate=0.3, seed=1)
    undisturbed, warehouse = Merged(), Warehouse(tmp_path)
    resources = ("agents", "runs", "steps", "agent_messages", "conversation_messages")
    with serve(world.letta, "cloud") as calm, serve(world.letta, "cloud", between=faults) as stormy:
        for _ in range(2):
            undisturbed.load(calm, *resources)
            session = warehouse.load(stormy, *resources, page_size=2, **SETTINGS)
            assert session.problems == 0
            world.talk()
    assert faults.played.total() > 20
    for table, rows in undisturbed.everything().items():
        if rows:
            assert warehouse.rows(table) == rows, table
    assert warehouse.rows("load_issues") == []


@pytest.mark.whole
@pytest.mark.parametrize(("seed", "retries"), [(1, 0), (2, 1)])
def test_items_lost_to_faults_are_reported_and_loaded_next_time(seed: int, retries: int) -> None:
    world = World(agents=3)
    faults = Faults(rate=0.3, seed=seed, kinds=QUICK)
    undisturbed, merged = Merged(), Merged()
    lost = 0
    with serve(world.letta) as calm, serve(world.letta, between=faults) as stormy:
        for _ in range(2):
            for resource in READ_ON:
                undisturbed.load(calm, resource)
                try:
                    session = merged.load(stormy, resource, page_size=3, retries=retries)
                except FatalError:
                    lost += 1
                    continue
                if session.problems == 0:
                    for name in (table.name for table in RESOURCES[resource].tables):
                        assert merged.rows(name) == undisturbed.rows(name), name
                lost += session.problems
            world.talk()
        for each in (undisturbed, merged):
            assert each.load(calm, *READ_ON).problems == 0
    assert lost > 0
    for table, rows in undisturbed.everything().items():
        if table != "load_issues":
            assert merged.rows(table) == rows, table


@pytest.mark.whole
@pytest.mark.parametrize(("seed", "page_size", "status"), [(1, 1, 500), (2, 3, 500), (3, 7, 400)])
def test_faults_do_not_hide_an_unreadable_message(seed: int, page_size: int, status: int) -> None:
    world = World(agents=2)
    world.talk()
    stored = world.letta.list_of("agent", world.agents[0]).ids()
    world.letta.poison(stored[6], status)
    undisturbed, merged = Merged(), Merged()
    faults = Faults(rate=0.3, seed=seed)
    with serve(world.letta) as calm, serve(world.letta, between=faults) as stormy:
        undisturbed.load(calm, "agent_messages", page_size=page_size)
        merged.load(stormy, "agent_messages", page_size=page_size, **SETTINGS)
    missing = {*stored} - {*merged.ids("agent_messages")}
    assert missing == {stored[6]}
    assert _named(merged) == [("agent_messages", world.agents[0], "unreadable", stored[5], stored[7])]
    assert _named(undisturbed) == _named(merged)
    for table, rows in undisturbed.everything().items():
        if table != "load_issues":
            assert merged.rows(table) == rows, table


def _named(merged: Merged) -> list[Row]:
    names = columns_of("load_issues")
    places = [names.index(name) for name in ("resource", "parent_id", "kind", "after_id", "before_id")]
    return in_order(tuple(row[place] for place in places) for row in merged.rows("load_issues"))
