"""News since the last load, from the list of all messages, with the runs that it names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed
from letta_source.errors import FamilyMissing, ParentError
from letta_source.items import Item, ids_of, is_id
from letta_source.paging.pages import Endpoint, Pages
from letta_source.paging.walk import Event, Gap, Page, Restarted, walk_pages
from letta_source.plan.lists import has_id
from letta_source.schema.resources import FIXED_PAGE, RESOURCES
from letta_source.state.resource_state import ResourceState
from letta_source.times import created_at

# Beyond this many messages, asking all agents is as fast.
_MOST = 100_000
# The number of messages that a busy server stores within the overlap.
_LARGE_PAGE = 20_000


@dataclass
class News:
    """Messages that are new since the last load.

    Attributes:
        run_of: message id to the run that it names, or None.
        messages_of: step to its messages.
        steps_of: run to its steps.
        pages: ids and dates of the messages, page by page, to move a cursor over.
    """

    run_of: dict[str, str | None] = field(default_factory=dict)
    messages_of: dict[str, set[str]] = field(default_factory=dict)
    steps_of: dict[str, set[str]] = field(default_factory=dict)
    pages: list[list[Item]] = field(default_factory=list)

    def take(self, items: Sequence[Item]) -> None:
        """Take note of a page."""
        self.pages.append([{"id": item["id"], "date": item.get("date")} for item in items])
        for item in items:
            run_id, step_id = (_id(item.get(name)) for name in ("run_id", "step_id"))
            self.run_of[item["id"]] = run_id
            if step_id:
                self.messages_of.setdefault(step_id, set()).add(item["id"])
            if run_id and step_id:
                self.steps_of.setdefault(run_id, set()).add(step_id)

    def runs_since(self, since: datetime | None) -> set[str]:
        """Return the runs named by messages that are not older than `since`, or have no date."""
        times = ((item["id"], created_at(item)) for page in self.pages for item in page)
        young = {message_id for message_id, time in times if not (since and time and time < since)}
        return {run_id for message_id, run_id in self.run_of.items() if run_id and message_id in young}


async def news_since(client: Client, state: ResourceState) -> News | None:
    """Walk the list of all messages from the last load's cursor; None if it may not tell all.

    Resources with the same cursor share one walk. Each moves its own cursor over what was walked.
    """
    cursor = state.changes.cursor
    if cursor is None:
        await mark_newest(client, state)
        return None
    known, after = state.session.host.news, cursor[1]
    if after not in known:
        known[after] = await _walk(client, after)
    news: News | None = known[after]
    if news is None:
        await mark_newest(client, state)
        return None
    if not state.changes.is_marked:
        for page in news.pages:
            state.changes.walk(page)
        state.changes.is_marked = True
    state.session.host.named = news.messages_of | news.steps_of
    return news


def until_named(
    events: AsyncIterator[Event], named: Collection[str], limit: int, unless: str | None = None
) -> AsyncIterator[Event]:
    """Return the events of a walk, which ends with a page that is not full once all named ids have come.

    A page that is not full does not prove the end, nor do the named ids; both together do.

    Args:
        named: ids that the list of all messages named; if empty, the walk goes to its end.
        unless: a message type that hides others on its page; they come on the next page.
    """
    return _ended(events, set(named), limit, unless) if named else events


async def _ended(
    events: AsyncIterator[Event], left: set[str], limit: int, unless: str | None
) -> AsyncIterator[Event]:
    async for event in events:
        is_last = False
        if isinstance(event, Page):
            ids = ids_of(event.items)
            left.difference_update(ids)
            hides = unless and any(item.get("message_type") == unless for item in filter(has_id, event.items))
            is_last = not left and not hides and len(set(ids)) < limit // 2
        yield event
        if is_last:
            return


async def _walk(client: Client, after: str | None) -> News | None:
    news = News()
    try:
        async for event in walk_pages(client, _endpoint(), after):
            if isinstance(event, (Gap, Restarted)):
                return None
            if isinstance(event, Page):
                news.take([item for item in event.items if has_id(item)])
                if len(news.run_of) > _MOST:
                    return None
    except (ParentError, FamilyMissing):
        return None
    return news


async def mark_newest(client: Client, state: ResourceState) -> None:
    """Mark the newest message before the overlap, from which the next load walks on.

    Call it before everything is asked for.
    """
    if state.changes.is_marked:
        return
    state.changes.is_marked = True
    newest = state.session.host.newest
    for size in (FIXED_PAGE, _LARGE_PAGE):
        try:
            if size not in newest:
                newest[size] = await _newest_in_order(client, size)
        except (ParentError, FamilyMissing, RequestFailed):
            return
        page = newest[size]
        passed = state.changes.walk(page) if page else 0
        if not passed and len(set(ids_of(page))) < size // 2:
            # The page is the whole list.
            state.changes.walk_from_start()
        elif not passed:
            continue
        state.changes.tail = {item["id"] for item in page[passed:] if not item.get("run_id")}
        return


async def _newest_in_order(client: Client, size: int) -> list[Item]:
    """Return the newest messages, oldest first, however the host orders its page."""
    pages = Pages(client, _endpoint(size))
    found: Sequence[Item] = [item for item in await pages.tried({}, "desc") or () if has_id(item)]
    ids = list(dict.fromkeys(ids_of(found)))
    if len(ids) > 1:
        pages.size = 1
        following = ids_of(await pages.tried({"after": ids[0]}) or ())
        if set(ids).isdisjoint(following):
            found = found[::-1]
    return list(found)


def _id(sent: Any) -> str | None:
    return sent if isinstance(sent, str) and is_id(sent) else None


def _endpoint(size: int = FIXED_PAGE) -> Endpoint:
    card = RESOURCES["messages"]
    return Endpoint(card.path, card.params, size, card.family)
