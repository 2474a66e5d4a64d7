"""Lists of agents, runs, …: their endpoints, and their items, read once per load by the first resource."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError, Verdict, is_missing
from letta_source.errors import FamilyMissing, Unreadable
from letta_source.items import Item, id_of
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Event, Gap, Page, Restarted, walk_pages
from letta_source.schema.card import Params, Resource
from letta_source.schema.resources import RESOURCES
from letta_source.settings import Settings
from letta_source.state.cursors import Cursor
from letta_source.state.host import Host, ListKey
from letta_source.state.resource_state import ResourceState
from letta_source.times import earlier, parse_time

# The fields kept of an item that only names something to read.
_KEPT_FIELDS = (
    "id",
    "created_at",
    "completed_at",
    "status",
    "run_id",
    "agent_id",
    "agent_ids",
    "manager_agent_id",
)


def has_id(item: Any) -> bool:
    """Return True if the item has an id by which it can be requested."""
    return id_of(item) is not None


def slim(item: Item) -> Item:
    """Return only those fields of an item that say what to read of it."""
    return {name: item[name] for name in _KEPT_FIELDS if name in item}


async def list_events(
    client: Client,
    host: Host,
    endpoint: Endpoint,
    cursor: Cursor | None = None,
    keep: Callable[[Item], Item] = slim,
) -> AsyncIterator[tuple[str, Event]]:
    """Walk a list, and keep its items for the other resources of this load.

    Args:
        keep: returns the fields of an item to keep.

    Raises:
        FamilyMissing: the host has no such list.
    """
    family = endpoint.family or endpoint.path
    if family in host.missing:
        raise FamilyMissing(family)
    since, after = cursor or (None, None)
    named: list[Item] = []
    whole = True
    async for event in walk_pages(client, endpoint, after, parse_time(since) if since else None):
        if isinstance(event, Page):
            named.extend(keep(item) for item in event.items if has_id(item))
            if len(named) > host.max_listed:
                named, whole = [], False
        elif isinstance(event, Gap):
            whole = False
        elif isinstance(event, Restarted):
            host.has_restarted_list = True
        yield "", event
    if whole:
        host.lists[_list_key(endpoint, cursor)] = named


async def listed(
    client: Client,
    host: Host,
    endpoint: Endpoint,
    cursor: Cursor | None = None,
    keep: Callable[[Item], Item] = slim,
    once: bool = True,
) -> AsyncIterator[tuple[Item, bool]]:
    """Yield each item of a list, with True if it comes in the list's order.

    Args:
        once: yield each once even if the list is read again from its start; costs memory for each item.

    Raises:
        FamilyMissing: the host has no such list.
        Unreadable: at the end, if the server could not return all of the list.
    """
    known = host.lists.get(_list_key(endpoint, cursor))
    if known is not None:
        for item in known:
            yield item, True
        return
    seen: set[str] = set()
    lacks: str | None = None
    async for _, event in list_events(client, host, endpoint, cursor, keep):
        if isinstance(event, Gap):
            lacks = event.detail
        elif isinstance(event, Page):
            named = [keep(item) for item in event.items if has_id(item)]
            if nameless := [item for item in event.items if not has_id(item)]:
                lacks = f"{type(nameless[-1]).__name__} without an id"
            # Not later, as reading everything that the page names takes long.
            event.release()
            for item in named:
                if item["id"] not in seen:
                    if once:
                        seen.add(item["id"])
                    yield item, event.in_order
    if lacks:
        raise Unreadable(f"{endpoint.path}: part of the list cannot be read: {lacks}")


def _list_key(endpoint: Endpoint, cursor: Cursor | None) -> ListKey:
    return (endpoint.path, tuple(sorted(endpoint.params.items())), cursor)


def list_endpoint(card: Resource, settings: Settings, key: str = "", part: Params | None = None) -> Endpoint:
    """Return the endpoint of a resource's list.

    Args:
        key: The agent that the list is limited to, if it can be.
        part: One of the card's `parts`.
    """
    params = {**card.params, **(part or {}), **({"agent_id": key} if key else {})}
    if not card.dated:
        # Items have no date to compare with the window, so the server's own filter applies it.
        if settings.start_date:
            # The server excludes items created exactly at start_date.
            params["start_date"] = earlier(settings.start_date, timedelta(microseconds=1)).isoformat()
        if settings.end_date:
            params["end_date"] = settings.end_date.isoformat()
    return Endpoint(
        card.path,
        params,
        card.page_size or settings.page_size,
        card.family,
        card.dated,
        card.fragile_include,
        card.nil_cursor,
    )


def runs_endpoint(settings: Settings, key: str) -> Endpoint:
    """Return the endpoint of the list of runs, through which other items are found."""
    return list_endpoint(RESOURCES["runs"], settings, key)


async def lists_steps(client: Client, state: ResourceState) -> bool:
    """Return True if this host answers `/v1/steps/`; asked once per load.

    Raises:
        Unreadable: its error does not tell.
    """
    host, path = state.session.host, RESOURCES["steps"].path
    if host.lists_steps is None and state.asks_for_changes and state.changes.lacks_step_list:
        # The next sweep asks again.
        host.miss_step_list(None)
    if host.lists_steps is None:
        try:
            await client.get(path, {"order": "asc", "limit": 1}, shape="list", may_lack=True)
        except RequestFailed as error:
            # A self-hosted server always returns 400.
            if not (is_missing(error) or (isinstance(error, StatusError) and error.verdict is Verdict.ERROR)):
                raise Unreadable(f"{path}: {error}") from error
            host.miss_step_list(error if is_missing(error) else None)
        else:
            host.lists_steps = True
    state.changes.note(lacks_step_list=not host.lists_steps and not host.no_steps)
    return bool(host.lists_steps)
