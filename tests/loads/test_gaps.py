"""Unreadable messages from load to load: quarantined, stored, retried, and loaded once they are readable."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.demo import Letta, Server
from letta_source.demo.api import Answer, Dialect, answer
from tests.support.command import ago
from tests.support.library_loads import Merged, issues, quiet_agent
from tests.support.socketless import serve_without_sockets

pytestmark = pytest.mark.usefixtures("waits")

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)


@pytest.fixture(params=["self-hosted", "cloud"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


class Talked:
    """An agent with twenty old turns of four messages each, read into a table."""

    def __init__(self, dialect: Dialect) -> None:
        self.letta, self.dialect = Letta(seed=0), dialect
        self.agent = quiet_agent(self.letta)
        for hour in range(20):
            self.letta.talk(self.agent, "hi", tools=["roll"], date=OLD + timedelta(hours=hour))
        self.merged = Merged()

    @property
    def ids(self) -> list[str]:
        return self.letta.list_of("agent", self.agent).ids()

    def poison(self, *places: int) -> list[str]:
        chosen = [self.ids[place] for place in places]
        for one in chosen:
            self.letta.poison(one)
        return chosen

    def load(self, server: Server, page_size: int = 1000) -> int:
        """Load, and return the number of problems; clear the record of requests first."""
        server.requests.clear()
        return self.merged.load(server, "agent_messages", page_size=page_size).problems

    def missing(self) -> list[str]:
        held = {*self.merged.ids("agent_messages")}
        return [one for one in self.ids if one not in held]

    @property
    def gaps(self) -> list[list[str]]:
        state = self.merged.states["agent_messages"]
        found: list[list[str]] = state.get("gaps", {}).get(self.agent, [])
        return found


@pytest.mark.parametrize("places", [(7,), (30, 31), (5, 40, 78), (0, 9, 18, 27), (10, 11, 12, 13, 14, 15)])
def test_all_but_the_unreadable_messages_are_loaded(dialect: Dialect, places: tuple[int, ...]) -> None:
    talked = Talked(dialect)
    poisoned = talked.poison(*places)
    with serve_without_sockets(talked.letta, dialect) as server:
        problems = talked.load(server, page_size=7)
        assert talked.missing() == poisoned
        assert len(issues(talked.merged.rows("load_issues"))) == problems
        # Adjacent unreadable messages are one gap.
        assert problems == sum(place - 1 not in places for place in places)
        for one in poisoned:
            talked.letta.cure(one)
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each load retry known issues, because the loads here follow each other at once."""
    monkeypatch.setattr("letta_source.state.known_issues._FIRST_WAIT", timedelta())


@pytest.mark.usefixtures("at_once")
def test_the_next_load_retries_only_the_gap(dialect: Dialect) -> None:
    talked = Talked(dialect)
    (bad,) = talked.poison(20)
    with serve_without_sockets(talked.letta, dialect) as server:
        assert talked.load(server) == 1
        assert talked.gaps == [[talked.ids[19], talked.ids[21]]]
        for _ in range(2):
            news = talked.letta.add_message(talked.agent, date=ago(hours=1))
            assert talked.load(server) == 1
            assert talked.missing() == [bad]
            assert news in talked.merged.ids("agent_messages")
            limits = [request.params["limit"] for request in server.requests if "/mess" in request.path]
            assert {*limits[:-2]} == {"1"}
            assert len(limits) < 10
        assert talked.gaps == [[talked.ids[19], talked.ids[21]]]


@pytest.mark.usefixtures("at_once")
def test_readable_messages_in_a_gap_are_loaded(dialect: Dialect) -> None:
    talked = Talked(dialect)
    first, _, last = talked.poison(20, 21, 22)
    with serve_without_sockets(talked.letta, dialect) as server:
        talked.load(server)
        talked.letta.cure(first)
        assert talked.load(server) == 1
        assert (len(talked.missing()), talked.gaps) == (2, [[first, talked.ids[23]]])
        talked.letta.cure(last)
        assert talked.load(server) == 1
        assert (len(talked.missing()), talked.gaps) == (1, [[first, last]])
        talked.letta.poisoned.clear()
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


