"""Walk a conversation's messages, which the server renumbers when the conversation is compacted.

Compaction puts its summary in second place. Later messages are numbered on from those left in context: they
take places before messages out of context, or share a place with them, and a cursor skips everything that
shares its place. Seen on 0.16.7, in `position` of its table conversation_messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise, takewhile
from operator import itemgetter

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed
from letta_source.items import Item, ids_of
from letta_source.paging.pages import CursorLost, Endpoint, Pages
from letta_source.paging.unreadable import Known
from letta_source.paging.walk import Event, Gap, Page, walk_pages
from letta_source.plan.lists import has_id
from letta_source.state.cursors import Cursor
from letta_source.times import created_at, earlier, parse_time

# Messages at the start of the list that tell whether it was renumbered. A page that hides returns shows at
# least half of its messages.
_HEAD = 100
_SOON = timedelta(days=1)
# More messages than share a place: each compaction adds one at most.
_NEAR = 20


async def walk_renumbered(
    client: Client, endpoint: Endpoint, cursor: Cursor | None, rereads: bool, known: Known | None = None
) -> AsyncIterator[Event]:
    """Yield a conversation's messages after the cursor, and those that took a place before it.

    Args:
        cursor: date and id of the last message read by an earlier load; None to read all.
        rereads: read the system message again, which is edited in place; and all messages, if some may
            have been missed.
        known: gaps that earlier loads met: unless all is read again, they are passed without a search.

    Raises:
        ParentGone, Unreadable, NoProgress: see `letta_source.errors`.
    """
    after_id = cursor[1] if cursor else None
    since = parse_time(cursor[0]) if cursor and cursor[0] else None
    if after_id:
        pages = Pages(client, replace(endpoint, page_size=_HEAD))
        head = await _head(pages)
        ids = ids_of(head)
        disordered = _is_disordered(head)
        again = system_message_of(head) if rereads else []
        if after_id in ids and len(set(ids)) < _HEAD // 2:
            # The page is the whole list.
            place = max(at for at, item in enumerate(head) if item["id"] == after_id)
            before, later = (head, []) if disordered else (head[: place + 1], head[place + 1 :])
            # An item that comes twice on a page would be two rows.
            others = [item for item in (*_since(before, since), *later) if item not in again]
            found = head if rereads and disordered else [*again, *others]
            if all(item["id"] == after_id for item in found):
                if not _may_hide_return(found, client.server.clock.now()):
                    return
            else:
                yield Page(found, lease=pages.take_lease())
            # A return that the page hid comes on a page of its own.
            after_id = ids[-1]
        elif not head or disordered or (since and _since(head, since)):
            after_id = None
        elif again:
            yield Page(again, in_order=False, lease=pages.take_lease())
    ahead = set(known or ()) if cursor and not (after_id or rereads) else set()
    walk = _walk_with_ties(client, endpoint, after_id, {} if rereads else known)
    async for event in walk if after_id or rereads or not cursor else _only_since(walk, since):
        if isinstance(event, Gap):
            ahead.discard((event.after_id, event.before_id))
        yield event
    if ahead:
        # A gap has changed: where it was, short pages may have skipped messages that share a place.
        async for event in _only_since(_walk_with_ties(client, endpoint, None, None), since):
            yield event


async def _only_since(walk: AsyncIterator[Event], since: datetime | None) -> AsyncIterator[Event]:
    """Leave out items older than that, and repeat the newest message last, so that the cursor ends there."""
    newest: list[Item] = []
    async for event in walk:
        if isinstance(event, Page):
            items = [item for item in event.items if has_id(item)]
            new = _since(items, since)
            last = [item for item in new if item["id"] == new[-1]["id"] and not _is_system_message(item)]
            if last and (not newest or _since(last, created_at(newest[-1]))):
                newest = last
            event = replace(event, items=[*(item for item in event.items if not has_id(item)), *new])
            if not event.items:
                event.release()
                continue
        yield event
    if newest:
        yield Page(newest)


async def _head(pages: Pages) -> Sequence[Item]:
    """Return the first messages; none if one of them is unreadable or has no id: all are read then."""
    try:
        items = await pages.ask({})
    except (CursorLost, RequestFailed):
        return []
    return items if all(map(has_id, items)) else []


async def _walk_with_ties(
    client: Client, endpoint: Endpoint, after_id: str | None, known: Known | None
) -> AsyncIterator[Event]:
    """Walk the list; once it shows to be renumbered, add what shares the place of a page's last message."""
    pages = Pages(client, replace(endpoint, page_size=2 * _NEAR))
    disordered = False
    async for event in walk_pages(client, endpoint, after_id, known=known):
        if not isinstance(event, Page):
            yield event
            continue
        ids = list(dict.fromkeys(ids_of(event.items)))
        disordered = disordered or _is_disordered([item for item in event.items if has_id(item)])
        # The cursor may pass a gap, because the state keeps the gap.
        yield replace(event, in_order=True)
        if disordered and len(ids) > _NEAR and len(ids) >= endpoint.page_size // 2:
            found = await pages.tried({"after": ids[-_NEAR]}) or ()
            if beside := [item for item in found if has_id(item) and item["id"] not in ids]:
                yield Page(beside, lease=pages.take_lease())


def system_message_of(items: Sequence[Item]) -> list[Item]:
    """Return a parent's system message and all messages of its date; none unless it is the first."""
    if not items or not _is_system_message(items[0]):
        return []
    return list(takewhile(lambda item: item.get("date") == items[0].get("date"), items))


def _is_system_message(item: Item) -> bool:
    return item.get("message_type") == "system_message"


def _may_hide_return(last: Sequence[Item], now: datetime) -> bool:
    """Return True if the last message may call `send_message`, whose return a page with the call hides.

    The call looks like any answer. Its return is stored soon after it, so that only a load between the two
    has to look once more.
    """
    times = [time for item in last if (time := created_at(item))]
    types = {item.get("message_type") for item in last}
    return "assistant_message" in types and (not times or max(times) > earlier(now, _SOON))


def _since(items: Sequence[Item], since: datetime | None) -> list[Item]:
    """Return the items that are not older than that, the newest last, so that the cursor ends there.

    The system message comes first: a fork has one of its own, newer than the messages after it.
    """
    dated = [(time, item) for item in items if (time := created_at(item)) and not (since and time < since)]
    undated = [item for item in items if created_at(item) is None]
    in_order = [item for _, item in sorted(dated, key=itemgetter(0))]
    return [*undated, *sorted(in_order, key=_is_system_message, reverse=True)]


def _is_disordered(items: Sequence[Item]) -> bool:
    """Return True if dates go back. The first message does not count: a fork has a newer one of its own."""
    times = [time for item in items[1:] if (time := created_at(item))]
    return any(earlier > later for earlier, later in pairwise(times))
