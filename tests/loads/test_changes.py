"""A load that reads only what changed misses nothing, and needs requests only for what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest

from letta_source.demo import Server
from letta_source.demo.api import Answer, Dialect
from letta_source.demo.index import Index
from letta_source.demo.pages import Listing, Page, Problem, read_page
from letta_source.loading.outcome import exit_code, why_failed
from letta_source.schema.resources import RESOURCES
from tests.extract.test_append_only import Added
from tests.loads.test_run import before_answers
from tests.support.full_letta import FullLetta
from tests.support.library_loads import Merged, paths, quiet_agent
from tests.support.socketless import serve_without_sockets
from tests.support.wire import HOST, no_waits, playing

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
ON: dict[str, Any] = {"changes": "on", "lag": 0}
EVERYTHING = tuple(name for name in RESOURCES if name not in ("message_search", "messages"))
BY_AGENT = ("agents", "agent_messages")


@pytest.fixture
def letta() -> FullLetta:
    return FullLetta(seed=0)


@pytest.fixture(params=["self-hosted", "cloud"])
def server(request: pytest.FixtureRequest, letta: FullLetta) -> Iterator[Server]:
    with serve_without_sockets(letta, request.param) as server:
        yield server


class World:
    """A Letta with writes of all kinds."""

    def __init__(self, seed: int) -> None:
        self.letta = FullLetta(seed=seed)
        self.random = Random(seed)
        for number in range(6):
            agent = self.letta.add_agent("memgpt_v2_agent" if number % 3 == 2 else "letta_v1_agent")
            self.letta.talk(agent, "hi", tools=["roll"] * (number % 2))
            if number % 2:
                self.letta.add_group([agent], "supervisor")
            else:
                self.letta.add_conversation(agent)
        self.letta.add_group(self.letta.tables["agents"].ids()[:2])

    def write(self) -> str:
        """Do one write of a random kind."""
        return str(getattr(self, self.random.choice([one for one in dir(self) if one.startswith("do_")]))())

    def agent(self) -> str:
        return self.random.choice(self.letta.tables["agents"].ids())

    def conversation(self) -> str:
        conversations = self.letta.tables["conversations"].ids()
        return (
            self.random.choice(conversations) if conversations else self.letta.add_conversation(self.agent())
        )

    def owner(self, conversation: str) -> str:
        return str(self.letta.tables["conversations"].rows[conversation]["agent_id"])

    def do_talk(self) -> None:
        self.letta.talk(self.agent(), "more", tools=["roll"])

    def do_talk_unfinished(self) -> None:
        self.letta.talk(self.agent(), "and", finished=False)

    def do_talk_in_conversation(self) -> None:
        conversation = self.conversation()
        self.letta.talk(self.owner(conversation), "more", conversation_id=conversation)

    def do_talk_unstreamed(self) -> None:
        conversation = self.conversation()
        self.letta.talk(self.owner(conversation), "so", conversation_id=conversation, streamed=False)

    def do_conversation(self) -> None:
        self.letta.add_conversation(self.agent())

    def do_fork(self) -> None:
        self.letta.fork_conversation(self.conversation())

    def do_summarize(self) -> None:
        self.letta.summarize(self.agent())

    def do_compact(self) -> None:
        self.letta.compact_conversation(self.conversation())

    def do_capture(self) -> None:
        self.letta.capture(self.agent())

    def do_create(self) -> None:
        self.letta.add_agent(hidden=self.random.random() < 0.5)

    def do_import(self) -> None:
        agent = self.letta.add_agent()
        self.letta.add_message(agent, date=OLD)

    def do_say_in_group(self) -> None:
        groups = self.letta.tables["groups"]
        group = groups.rows[self.random.choice(groups.ids())]
        members = [one for one in (*group["agent_ids"], group["manager_agent_id"]) if one]
        alive = [one for one in members if one in self.letta.tables["agents"].rows]
        if alive:
            self.letta.add_message(self.random.choice(alive), text="all", group_ids=[group["id"]])

    def do_group(self) -> None:
        self.letta.add_group([self.agent()])

    def do_finish(self) -> None:
        runs = [one for one, row in self.letta.tables["runs"].rows.items() if row["status"] == "running"]
        if runs:
            self.letta.finish_run(self.random.choice(runs))

    def do_change_agent(self) -> None:
        self.letta.change_agent(self.agent(), name=f"named {self.random.random()}")

    def do_delete(self) -> None:
        if len(self.letta.tables["agents"]) > 3:
            agent = self.agent()
            self.letta.delete_agent(agent)
            # Steps of any age then lose their run, which no load can see, as they have no date.
            steps = self.letta.tables["steps"]
            steps.remove([one for one, row in steps.rows.items() if row["agent_id"] == agent])

    def do_nothing(self) -> None:
        pass


def old_agent(letta: FullLetta) -> str:
    """Return an agent that was created long ago, with a message of that time."""
    agent = quiet_agent(letta)
    letta.replace_row("agents", agent, created_at=OLD.isoformat(), updated_at=OLD.isoformat())
    letta.add_message(agent, date=OLD)
    return agent


def lost(of_changes: Merged, afresh: Merged) -> dict[str, Counter[Any]]:
    """Return by table the rows that the server has and the warehouse lacks."""
    found = {name: Counter(afresh.rows(name)) - Counter(of_changes.rows(name)) for name in afresh.tables}
    return {name: rows for name, rows in found.items() if rows}


@pytest.mark.whole
@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
@pytest.mark.parametrize("seed", range(8))
def test_no_write_is_missed(dialect: Dialect, seed: int) -> None:
    world, merged = World(seed), Merged()
    with no_waits(), playing(world.letta, dialect):
        server = Server(HOST)
        for _ in range(6):
            merged.load(server, *EVERYTHING, **ON)
            # On Cloud, steps have the date of their messages, so they are read within the overlap.
            afresh = Merged()
            afresh.load(server, *EVERYTHING, lag=0)
            assert lost(merged, afresh) == {}
            for _ in range(world.random.randint(0, 3)):
                world.write()


def test_requests_for_nothing_new_do_not_grow_with_the_agents(letta: FullLetta, server: Server) -> None:
    agents = [quiet_agent(letta) for _ in range(30)]
    for hour, agent in enumerate(agents):
        letta.talk(agent, "hi", date=OLD + timedelta(hours=hour))
    letta.add_conversation(agents[0])
    letta.add_group(agents[:2])
    merged = Merged()
    for _ in range(3):
        merged.load(server, **ON)
    paths(server)
    session = merged.load(server, **ON)
    asked = [path for path, _ in paths(server)]
    # Before each load there is one more request.
    assert len(asked) <= 10, asked
    assert sum(counts.items for counts in session.counts.values()) == 0


def test_requests_grow_only_with_active_agents(letta: FullLetta, server: Server) -> None:
    agents = [old_agent(letta) for _ in range(100)]
    merged, afresh = Merged(), Merged()
    for _ in range(2):
        merged.load(server, **ON)
    for agent in agents[:20]:
        letta.talk(agent, "hi")
    paths(server)
    merged.load(server, **ON)
    asked = [path for path, _ in paths(server)]
    # For each agent: its messages, the run's steps, and the step's messages.
    assert len(asked) <= 20 * 3 + 20, Counter(asked)
    afresh.load(server, lag=0)
    assert lost(merged, afresh) == {}


def test_a_short_page_is_not_the_end_before_all_named_messages_came(
    letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may return fewer items than requested."""
    agents = [old_agent(letta) for _ in range(3)]
    merged, afresh = Merged(), Merged()
    for _ in range(2):
        merged.load(server, **ON)
    for tools in ([], ["roll"] * 3):
        letta.talk(agents[1], "hi", tools=tools)
    monkeypatch.setattr("letta_source.demo.pages._limit", lambda params, listing: 2)
    merged.load(server, **ON)
    afresh.load(server, lag=0)
    assert lost(merged, afresh) == {}


