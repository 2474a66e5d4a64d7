"""What there is to read for each resource: which lists, which parents, from which cursor on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from letta_source.answers import RequestFailed, StatusError
from letta_source.client import Client
from letta_source.cursors import Cursor
from letta_source.errors import ConfigError, FamilyMissing, ParentError, Unreadable
from letta_source.lists import has_id, list_events, listed
from letta_source.message_jobs import messages_job
from letta_source.pages import Endpoint, as_list, is_gone
from letta_source.reading import Reading
from letta_source.stream import Job, nothing
from letta_source.times import created_at
from letta_source.walk import Event, Page, walk_pages
from letta_source.whole import get_one, walk_whole

Item = dict[str, Any]
Events = AsyncIterator[tuple[str, Event]]
Read = Callable[[Client], Events]
Jobs = AsyncIterator[Job]

# The smallest relation set, 4 kB an agent instead of 26 kB; hidden agents talk too.
_AGENT_PARAMS = {"include": "agent.managed_group", "show_hidden_agents": "true"}
_GROUP_PARAMS = {"show_hidden_groups": "true"}
# With the default rendering, which items come back depends on where the pages fall.
_LOSSLESS = {"use_assistant_message": "false"}
# Steps, conversations and all messages have no such parameter: a fixed page size makes it come out the same.
_FIXED_PAGE = 1000
# Where `/v1/steps/` is missing; self-hosted it always answers 400.
_NO_STEP_LIST = {400, 404, 405}
_MAX_SEARCH_RESULTS = 100


async def agents(client: Client, reading: Reading) -> Jobs:
    for agent_id in reading.settings.agent_ids:
        yield Job(agent_id, _agent_read(agent_id), asked_for=True)
    if not reading.settings.agent_ids:
        yield _list_job(reading, _agents_endpoint(reading))


def _agent_read(agent_id: str) -> Read:
    async def events(client: Client) -> Events:
        async for event in get_one(client, f"/v1/agents/{agent_id}", _AGENT_PARAMS):
            yield agent_id, event

    return events


async def groups(client: Client, reading: Reading) -> Jobs:
    yield _list_job(reading, _groups_endpoint(reading))


async def conversations(client: Client, reading: Reading) -> Jobs:
    for key in reading.keys:
        yield _list_job(reading, _conversations_endpoint(reading, key), key)


async def runs(client: Client, reading: Reading) -> Jobs:
    for key in reading.keys:
        units = reading.units(key)
        yield _list_job(reading, _runs_endpoint(reading, key), key, units.cursor, pages="units")
        for run_id in units.beyond_list():
            yield _by_id(key, f"/v1/runs/{run_id}", run_id)


async def steps(client: Client, reading: Reading) -> Jobs:
    for key in reading.keys:
        if await _lists_steps(client, reading):
            yield _steps_job(reading, key)
            for step_id in reading.units(key).unsettled:
                yield _by_id(key, f"/v1/steps/{step_id}", step_id)
        else:
            async for job in _jobs_by_run(client, reading, key, _steps_of_run):
                yield job


async def batches(client: Client, reading: Reading) -> Jobs:
    async for batch in _batches(client, reading):
        yield batch


async def agent_messages(client: Client, reading: Reading) -> Jobs:
    if reading.settings.agent_ids:
        for agent_id in filter(reading.owns, reading.settings.agent_ids):
            yield messages_job(
                reading,
                f"/v1/agents/{agent_id}/messages",
                agent_id,
                _LOSSLESS,
                asked_for=True,
                stones_of=agent_id,
            )
        return
    async for agent, _ in listed(client, reading, _agents_endpoint(reading)):
        if reading.owns(agent["id"]):
            path = f"/v1/agents/{agent['id']}/messages"
            yield messages_job(reading, path, agent["id"], _LOSSLESS, stones_of=agent["id"])


async def group_messages(client: Client, reading: Reading) -> Jobs:
    async for group, _ in listed(client, reading, _groups_endpoint(reading)):
        if reading.owns(group["id"]) and reading.wants(group):
            path, manager = f"/v1/groups/{group['id']}/messages", group.get("manager_agent_id")
            stones_of = manager if isinstance(manager, str) else ""
            yield messages_job(reading, path, group["id"], _LOSSLESS, stones_of=stones_of)


async def conversation_messages(client: Client, reading: Reading) -> Jobs:
    for key in reading.keys:
        async for conversation, _ in listed(client, reading, _conversations_endpoint(reading, key)):
            if reading.owns(conversation["id"]):
                path = f"/v1/conversations/{conversation['id']}/messages"
                yield messages_job(reading, path, conversation["id"], page_size=_FIXED_PAGE)


async def messages(client: Client, reading: Reading) -> Jobs:
    if reading.settings.agent_ids:
        raise ConfigError(
            "messages cannot be limited to agents, the API does not say whose they are: use agent_messages"
        )
    yield messages_job(reading, "/v1/messages/", "", family="messages", page_size=_FIXED_PAGE)


async def step_messages(client: Client, reading: Reading) -> Jobs:
    for key in reading.keys:
        if await _lists_steps(client, reading):
            async for job in _jobs_by_step(client, reading, key):
                yield _own(reading, job)
        elif reading.session.no_steps:
            raise FamilyMissing("steps") from reading.session.no_steps
        else:
            async for job in _jobs_by_run(client, reading, key, _messages_of_run):
                yield _own(reading, job)


async def batch_messages(client: Client, reading: Reading) -> Jobs:
    def of(batch_id: str) -> Read:
        return lambda client: _messages_of_batch(client, reading, batch_id)

    async for batch in _batches(client, reading):
        yield _own(reading, _then(batch, of(batch.id)))


async def message_search(client: Client, reading: Reading) -> Jobs:
    query = reading.settings.search_query or ""

    async def events(client: Client) -> Events:
        body = {"query": query, "limit": _MAX_SEARCH_RESULTS}
        try:
            found = await client.post("/v1/messages/search", body)
        except RequestFailed as error:
            raise Unreadable(f"search: {error}") from error
        if found:
            yield query, Page(as_list(found))

    yield Job(query, events, read_again=True, asked_for=True)


def _agents_endpoint(reading: Reading) -> Endpoint:
    return reading.endpoint("/v1/agents/", _AGENT_PARAMS, "agents")


def _groups_endpoint(reading: Reading) -> Endpoint:
    return reading.endpoint("/v1/groups/", _GROUP_PARAMS, "groups")


def _conversations_endpoint(reading: Reading, key: str) -> Endpoint:
    return reading.endpoint("/v1/conversations/", _of_agent(key), "conversations")


def _runs_endpoint(reading: Reading, key: str) -> Endpoint:
    return reading.endpoint("/v1/runs/", _of_agent(key), "runs")


def _steps_endpoint(reading: Reading, key: str) -> Endpoint:
    """Steps have no date that a window could be held to: the server's own filter does it."""
    params = _of_agent(key)
    if reading.settings.start_date:
        # The server leaves out what was created at the very start_date.
        params["start_date"] = (reading.settings.start_date - timedelta(microseconds=1)).isoformat()
    if reading.settings.end_date:
        params["end_date"] = reading.settings.end_date.isoformat()
    return Endpoint("/v1/steps/", params, reading.settings.page_size, "steps", dated=False)


