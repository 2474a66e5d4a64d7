"""Lists ordered by the date of the last change, newest first, read back to the last load."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed
from letta_source.errors import FamilyMissing, ParentError
from letta_source.items import Item
from letta_source.paging.pages import CursorLost, Endpoint, Pages
from letta_source.plan.lists import has_id, slim
from letta_source.schema.card import Resource
from letta_source.state.host import Host, ListKey
from letta_source.times import parse_time

logger = logging.getLogger(__name__)

# Size of the first page, which mostly is the only one, and the factor for each further page.
_FIRST_PAGE, _LARGER = 50, 4


class NotOrdered(Exception):
    """The host does not order its list by this date."""


async def changed_items(
    client: Client, card: Resource, by: str, since: datetime
) -> AsyncIterator[list[Item]]:
    """Yield pages of the items whose date is not older than `since`, newest first.

    Args:
        by: the field that the list is ordered by.

    Raises:
        NotOrdered: the host refuses the order, ignores it, or cannot give the list.
    """
    seen: set[str] = set()
    # Self-hosted, the cursors of `/v1/runs/` are swapped.
    onward, cursor, turned = "after", None, False
    params = {**card.params, "order_by": by}
    endpoint = Endpoint(card.path, params, card.page_size or 1000, card.family, fragile=card.fragile_include)
    pages = Pages(client, endpoint)
    pages.size = min(_FIRST_PAGE, pages.largest)
    last: list[datetime] = []
    while True:
        page = [item for item in await _page(pages, {onward: cursor}) if has_id(item)]
        new = [item for item in page if item["id"] not in seen]
        if not new and cursor and not turned:
            onward, turned = "before", True
            continue
        dates = [_date(item, by) for item in new]
        known = [*last, *filter(None, dates)]
        if known != sorted(known, reverse=True):
            raise NotOrdered(f"{card.path} is not ordered by {by}")
        fresh = [item for item, date in zip(new, dates, strict=True) if date and date >= since]
        if fresh:
            yield fresh
        if len(fresh) < len(new) or not new:
            return
        seen.update(item["id"] for item in new)
        last, cursor = known[-1:], new[-1]["id"]
        pages.size = min(pages.size * _LARGER, pages.largest)


async def changed_since(
    client: Client, host: Host, card: Resource, by: str, since: datetime
) -> Sequence[Item] | None:
    """Return those items, slim, asked for once per load; None, and log it, if the host cannot tell."""
    key = _key(card, by, since)
    if key not in host.lists:
        found: list[Item] = []
        try:
            async for page in changed_items(client, card, by, since):
                found.extend(map(slim, page))
        except NotOrdered as error:
            log_not_ordered(card, error)
            return None
        except FamilyMissing:
            # Without the list, nothing can have changed.
            found = []
        host.lists[key] = found
    return host.lists[key]


def keep_changed(host: Host, card: Resource, by: str, since: datetime, items: Sequence[Item]) -> None:
    """Keep a list's changed items for resources that need them later in this load."""
    host.lists[_key(card, by, since)] = [slim(item) for item in items]


def _key(card: Resource, by: str, since: datetime) -> ListKey:
    return card.path, (("order_by", by),), (since.isoformat(), None)


def log_not_ordered(card: Resource, error: Exception) -> None:
    """Log why everything is asked for."""
    reason = error.__cause__ or error
    logger.info("%s: the host cannot tell what changed (%s): reading everything", card.name, reason)


async def _page(pages: Pages, cursors: dict[str, Any]) -> Sequence[Any]:
    while True:
        try:
            try:
                return await pages.ask(cursors, "desc")
            except RequestFailed as error:
                # Down to a single item, which can be read without the relation that fails.
                if not (pages.endpoint.fragile and pages.may_shrink(error)):
                    raise
        except (RequestFailed, ParentError, CursorLost) as error:
            raise NotOrdered(str(error)) from error


def _date(item: Item, by: str) -> datetime | None:
    sent = item.get(by)
    try:
        return parse_time(sent) if isinstance(sent, str) else None
    except ValueError:
        return None
