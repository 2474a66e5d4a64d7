"""Loads of some agents, of a window of time, or of everything again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from letta_source.demo import Letta, Server
from letta_source.demo.store import Kind
from letta_source.errors import ConfigError
from letta_source.schema.resources import RESOURCES
from tests.support.library_loads import EVERY_RESOURCE, Merged, columns_of, quiet_agent, small_letta
from tests.support.socketless import serve_without_sockets

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
BY_AGENT = [name for name in EVERY_RESOURCE if not RESOURCES[name].no_agents]


@pytest.fixture
def letta() -> Letta:
    return small_letta(agents=2)


@pytest.fixture(params=["self-hosted", "cloud"])
def server(request: pytest.FixtureRequest, letta: Letta) -> Iterator[Server]:
    with serve_without_sockets(letta, request.param) as server:
        yield server


def owned_by(letta: Letta, agent: str, group: str) -> set[str]:
    """Return the ids of everything that belongs to an agent and its group."""
    kinds: tuple[Kind, ...] = ("runs", "steps", "conversations", "batches")
    owned = {
        row["id"] for kind in kinds for row in letta.tables[kind].rows.values() if row["agent_id"] == agent
    }
    return {agent, group, *owned, *letta.list_of("agent archives", agent).ids()}


def test_only_requested_agents_are_loaded(letta: Letta, server: Server) -> None:
    agent, other = letta.tables["agents"].ids()
    # A group's `agent_ids` do not include its manager.
    managed = letta.add_group([agent, other], "supervisor")
    letta.add_message(agent, group_ids=[managed])
    merged, whole = Merged(), Merged()
    session = merged.load(server, *BY_AGENT, agent_ids=[agent])
    whole.load(server, *BY_AGENT)
    [group] = [row["id"] for row in letta.tables["groups"].rows.values() if row["agent_ids"] == [agent]]
    mine = owned_by(letta, agent, group) | {managed}
    for name in BY_AGENT:
        for table in RESOURCES[name].tables:
            expected = [row for row in whole.rows(table.name) if row[0] in mine]
            assert merged.rows(table.name) == expected, table.name
        assert merged.rows(name) or session.counts[name].skipped, name


def test_agents_come_with_few_relations_and_hidden_ones_too() -> None:
    letta = Letta()
    hidden = letta.add_agent(hidden=True)
    group = letta.add_group([hidden], hidden=True)
    message = letta.add_message(hidden, date=OLD, group_ids=[group])
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, "agents", "groups", "agent_messages", "group_messages")
        [asked] = [request.params for request in server.requests if request.path == "/v1/agents/"][:1]
    assert set(asked["include"].split(",")) == {
        "agent.managed_group",
        "agent.tags",
        "agent.identities",
        "agent.pending_approval",
    }
    assert (merged.ids("agents"), merged.ids("groups")) == ([hidden], [group])
    assert message in merged.ids("agent_messages")
    assert message in merged.ids("group_messages")


def test_a_later_load_of_all_agents_misses_nothing(letta: Letta, server: Server) -> None:
    agent, other = letta.tables["agents"].ids()
    merged, whole = Merged(), Merged()
    for hour, filtered in enumerate(([agent], [other], [], [agent], [])):
        letta.talk(agent, "more", tools=["roll"], date=OLD + timedelta(hours=hour))
        letta.talk(other, "more", date=OLD + timedelta(hours=hour, minutes=1))
        merged.load(server, *BY_AGENT, agent_ids=filtered, lag=0)
    whole.load(server, *BY_AGENT)
    assert merged.everything() == whole.everything()


def test_the_list_of_all_messages_cannot_be_limited_to_agents(letta: Letta, server: Server) -> None:
    with pytest.raises(ConfigError, match="agent_messages"):
        Merged().load(server, "messages", agent_ids=letta.tables["agents"].ids())


def test_an_unknown_requested_agent_is_named(letta: Letta, server: Server) -> None:
    agent, other = letta.tables["agents"].ids()
    letta.delete_agent(other)
    merged = Merged()
    session = merged.load(server, "agents", "agent_messages", agent_ids=[agent, other])
    assert session.problems == 2
    assert (merged.ids("agents"), set(merged.ids("agent_messages", "agent_id"))) == ([agent], {agent})


def test_a_window_loads_its_rows_and_leaves_the_state_alone(server: Server, letta: Letta) -> None:
    agent = quiet_agent(letta)
    runs = [letta.talk(agent, "hi", tools=["roll"], date=OLD + timedelta(days=day)) for day in range(1, 5)]
    resources = ("agents", "runs", "steps", "agent_messages", "step_messages")
    merged = Merged()
    merged.load(server, *resources, agent_ids=[agent], lag=0)
    before = copy.deepcopy(merged.states)
    window = Merged()
    window.states = merged.states
    start, end = OLD + timedelta(days=2), OLD + timedelta(days=4)
    window.load(server, *resources, agent_ids=[agent], start_date=start, end_date=end)
    assert merged.states == before
    assert window.ids("agents") == [agent]
    assert window.ids("runs") == sorted(runs[1:3])
    within = [one for run in runs[1:3] for one in letta.list_of("run", run).ids()]
    steps = [step for run in runs[1:3] for step in letta.list_of("run steps", run).ids()]
    assert window.ids("steps") == sorted(steps)
    for table in ("agent_messages", "step_messages"):
        assert sorted(set(window.ids(table))) == sorted(within), table
        place = columns_of(table).index("created_at")
        assert all(start <= row[place] < end for row in window.rows(table))


def test_a_window_reads_again_what_was_loaded_before(server: Server, letta: Letta) -> None:
    agent = quiet_agent(letta)
    message = letta.add_message(agent, date=OLD)
    merged = Merged()
    merged.load(server, "agent_messages")
    letta.replace_items(message, [{"message_type": "reasoning_message", "reasoning": "changed"}])
    merged.load(server, "agent_messages")
    assert (agent, message) in {row[:2] for row in merged.rows("agent_messages__content")}
    merged.load(server, "agent_messages", end_date=OLD + timedelta(days=1))
    assert (agent, message) not in {row[:2] for row in merged.rows("agent_messages__content")}


def test_a_refresh_reads_everything_again(server: Server, letta: Letta) -> None:
    merged, whole = Merged(), Merged()
    merged.load(server, *EVERY_RESOURCE, lag=0)
    whole.load(server, *EVERY_RESOURCE)
    merged.tables.clear()
    merged.load(server, *EVERY_RESOURCE, lag=0)
    assert merged.rows("agent_messages") == merged.rows("runs") == merged.rows("step_messages") == []
    merged.load(server, *EVERY_RESOURCE, lag=0, refresh=True)
    assert merged.everything() == whole.everything()
    merged.tables.clear()
    merged.load(server, "agent_messages", "runs", lag=0)
    assert merged.rows("agent_messages") == merged.rows("runs") == []
