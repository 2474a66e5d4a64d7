"""The runs and steps to read: those in a list, and those that can only be read by their ids."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from letta_source.api.client import Client
from letta_source.errors import FamilyMissing, ParentError, ParentGone, Unreadable
from letta_source.items import Item
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import UNREADABLE, Event, Page, Retried, walk_pages
from letta_source.paging.whole_lists import get_one
from letta_source.plan.filters import may_hold
from letta_source.plan.job import Events, Job, ParentSeen, Read, nothing
from letta_source.plan.lists import has_id, list_endpoint, listed, runs_endpoint, slim
from letta_source.plan.news import news_since, until_named
from letta_source.plan.unfinished import runs_to_read, steps_to_read
from letta_source.schema.card import Resource
from letta_source.schema.resources import FIXED_PAGE, RESOURCES
from letta_source.state.resource_state import ResourceState
from letta_source.times import created_at, parse_time

Jobs = AsyncIterator[Job]
ReadParent = Callable[[Client, ResourceState, str], AsyncIterator[tuple[str, Event]]]


def job_by_id(key: str, path: str, parent_id: str, asked_for: bool = False) -> Job:
    """Return the job that reads a run, step or batch by its id, as no list has it."""

    async def events(client: Client) -> Events:
        async for page in get_one(client, path):
            yield parent_id, ParentSeen({**page.items[0], "id": parent_id})
            yield parent_id, page

    parent = {"id": parent_id}
    return Job(parent_id, events, "parent", key, parent, in_order=False, read_again=True, asked_for=asked_for)


def then_items(job: Job, read: Read) -> Job:
    """Return the job that updates the parent, then reads its items instead of its own row."""

    async def events(client: Client) -> Events:
        async for found in job.events(client):
            if isinstance(found[1], ParentSeen):
                yield found
        async for found in read(client):
            yield found

    return replace(job, events=events)


async def jobs_by_run(client: Client, state: ResourceState, key: str, read: ReadParent) -> Jobs:
    """Yield a job for each run that is new or was unfinished."""
    worklist, settings = state.worklist(key), state.settings
    again = state.loaded_before or worklist.cursor is not None
    if state.tracks_changes:
        # Sets the cursor from which the next load finds the runs that have moved.
        await news_since(client, state)

    def of(run_id: str) -> Read:
        return lambda client: read(client, state, run_id)

    runs = listed(client, state.session.host, runs_endpoint(settings, key), worklist.cursor, once=False)
    async for run, in_order in runs:
        if may_hold(settings, run):
            yield Job(run["id"], of(run["id"]), "parent", key, run, in_order, read_again=again)
    async for run_id, known in runs_to_read(client, state, key, worklist.beyond_list()):
        if known is None:
            yield then_items(job_by_id(key, RESOURCES["runs"].path_of(run_id), run_id), of(run_id))
        else:
            yield Job(run_id, of(run_id), "parent", key, known, in_order=False, read_again=True)


def without_reading(job: Job) -> Job:
    """Return the job without its reading; it only lets the list's cursor pass the parent."""
    return replace(job, events=nothing, moves="place")


def limited_to_shard(state: ResourceState, job: Job) -> Job:
    """Return the job, or only its place if another shard owns the parent or has read it, by its date."""
    read_to, time = state.read_to(job.key, job.id), created_at(job.parent)
    was_read = read_to and time and (job.id == read_to[1] or time < parse_time(read_to[0]))
    return job if state.settings.shard.owns(job.id) and not was_read else without_reading(job)


def _steps_path(run_id: str) -> str:
    return f"{RESOURCES['runs'].path_of(run_id)}/steps"


async def steps_of_run(client: Client, state: ResourceState, run_id: str) -> AsyncIterator[tuple[str, Event]]:
    """Read the steps of a run, and keep them for the resources that read something of each step."""
    host, endpoint = state.session.host, Endpoint(_steps_path(run_id), page_size=state.settings.page_size)
    steps: list[Item] = []
    whole = True
    named = host.named.get(run_id, ())
    async for event in until_named(walk_pages(client, endpoint), named, endpoint.page_size):
        if isinstance(event, Page):
            whole = whole and all(map(has_id, event.items))
            steps.extend(slim(step) for step in event.items if has_id(step))
        else:
            whole = False
        yield run_id, event
    if whole and len(host.steps_of) < host.max_listed:
        host.steps_of[run_id] = steps


async def _known_steps(client: Client, state: ResourceState, run_id: str) -> AsyncIterator[tuple[str, Event]]:
    """Yield the steps of a run, kept by this load or read now; an unfinished run is read again anyway."""
    known = state.session.host.steps_of.get(run_id)
    if known is None:
        async for found in steps_of_run(client, state, run_id):
            yield found
    elif known:
        yield run_id, Page(known)


