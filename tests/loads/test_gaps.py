"""What the server cannot give, from load to load: fenced in, kept, tried again, and filled once it can."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Answer, Dialect, answer
from tests.support.command import ago
from tests.support.library_loads import Merged, issues, quiet_agent

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
        """The number of problems; forgets the requests of before."""
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
def test_all_but_the_poisoned_is_loaded(dialect: Dialect, places: tuple[int, ...]) -> None:
    talked = Talked(dialect)
    poisoned = talked.poison(*places)
    with serve(talked.letta, dialect) as server:
        problems = talked.load(server, page_size=7)
        assert talked.missing() == poisoned
        assert len(issues(talked.merged.rows("load_issues"))) == problems
        # Next to each other they are one gap.
        assert problems == sum(place - 1 not in places for place in places)
        for one in poisoned:
            talked.letta.cure(one)
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each load tries again what is known: the loads here come one right after the other."""
    monkeypatch.setattr("letta_source.state.known._FIRST_WAIT", timedelta())


@pytest.mark.usefixtures("at_once")
def test_the_next_load_tries_the_gap_and_not_all_that_follows(dialect: Dialect) -> None:
    talked = Talked(dialect)
    (bad,) = talked.poison(20)
    with serve(talked.letta, dialect) as server:
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
def test_what_can_be_read_of_a_gap_is(dialect: Dialect) -> None:
    talked = Talked(dialect)
    first, _, last = talked.poison(20, 21, 22)
    with serve(talked.letta, dialect) as server:
        talked.load(server)
        talked.letta.cure(first)
        assert talked.load(server) == 1
        assert (len(talked.missing()), talked.gaps) == (2, [[first, talked.ids[23]]])
        talked.letta.cure(last)
        # Its own id is known to nobody.
        assert talked.load(server) == 1
        talked.letta.poisoned.clear()
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


def test_a_gap_among_young_messages_is_met_again() -> None:
    talked = Talked("self-hosted")
    for _ in range(3):
        talked.letta.add_message(talked.agent)
    (bad,) = talked.poison(81)
    with serve(talked.letta) as server:
        for _ in range(2):
            assert talked.load(server) == 1
            assert (talked.missing(), talked.gaps) == ([bad], [])
        talked.letta.cure(bad)
        assert (talked.load(server), talked.missing()) == (0, [])


@pytest.mark.parametrize("deleted", [19, 20, 21])
def test_what_is_deleted_leaves_no_gap(dialect: Dialect, deleted: int) -> None:
    """The poisoned message, or the one before it or after it."""
    talked = Talked(dialect)
    (bad,) = talked.poison(20)
    with serve(talked.letta, dialect) as server:
        talked.load(server)
        talked.letta.delete_message(talked.ids[deleted])
        talked.letta.poisoned.pop(bad, None)
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


def test_a_reset_forgets_the_gaps(dialect: Dialect) -> None:
    talked = Talked(dialect)
    talked.poison(20)
    with serve(talked.letta, dialect) as server:
        talked.load(server)
        talked.letta.reset_messages(talked.agent)
        assert (talked.load(server), talked.missing(), talked.gaps) == (0, [], [])


def test_a_refresh_finds_the_gaps_anew(dialect: Dialect) -> None:
    talked = Talked(dialect)
    (bad,) = talked.poison(20)
    with serve(talked.letta, dialect) as server:
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
    with serve(letta) as server:
        assert merged.load(server, "group_messages").problems == 2
    assert {*merged.ids("group_messages")} == {*ids} - {ids[2], ids[7]}


@pytest.mark.parametrize("status", [404, 409, 500])
def test_without_runs_there_is_the_way_back_from_the_newest(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    talked = Talked("self-hosted")
    (bad,) = talked.poison(20)

    def without_runs(letta: Letta, dialect: Any, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        if path == "/v1/runs/" and "agent_id" in args[0]:
            return Answer(status, {"detail": "no"})
        return answer(letta, dialect, method, path, *args, **kwargs)

    monkeypatch.setattr("letta_source.demo.server.answer", without_runs)
    with serve(talked.letta) as server:
        assert (talked.load(server), talked.missing()) == (1, [bad])
