"""Lists of agents, runs, …: read once a load, whichever resource comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from letta_source.api.client import Client
from letta_source.errors import FamilyMissing, Unreadable
from letta_source.items import id_of
from letta_source.paging.events import Event, Gap, Page, Restarted
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import walk_pages
from letta_source.state.cursors import Cursor
from letta_source.state.resource_state import Reading
from letta_source.state.session import ListKey
from letta_source.times import parse_time

Item = dict[str, Any]

# What is kept of an item that only names something to read.
_SLIM = ("id", "created_at", "completed_at", "status", "agent_id", "agent_ids", "manager_agent_id")


# Of a longer list nothing is kept: whoever needs it reads it again.
_MOST_KEPT = 100_000


def has_id(item: Any) -> bool:
    return id_of(item) is not None


def slim(item: Item) -> Item:
    return {name: item[name] for name in _SLIM if name in item}


async def list_events(
    client: Client,
    reading: Reading,
    endpoint: Endpoint,
    cursor: Cursor | None = None,
    keep: Callable[[Item], Item] = slim,
) -> AsyncIterator[tuple[str, Event]]:
    """The pages of a list; what it named is kept for the other resources of this load.

    Args:
        keep: what of each item to keep.
    """
    family = endpoint.family or endpoint.path
    if family in reading.session.missing:
        raise FamilyMissing(family)
    since, after = cursor or (None, None)
    seen: list[Item] = []
    whole = True
    async for event in walk_pages(client, endpoint, after, parse_time(since) if since else None):
        if isinstance(event, Page):
            seen.extend(keep(item) for item in event.items if has_id(item))
            if len(seen) > _MOST_KEPT:
                seen, whole = [], False
        elif isinstance(event, Gap):
            whole = False
        elif isinstance(event, Restarted):
            reading.session.relisted = True
        yield "", event
    if whole:
        reading.session.lists[_list_key(endpoint, cursor)] = seen


async def listed(
    client: Client,
    reading: Reading,
    endpoint: Endpoint,
    cursor: Cursor | None = None,
    keep: Callable[[Item], Item] = slim,
    once: bool = True,
) -> AsyncIterator[tuple[Item, bool]]:
    """What a list names, and whether it comes in the list's order.

    Args:
        once: each once, also where the list was read again from its start; costs memory for each.

    Raises:
        Unreadable: at the end, if the server could not give all of the list.
    """
    known = reading.session.lists.get(_list_key(endpoint, cursor))
    if known is not None:
        for item in known:
            yield item, True
        return
    seen: set[str] = set()
    lacks: str | None = None
    async for _, event in list_events(client, reading, endpoint, cursor, keep):
        if isinstance(event, Gap):
            lacks = event.detail
        elif isinstance(event, Page):
            for item in event.items:
                if not has_id(item):
                    lacks = f"{type(item).__name__} without an id"
                elif item["id"] not in seen:
                    if once:
                        seen.add(item["id"])
                    yield keep(item), event.in_order
    if lacks:
        raise Unreadable(f"{endpoint.path}: not all of the list can be read: {lacks}")


def _list_key(endpoint: Endpoint, cursor: Cursor | None) -> ListKey:
    return (endpoint.path, tuple(sorted(endpoint.params.items())), cursor)