def test_a_compaction_without_a_signal_makes_the_load_ask_all_agents(
    letta: FullLetta, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    agents = [letta.add_agent() for _ in range(5)]
    conversation = letta.add_conversation(agents[3])
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    summary = letta.compact_conversation(conversation)
    caplog.set_level("INFO")
    merged.load(server, *BY_AGENT, **ON)
    assert summary in merged.ids("agent_messages")
    assert "1 new messages could not be assigned to an agent" in caplog.text
    caplog.clear()
    merged.load(server, *BY_AGENT, **ON)
    assert "could not be assigned to an agent" not in caplog.text


def test_messages_of_other_organizations_are_ignored(
    letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of all messages ignores organizations; those of another one answer 404 by their id."""
    agents = [letta.add_agent() for _ in range(5)]
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    foreign = letta.capture(agents[0])

    def hide(path: str) -> Answer | None:
        is_hidden = any(path == f"/v1/messages/{one}" for one in foreign)
        return Answer(404, {"detail": f"No message found with id '{path[13:]}'"}) if is_hidden else None

    before_answers(monkeypatch, hide)
    paths(server)
    merged.load(server, *BY_AGENT, **ON)
    asked = [path for path, _ in paths(server)]
    assert sum(path.endswith("/messages") for path in asked) == 0
    assert sum(path.startswith("/v1/messages/message-") for path in asked) == 2


def test_agents_with_messages_in_the_overlap_are_asked_again(letta: FullLetta, server: Server) -> None:
    agents = [old_agent(letta) for _ in range(4)]
    last = letta.add_message(agents[0])
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, changes="on")
    late = letta.add_message(agents[0], before=last)
    paths(server)
    merged.load(server, *BY_AGENT, changes="on")
    assert late in merged.ids("agent_messages")
    assert not [path for path, _ in paths(server) if agents[1] in path]


def test_unreadable_agents_are_asked_again(
    letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [letta.add_agent() for _ in range(4)]
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    letta.talk(agents[1], "hi")
    with monkeypatch.context() as patch:
        broken = Answer(403, {"detail": "no"})
        before_answers(patch, lambda path: broken if path == f"/v1/agents/{agents[1]}/messages" else None)
        assert merged.load(server, *BY_AGENT, **ON, retries=0).problems == 1
    merged.load(server, *BY_AGENT, **ON)
    afresh = Merged()
    afresh.load(server, *BY_AGENT)
    assert lost(merged, afresh) == {}


def test_an_unreadable_agent_is_one_alarm_even_in_quiet_hours(
    letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [old_agent(letta) for _ in range(4)]
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    letta.talk(agents[1], "hi")
    broken = Answer(403, {"detail": "no"})
    before_answers(monkeypatch, lambda path: broken if path == f"/v1/agents/{agents[1]}/messages" else None)
    sessions = [merged.load(server, *BY_AGENT, **ON, retries=0) for _ in range(3)]
    assert [why_failed(session) for session in sessions] == [None] * 3
    assert [exit_code(session) for session in sessions] == [3, 0, 0]


@pytest.mark.parametrize("agents", [3, 301])
def test_auto_is_on_with_many_agents(letta: FullLetta, agents: int) -> None:
    for _ in range(agents):
        letta.add_message(quiet_agent(letta), date=OLD)
    merged = Merged()
    with serve_without_sockets(letta) as server:
        for _ in range(2):
            merged.load(server, *BY_AGENT, lag=0)
        paths(server)
        merged.load(server, *BY_AGENT, lag=0)
        asked = [path for path, _ in paths(server)]
        assert sum(path.endswith("/messages") for path in asked) == (3 if agents == 3 else 0)
        merged.load(server, *BY_AGENT, lag=0, changes="off")
        assert sum(path.endswith("/messages") for path, _ in paths(server)) == agents


def test_a_sweep_asks_all_and_counts_missed_items(
    letta: FullLetta, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    agents = [letta.add_agent() for _ in range(4)]
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    [first, second] = letta.capture(agents[2])
    paths(server)
    caplog.set_level("INFO")
    session = merged.load(server, *BY_AGENT, **ON, sweep_interval=0)
    assert {name: counts.missed for name, counts in session.counts.items()}["agent_messages"] == 2
    assert {path for path, _ in paths(server)} >= {f"/v1/agents/{agent}/messages" for agent in agents}
    assert {first, second} <= set(merged.ids("agent_messages"))
    assert "the sweep found 2 messages that no change signal reported" in caplog.text


def test_a_host_that_ignores_the_order_is_asked_for_everything(
    letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    agents = [letta.add_agent() for _ in range(4)]
    merged = Merged()
    monkeypatch.setattr("letta_source.demo.lists.ORDERS", {})
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    for agent in agents[1:3]:
        letta.change_agent(agent, name="another")
        letta.talk(agent, "hi")
    caplog.set_level("INFO")
    merged.load(server, *BY_AGENT, **ON)
    afresh = Merged()
    afresh.load(server, *BY_AGENT)
    assert lost(merged, afresh) == {}
    assert "the host cannot tell what changed" in caplog.text


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_a_host_that_refuses_the_order_is_asked_for_everything(
    letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    def page(index: Index, listing: Listing, params: Mapping[str, str], *rest: Any) -> Page:
        # A mock may know just one query, and answer 404 to any other.
        if "order_by" in params or (status == 404 and params.get("order") != "asc"):
            raise Problem(status, {"detail": "Not Found" if status == 404 else "no such order"})
        return read_page(index, listing, params, *rest)

    monkeypatch.setattr("letta_source.demo.lists.read_page", page)
    agents = [letta.add_agent() for _ in range(3)]
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON, retries=0)
    letta.change_agent(agents[1], name="another")
    assert merged.load(server, *BY_AGENT, **ON, retries=0).problems == 0
    afresh = Merged()
    afresh.load(server, *BY_AGENT)
    assert lost(merged, afresh) == {}


@pytest.mark.parametrize("status", [404, 422, 500])
def test_without_the_list_of_all_messages_all_agents_are_asked(
    letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    agents = [letta.add_agent() for _ in range(3)]
    answer = Answer(status, {"detail": "Not Found" if status == 404 else "no"})
    before_answers(monkeypatch, lambda path: answer if path == "/v1/messages/" else None)
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON, retries=0)
    news = [letta.capture(agent)[0] for agent in agents]
    assert merged.load(server, *BY_AGENT, **ON, retries=0).problems == 0
    assert set(news) <= set(merged.ids("agent_messages"))


def test_if_the_list_of_all_messages_is_unreadable_all_agents_are_asked(
    letta: FullLetta, server: Server
) -> None:
    agents = [letta.add_agent() for _ in range(3)]
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    bad, *_ = letta.capture(agents[0])
    news = [letta.capture(agent)[1] for agent in agents]
    letta.poison(bad)
    merged.load(server, *BY_AGENT, **ON, retries=0)
    assert set(news) <= set(merged.ids("agent_messages"))
    letta.cure(bad)
    merged.load(server, *BY_AGENT, **ON)
    assert bad in merged.ids("agent_messages")


def test_if_the_message_under_the_cursor_is_gone_all_agents_are_asked(
    letta: FullLetta, server: Server
) -> None:
    agents = [letta.add_agent() for _ in range(3)]
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    letta.delete_message(letta.messages.ids()[-1])
    news = [letta.capture(agent)[0] for agent in agents]
    merged.load(server, *BY_AGENT, **ON)
    assert set(news) <= set(merged.ids("agent_messages"))


def test_a_window_and_a_refresh_ask_everything(letta: FullLetta, server: Server) -> None:
    agents = [quiet_agent(letta) for _ in range(3)]
    for agent in agents:
        letta.add_message(agent, date=OLD)
    merged = Merged()
    for _ in range(2):
        merged.load(server, *BY_AGENT, **ON)
    for otherwise in ({"start_date": "2024-01-01"}, {"refresh": True}, {"agent_ids": agents}):
        paths(server)
        before = merged.states["agent_messages"].get("changes")
        merged.load(server, *BY_AGENT, **ON, **otherwise)
        assert {path for path, _ in paths(server)} >= {f"/v1/agents/{agent}/messages" for agent in agents}
        if "refresh" not in otherwise:
            assert merged.states["agent_messages"].get("changes") == before


def test_shards_read_only_their_agents(letta: FullLetta) -> None:
    agents = [letta.add_agent() for _ in range(24)]
    shards = {f"{index}/3": Merged() for index in range(3)}
    with serve_without_sockets(letta) as server:
        for _ in range(2):
            for shard, merged in shards.items():
                merged.load(server, *BY_AGENT, **ON, shard=shard)
        for agent in agents[:6]:
            letta.talk(agent, "hi")
        new = letta.add_agent()
        letta.summarize(agents[7])
        paths(server)
        for shard, merged in shards.items():
            merged.load(server, *BY_AGENT, **ON, shard=shard)
        asked = [path for path, _ in paths(server)]
        # Of other shards' agents only new messages are requested, to learn whose they are.
        assert sum(path.endswith("/messages") for path in asked) <= 2 * 8 * 3
        assert not [path for path in asked if agents[20] in path]
    found = set().union(*(merged.ids("agent_messages") for merged in shards.values()))
    assert found == set(letta.messages.ids())
    assert new in set().union(*(merged.ids("agent_messages", "agent_id") for merged in shards.values()))


def test_destinations_that_only_add_get_each_row_once(letta: FullLetta, server: Server) -> None:
    agents = [quiet_agent(letta) for _ in range(4)]
    added = Added()
    for hour in range(3):
        for agent in agents[: hour + 1]:
            letta.talk(agent, "hi", date=OLD + timedelta(hours=hour))
        letta.capture(agents[3])
        added.load(server, *EVERYTHING, **ON)
    added.load(server, *EVERYTHING, **ON)
    assert added.twice() == []
    assert set(added.ids("agent_messages")) == set(letta.messages.ids())


def test_the_sweep_requests_missing_families_again(letta: FullLetta) -> None:
    letta.add_agent()
    merged = Merged()
    for missing, sweep, asks in (
        (("groups",), "1d", True),
        (("groups",), "1d", False),
        ((), "1d", False),
        ((), "0", True),
        ((), "1d", True),
    ):
        with serve_without_sockets(letta, missing=missing) as server:
            session = merged.load(server, "groups", "group_messages", **ON, sweep_interval=sweep)
            assert bool(paths(server)) == asks
            assert (session.counts["groups"].skipped is not None) == (bool(missing) or not asks)
