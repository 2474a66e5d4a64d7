"""Known unreadable messages cost few requests in later loads, and hide no change around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from random import Random
from typing import Any

import pytest

from letta_source.demo import Letta, Server
from letta_source.demo.api import Dialect
from letta_source.state.session import Session
from tests.support.library_loads import Merged, quiet_agent
from tests.support.socketless import serve_without_sockets

pytestmark = pytest.mark.usefixtures("waits")

RESOURCES = ("agents", "runs", "steps", "conversations", "agent_messages", "step_messages")
DIALECTS: tuple[Dialect, Dialect] = ("self-hosted", "cloud")
both_dialects = pytest.mark.parametrize("dialect", DIALECTS)

LOADS: dict[str, dict[str, Any]] = {
    "first": {},
    "known": {},
    "quiet": {},
    "sweep": {"sweep_interval": "0"},
    "window": {"start_date": "2020-01-01"},
    "refresh": {"refresh": True},
    "after": {},
}


@dataclass
class Town:
    """Five agents whose runs of four messages are some days old."""

    dialect: Dialect
    turns: int = 6
    letta: Letta = field(default_factory=lambda: Letta(seed=3))
    merged: Merged = field(default_factory=Merged)

    def __post_init__(self) -> None:
        begin = datetime.now(timezone.utc) - timedelta(days=3)
        self.agents = [quiet_agent(self.letta) for _ in range(5)]
        for hour in range(self.turns):
            for agent in self.agents:
                self.letta.talk(agent, "hi", tools=["roll"], date=begin + timedelta(hours=hour))

    @property
    def ids(self) -> list[str]:
        """Ids of the first agent's messages."""
        return self.letta.list_of("agent", self.agents[0]).ids()

    def load(self, server: Server, *resources: str, **how: Any) -> Session:
        server.requests.clear()
        return self.merged.load(server, *(resources or RESOURCES), retries=2, **how)

    def missing(self) -> list[str]:
        held = {*self.merged.ids("agent_messages")}
        return [one for one in self.ids if one not in held]

    def issues(self) -> list[tuple[str, str]]:
        """Ids around what is known to be unreadable among the first agent's messages."""
        stored = self.merged.states["agent_messages"].get("issues", {}).get(self.agents[0], [])
        return [(one["after_id"], one["before_id"]) for one in stored]


@cache
def counts(dialect: Dialect, places: tuple[int, ...] = ()) -> dict[str, int]:
    """Return the requests by load: those without a gap are counted once for all tests."""
    town = Town(dialect)
    for place in places:
        town.letta.poison(town.ids[place])
    bad, found = [town.ids[place] for place in places], {}
    with serve_without_sockets(town.letta, dialect) as server:
        for name, how in LOADS.items():
            session = town.load(server, **how)
            assert name == "first" or session.problems == session.known_problems
            assert town.missing() == bad
            found[name] = len(server.requests)
    return found


@both_dialects
@pytest.mark.parametrize("places", [(0,), (9,), (5, 14)], ids=str)
def test_known_gaps_at_most_double_the_requests(dialect: Dialect, places: tuple[int, ...]) -> None:
    without, with_it = counts(dialect), counts(dialect, places)
    # A quiet load is short, and a try of its own reads a run again, and the gap from both sides.
    allowed = {name: 2 * without[name] + (13 * len(places) if name == "known" else 0) for name in LOADS}
    assert {name: with_it[name] for name in LOADS if with_it[name] > allowed[name]} == {}
    # While it waits, a quiet load costs what it costs without.
    assert with_it["after"] <= without["after"]


