"""Parallel jobs: their order, number and errors, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from letta_source.api.client import Client
from letta_source.demo import Letta, serve
from letta_source.errors import AuthError, FamilyMissing, ParentGone, Unreachable, Unreadable
from letta_source.extract.workers import FINDING, Begun, Done, Failed, JobEvent, stream
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Event, Page, walk_pages
from letta_source.plan.job import Job
from tests.support.wire import noting, settings

Events = AsyncIterator[tuple[str, Event]]


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no thread, no event loop and no lost task that asyncio warns of remain."""
    loops: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def note() -> asyncio.AbstractEventLoop:
        loops.append(new_event_loop())
        return loops[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", note)
    yield
    gc.collect()
    assert loops
    assert all(loop.is_closed() for loop in loops)
    assert "letta_source" not in {thread.name for thread in threading.enumerate()}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def job(name: str, events: Callable[[Client], Events]) -> Job:
    return Job(name, events)


def counting(name: str, pages: int, error: Exception | None = None) -> Job:
    """Return a job that yields so many pages, then raises the error."""

    async def events(client: Client) -> Events:
        for number in range(pages):
            await asyncio.sleep(0)
            yield name, Page([number])
        if error:
            raise error

    return job(name, events)


def waiting(name: str, ended: list[str], pages: int = 0) -> Job:
    """Return a job that yields pages, then waits for ever; it adds its name to `ended` when stopped."""

    async def inner() -> AsyncIterator[int]:
        try:
            for number in range(pages):
                yield number
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def events(client: Client) -> Events:
        async for number in inner():
            yield name, Page([number])

    return job(name, events)


def finding(*jobs: Job, error: Exception | None = None) -> Callable[[Client], AsyncIterator[Job]]:
    async def find(client: Client) -> AsyncIterator[Job]:
        for one in jobs:
            yield one
        if error:
            raise error

    return find


def run(*jobs: Job, error: Exception | None = None, **given: Any) -> list[JobEvent]:
    with stream(settings(**given), finding(*jobs, error=error)) as job_events:
        return list(job_events)


def of(job_events: list[JobEvent], name: str) -> list[Any]:
    """Return the events of one job: the page's content or the event's type."""
    events = [event for one, _, event in job_events if one.id == name]
    return [event.items[0] if isinstance(event, Page) else type(event) for event in events]


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_events_of_one_job_come_in_order(workers: int) -> None:
    names = [f"agent-{number}" for number in range(20)]
    job_events = run(*(counting(name, 7) for name in names), max_workers=workers)
    assert all(of(job_events, name) == [Begun, *range(7), Done] for name in names)
    assert len(job_events) == 20 * 9
    assert [one.id for one, _, event in job_events if isinstance(event, Begun)] == names
    assert {parent_id for one, parent_id, _ in job_events if one.id == names[3]} == {names[3]}


def test_no_jobs_at_all() -> None:
    assert run() == []


@pytest.mark.parametrize("workers", [1, 4])
def test_max_workers_limits_concurrent_jobs(workers: int) -> None:
    running: set[str] = set()
    most: list[int] = []

    def counted(name: str) -> Job:
        async def events(client: Client) -> Events:
            running.add(name)
            most.append(len(running))
            await asyncio.sleep(0.002)
            yield name, Page([0])
            running.discard(name)

        return job(name, events)

    run(*(counted(str(number)) for number in range(12)), max_workers=workers)
    assert max(most) == workers


def test_a_caller_that_takes_nothing_holds_up_the_jobs() -> None:
    made = 0

    def tireless(name: str) -> Job:
        async def events(client: Client) -> Events:
            nonlocal made
            while True:
                made += 1
                yield name, Page([0])
                await asyncio.sleep(0)

        return job(name, events)

    def settled() -> int:
        before = -1
        while before != made:
            before = made
            time.sleep(0.05)
        return before

    jobs = finding(*(tireless(str(number)) for number in range(20)))
    with stream(settings(max_workers=4), jobs) as job_events:
        # Eight events are queued, and each of the four workers holds one page.
        assert settled() <= 8 + 4
        for _ in range(100):
            next(job_events)
        assert settled() <= 100 + 8 + 4
    assert made > 50


def test_the_search_for_jobs_waits_for_the_workers() -> None:
    found: list[int] = []

    async def find(client: Client) -> AsyncIterator[Job]:
        for number in range(100):
            found.append(number)
            yield waiting(str(number), [])

    with stream(settings(max_workers=2), find) as job_events:
        for _ in range(5):
            next(job_events)
        time.sleep(0.1)
        # Two are running, two are queued, and one waits for a place in the queue.
        assert len(found) == 5


@pytest.mark.parametrize("pages", [0, 1, 1000])
def test_leaving_early_stops_the_jobs(pages: int) -> None:
    ended: list[str] = []
    names = {"a", "b", "c"}
    with stream(settings(), finding(*(waiting(name, ended, pages) for name in names))) as job_events:
        for _ in range(3 + min(pages, 2)):
            next(job_events)
        time.sleep(0.02)
    assert set(ended) == names


def test_leaving_at_once_stops_the_jobs() -> None:
    def leave() -> None:
        for _ in range(10):
            with stream(settings(), finding(*(waiting(name, []) for name in "abc"))):
                pass

    thread = threading.Thread(target=leave, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def _read_agents(base_url: str, told: list[int] | None = None) -> list[JobEvent]:
    async def find(client: Client) -> AsyncIterator[Job]:
        for agent in await client.get("/v1/agents/", {"order": "asc"}):
            path, agent_id = f"/v1/agents/{agent['id']}/messages", agent["id"]

            async def events(client: Client, path: str = path, agent_id: str = agent_id) -> Events:
                async for event in walk_pages(client, Endpoint(path)):
                    yield agent_id, event

            yield job(agent_id, events)

    told = [] if told is None else told
    server = noting(settings(base_url), lambda: told.append(threading.get_ident()))
    with stream(settings(base_url), find, server) as job_events:
        return list(job_events)


def test_walks_over_a_server() -> None:
    letta, told = Letta(), list[int]()
    agents = [letta.add_agent() for _ in range(12)]
    with serve(letta) as server:
        job_events = _read_agents(server.base_url, told)
    assert {parent_id for _, parent_id, event in job_events if isinstance(event, Done)} == set(agents)
    assert len(told) == len(server.requests)
    assert threading.get_ident() not in told


def test_leaving_early_ends_the_requests() -> None:
    letta = Letta()
    letta.add_agent()

    async def events(client: Client) -> Events:
        yield "", Page(await client.get("/v1/agents/"))

    asked = threading.Event()
    with serve(letta, delay=5) as server:
        started = time.monotonic()
        known = noting(settings(server.base_url), asked.set)
        with stream(settings(server.base_url), finding(job("slow", events)), known):
            assert asked.wait(5)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("error", [AuthError("no"), Unreachable("gone"), KeyError("a bug")])
def test_a_fatal_error_reaches_the_caller_and_ends_other_jobs(error: Exception) -> None:
    ended: list[str] = []
    with pytest.raises(type(error)) as caught:
        run(waiting("a", ended), counting("b", 2, error), waiting("c", ended), max_workers=3)
    assert caught.value is error
    assert {"a", "c"} >= set(ended) >= {"a"}


def test_events_before_a_fatal_error_are_delivered() -> None:
    taken: list[JobEvent] = []
    jobs = finding(counting("a", 2, AuthError("no")))
    with stream(settings(), jobs) as job_events, pytest.raises(AuthError):
        taken.extend(job_events)
    assert of(taken, "a") == [Begun, 0, 1]


@pytest.mark.parametrize("error", [ParentGone("gone"), Unreadable("500"), FamilyMissing("groups")])
def test_a_failing_parent_does_not_affect_others(error: ParentGone | Unreadable | FamilyMissing) -> None:
    job_events = run(counting("a", 5), counting("b", 1, error), counting("c", 5), max_workers=2)
    assert of(job_events, "b") == [Begun, 0, Failed]
    assert of(job_events, "a") == of(job_events, "c") == [Begun, 0, 1, 2, 3, 4, Done]
    assert [event.error for _, _, event in job_events if isinstance(event, Failed)] == [error]


@pytest.mark.parametrize("error", [Unreadable("500"), FamilyMissing("agents")])
def test_jobs_found_before_an_error_are_finished(error: Exception) -> None:
    job_events = run(*(counting(name, 5) for name in "abc"), error=error, max_workers=1)
    assert all(of(job_events, name) == [Begun, 0, 1, 2, 3, 4, Done] for name in "abc")
    assert [(one, event) for one, _, event in job_events if isinstance(event, Failed)] == [
        (FINDING, Failed(error))  # type: ignore[arg-type]
    ]


def test_a_fatal_error_while_finding_ends_the_jobs() -> None:
    ended: list[str] = []
    with pytest.raises(AuthError):
        run(waiting("a", ended), waiting("b", ended), error=AuthError("no"))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit, ZeroDivisionError])
def test_an_interruption_of_the_caller_closes_everything(interruption: type[BaseException]) -> None:
    ended: list[str] = []
    jobs = finding(*(waiting(name, ended, pages=1000) for name in "abc"))

    def consume() -> None:
        with stream(settings(), jobs) as job_events:
            for number, _ in enumerate(job_events):
                if number == 20:
                    raise interruption

    with pytest.raises(interruption):
        consume()
    assert set(ended) == set("abc")
