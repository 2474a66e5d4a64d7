"""The job that reads one parent's messages from its cursor on, and retries its gaps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from letta_source.api.client import Client
from letta_source.items import Item
from letta_source.paging.pages import Endpoint, Pages
from letta_source.paging.walk import UNREADABLE, Event, Gap, Page, Retried, walk_pages
from letta_source.plan.anchors import AgentAnchors
from letta_source.plan.job import Events, Job
from letta_source.plan.lists import has_id
from letta_source.plan.news import until_named
from letta_source.plan.renumbered import system_message_of, walk_renumbered
from letta_source.schema.card import Resource
from letta_source.state.cursors import Between
from letta_source.state.resource_state import ResourceState
from letta_source.times import parse_time

# A system message, and the others that a new agent begins with.
_FIRST = 8


def messages_job(
    state: ResourceState, card: Resource, parent_id: str, asked_for: bool = False, anchors_of: str = ""
) -> Job:
    """Return the job that reads a parent's messages; without a parent, those in the list of all messages.

    Args:
        anchors_of: an agent whose runs' messages are among them, see `letta_source.plan.anchors`.
    """
    state.note_parent(parent_id)
    cursor = state.cursors.get(parent_id)
    gaps = [
        gap for gap in state.cursors.gaps(parent_id) if state.issues.is_due(parent_id, (UNREADABLE, *gap))
    ]
    size = card.page_size or state.settings.page_size
    endpoint = Endpoint(card.path, card.params, size, card.family)
    if parent_id:
        endpoint = Endpoint(card.path_of(parent_id), card.params, size)

    async def events(client: Client) -> Events:
        # It is edited in place. A walk from the start meets it anyway.
        rereads = card.has_system_message and state.rereads_window and cursor and cursor[1]
        if rereads and not card.renumbered and (first := await _system_message(client, endpoint)):
            yield parent_id, Page(first, in_order=False)
        for gap in gaps:
            async for event in _retried(client, endpoint, gap):
                yield parent_id, event

        known = {
            gap: is_due and gap not in gaps
            for gap, is_due in state.issues.gaps(parent_id, UNREADABLE).items()
        }
        if card.renumbered:
            # Small pages around a gap have more ends, where messages that share a place may be missed.
            rereads_all = state.rereads_window or bool(gaps)
            async for event in walk_renumbered(client, endpoint, cursor, rereads_all, known):
                yield parent_id, event
            return
        since = parse_time(cursor[0]) if cursor and cursor[0] else None
        walk = walk_pages(
            client,
            endpoint,
            cursor[1] if cursor else None,
            anchors=AgentAnchors(client, state.settings, anchors_of, since) if anchors_of else None,
            known=known,
        )
        # Before a known gap there is a short page, which is not the last.
        ends = state.asks_for_changes and not known
        named = state.session.host.named.get(parent_id, ()) if ends else ()
        async for event in until_named(walk, named, endpoint.page_size):
            # The cursor may pass a gap, because the state keeps the gap.
            if isinstance(event, Page):
                event = replace(event, in_order=not event.newest_first)
            yield parent_id, event

    read_again = state.loaded_before or cursor is not None
    return Job(parent_id, events, "cursor", read_again=read_again, asked_for=asked_for)


async def _system_message(client: Client, endpoint: Endpoint) -> list[Item]:
    """Return the parent's current system message and all messages of its date, to keep their order.

    Empty if the first message is not a system message, or cannot be read.
    """
    page = await Pages(client, replace(endpoint, page_size=_FIRST)).tried({}) or ()
    return system_message_of([item for item in page if has_id(item)])


async def _retried(client: Client, endpoint: Endpoint, gap: Between) -> AsyncIterator[Event]:
    """Read what lies in a gap that an earlier load left."""
    after_id, before_id = gap
    left: Gap | None = None
    async for event in walk_pages(client, endpoint, after_id or None, until=before_id):
        if isinstance(event, Gap):
            # If several parts are left, the state keeps the whole gap.
            left = replace(event, after_id=left.after_id) if left else event
        elif isinstance(event, Page):
            yield event
    yield Retried(after_id, before_id, left)
