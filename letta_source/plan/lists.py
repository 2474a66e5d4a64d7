"""Lists of agents, runs, …: read once per load, by whichever resource comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from letta_source.api.client import Client
from letta_source.errors import FamilyMissing, Unreadable
from letta_source.items import Item, id_of
from letta_source.paging.events import Event, Gap, Page, Restarted
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import walk_pages
from letta_source.state.cursors import Cursor
from letta_source.state.host import Host, ListKey
from letta_source.times import parse_time

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
