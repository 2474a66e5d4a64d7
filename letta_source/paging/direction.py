"""The cursor that moves forward in a list, and the pages that were seen before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from letta_source.api.server import Server
from letta_source.errors import Unreadable
from letta_source.items import id_of, ids_of
from letta_source.paging.pages import CursorLost, Pages
from letta_source.times import created_at

logger = logging.getLogger(__name__)


class NotFromStart(Unreadable):
    """The first page did not follow the start: the server ignores the order."""


class SeenPages:
    """Memory of just enough ids to detect any repeated page.

    Brent's cycle detection: it keeps the last page, and one more that is replaced at powers of two.

    Attributes:
        count: pages added so far.
    """

    def __init__(self) -> None:
        self._last: set[str] = set()
        self._milestone: set[str] = set()
        self.count = 0
        self._next_milestone = 1

    def without(self, items: Sequence[Any]) -> Sequence[Any]:
        """Return the items not seen before; none if the last was seen, as the walk continues after it."""
        ids = ids_of(items)
        if self._last.isdisjoint(ids) and self._milestone.isdisjoint(ids):
            return items
        known = self._last | self._milestone
        if ids[-1] in known:
            return []
        return [item for item in items if id_of(item) not in known]

    def has(self, items: Sequence[Any]) -> bool:
        """Return True if each of the items with an id is remembered."""
        return (self._last | self._milestone).issuperset(ids_of(items))

    def add(self, items: Sequence[Any]) -> None:
        """Remember a page."""
        self._last = set(ids_of(items))
        self.count += 1
        if self.count == self._next_milestone:
            self._milestone = self._last
            self._next_milestone *= 2


class Direction:
    """Reader of a list that finds which of the two cursors moves forward.

    That is `after`; but self-hosted `/v1/runs/` has the two swapped.

    Args:
        seen: the pages read so far; the caller adds each new one.
        start: id of the item to begin after; None for the start of the list.
        since: when that item was created, for lists in order of `created_at`.

    Attributes:
        forward: name of the cursor that moves forward, as far as it is known.
        is_newest_first: the server ignores the requested order: no cursor leads to new items.
    """

    def __init__(self, pages: Pages, seen: SeenPages, start: str | None, since: datetime | None) -> None:
        self.forward = "after"
        self._pages = pages
        self._seen = seen
        self._start = start
        self._since = since
        self._is_proven = False
        self.is_newest_first = False
        # Ids of the first page, if older messages may be missing before it.
        self._first_page: Sequence[str] = ()

    async def items_after(self, cursor: str | None) -> Sequence[Any]:
        """Return the next page's items without those seen before; none at the end.

        Raises:
            CursorLost: the cursor leads nowhere.
            NotFromStart: the list ended, and its first page did not follow the start.
            FamilyMissing, RequestFailed, Unreadable: see `Pages.ask`.
        """
        items = await self._items_after(cursor)
        if not items:
            await self._assert_start()
        return items

    async def _items_after(self, cursor: str | None) -> Sequence[Any]:
        items = await self._pages.ask({self.forward: cursor})
        fresh = self._seen.without(items)
        if not items:
            # With swapped cursors a page may be empty although the list goes on.
            is_suspect = self._pages.endpoint.is_top and self._can_tell()
            return await self._other_way(cursor) or [] if is_suspect else []
        if not fresh or self.is_older(items):
            # A gateway that sorts or repeats a page's items: where cursors are swapped, all would be known.
            is_jumbled = self._start is None and not self._seen.has(items)
            other = None if is_jumbled else await self._other_way(cursor)
            if other is None:
                raise CursorLost(f"{self._pages.endpoint.path} returns the same page again after {cursor}")
            return other
        if self._is_tied(items):
            return await self._later_of_both(cursor, fresh)
        # A first page proves nothing: for a deleted cursor, runs and agents return the start of the list.
        if cursor and (self._since is None or self._seen.count):
            self._is_proven = True
        if cursor is None:
            self.is_newest_first = await self._begins_with_newest(fresh)
        # A page that is not full is the whole list, unless a gateway caps the limit and drops the order.
        server = self._pages.client.server
        if not self._seen.count and (
            len(fresh) >= self._pages.size or server.ignores_order or server.doubts_order
        ):
            self._first_page = ids_of(fresh)
        return fresh

    async def _begins_with_newest(self, items: Sequence[Any]) -> bool:
        """Return True if the list begins with the same item in both orders.

        A gateway that drops the parameter `order` leaves Letta's default, newest first. Dates alone prove
        nothing, as a message can be stored later with an older date.
        """
        endpoint, server = self._pages.endpoint, self._pages.client.server
        if server.obeys_order or not _descends(items):
            return server.ignores_order
        newest = await self._asked_once({}, "desc")
        if not newest or id_of(newest[0]) != id_of(items[0]):
            return False
        note_ignored_order(server, endpoint.path)
        return True

    async def _assert_start(self) -> None:
        """Check that nothing lies between the start and the first page, if that is the only one.

        Self-hosted, a gateway that drops the parameter `order` leaves the newest page, itself oldest first,
        and nothing follows it.

        Raises:
            NotFromStart: there are messages between.
        """
        first, self._first_page = self._first_page, ()
        if not first or self._seen.count > 1 or self._pages.client.server.obeys_order:
            return
        between = await self._asked_once({"after": self._start, "before": first[0]}, "asc") or ()
        # Not by dates, as all messages of a turn may have the same.
        if not {*first}.issuperset(ids_of(between)):
            raise NotFromStart(
                f"{self._pages.endpoint.path}: order=asc is ignored: the first page is not the oldest, and"
                " older messages would be missed: does a gateway drop the parameter?"
            )

    async def _asked_once(self, cursors: Mapping[str, str | None], order: str) -> Sequence[Any] | None:
        one = Pages(self._pages.client, replace(self._pages.endpoint, page_size=1))
        found = await one.tried(cursors, order)
        one.take_lease().release()
        return found

    def _can_tell(self) -> bool:
        """Return True if the other cursor's items can be told apart from those already read."""
        return self._since is not None or self._seen.count > 0

    def is_older(self, items: Sequence[Any]) -> bool:
        """Return True if the page lies before the start."""
        if self._since is None or self._is_proven or self.forward == "before":
            return False
        times = (created_at(item) for item in items if isinstance(item, dict))
        return self._start in ids_of(items) or any(time is not None and time < self._since for time in times)

    def _is_tied(self, items: Sequence[Any]) -> bool:
        """Return True if the first page has exactly the start's time: it may lie on either side of it."""
        if self._since is None or self._seen.count:
            return False
        return all(created_at(item) == self._since for item in items if isinstance(item, dict))

    async def _later_of_both(self, cursor: str | None, following: Sequence[Any]) -> Sequence[Any]:
        """Return whichever of the two neighbouring pages moves forward.

        Raises:
            CursorLost: their dates do not tell which.
        """
        items = await self._pages.ask({"before": cursor})
        assert self._since is not None
        for time in (created_at(item) for item in items if isinstance(item, dict)):
            if time is not None and time > self._since:
                self.forward = "before"
                return self._seen.without(items)
            if time is not None and time < self._since:
                return following
        raise CursorLost(f"{self._pages.endpoint.path}: too many items share one time around {cursor}")

    async def _other_way(self, cursor: str | None) -> Sequence[Any] | None:
        """Return the next items by the other cursor, and keep it if it helps; None if it does not."""
        if self.forward == "before" or self._is_proven or not cursor:
            return None
        items = await self._pages.ask({"before": cursor})
        fresh = self._seen.without(items)
        if items and (not fresh or self.is_older(items)):
            return None
        self.forward = "before"
        return fresh


def note_ignored_order(server: Server, path: str) -> None:
    """Note that a list begins with its newest items although the oldest were asked for."""
    if not server.ignores_order:
        server.ignores_order = True
        logger.warning(
            "%s: order=asc is ignored and the newest come first, so all is read again each time:"
            " does a gateway drop the parameter?",
            path,
        )


def _descends(items: Sequence[Any]) -> bool:
    """Return True if the items have at least three dates, and mostly go back in time."""
    times = [time for item in items if isinstance(item, dict) and (time := created_at(item))]
    later = sum(time > before for before, time in pairwise(times))
    earlier = sum(time < before for before, time in pairwise(times))
    # One step back may be a late commit, also in a group without a manager, which ignores `order`.
    return earlier > max(later, 1)
