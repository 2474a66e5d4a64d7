"""Requests are never sent faster than the cap, nor while the server asks to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from heapq import heappop, heappush
from typing import Any

import httpx
import pytest

from letta_source.api import server as server_module
from letta_source.api.client import Client
from letta_source.api.server import RateLimit, Server
from tests.support.wire import answering, settings


class Clock:
    """Time that passes only while all tasks sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleeping, (self.now + seconds, len(self._sleeping), awake))
        await awake

    def run(self, *tasks: Coroutine[Any, Any, None]) -> None:
        asyncio.run(self._run(tasks))

    async def _run(self, tasks: Sequence[Coroutine[Any, Any, None]]) -> None:
        ended = asyncio.gather(*map(asyncio.ensure_future, tasks))
        while not ended.done():
            # Long enough for all tasks that are awake to continue.
            for _ in range(20):
                await asyncio.sleep(0)
            if self._sleeping:
                self.now, _, awake = heappop(self._sleeping)
                awake.set_result(None)
        await ended


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(server_module, "sleep", clock.sleep)
    monkeypatch.setattr(server_module, "monotonic", lambda: clock.now)
    return clock


def moments(clock: Clock, waiting: RateLimit, readers: int, turns: int, held: float = 0.0) -> list[float]:
    """Return the times of all readers' requests, in seconds from the start."""
    came: list[float] = []

    async def read() -> None:
        for _ in range(turns):
            await waiting.wait()
            came.append(clock.now - 1000)

    async def hold() -> None:
        if held:
            waiting.hold(held)

    clock.run(*(read() for _ in range(readers)), hold())
    return came


@pytest.mark.parametrize("readers", [1, 3])
def test_without_a_limit_requests_do_not_wait(clock: Clock, readers: int) -> None:
    assert moments(clock, RateLimit(), readers, 5) == [0.0] * 5 * readers


@pytest.mark.parametrize("readers", [1, 3])
def test_the_limit_applies_to_all_readers_together(clock: Clock, readers: int) -> None:
    came = moments(clock, RateLimit(requests_per_second=2), readers, 6)
    assert came == [0.5 * number for number in range(6 * readers)]


@pytest.mark.parametrize("cap", [None, 1.0])
def test_no_request_is_sent_while_the_server_asks_to_wait(clock: Clock, cap: float | None) -> None:
    came = moments(clock, RateLimit(cap), readers=3, turns=4, held=7)
    # Before the server asked, the readers had all their turns without a cap, and only one turn with it.
    assert came == ([0.0] * 12 if cap is None else [0.0, *(7.0 + number for number in range(11))])


def test_a_shorter_wait_does_not_end_a_longer_one(clock: Clock) -> None:
    waiting = RateLimit()
    waiting.hold(5)
    waiting.hold(1)
    assert moments(clock, waiting, readers=2, turns=1) == [5.0, 5.0]


def test_a_retry_after_pauses_all_readers(clock: Clock) -> None:
    """All share the load's rate limiter, though each resource has a client of its own."""
    busy, server = httpx.Response(429, headers={"retry-after": "30"}), Server()
    answered: list[float] = []

    async def read() -> None:
        async with Client(settings(), server=server) as client:
            for _ in range(2):
                await client.get("/v1/agents/")
                answered.append(clock.now - 1000)

    with answering(lambda _: busy if len(requests) == 2 else httpx.Response(200, json=[])) as requests:
        clock.run(read(), read())
    assert answered in ([0.0, 30.0, 30.0, 30.0], [0.0, 0.0, 30.0, 30.0])
    assert len(requests) == 5


def test_the_limit_from_the_settings_applies(clock: Clock) -> None:
    async def read() -> None:
        async with Client(settings(requests_per_second=4)) as client:
            for _ in range(9):
                await client.get("/v1/agents/")

    with answering(lambda _: httpx.Response(200, json=[])):
        clock.run(read())
    assert clock.now == 1002
