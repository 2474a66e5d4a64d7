"""An agent whose newest message the server cannot render is read without its pending approval."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from letta_source.api.client import Client
from letta_source.errors import Unreadable
from letta_source.paging.walk import Event, Page, walk_pages
from letta_source.paging.whole_lists import get_one
from letta_source.plan.lists import list_endpoint
from letta_source.plan.newest import changed_items
from letta_source.schema.resources import RESOURCES
from tests.support.full_letta import FullLetta
from tests.support.wire import HOST, Walked, answering, gather, playing, settings

pytestmark = pytest.mark.usefixtures("waits")

AGENTS = RESOURCES["agents"]
PENDING = {"id": "message-1", "message_type": "approval_request_message"}


def letta_of(count: int, *unreadable: int, status: int = 500) -> tuple[FullLetta, list[str]]:
    """Return agents with a pending approval each; the newest message of some is unreadable."""
    letta = FullLetta()
    agents = [letta.add_agent(tags=[f"tag{number}"]) for number in range(count)]
    for agent in agents:
        letta.change_agent(agent, pending_approval=PENDING)
    for place in unreadable:
        letta.poison(letta.list_of("agent", agents[place]).ids()[-1], status)
    return letta, agents


def listed(size: int = 1000) -> Walked:
    def read(client: Client) -> AsyncIterator[Event]:
        return walk_pages(client, list_endpoint(AGENTS, settings(page_size=size)))

    return gather(read).whole()


def pending(items: list[Any]) -> dict[str, bool]:
    return {item["id"]: item["pending_approval"] is not None for item in items}


@pytest.mark.parametrize("size", [1000, 3, 1])
@pytest.mark.parametrize("status", [500, 400])
@pytest.mark.parametrize("unreadable", [(0,), (4,), (9,), (2, 3, 7), tuple(range(10))], ids=str)
def test_only_agents_with_an_unreadable_message_lack_pending_approval(
    unreadable: tuple[int, ...], status: int, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    letta, agents = letta_of(10, *unreadable, status=status)
    with playing(letta), caplog.at_level(logging.WARNING):
        walked = listed(size)
    assert walked.others == []
    assert pending(walked.items) == {agent: at not in unreadable for at, agent in enumerate(agents)}
    # The other relations are still there.
    assert [item["tags"] for item in walked.items] == [[f"tag{at}"] for at in range(10)]
    [said] = caplog.messages
    assert said.startswith(f"the server cannot return agent.pending_approval for every item ({status}): ")


def test_after_one_failure_the_relation_is_not_retried(waits: list[float]) -> None:
    letta, _ = letta_of(50, 10)
    with playing(letta):
        listed()
    once = sum(waits)
    waits.clear()
    letta, _ = letta_of(50, 10, 20, 30, 40)
    with playing(letta):
        listed()
    assert 0 < sum(waits) < once + 2


def test_without_such_an_agent_there_are_no_more_requests() -> None:
    letta, agents = letta_of(5)
    with playing(letta) as requests:
        assert pending(listed().items) == dict.fromkeys(agents, True)
    assert all("agent.pending_approval" in str(request.url) for request in requests)
    assert len(requests) <= 3


def test_an_agent_read_by_its_id() -> None:
    letta, agents = letta_of(2, 0)

    def read(agent: str) -> list[Any]:
        def one(client: Client) -> AsyncIterator[Page]:
            return get_one(client, AGENTS.path_of(agent), AGENTS.params, AGENTS.fragile_include)

        return gather(one).whole().items

    with playing(letta):
        assert pending(read(agents[0])) == {agents[0]: False}
        assert pending(read(agents[1])) == {agents[1]: True}


def test_agents_by_their_last_change() -> None:
    """Changes are still found; else each load would list all agents."""
    letta, agents = letta_of(6, 1, 4)

    async def main() -> list[Any]:
        since = datetime.now(timezone.utc) - timedelta(days=9999)
        async with Client(settings(), looks_again=False) as client:
            return [
                item async for page in changed_items(client, AGENTS, "updated_at", since) for item in page
            ]

    with playing(letta):
        found = pending(asyncio.run(main()))
    assert found == {agent: at not in (1, 4) for at, agent in enumerate(agents)}


def test_an_unreadable_agent_is_reported() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"detail": "An unknown error occurred"})

    def read(client: Client) -> AsyncIterator[Page]:
        return get_one(client, "/v1/agents/agent-1", AGENTS.params, AGENTS.fragile_include)

    with answering(answer):
        assert isinstance(gather(read, HOST, retries=1).error, Unreadable)
