"""What there is to read of runs and steps: those that a list gives, and those that only their ids do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError
from letta_source.errors import ParentError, Unreadable
from letta_source.paging.events import Event, Page
from letta_source.paging.pages import Endpoint, is_gone
from letta_source.paging.unpaged import get_one
from letta_source.paging.walk import walk_pages
from letta_source.plan.job import Job, nothing
from letta_source.plan.lists import has_id, listed
from letta_source.state.resource_state import Reading
from letta_source.times import created_at, parse_time

Item = dict[str, Any]
Events = AsyncIterator[tuple[str, Event]]
Read = Callable[[Client], Events]
Jobs = AsyncIterator[Job]

# Steps, conversations and all messages have no `use_assistant_message`: a fixed page size makes it the same.
FIXED_PAGE = 1000
# Where `/v1/steps/` is missing; self-hosted it always answers 400.
_NO_STEP_LIST = {400, 404, 405}


def runs_endpoint(reading: Reading, key: str) -> Endpoint:
    return reading.endpoint("/v1/runs/", of_agent(key), "runs")


def steps_endpoint(reading: Reading, key: str) -> Endpoint:
    """Steps have no date that a window could be held to: the server's own filter does it."""
    params = of_agent(key)
    if reading.settings.start_date:
        # The server leaves out what was created at the very start_date.
        params["start_date"] = (reading.settings.start_date - timedelta(microseconds=1)).isoformat()
    if reading.settings.end_date:
        params["end_date"] = reading.settings.end_date.isoformat()
    return Endpoint("/v1/steps/", params, reading.settings.page_size, "steps", dated=False)


def of_agent(key: str) -> dict[str, str | int]:
    return {"agent_id": key} if key else {}


def by_id(key: str, path: str, unit_id: str, asked_for: bool = False) -> Job:
    """A unit that no list gives; `unit` is brought up to date when it is read."""
    unit: Item = {"id": unit_id}

    async def events(client: Client) -> Events:
        async for event in get_one(client, path):
            unit.update(event.items[0], id=unit_id)
            yield unit_id, event

    return Job(unit_id, events, key, unit, in_order=False, read_again=True, asked_for=asked_for)


async def lists_steps(client: Client, reading: Reading) -> bool:
    """Whether this host answers `/v1/steps/`; asked once a load."""
    if reading.session.lists_steps is None:
        try:
            await client.get("/v1/steps/", {"order": "asc", "limit": 1})
        except RequestFailed as error:
            if not isinstance(error, StatusError) or error.status not in _NO_STEP_LIST:
                raise Unreadable(f"/v1/steps/: {error}") from error
            reading.session.miss_step_list(error if is_gone(error) else None)
        else:
            reading.session.lists_steps = True
    return bool(reading.session.lists_steps)


async def jobs_by_run(
    client: Client, reading: Reading, key: str, read: Callable[[Client, Reading, str], Events]
) -> Jobs:
    """A job for each run that is new or was not settled."""
    units = reading.units(key)
    again = reading.loaded_before or units.cursor is not None

    def of(run_id: str) -> Read:
        return lambda client: read(client, reading, run_id)

    async for run, in_order in listed(client, reading, runs_endpoint(reading, key), units.cursor, once=False):
        if reading.may_hold(run):
            yield Job(run["id"], of(run["id"]), key, run, in_order, read_again=again)
    for run_id in units.beyond_list():
        yield then(by_id(key, f"/v1/runs/{run_id}", run_id), of(run_id))


def _passing(job: Job) -> Job:
    """Nothing is read of it; the cursor of its list passes it."""
    return replace(job, events=nothing, passes=True)


def own(reading: Reading, job: Job) -> Job:
    """What belongs to another shard is passed, and what another has read, in a list sorted by date."""
    read_to, time = reading.read_to(job.key, job.id), created_at(job.unit or {})
    was_read = read_to and time and (job.id == read_to[1] or time < parse_time(read_to[0]))
    return job if reading.owns(job.id) and not was_read else _passing(job)


def then(job: Job, read: Read) -> Job:
    """Instead of the unit itself, once it is up to date, what hangs from it."""

    async def events(client: Client) -> Events:
        async for _ in job.events(client):
            pass
        async for happening in read(client):
            yield happening

    return replace(job, events=events)


async def steps_of_run(client: Client, reading: Reading, run_id: str) -> Events:
    async for event in walk_pages(client, reading.endpoint(f"/v1/runs/{run_id}/steps")):
        yield run_id, event


async def messages_of_run(client: Client, reading: Reading, run_id: str) -> Events:
    lacks: list[str] = []
    async for _, event in steps_of_run(client, reading, run_id):
        if not isinstance(event, Page):
            yield run_id, event
            continue
        for step in event.items:
            if not has_id(step):
                lacks.append(f"{type(step).__name__} without an id")
                continue
            try:
                async for found in _messages_of_step(client, reading, step["id"]):
                    yield found
            except ParentError as error:
                lacks.append(f"{step['id']}: {error}")
    if lacks:
        raise Unreadable(f"/v1/runs/{run_id}/steps: {'; '.join(lacks)}")


async def _messages_of_step(client: Client, reading: Reading, step_id: str) -> Events:
    endpoint = reading.endpoint(f"/v1/steps/{step_id}/messages", page_size=FIXED_PAGE)
    async for event in walk_pages(client, endpoint):
        yield step_id, event


async def jobs_by_step(client: Client, reading: Reading, key: str) -> Jobs:
    """A job for each step that is new or was not settled."""
    units = reading.units(key)
    again = reading.loaded_before or units.cursor is not None
    started = reading.session.started_at.isoformat()
    met: set[str] = set()
    held: dict[str, list[Job]] = {}

    def of(step: Item) -> Read:
        async def events(client: Client) -> Events:
            async for step_id, event in _messages_of_step(client, reading, step["id"]):
                if isinstance(event, Page):
                    # Steps have no date: their newest message says whether they are older than the overlap.
                    _keep_newest_date(step, event.items)
                yield step_id, event
            # One without messages is as old as our knowledge of it.
            step["created_at"] = step.get("created_at") or units.known_since(step["id"]) or started

        return events

    async for step, in_order in listed(
        client, reading, steps_endpoint(reading, key), units.cursor, once=False
    ):
        job = Job(step["id"], of(step), key, step, in_order, read_again=again)
        # Steps have no date: what another shard read ends at the id it read to.
        met.add(step["id"])
        read_to = reading.read_to(key, step["id"])
        if not reading.owns(step["id"]):
            yield _passing(job)
        elif read_to and (step["id"] == read_to[1] or read_to[1] not in met):
            held.setdefault(read_to[1], []).append(job)
            yield _passing(job)
        else:
            yield job
    for last_id, jobs in held.items():
        if last_id not in met:
            # It is gone from the server, and tells nothing.
            for job in jobs:
                yield replace(job, in_order=False)
    for step_id in units.beyond_list():
        one = by_id(key, f"/v1/steps/{step_id}", step_id)
        yield then(one, of(one.unit or {}))


def _keep_newest_date(step: Item, items: Sequence[Any]) -> None:
    times = [time for item in filter(has_id, items) if (time := created_at(item))]
    known = created_at(step)
    if times:
        step["created_at"] = max(*times, known or times[0]).isoformat()