@pytest.mark.usefixtures("at_once")
def test_a_gap_also_shrinks_from_its_far_side(dialect: Dialect) -> None:
    """Messages without runs: no anchor lies between two unreadable ones, so they are one gap."""
    talked = Talked(dialect)
    for _ in range(40):
        talked.letta.add_message(talked.agent, date=ago(hours=2))
    near, far = talked.poison(85, 115)
    ids = talked.ids
    with serve_without_sockets(talked.letta, dialect) as server:
        talked.load(server)
        assert talked.gaps == [[ids[84], ids[116]]]
        talked.letta.cure(far)
        # A sweep reads the gap once more after its retry.
        assert talked.merged.load(server, "agent_messages", sweep_interval=0).problems == 1
        assert (talked.missing(), talked.gaps) == ([near], [[ids[84], ids[86]]])
        talked.letta.cure(near)
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


def test_a_gap_within_the_overlap_is_met_again() -> None:
    talked = Talked("self-hosted")
    for _ in range(3):
        talked.letta.add_message(talked.agent)
    (bad,) = talked.poison(81)
    with serve_without_sockets(talked.letta) as server:
        for _ in range(2):
            assert talked.load(server) == 1
            assert (talked.missing(), talked.gaps) == ([bad], [])
        talked.letta.cure(bad)
        assert (talked.load(server), talked.missing()) == (0, [])


@pytest.mark.parametrize("deleted", [19, 20, 21])
def test_deleted_messages_leave_no_gap(dialect: Dialect, deleted: int) -> None:
    """Delete the unreadable message, or the one before it or after it."""
    talked = Talked(dialect)
    (bad,) = talked.poison(20)
    with serve_without_sockets(talked.letta, dialect) as server:
        talked.load(server)
        talked.letta.delete_message(talked.ids[deleted])
        talked.letta.poisoned.pop(bad, None)
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


def test_a_reset_forgets_the_gaps(dialect: Dialect) -> None:
    talked = Talked(dialect)
    talked.poison(20)
    with serve_without_sockets(talked.letta, dialect) as server:
        talked.load(server)
        talked.letta.reset_messages(talked.agent)
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


def test_a_refresh_searches_for_gaps_again(dialect: Dialect) -> None:
    talked = Talked(dialect)
    (bad,) = talked.poison(20)
    with serve_without_sockets(talked.letta, dialect) as server:
        talked.load(server)
        before = talked.gaps
        talked.merged.load(server, "agent_messages", refresh=True)
        assert (talked.missing(), talked.gaps) == ([bad], before)


def test_messages_of_a_managed_group() -> None:
    letta = Letta(seed=0)
    manager = quiet_agent(letta)
    group = letta.add_group([manager], "supervisor")
    ids = [
        letta.add_message(manager, group_ids=[group], run_id=letta.talk(manager, "go", date=OLD), date=OLD)
        for _ in range(10)
    ]
    for place in (2, 7):
        letta.poison(ids[place])
    merged = Merged()
    with serve_without_sockets(letta) as server:
        assert merged.load(server, "group_messages").problems == 2
    assert {*merged.ids("group_messages")} == {*ids} - {ids[2], ids[7]}


