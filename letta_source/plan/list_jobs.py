"""Jobs that read one list: all of it, what changed, or what was added at its end."""

from __future__ import annotations

from dataclasses import replace

from letta_source.api.client import Client
from letta_source.errors import FamilyMissing
from letta_source.items import Item
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Gap, Page, walk_pages
from letta_source.paging.whole_lists import get_one
from letta_source.plan.job import Events, Job, Moves, Read
from letta_source.plan.lists import has_id, list_endpoint, list_events, slim
from letta_source.plan.newest import NotOrdered, changed_items, keep_changed, log_not_ordered
from letta_source.schema.card import Resource
from letta_source.state.cursors import Cursor
from letta_source.state.resource_state import ResourceState


def list_job(
    state: ResourceState,
    endpoint: Endpoint,
    key: str = "",
    cursor: Cursor | None = None,
    moves: Moves = "nothing",
) -> Job:
    """Return the job that reads a list, from its cursor on if there is one."""

    async def events(client: Client) -> Events:
        async for found in list_events(client, state.session.host, endpoint, cursor):
            yield found

    return Job("", events, moves, key)


def part_job(state: ResourceState, card: Resource, parent_id: str, asked_for: bool) -> Job:
    """Return the job that reads the whole list of a parent's items."""
    path = card.path_of(parent_id)
    size = card.page_size or state.settings.page_size
    endpoint = Endpoint(path, card.params, size, card.family, has_parent=True)

    async def events(client: Client) -> Events:
        if card.family in state.session.host.missing:
            raise FamilyMissing(card.family)
        async for event in walk_pages(client, endpoint):
            yield parent_id, event

    return Job(parent_id, events, asked_for=asked_for)


def counted_job(state: ResourceState, card: Resource, key: str) -> Job:
    """Return the job that lists all agents and counts them: if they are few, each one is read anyway."""
    job = list_job(state, list_endpoint(card, state.settings, key), key)

    async def events(client: Client) -> Events:
        items, whole = 0, True
        async for parent_id, event in job.events(client):
            items += len(event.items) if isinstance(event, Page) else 0
            whole = whole and not isinstance(event, Gap)
            yield parent_id, event
        state.note_agents(items, whole)

    return replace(job, events=events)


def changed_job(state: ResourceState, card: Resource, key: str) -> Job:
    """Return the job that lists changes since the last load, newest first; all if the host cannot tell."""
    host, since = state.session.host, state.changes.since

    async def events(client: Client) -> Events:
        for by in card.changed_by:
            found: list[Item] = []
            try:
                async for items in changed_items(client, card, by, since or state.overlap.start):
                    found.extend(map(slim, items))
                    yield "", Page(items, in_order=False)
            except (NotOrdered, FamilyMissing) as error:
                # A 404 may be about the order alone: the plain list tells.
                log_not_ordered(card, error)
                async for event in list_events(client, host, list_endpoint(card, state.settings, key)):
                    yield event
                return
            keep_changed(host, card, by, since or state.overlap.start, found)

    return Job("", events, key=key)


def growing_job(state: ResourceState, card: Resource, key: str, moves: Moves, goes_on: bool) -> Job:
    """Return the job that lists items without dates, and notes how far it came.

    Args:
        goes_on: begin where the list had been read to before the overlap.
    """
    listed_to = state.listed_to(key) if goes_on else None
    cursor = (None, listed_to) if listed_to else None
    endpoint = list_endpoint(card, state.settings, key)

    async def events(client: Client) -> Events:
        last_id, whole = None, True
        async for parent_id, event in list_events(client, state.session.host, endpoint, cursor):
            if isinstance(event, Page):
                last_id = event.items[-1]["id"] if has_id(event.items[-1]) else last_id
                whole = whole and event.in_order
            yield parent_id, event
        if whole:
            state.note_last_listed(key, last_id)

    return Job("", events, moves, key)


def feedback_job(state: ResourceState, card: Resource, key: str) -> Job:
    """Return the job that lists recent steps with feedback, which may come days later; all, in a sweep."""
    endpoint = list_endpoint(card, state.settings, key)
    params = {**endpoint.params, "has_feedback": "true"}
    since = state.overlap.before_start(state.settings.reread_window)
    if not (state.settings.window or state.sweeps):
        params["start_date"] = since.isoformat()
    return list_job(state, replace(endpoint, params=params), key)


def read_one(item_id: str, card: Resource) -> Read:
    """Return the reader of one item, by its id."""

    async def events(client: Client) -> Events:
        async for page in get_one(client, card.path_of(item_id), card.params, card.fragile_include):
            yield item_id, page

    return events


def read_before(item: Item) -> Read:
    """Return a reader that yields an item that was read before."""

    async def events(client: Client) -> Events:
        yield item["id"], Page([item])

    return events
