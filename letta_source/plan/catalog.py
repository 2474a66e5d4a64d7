"""What there is to read for each resource: which lists, which parents, from which cursor on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed
from letta_source.errors import ConfigError, FamilyMissing, Unreadable
from letta_source.paging.events import Page
from letta_source.paging.pages import Endpoint, as_list
from letta_source.paging.unpaged import get_one, walk_whole
from letta_source.plan.filters import is_wanted, joint_key, list_keys
from letta_source.plan.host import (
    AGENT_PARAMS,
    FIXED_PAGE,
    LOSSLESS,
    agents_endpoint,
    batches_endpoint,
    conversations_endpoint,
    groups_endpoint,
    lists_steps,
    runs_endpoint,
    steps_endpoint,
)
from letta_source.plan.job import Events, Job, Moves, Read
from letta_source.plan.lists import has_id, list_events, listed
from letta_source.plan.messages import messages_job
from letta_source.plan.runs_and_steps import (
    by_id,
    jobs_by_run,
    jobs_by_step,
    messages_of_run,
    own,
    steps_of_run,
    then,
)
from letta_source.settings import Settings
from letta_source.state.cursors import Cursor
from letta_source.state.resource_state import ResourceState

Item = dict[str, Any]
Jobs = AsyncIterator[Job]

_MAX_SEARCH_RESULTS = 100


async def agents(client: Client, state: ResourceState) -> Jobs:
    for agent_id in state.settings.agent_ids:
        yield Job(agent_id, _read_one(agent_id, f"/v1/agents/{agent_id}"), asked_for=True)
    if not state.settings.agent_ids:
        yield _list_job(state, agents_endpoint(state.settings))


def _read_one(agent_id: str, path: str) -> Read:
    async def events(client: Client) -> Events:
        async for page in get_one(client, path, AGENT_PARAMS):
            yield agent_id, page

    return events


async def groups(client: Client, state: ResourceState) -> Jobs:
    yield _list_job(state, groups_endpoint(state.settings))


async def conversations(client: Client, state: ResourceState) -> Jobs:
    for key in list_keys(state.settings):
        yield _list_job(state, conversations_endpoint(state.settings, key), key)


async def runs(client: Client, state: ResourceState) -> Jobs:
    for key in list_keys(state.settings):
        worklist = state.worklist(key)
        yield _list_job(state, runs_endpoint(state.settings, key), key, worklist.cursor, "worklist")
        for run_id in worklist.beyond_list():
            yield by_id(key, f"/v1/runs/{run_id}", run_id)


async def steps(client: Client, state: ResourceState) -> Jobs:
    for key in list_keys(state.settings):
        if await lists_steps(client, state.session.host):
            yield _steps_job(state, key)
            for step_id in state.worklist(key).unfinished:
                yield by_id(key, f"/v1/steps/{step_id}", step_id)
        else:
            async for job in jobs_by_run(client, state, key, steps_of_run):
                yield job


async def batches(client: Client, state: ResourceState) -> Jobs:
    async for batch in _batches(client, state):
        yield batch


async def agent_messages(client: Client, state: ResourceState) -> Jobs:
    if state.settings.agent_ids:
        for agent_id in filter(state.settings.shard.owns, state.settings.agent_ids):
            yield messages_job(
                state,
                f"/v1/agents/{agent_id}/messages",
                agent_id,
                LOSSLESS,
                asked_for=True,
                anchors_of=agent_id,
            )
        return
    async for agent, _ in listed(client, state.session.host, agents_endpoint(state.settings)):
        if state.settings.shard.owns(agent["id"]):
            path = f"/v1/agents/{agent['id']}/messages"
            yield messages_job(state, path, agent["id"], LOSSLESS, anchors_of=agent["id"])


async def group_messages(client: Client, state: ResourceState) -> Jobs:
    async for group, _ in listed(client, state.session.host, groups_endpoint(state.settings)):
        if state.settings.shard.owns(group["id"]) and is_wanted(state.settings, group):
            path, manager = f"/v1/groups/{group['id']}/messages", group.get("manager_agent_id")
            anchors_of = manager if isinstance(manager, str) else ""
            yield messages_job(state, path, group["id"], LOSSLESS, anchors_of=anchors_of)


async def conversation_messages(client: Client, state: ResourceState) -> Jobs:
    for key in list_keys(state.settings):
        endpoint = conversations_endpoint(state.settings, key)
        async for conversation, _ in listed(client, state.session.host, endpoint):
            if state.settings.shard.owns(conversation["id"]):
                path = f"/v1/conversations/{conversation['id']}/messages"
                yield messages_job(state, path, conversation["id"], page_size=FIXED_PAGE)


async def messages(client: Client, state: ResourceState) -> Jobs:
    if state.settings.agent_ids:
        raise ConfigError(
            "messages cannot be limited to agents, the API does not say whose they are: use agent_messages"
        )
    yield messages_job(state, "/v1/messages/", "", family="messages", page_size=FIXED_PAGE)


async def step_messages(client: Client, state: ResourceState) -> Jobs:
    for key in list_keys(state.settings):
        if await lists_steps(client, state.session.host):
            async for job in jobs_by_step(client, state, key):
                yield job
        elif state.session.host.no_steps:
            raise FamilyMissing("steps") from state.session.host.no_steps
        else:
            async for job in jobs_by_run(client, state, key, messages_of_run):
                yield own(state, job)


async def batch_messages(client: Client, state: ResourceState) -> Jobs:
    def of(batch_id: str) -> Read:
        return lambda client: _messages_of_batch(client, state.settings, batch_id)

    async for batch in _batches(client, state):
        if state.settings.shard.owns(batch.id):
            yield then(batch, of(batch.id))


async def message_search(client: Client, state: ResourceState) -> Jobs:
    query = state.settings.search_query or ""

    async def events(client: Client) -> Events:
        body = {"query": query, "limit": _MAX_SEARCH_RESULTS}
        try:
            found = await client.post("/v1/messages/search", body)
        except RequestFailed as error:
            raise Unreadable(f"search: {error}") from error
        if found:
            yield query, Page(as_list(found))

    yield Job(query, events, read_again=True, asked_for=True)


def _list_job(
    state: ResourceState,
    endpoint: Endpoint,
    key: str = "",
    cursor: Cursor | None = None,
    moves: Moves = "nothing",
) -> Job:
    async def events(client: Client) -> Events:
        async for found in list_events(client, state.session.host, endpoint, cursor):
            yield found

    return Job("", events, moves, key, read_again=state.loaded_before or cursor is not None)


def _steps_job(state: ResourceState, key: str) -> Job:
    listed_to = state.listed_to(key)
    cursor = (None, listed_to) if listed_to else None
    endpoint = steps_endpoint(state.settings, key)

    async def events(client: Client) -> Events:
        last_id, whole = None, True
        async for parent_id, event in list_events(client, state.session.host, endpoint, cursor):
            if isinstance(event, Page):
                last_id = event.items[-1]["id"] if has_id(event.items[-1]) else last_id
                whole = whole and event.in_order
            yield parent_id, event
        if whole:
            state.note_last_listed(key, last_id)

    return Job("", events, "worklist", key)


async def _batches(client: Client, state: ResourceState) -> Jobs:
    """Yields those listed, those asked for, and those that the server's list forgot when they finished."""
    key = joint_key(state.settings)
    unfinished = state.worklist(key).unfinished
    seen = set()
    endpoint = batches_endpoint(state.settings)
    async for batch, in_order in listed(client, state.session.host, endpoint, keep=dict):
        seen.add(batch["id"])
        again = state.loaded_before or batch["id"] in unfinished
        yield Job(batch["id"], _just(batch), "parent", key, batch, in_order, read_again=again)
    asked_for = state.settings.batch_ids
    for batch_id in dict.fromkeys((*asked_for, *unfinished)):
        if batch_id not in seen:
            yield by_id(key, f"/v1/messages/batches/{batch_id}", batch_id, batch_id in asked_for)


def _just(item: Item) -> Read:
    async def events(client: Client) -> Events:
        yield item["id"], Page([item])

    return events


async def _messages_of_batch(client: Client, settings: Settings, batch_id: str) -> Events:
    endpoint = Endpoint(f"/v1/messages/batches/{batch_id}/messages", {}, settings.page_size)
    async for page in walk_whole(client, endpoint, "messages"):
        yield batch_id, page


JOBS: dict[str, Callable[[Client, ResourceState], Jobs]] = {
    find.__name__: find
    for find in (
        agents, groups, runs, steps, conversations, batches,
        agent_messages, group_messages, step_messages, batch_messages,
        conversation_messages, messages, message_search,
    )
}  # fmt: skip