@pytest.mark.parametrize("status", [404, 409, 500])
def test_without_runs_the_walk_goes_back_from_the_newest_message(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    talked = Talked("self-hosted")
    (bad,) = talked.poison(20)
    refused = []

    def without_runs(letta: Letta, dialect: Any, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        if path == "/v1/runs/" and "agent_id" in args[0]:
            refused.append(path)
            return Answer(status, {"detail": "no"})
        return answer(letta, dialect, method, path, *args, **kwargs)

    monkeypatch.setattr("letta_source.demo.server.answer", without_runs)
    with serve_without_sockets(talked.letta) as server:
        assert (talked.load(server), talked.missing()) == (1, [bad])
    assert refused


def returns(letta: Letta, agent: str) -> list[str]:
    """Return the ids of an agent's tool returns."""
    messages = [letta.messages.rows[one] for one in letta.list_of("agent", agent).ids()]
    return [one.id for one in messages if one.items[0]["message_type"] == "tool_return_message"]


class Turns:
    """An agent with one tool call per step, in runs that begin half a minute before their messages.

    Args:
        stored: True if an earlier load ended in the first turn.
    """

    def __init__(self, stored: bool) -> None:
        self.letta, self.merged = Letta(seed=0), Merged()
        self.agent = self.letta.add_agent("memgpt_v2_agent")
        for one in self.ids():
            self.letta.delete_message(one)
        self.runs = [self.talk(minute) for minute in range(2)]
        self.stored = stored

    def ids(self) -> list[str]:
        return self.letta.list_of("agent", self.agent).ids()

    def talk(self, minute: int) -> str:
        began = OLD + timedelta(minutes=minute)
        run = self.letta.talk(self.agent, "hi", tools=["a", "b"], date=began + timedelta(seconds=30))
        self.letta.replace_row("runs", run, created_at=began.isoformat())
        return run

    def missing(self, dialect: Dialect, bad: list[str]) -> set[str]:
        with serve_without_sockets(self.letta, dialect) as server:
            if self.stored:
                # The messages beyond the first call are loaded later.
                for one in self.ids()[2:]:
                    self.letta.poison(one)
                self.merged.load(server, "agent_messages")
                self.letta.poisoned.clear()
            for one in bad:
                self.letta.poison(one)
            self.merged.load(server, "agent_messages")
        return {*self.ids()} - {*self.merged.ids("agent_messages")}


@pytest.fixture(params=[False, True], ids=["read", "stored"])
def turns(request: pytest.FixtureRequest) -> Turns:
    return Turns(request.param)


def test_messages_between_unreadable_returns_of_neighbouring_turns(turns: Turns, dialect: Dialect) -> None:
    """They are the last messages of a turn and the first of the next one."""
    a, _, _, next_a, *_ = returns(turns.letta, turns.agent)
    assert turns.missing(dialect, [a, next_a]) == {a, next_a}


def test_the_cursors_own_run_gives_an_anchor(turns: Turns, dialect: Dialect) -> None:
    """The last turn has no run after it, and the newest message is unreadable."""
    a = returns(turns.letta, turns.agent)[3]
    last = turns.letta.add_message(turns.agent, date=OLD + timedelta(hours=1))
    assert turns.missing(dialect, [a, last]) == {a, last}


def test_the_steps_of_a_run_give_anchors(turns: Turns, dialect: Dialect) -> None:
    """Both tool returns of one run are unreadable, with more than the call between them."""
    a, b = returns(turns.letta, turns.agent)[3:5]
    step = turns.letta.messages.rows[b].items[0]["step_id"]
    turns.letta.add_message(
        turns.agent, date=OLD + timedelta(seconds=90), before=b, step_id=step, run_id=turns.runs[1]
    )
    assert turns.missing(dialect, [a, b]) == {a, b}


@pytest.mark.parametrize("own", [1, 3])
def test_another_agents_messages_give_anchors_to_messages_without_a_run(own: int) -> None:
    """On a self-hosted server, any message's id is a cursor in any agent's list; ours have no run."""
    letta, merged = Letta(seed=0), Merged()
    agent, other = quiet_agent(letta), quiet_agent(letta)
    letta.talk(agent, "before", date=OLD)
    bad = [letta.add_message(agent, date=OLD)]
    letta.talk(other, "hi", date=OLD + timedelta(seconds=1))
    for _ in range(own):
        letta.add_message(agent, date=OLD + timedelta(seconds=2))
    bad.append(letta.add_message(agent, date=OLD + timedelta(seconds=3)))
    letta.talk(agent, "after", date=OLD + timedelta(seconds=4))
    for one in bad:
        letta.poison(one)
    with serve_without_sockets(letta) as server:
        assert merged.load(server, "agent_messages").problems == 2
        assert {*letta.list_of("agent", agent).ids()} - {*merged.ids("agent_messages")} == {*bad}
    # On Cloud it is not, so the whole gap is named.
    with serve_without_sockets(letta, "cloud") as server:
        session = Merged().load(server, "agent_messages")
        assert 1 <= session.problems <= 2