def _of_agent(key: str) -> dict[str, str | int]:
    return {"agent_id": key} if key else {}


def _list_job(
    reading: Reading,
    endpoint: Endpoint,
    key: str = "",
    cursor: Cursor | None = None,
    pages: Literal["units"] | None = None,
) -> Job:
    read_again = reading.loaded_before or cursor is not None
    return Job(
        "",
        lambda client: list_events(client, reading, endpoint, cursor),
        key,
        pages=pages,
        read_again=read_again,
    )


def _steps_job(reading: Reading, key: str) -> Job:
    listed_to = reading.listed_to(key)
    cursor = (None, listed_to) if listed_to else None

    async def events(client: Client) -> Events:
        last_id, whole = None, True
        async for parent_id, event in list_events(client, reading, _steps_endpoint(reading, key), cursor):
            if isinstance(event, Page):
                last_id = event.items[-1]["id"] if has_id(event.items[-1]) else last_id
                whole = whole and event.in_order
            yield parent_id, event
        if whole:
            reading.now_listed_to(key, last_id)

    return Job("", events, key, pages="units")


def _by_id(key: str, path: str, unit_id: str, asked_for: bool = False) -> Job:
    """A unit that no list gives; `unit` is brought up to date when it is read."""
    unit: Item = {"id": unit_id}

    async def events(client: Client) -> Events:
        async for event in get_one(client, path):
            unit.update(event.items[0], id=unit_id)
            yield unit_id, event

    return Job(unit_id, events, key, unit, in_order=False, read_again=True, asked_for=asked_for)