def for_each_step(read: ReadParent) -> ReadParent:
    """Return a function that calls `read` for each step of a run."""

    async def of_run(client: Client, state: ResourceState, run_id: str) -> AsyncIterator[tuple[str, Event]]:
        lacks: list[str] = []
        async for _, event in _known_steps(client, state, run_id):
            if not isinstance(event, Page):
                yield run_id, event
                continue
            named = [step["id"] for step in event.items if has_id(step)]
            lacks += [f"{type(step).__name__} without an id" for step in event.items if not has_id(step)]
            # Not later, as reading everything that the page names takes long.
            event.release()
            for step_id in named:
                try:
                    async for found in read(client, state, step_id):
                        yield found
                except ParentError as error:
                    lacks.append(f"{step_id}: {error}")
        if lacks:
            raise Unreadable(f"{_steps_path(run_id)}: {'; '.join(lacks)}")

    return of_run


def read_object_of_step(card: Resource) -> ReadParent:
    """Return a function that reads the one object that a step may have."""

    async def read(client: Client, state: ResourceState, step_id: str) -> AsyncIterator[tuple[str, Event]]:
        if card.family in state.session.host.missing:
            raise FamilyMissing(card.family)
        # The server answers alike for a step without one and a step that does not exist.
        with suppress(ParentGone):
            async for page in get_one(client, card.path_of(step_id), family=card.family):
                yield step_id, page

    return read


async def _messages_of_step(
    client: Client, state: ResourceState, step_id: str
) -> AsyncIterator[tuple[str, Event]]:
    card = RESOURCES["step_messages"]
    endpoint = Endpoint(card.path_of(step_id), card.params, card.page_size or FIXED_PAGE)
    known = state.issues.gaps(step_id, UNREADABLE)
    named = () if known else state.session.host.named.get(step_id, ())
    walk = walk_pages(client, endpoint, known=known)
    # A page with a call that is rendered as an assistant message hides the return of that call.
    async for event in until_named(walk, named, endpoint.page_size, unless="assistant_message"):
        if not isinstance(event, Retried):
            yield step_id, event


messages_of_run = for_each_step(_messages_of_step)
"""Reads the messages of the steps of a run."""


async def jobs_by_step(client: Client, state: ResourceState, key: str) -> Jobs:
    """Yield a job for each step that is new or was unfinished."""
    worklist, settings = state.worklist(key), state.settings
    again = state.loaded_before or worklist.cursor is not None
    met: set[str] = set()
    held: dict[str, list[Job]] = {}
    steps = listed(
        client,
        state.session.host,
        list_endpoint(RESOURCES["steps"], settings, key),
        worklist.cursor,
        once=False,
    )
    async for step, in_order in steps:
        job = Job(
            step["id"], _messages_dating(state, key, step), "parent", key, step, in_order, read_again=again
        )
        # Steps have no date, so another shard's progress ends at the id that it read to.
        met.add(step["id"])
        read_to = state.read_to(key, step["id"])
        if not settings.shard.owns(step["id"]):
            yield without_reading(job)
        elif read_to and (step["id"] == read_to[1] or read_to[1] not in met):
            held.setdefault(read_to[1], []).append(job)
            yield without_reading(job)
        else:
            yield job
    for last_id, jobs in held.items():
        if last_id not in met:
            # That id is gone from the server, so nothing proves that these steps were read.
            for job in jobs:
                yield replace(job, in_order=False)
    async for step_id in steps_to_read(client, state, key, worklist.beyond_list()):
        one = job_by_id(key, RESOURCES["steps"].path_of(step_id), step_id)
        yield replace(one, events=_updated_then_messages(state, key, one))


def _updated_then_messages(state: ResourceState, key: str, by_its_id: Job) -> Read:
    async def events(client: Client) -> Events:
        step = by_its_id.parent
        async for step_id, event in by_its_id.events(client):
            if isinstance(event, ParentSeen):
                step = event.parent
                yield step_id, event
        async for found in _messages_dating(state, key, step)(client):
            yield found

    return events


def _messages_dating(state: ResourceState, key: str, step: Mapping[str, Any]) -> Read:
    """Return a reader of a step's messages that dates the step by the newest one: it has no date itself."""

    async def events(client: Client) -> Events:
        newest = created_at(step)
        async for step_id, event in _messages_of_step(client, state, step["id"]):
            if isinstance(event, Page):
                newest = _newest(event.items, newest)
                if newest:
                    yield step_id, ParentSeen({**step, "created_at": newest.isoformat()})
            yield step_id, event
        if not newest:
            # A step without messages is dated by when it first became known.
            started = state.session.started_at.isoformat()
            known = state.worklist(key).known_since(step["id"]) or started
            yield step["id"], ParentSeen({**step, "created_at": known})

    return events


def _newest(items: Sequence[Any], known: datetime | None) -> datetime | None:
    times = [time for item in filter(has_id, items) if (time := created_at(item))]
    return max([*times, *([known] if known else [])], default=None)