def changes() -> dict[str, Callable[[Town, str], None]]:
    """Map names to events around an unreadable message."""

    def neighbour(step: int) -> Callable[[Town, str], None]:
        return lambda town, bad: town.letta.delete_message(town.ids[town.ids.index(bad) + step])

    def late(step: int) -> Callable[[Town, str], None]:
        def store(town: Town, bad: str) -> None:
            place = town.ids[town.ids.index(bad) + step]
            town.letta.add_message(town.agents[0], before=place)

        return store

    def spread(step: int) -> Callable[[Town, str], None]:
        return lambda town, bad: town.letta.poison(town.ids[town.ids.index(bad) + step])

    return {
        "nothing": lambda town, bad: None,
        "cured": lambda town, bad: town.letta.cure(bad),
        "deleted": lambda town, bad: town.letta.delete_message(bad),
        "the one before is deleted": neighbour(-1),
        "the one after is deleted": neighbour(1),
        "one comes late before it": late(0),
        "one comes late after it": late(1),
        "the one before becomes unreadable": spread(-1),
        "the one after becomes unreadable": spread(1),
        "another becomes unreadable": spread(-4),
        "all is reset": lambda town, bad: town.letta.reset_messages(town.agents[0]),
    }


CHANGES = changes()


@both_dialects
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_around_a_known_gap_is_lost(dialect: Dialect, change: str) -> None:
    town = Town(dialect)
    bad = town.ids[11]
    town.letta.poison(bad)
    with serve_without_sockets(town.letta, dialect) as server:
        for _ in range(3):
            town.load(server, "runs", "agent_messages")
        CHANGES[change](town, bad)
        unreadable = [one for one in town.ids if one in town.letta.poisoned]
        place = town.ids.index
        before = town.merged
        for how in ("sweep", "refresh"):
            town.merged = before.copy()
            town.load(server, "runs", "agent_messages", **LOADS[how])
            # What was read before it became unreadable stays.
            assert town.missing() == [one for one in unreadable if one == bad], how
            if len(unreadable) == 1:
                at = place(unreadable[0])
                assert town.issues() == [(town.ids[at - 1], town.ids[at + 1])], how
            assert len(town.issues()) == len(
                [one for one in unreadable if place(one) - 1 not in map(place, unreadable)]
            ), how


@both_dialects
def test_many_gaps_in_any_order(dialect: Dialect) -> None:
    town, random = Town(dialect, turns=12), Random(5)
    with serve_without_sockets(town.letta, dialect) as server:
        town.load(server, "runs", "agent_messages")
        for _ in range(4):
            town.letta.poison(random.choice(town.ids[::3]))
            town.load(server, "runs", "agent_messages", refresh=True)
        town.load(server, "runs", "agent_messages", refresh=True)
        assert len(server.requests) < 60
        gaps = town.issues()
        assert [town.ids.index(after) if after else -1 for after, _ in gaps] == sorted(
            town.ids.index(after) if after else -1 for after, _ in gaps
        )
        town.letta.poisoned.clear()
        assert town.load(server, "runs", "agent_messages", refresh=True).problems == 0
    assert (town.missing(), town.issues()) == ([], [])


@both_dialects
def test_a_gap_in_a_step_is_one_alarm(dialect: Dialect) -> None:
    """By runs or by the list of steps: its run, or step, is read again only when a try is due."""
    town = Town(dialect)
    bad = town.ids[6]
    town.letta.poison(bad)
    with serve_without_sockets(town.letta, dialect) as server:
        found = [town.load(server, "runs", "step_messages") for _ in range(3)]
        assert [one.problems - one.known_problems for one in found] == [1, 0, 0]
        # One that waits is open all the same: `strict` goes by it.
        assert [one.problems for one in found] == [1, 1, 1]
        assert not [one for one in server.requests if "/steps/step" in one.path or "/run-" in one.path]
        town.letta.cure(bad)
        assert town.load(server, "runs", "step_messages", refresh=True).problems == 0
    assert bad in town.merged.ids("step_messages")
    assert not town.merged.states["step_messages"]["issues"]


@both_dialects
def test_a_waiting_run_is_read_again_when_a_retry_is_due(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("letta_source.state.known_issues._FIRST_WAIT", timedelta())
    town = Town(dialect)
    bad = town.ids[6]
    town.letta.poison(bad)
    with serve_without_sockets(town.letta, dialect) as server:
        for _ in range(3):
            town.load(server, "runs", "step_messages")
        town.letta.cure(bad)
        assert town.load(server, "runs", "step_messages").problems == 0
        assert bad in town.merged.ids("step_messages")
        town.load(server, "runs", "step_messages")
        assert not [one for one in server.requests if "/steps/step" in one.path or "/run-" in one.path]
