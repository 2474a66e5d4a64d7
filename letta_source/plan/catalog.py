"""The jobs of each resource: which lists and parents to read, and from which cursor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed
from letta_source.errors import FamilyMissing, Unreadable
from letta_source.items import Item
from letta_source.paging.pages import Endpoint, as_list
from letta_source.paging.walk import Page
from letta_source.paging.whole_lists import walk_whole
from letta_source.plan.active_agents import jobs_of_active
from letta_source.plan.filters import assert_loadable, has_agent, is_wanted, joint_key, list_keys
from letta_source.plan.job import Events, Job, Read
from letta_source.plan.list_jobs import (
    changed_job,
    counted_job,
    feedback_job,
    growing_job,
    list_job,
    part_job,
    read_before,
    read_one,
)
from letta_source.plan.lists import list_endpoint, listed, lists_steps
from letta_source.plan.messages import messages_job
from letta_source.plan.runs_and_steps import (
    for_each_step,
    job_by_id,
    jobs_by_run,
    jobs_by_step,
    limited_to_shard,
    messages_of_run,
    read_object_of_step,
    steps_of_run,
    then_items,
)
from letta_source.plan.unfinished import runs_to_read, steps_to_read
from letta_source.schema.card import Resource, Walk
from letta_source.schema.resources import RESOURCES
from letta_source.state.resource_state import ResourceState

Jobs = AsyncIterator[Job]

_MAX_SEARCH_RESULTS = 100


def find_jobs(client: Client, state: ResourceState, card: Resource) -> Jobs:
    """Return the jobs of a resource.

    Raises:
        ConfigError: The settings do not fit it.
        FamilyMissing: An earlier load found that the host lacks it.
    """
    assert_loadable(card, state.settings)
    if state.asks_for_changes and (missing := state.changes.missing):
        # The next sweep asks again.
        raise FamilyMissing(card.family) from LookupError(missing)
    state.changes.note(missing="")
    return WALKS[card.walk](client, state, card)


async def _list(client: Client, state: ResourceState, card: Resource) -> Jobs:
    settings = state.settings
    if card.limited_by == "id" and settings.agent_ids:
        for agent_id in settings.agent_ids:
            yield Job(agent_id, read_one(agent_id, card), asked_for=True)
        return
    for key in list_keys(card, settings):
        if card.changed_by and state.asks_for_changes:
            yield changed_job(state, card, key)
        elif card.limited_by == "id":
            yield counted_job(state, card, key)
        elif card.changed_by or card.undatable or not state.tracks_changes:
            for part in card.parts:
                yield list_job(state, list_endpoint(card, settings, key, part), key)
        else:
            # Its dates never move: new items come at the end, and changed ones with the next sweep.
            yield growing_job(state, card, key, "nothing", state.asks_for_changes)


async def _each_list(client: Client, state: ResourceState, card: Resource) -> Jobs:
    async for parent, asked_for in _parents(client, state, RESOURCES[card.parents or ""], all_agents=True):
        if state.settings.shard.owns(parent["id"]):
            yield part_job(state, card, parent["id"], asked_for)


async def _run_list(client: Client, state: ResourceState, card: Resource) -> Jobs:
    for key in list_keys(card, state.settings):
        worklist = state.worklist(key)
        yield list_job(state, list_endpoint(card, state.settings, key), key, worklist.cursor, "worklist")
        async for run_id, run in runs_to_read(client, state, key, worklist.beyond_list(), only_moved=True):
            if run is None:
                yield job_by_id(key, card.path_of(run_id), run_id)
            else:
                yield Job(run_id, read_before(run), "parent", key, run, in_order=False)


async def _step_list(client: Client, state: ResourceState, card: Resource) -> Jobs:
    for key in list_keys(card, state.settings):
        if await lists_steps(client, state):
            yield growing_job(state, card, key, "worklist", not state.rereads)
            if state.listed_to(key) and not state.adds_only:
                yield feedback_job(state, card, key)
            async for step_id in steps_to_read(client, state, key, state.worklist(key).unfinished):
                yield job_by_id(key, card.path_of(step_id), step_id)
        else:
            async for job in jobs_by_run(client, state, key, steps_of_run):
                yield job


async def _batch_list(client: Client, state: ResourceState, card: Resource) -> Jobs:
    """Yield the batches listed, those asked for, and those that left the server's list as they finished."""
    key = joint_key(state.settings)
    unfinished = state.worklist(key).unfinished
    seen = set()
    endpoint = list_endpoint(card, state.settings)
    async for batch, in_order in listed(client, state.session.host, endpoint, keep=dict):
        seen.add(batch["id"])
        # For `_each_batch`, which makes of this the job that reads the messages.
        again = state.loaded_before or batch["id"] in unfinished
        yield Job(batch["id"], read_before(batch), "parent", key, batch, in_order, read_again=again)
    asked_for = state.settings.batch_ids
    for batch_id in dict.fromkeys((*asked_for, *unfinished)):
        if batch_id not in seen:
            yield job_by_id(key, card.path_of(batch_id), batch_id, batch_id in asked_for)