async def _lists_steps(client: Client, reading: Reading) -> bool:
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


async def _jobs_by_run(
    client: Client, reading: Reading, key: str, read: Callable[[Client, Reading, str], Events]
) -> Jobs:
    """A job for each run that is new or was not settled."""
    units = reading.units(key)
    again = reading.loaded_before or units.cursor is not None

    def of(run_id: str) -> Read:
        return lambda client: read(client, reading, run_id)

    async for run, in_order in listed(
        client, reading, _runs_endpoint(reading, key), units.cursor, once=False
    ):
        if reading.may_hold(run):
            yield Job(run["id"], of(run["id"]), key, run, in_order, read_again=again)
    for run_id in units.beyond_list():
        yield _then(_by_id(key, f"/v1/runs/{run_id}", run_id), of(run_id))


def _own(reading: Reading, job: Job) -> Job:
    """Another shard's, and one that another shard had read already, is passed by."""
    skips = not reading.owns(job.id) or reading.is_behind(job.key, job.id, job.unit or {})
    return replace(job, events=nothing, passes=True) if skips else job


def _then(job: Job, read: Read) -> Job:
    """Instead of the unit itself, once it is up to date, what hangs from it."""

    async def events(client: Client) -> Events:
        async for _ in job.events(client):
            pass
        async for happening in read(client):
            yield happening

    return replace(job, events=events)


async def _steps_of_run(client: Client, reading: Reading, run_id: str) -> Events:
    async for event in walk_pages(client, reading.endpoint(f"/v1/runs/{run_id}/steps")):
        yield run_id, event


async def _messages_of_run(client: Client, reading: Reading, run_id: str) -> Events:
    lacks: list[str] = []
    async for _, event in _steps_of_run(client, reading, run_id):
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
    endpoint = reading.endpoint(f"/v1/steps/{step_id}/messages", page_size=_FIXED_PAGE)
    async for event in walk_pages(client, endpoint):
        yield step_id, event


async def _jobs_by_step(client: Client, reading: Reading, key: str) -> Jobs:
    """A job for each step that is new or was not settled."""
    units = reading.units(key)
    again = reading.loaded_before or units.cursor is not None
    started = reading.session.started_at.isoformat()

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
        client, reading, _steps_endpoint(reading, key), units.cursor, once=False
    ):
        yield Job(step["id"], of(step), key, step, in_order, read_again=again)
    for step_id in units.beyond_list():
        one = _by_id(key, f"/v1/steps/{step_id}", step_id)
        yield _then(one, of(one.unit or {}))


def _keep_newest_date(step: Item, items: Sequence[Any]) -> None:
    times = [time for item in filter(has_id, items) if (time := created_at(item))]
    known = created_at(step)
    if times:
        step["created_at"] = max(*times, known or times[0]).isoformat()


async def _batches(client: Client, reading: Reading) -> Jobs:
    """Those listed, those asked for, and those that the server's list forgot when they ended."""
    key = reading.filter_key
    unsettled = reading.units(key).unsettled
    seen = set()
    endpoint = reading.endpoint("/v1/messages/batches", family="batches")
    async for batch, in_order in listed(client, reading, endpoint, keep=dict):
        seen.add(batch["id"])
        again = reading.loaded_before or batch["id"] in unsettled
        yield Job(batch["id"], _just(batch), key, batch, in_order, read_again=again)
    asked_for = reading.settings.batch_ids
    for batch_id in dict.fromkeys((*asked_for, *unsettled)):
        if batch_id not in seen:
            yield _by_id(key, f"/v1/messages/batches/{batch_id}", batch_id, batch_id in asked_for)


def _just(item: Item) -> Read:
    async def events(client: Client) -> Events:
        yield item["id"], Page([item])

    return events


async def _messages_of_batch(client: Client, reading: Reading, batch_id: str) -> Events:
    endpoint = reading.endpoint(f"/v1/messages/batches/{batch_id}/messages")
    async for event in walk_whole(client, endpoint, "messages"):
        yield batch_id, event


JOBS: dict[str, Callable[[Client, Reading], Jobs]] = {
    find.__name__: find
    for find in (
        agents, groups, runs, steps, conversations, batches,
        agent_messages, group_messages, step_messages, batch_messages,
        conversation_messages, messages, message_search,
    )
}  # fmt: skip
