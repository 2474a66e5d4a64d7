"""Which agents are asked for messages, and what the signals would have missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from letta_source.api.client import Client
from letta_source.paging.walk import Page
from letta_source.plan import active_agents
from letta_source.plan.active_agents import jobs_of_active
from letta_source.plan.job import Events, Job
from letta_source.plan.news import News
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.wire import settings

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
AGENTS = ("agent-1", "agent-2", "agent-3")
# Message to the run that it names.
RUN_OF = {"m1": "run-1", "m2": None, "m3": "run-gone", "m4": None}
Messages = Mapping[str, Sequence[str]]


def loading(run_of: Mapping[str, str | None], swept: timedelta = timedelta(hours=1)) -> ResourceState:
    """Return the state of a load after one that had read up to m0, in which a new agent had no messages."""
    changes = {
        "since": (NOW - timedelta(hours=1)).isoformat(),
        "cursors": {"": [None, "m0"]},
        "open": ["agent-open"],
    }
    session = Session(started_at=NOW)
    session.settings = settings(changes="on")
    news = News()
    news.take([{"id": one, "run_id": run, "date": NOW.isoformat()} for one, run in run_of.items()])
    session.host.news["m0"] = news
    return ResourceState(session, {"changes": changes, "swept": {"": (NOW - swept).isoformat()}})


def asked(state: ResourceState, messages: Messages) -> list[str]:
    """Read the agents that are asked, each of which yields its messages; return their ids."""

    def make(agent_id: str) -> Job:
        async def events(client: Client) -> Events:
            yield agent_id, Page([{"id": one} for one in messages.get(agent_id, ())])

        return Job(agent_id, events)

    async def everyone() -> AsyncIterator[str]:
        for one in AGENTS:
            yield one

    async def main() -> list[str]:
        client: Any = SimpleNamespace()
        found: list[str] = []
        # The jobs run while others are found.
        reading: list[asyncio.Task[None]] = []

        async def read(job: Job) -> None:
            async for _ in job.events(client):
                pass

        async for job in jobs_of_active(client, state, make, everyone):
            found.append(job.id)
            reading.append(asyncio.create_task(read(job)))
        await asyncio.gather(*reading)
        return found

    return asyncio.run(main())


def proven(state: ResourceState) -> object:
    """End the load; return the messages that the next one need not look for."""
    stored: dict[str, Any] = {}
    state.bind(stored)
    state.finish()
    return stored["changes"].get("proven")


@pytest.fixture(autouse=True)
def changed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Have the server answer which agents changed, and that of the runs only run-1 is there."""
    items: list[dict[str, Any]] = []

    async def changed_since(*of: object) -> list[dict[str, Any]]:
        return items

    async def agents_of_runs(*of: object) -> dict[str, str | None]:
        return {"run-1": "agent-1", "run-gone": None}

    monkeypatch.setattr(active_agents, "changed_since", changed_since)
    monkeypatch.setattr(active_agents, "_agents_of_runs", agents_of_runs)
    return items


def test_a_sweep_counts_only_what_no_signal_named() -> None:
    state = loading(RUN_OF, swept=timedelta(days=9))
    assert state.sweeps
    messages = {"agent-1": ["m1"], "agent-2": ["m2"], "agent-3": ["m3"]}
    assert asked(state, messages) == [*AGENTS]
    # Not m1, which a run names, nor m4, which may belong to another organization.
    assert state.missed == 2
    # The next load need not look for it.
    assert proven(state) == ["m2"]


def test_messages_of_agents_left_open_are_not_missed() -> None:
    state = loading(RUN_OF, swept=timedelta(days=9))
    state.changes._stored["open"] = ["agent-2"]
    asked(state, {"agent-1": ["m1"], "agent-2": ["m2"], "agent-3": ["m3"]})
    assert state.missed == 1


def test_a_sweep_that_knows_no_news_misses_nothing() -> None:
    state = loading({}, swept=timedelta(days=9))
    state.session.host.news["m0"] = None
    state.changes.is_marked = True
    state.changes.tail = {"m2", "m4"}
    assert asked(state, {"agent-2": ["m2", "m9"]}) == [*AGENTS]
    assert state.missed is None
    assert proven(state) == ["m2"]


def test_without_news_only_open_agents_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*of: object) -> None:
        raise AssertionError("asked in vain")

    monkeypatch.setattr(active_agents, "changed_since", never)
    assert asked(loading({}), {}) == ["agent-open"]


def test_agents_that_changed_or_have_a_run_are_asked(changed: list[dict[str, Any]]) -> None:
    changed += [{"id": "agent-3", "agent_id": "agent-3"}, {"id": 4, "agent_id": None}]
    state = loading({"m1": "run-1"})
    assert asked(state, {"agent-1": ["m1"]}) == ["agent-1", "agent-3", "agent-open"]
    assert state.session.host.active_agents == (
        state.changes.since,
        {"agent-1", "agent-3", "agent-open"},
    )
    assert state.session.host.named["agent-1"] == {"m1"}


@pytest.mark.parametrize("unknown", ["changed_since", "_agents_of_runs"])
def test_if_the_server_cannot_tell_all_agents_are_asked(
    unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot_tell(*of: object) -> None:
        return None

    monkeypatch.setattr(active_agents, unknown, cannot_tell)
    assert asked(loading(RUN_OF), {}) == [*AGENTS]