async def _each_parent(client: Client, state: ResourceState, card: Resource) -> Jobs:
    parents = RESOURCES[card.parents or ""]

    def read(parent: Item, asked_for: bool = False) -> Job:
        agent_id = parent.get(card.anchored_by) if card.anchored_by else None
        return messages_job(
            state, card, parent["id"], asked_for, agent_id if isinstance(agent_id, str) else ""
        )

    async def own() -> AsyncIterator[str]:
        async for parent, _ in _parents(client, state, parents):
            if state.settings.shard.owns(parent["id"]):
                yield parent["id"]

    if parents.limited_by == "id" and not state.settings.agent_ids:
        async for job in jobs_of_active(client, state, lambda agent_id: read({"id": agent_id}), own):
            yield job
        return
    async for parent, asked_for in _parents(client, state, parents):
        if state.settings.shard.owns(parent["id"]):
            yield read(parent, asked_for)


async def _parents(
    client: Client, state: ResourceState, parents: Resource, all_agents: bool = False
) -> AsyncIterator[tuple[Item, bool]]:
    """Yield the parents in a list, each with True if the user named it.

    Args:
        all_agents: also parents of agents without new messages.
    """
    settings = state.settings
    if parents.limited_by == "id" and settings.agent_ids:
        for agent_id in settings.agent_ids:
            yield {"id": agent_id}, True
        return
    active = None if all_agents else _active_agents(state)
    keys: Iterable[str] = list_keys(parents, settings)
    known: set[str] = set()
    if active is not None:
        known = set(state.changes.open)
        for parent_id in sorted(known):
            yield {"id": parent_id}, False
        # Only the lists of active agents; none if nothing is new.
        keys = sorted(active) if parents.limited_by == "parameter" else keys if active else ()
    for key in keys:
        async for item, _ in listed(client, state.session.host, list_endpoint(parents, settings, key)):
            is_active = active is None or has_agent(item, active)
            if is_active and item["id"] not in known and is_wanted(settings, item, timeless=True):
                yield item, False
    if active is None:
        state.note_all_named()


def _active_agents(state: ResourceState) -> set[str] | None:
    """Return the agents with news since the resource was last read; None if unknown."""
    found = state.session.host.active_agents
    if not (found and state.asks_for_changes and found[0] == state.changes.since):
        return None
    return found[1]


async def _everything(client: Client, state: ResourceState, card: Resource) -> Jobs:
    yield messages_job(state, card, "")


async def _each_step(client: Client, state: ResourceState, card: Resource) -> Jobs:
    for key in list_keys(RESOURCES[card.parents or ""], state.settings):
        if await lists_steps(client, state):
            async for job in jobs_by_step(client, state, key):
                yield job
        elif state.session.host.no_steps:
            raise FamilyMissing(card.family) from state.session.host.no_steps
        else:
            async for job in jobs_by_run(client, state, key, messages_of_run):
                yield limited_to_shard(state, job)


async def _step_item(client: Client, state: ResourceState, card: Resource) -> Jobs:
    # By runs even where steps are listed: neither steps nor their objects have a date.
    read = for_each_step(read_object_of_step(card))
    for key in list_keys(RESOURCES[card.parents or ""], state.settings):
        async for job in jobs_by_run(client, state, key, read):
            yield limited_to_shard(state, job)


async def _each_batch(client: Client, state: ResourceState, card: Resource) -> Jobs:
    def read(batch_id: str) -> Read:
        async def events(client: Client) -> Events:
            endpoint = Endpoint(card.path_of(batch_id), card.params, state.settings.page_size)
            async for page in walk_whole(client, endpoint, "messages"):
                yield batch_id, page

        return events

    async for batch in _batch_list(client, state, RESOURCES[card.parents or ""]):
        if state.settings.shard.owns(batch.id):
            yield then_items(batch, read(batch.id))


async def _search(client: Client, state: ResourceState, card: Resource) -> Jobs:
    query = state.settings.search_query or ""

    async def events(client: Client) -> Events:
        body = {"query": query, "limit": _MAX_SEARCH_RESULTS}
        try:
            found = await client.post(card.path, body, shape="list")
        except RequestFailed as error:
            raise Unreadable(f"search: {error}") from error
        if found:
            yield query, Page(as_list(found))

    yield Job(query, events, read_again=True, asked_for=True)


WALKS: dict[Walk, Callable[[Client, ResourceState, Resource], Jobs]] = {
    "list": _list,
    "each_list": _each_list,
    "run_list": _run_list,
    "step_list": _step_list,
    "batch_list": _batch_list,
    "each_parent": _each_parent,
    "each_step": _each_step,
    "each_batch": _each_batch,
    "everything": _everything,
    "search": _search,
    "step_item": _step_item,
}
"""The function that finds the jobs of each kind of walk."""
