"""Run many jobs at once, in order within each, with bounded memory; independent of tables.

A thread of its own runs the walks on asyncio; the caller's thread takes their events.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from letta_source.api.client import Client
from letta_source.api.server import Server
from letta_source.errors import FamilyMissing, ParentError
from letta_source.paging.walk import Event, Page
from letta_source.plan.job import Job, ParentSeen, nothing
from letta_source.settings import Settings

FINDING = Job("", nothing)
"""Placeholder for the search for jobs, in events that belong to no job."""
Jobs = Callable[[Client], AsyncIterator[Job]]


@dataclass(frozen=True)
class Begun:
    """The job was found; these events come in the order of the list that named the jobs."""


@dataclass(frozen=True)
class Done:
    """All of the job was read."""


@dataclass(frozen=True)
class Failed:
    """The job ended early; its earlier events remain valid."""

    error: ParentError | FamilyMissing


@dataclass(frozen=True)
class Shortage:
    """Some job waits for memory, so the gathered rows must be handed on."""


JobEvent = tuple[Job, str, Event | ParentSeen | Begun | Done | Failed | Shortage]
"""A job, the id of the parent that the event concerns, and the event."""


@dataclass
class _Bridge:
    """Queue of events from the event loop's thread to the caller's, with at most `size` pages in it."""

    size: int
    out: queue.SimpleQueue[JobEvent | BaseException | None] = field(default_factory=queue.SimpleQueue)
    room: asyncio.Semaphore = field(init=False)

    is_short: bool = False

    def open(self) -> None:
        self.room = asyncio.Semaphore(self.size)

    def tell_shortage(self) -> None:
        """Put one Shortage, and no other until the caller's thread has taken it."""
        if not self.is_short:
            self.is_short = True
            self.out.put((FINDING, "", Shortage()))

    async def put(self, job_event: JobEvent) -> None:
        if isinstance(page := job_event[2], Page):
            await self.room.acquire()
            page.hold()
        self.out.put(job_event)


@contextmanager
def stream(settings: Settings, jobs: Jobs, server: Server | None = None) -> Iterator[Iterator[JobEvent]]:
    """Yield an iterator over the events of all jobs as they come; leaving the block stops the jobs.

    Args:
        jobs: takes a client, yields the jobs; these start while it goes on.
        server: state of the server shared by the load's requests.

    Raises:
        FatalError: from a job or the search for jobs, while iterating; their other errors become events.
    """
    bridge = _Bridge(size=settings.max_workers)
    loop = asyncio.new_event_loop()

    async def run() -> None:
        bridge.open()
        async with Client(settings, server) as client:
            with client.server.memory.watched(bridge.tell_shortage):
                await _work(client, jobs, settings.max_workers, bridge)

    # Created before the thread, so that leaving the block can cancel it at any time.
    main = loop.create_task(run())

    def thread_main() -> None:
        end: BaseException | None = None
        try:
            loop.run_until_complete(main)
        except BaseException as error:  # handed to the caller's thread
            end = error
        loop.run_until_complete(loop.shutdown_asyncgens())
        bridge.out.put(end)

    thread = threading.Thread(target=thread_main, name="letta_source", daemon=True)
    thread.start()
    try:
        yield _taken(bridge, loop)
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(main.cancel)
            thread.join()
        loop.close()


def _taken(bridge: _Bridge, loop: asyncio.AbstractEventLoop) -> Iterator[JobEvent]:
    while True:
        job_event = bridge.out.get()
        if job_event is None:
            return
        if isinstance(job_event, BaseException):
            raise job_event
        if isinstance(job_event[2], Shortage):
            bridge.is_short = False
        if isinstance(job_event[2], Page):
            loop.call_soon_threadsafe(bridge.room.release)
        yield job_event


async def _work(client: Client, jobs: Jobs, workers: int, bridge: _Bridge) -> None:
    found: asyncio.Queue[Job | None] = asyncio.Queue(maxsize=workers)

    async def find() -> None:
        try:
            async for job in jobs(client):
                await bridge.put((job, job.id, Begun()))
                await found.put(job)
        except (ParentError, FamilyMissing) as error:
            await bridge.put((FINDING, "", Failed(error)))
        for _ in range(workers):
            await found.put(None)

    async def work() -> None:
        while (job := await found.get()) is not None:
            await _do(client, job, bridge)

    tasks = [asyncio.create_task(find()), *(asyncio.create_task(work()) for _ in range(workers))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _do(client: Client, job: Job, bridge: _Bridge) -> None:
    try:
        async for parent_id, event in job.events(client):
            await bridge.put((job, parent_id, event))
    except (ParentError, FamilyMissing) as error:
        await bridge.put((job, job.id, Failed(error)))
    else:
        await bridge.put((job, job.id, Done()))
