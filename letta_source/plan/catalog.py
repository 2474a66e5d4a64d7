"""What there is to read for each resource: which lists, which parents, from which cursor on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed
from letta_source.errors import ConfigError, FamilyMissing, Unreadable
from letta_source.paging.events import Event, Page
from letta_source.paging.pages import Endpoint, as_list
from letta_source.paging.unpaged import get_one, walk_whole
from letta_source.plan.job import Job
from letta_source.plan.lists import has_id, list_events, listed
from letta_source.plan.messages import messages_job
from letta_source.plan.runs_and_steps import (
    FIXED_PAGE,
    by_id,
    jobs_by_run,
    jobs_by_step,
    lists_steps,
    messages_of_run,
    of_agent,
    own,
    runs_endpoint,
    steps_endpoint,
    steps_of_run,
    then,
)
from letta_source.state.cursors import Cursor
from letta_source.state.resource_state import Reading

Item = dict[str, Any]
Events = AsyncIterator[tuple[str, Event]]
Read = Callable[[Client], Events]
Jobs = AsyncIterator[Job]

# The smallest relation set, 4 kB an agent instead of 26 kB; hidden agents talk too.
_AGENT_PARAMS = {"include": "agent.managed_group", "show_hidden_agents": "true"}
_GROUP_PARAMS = {"show_hidden_groups": "true"}
# With the default rendering, which items come back depends on where the pages fall.
_LOSSLESS = {"use_assistant_message": "false"}
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
        yield _list_job(reading, runs_endpoint(reading, key), key, units.cursor, pages="units")
        for run_id in units.beyond_list():
            yield by_id(key, f"/v1/runs/{run_id}", run_id)


async def steps(client: Client, reading: Reading) -> Jobs:
    for key in reading.keys:
        if await lists_steps(client, reading):
            yield _steps_job(reading, key)
            for step_id in reading.units(key).unsettled:
                yield by_id(key, f"/v1/steps/{step_id}", step_id)
        else:
            async for job in jobs_by_run(client, reading, key, steps_of_run):
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
                yield messages_job(reading, path, conversation["id"], page_size=FIXED_PAGE)


async def messages(client: Client, reading: Reading) -> Jobs:
    if reading.settings.agent_ids:
        raise ConfigError(
            "messages cannot be limited to agents, the API does not say whose they are: use agent_messages"
        )
    yield messages_job(reading, "/v1/messages/", "", family="messages", page_size=FIXED_PAGE)


async def step_messages(client: Client, reading: Reading) -> Jobs:
    for key in reading.keys:
        if await lists_steps(client, reading):
            async for job in jobs_by_step(client, reading, key):
                yield job
        elif reading.session.no_steps:
            raise FamilyMissing("steps") from reading.session.no_steps
        else:
            async for job in jobs_by_run(client, reading, key, messages_of_run):
                yield own(reading, job)


async def batch_messages(client: Client, reading: Reading) -> Jobs:
    def of(batch_id: str) -> Read:
        return lambda client: _messages_of_batch(client, reading, batch_id)

    async for batch in _batches(client, reading):
        if reading.owns(batch.id):
            yield then(batch, of(batch.id))


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
    return reading.endpoint("/v1/conversations/", of_agent(key), "conversations")


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
        async for parent_id, event in list_events(client, reading, steps_endpoint(reading, key), cursor):
            if isinstance(event, Page):
                last_id = event.items[-1]["id"] if has_id(event.items[-1]) else last_id
                whole = whole and event.in_order
            yield parent_id, event
        if whole:
            reading.now_listed_to(key, last_id)

    return Job("", events, key, pages="units")


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
            yield by_id(key, f"/v1/messages/batches/{batch_id}", batch_id, batch_id in asked_for)


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
