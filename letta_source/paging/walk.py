"""One parent's pages, whatever the server's dialect; a walk ends, or raises if a page has nothing new."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from letta_source.api.client import Client
from letta_source.api.memory_budget import MemoryLease
from letta_source.api.responses import RequestFailed
from letta_source.errors import NoProgress, ParentGone, Unreadable
from letta_source.items import id_of, ids_of
from letta_source.paging.direction import Direction, NotFromStart, SeenPages
from letta_source.paging.pages import CursorLost, Endpoint, Pages
from letta_source.paging.unreadable import Anchors, Known, back_from_end, far_edge, past_known

_RESTARTS = 3
UNREADABLE = "unreadable"
"""The issue kind of a gap."""


@dataclass(frozen=True)
class Page:
    """Items of one parent, as sent, in ascending order unless `newest_first`; never empty.

    Attributes:
        in_order: false beyond an unreadable item, and if newest first: cursors do not move over such a page.
        lease: the memory that it takes; the receiver of the page releases it.
        after_id: id of the item before them, where known; empty at the start of the list.
        newest_first: the server ignores the order asked for: no cursor may move, not even over a gap.
    """

    items: Sequence[Any]
    in_order: bool = True
    lease: MemoryLease | None = field(default=None, compare=False, repr=False)
    after_id: str = field(default="", compare=False)
    newest_first: bool = field(default=False, compare=False)

    @property
    def size(self) -> int:
        """Memory that the page takes, in bytes."""
        return self.lease.size if self.lease else 0

    def hold(self) -> None:
        """Mark the memory as held by the collector of rows, which releases it on a shortage."""
        if self.lease:
            self.lease.hold()

    def release(self) -> None:
        """Give back the memory and clear the items, as other code may still refer to the page."""
        if self.lease:
            self.lease.release()
            if isinstance(self.items, list):
                self.items.clear()


@dataclass(frozen=True)
class Restarted:
    """The item under the cursor is gone; the list is read again from the start."""


@dataclass(frozen=True)
class Gap:
    """A part of the list that the server cannot return, between two ids; an empty id is an end of the list.

    `answered` is false if no request for this list succeeded: nothing of it can be read.
    """

    after_id: str
    before_id: str
    detail: str
    answered: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class Retried:
    """A gap left by an earlier load was retried; `left` is what remains of it."""

    after_id: str
    before_id: str
    left: Gap | None


Event = Page | Restarted | Gap | Retried


def walk_pages(
    client: Client,
    endpoint: Endpoint,
    after: str | None = None,
    since: datetime | None = None,
    until: str | None = None,
    anchors: Anchors | None = None,
    known: Known | None = None,
) -> AsyncIterator[Event]:
    """Return an iterator over every item after the cursor, page by page, oldest first.

    Args:
        after: id of the last item that is known, or None for all.
        since: when that item was created, for lists in order of `created_at`.
        until: id of the item to end before, at the far side of a gap that an earlier walk left. The gap is
            tried once, one message at a time at first, and from its far side where it is still unreadable.
        anchors: ids beyond unreadable messages, see `letta_source.paging.unreadable`.
        known: gaps that earlier walks met; those that have not changed are not searched again.

    Raises:
        FamilyMissing, ParentGone, Unreadable, NoProgress: see `letta_source.errors`.
    """
    return _Walk(client, endpoint, after, since, until, anchors, known or {}).events()


class _Walk:
    """One walk.

    It is in order until it has passed an unreadable item; beyond that, cursors do not move. If the item under
    the cursor is gone, it begins again, at most a few times.
    """

    def __init__(
        self,
        client: Client,
        endpoint: Endpoint,
        after: str | None,
        since: datetime | None,
        until: str | None,
        anchors: Anchors | None,
        known: Known,
    ) -> None:
        self._pages = Pages(client, endpoint)
        self._until = until
        self._anchors = anchors
        self._restarts = 0
        self._known = dict(known)
        self._unmet = {*known}
        # A part that failed before is tried twice.
        self._patience = 1 if until else None
        if until:
            self._pages.size = 1
        self._begin(after, since if endpoint.dated else None)

    def _begin(self, after: str | None, since: datetime | None) -> None:
        self._cursor = after
        self._seen = SeenPages()
        self._direction = Direction(self._pages, self._seen, after, since)
        # Run and date of the item under the cursor, once one was read.
        self._reached: Mapping[str, Any] | None = None
        self._asked_again = self._meets_known = False
        self._in_order = self._until is None
        self._reads_all = after is None and self._until is None

    async def events(self) -> AsyncIterator[Event]:
        while True:
            while gap := self._next_known():
                async for event in self._through_known(gap):
                    yield event
                    if isinstance(event, Gap) and not event.before_id:
                        return
            # With known gaps ahead a page is expected to fail.
            self._pages.patience = 0 if self._known else self._patience
            try:
                fresh = await self._direction.items_after(self._cursor)
            except CursorLost as lost:
                self._restart(lost)
                yield Restarted()
                continue
            except NotFromStart:
                # The cursor moved over these items; a later load must not continue from there.
                yield Restarted()
                raise
            except RequestFailed as error:
                if self._known:
                    self._meets_known = True
                    continue
                if self._pages.may_shrink(error):
                    continue
                beyond = await self._items_beyond()
                if beyond is None:
                    continue
                fresh = beyond
                before_id = ids_of(fresh)[0] if fresh else self._until or ""
                yield Gap(self._cursor or "", before_id, str(error), self._pages.answered)
                self._unmet.discard((self._cursor or "", before_id))
                self._in_order = False
            is_end = self._until in ids_of(fresh)
            if is_end:
                fresh = fresh[: next(at for at, item in enumerate(fresh) if id_of(item) == self._until)]
            for gap in self._resolved_by(fresh):
                yield Retried(*gap, None)
            if not fresh:
                return
            has_ids = bool(ids_of(fresh))
            # More elements without an id than fit into a page would hide what follows.
            is_end = is_end or bool(self._cursor and not has_ids and len(fresh) < self._pages.size)
            yield self._page(fresh)
            if is_end:
                return
            if not has_ids:
                path = self._pages.endpoint.path
                raise NoProgress(f"{path} sends items without an id after {self._cursor or 'its start'}")
            self._pages.grow()

    def _move_over(self, items: Sequence[Any]) -> None:
        """Move the cursor to the last item with an id."""
        self._seen.add(items)
        self._asked_again = False
        for item in reversed(items):
            if found := id_of(item):
                self._cursor = found
                # The whole item may be large.
                self._reached = {name: item.get(name) for name in ("run_id", "date", "created_at")}
                return

    def _resolved_by(self, fresh: Sequence[Any]) -> list[tuple[str, str]]:
        """Return the known gaps that these items prove to be closed; no items are the end of the list."""
        if not self._unmet or not (fresh or self._reads_all):
            return []
        ids = ids_of(fresh)
        closed = [gap for gap in self._unmet if not ids or gap[1] in ids or gap[0] in ids[:-1]]
        self._unmet.difference_update(closed)
        return closed

    def _next_known(self) -> tuple[str, str] | None:
        """Return the known gap that probably comes next; None if none needs to be near."""
        if self._direction.forward != "after":
            return None
        here = next((gap for gap in self._known if gap[0] == (self._cursor or "")), None)
        if here or self._cursor is None or self._meets_known:
            return here or next(iter(self._known), None)
        return None

    async def _through_known(self, gap: tuple[str, str]) -> AsyncIterator[Event]:
        """Yield the items up to a known gap, the gap, and the message after it.

        A gap that has changed is no longer known: the walk continues where this stops.
        """
        after_id, before_id = gap
        due = self._known.pop(gap)
        self._meets_known = False
        # An unreadable start of the list lies behind any cursor.
        is_behind = bool(self._cursor and not after_id)
        while not is_behind and (self._cursor or "") != after_id:
            page = await self._expected({"after": self._cursor, "before": after_id}, self._pages.largest)
            if page:
                yield self._page(page)
            # The next message is the one before the gap, unless more is to come.
            one = None if page is None else await self._expected({"after": self._cursor}, 1)
            if one:
                yield self._page(one)
            is_behind = not one or not (page or self._cursor == after_id)
        passed = None if is_behind else await past_known(self._pages, after_id, before_id, due)
        self._pages.size = self._pages.largest
        if passed:
            yield Gap(after_id, before_id, passed.detail, self._pages.answered)
            self._unmet.discard(gap)
            self._in_order = False
            if passed.edge:
                yield self._page(passed.edge)

    def _page(self, items: Sequence[Any]) -> Page:
        after_id, newest_first = self._cursor or "", self._direction.is_newest_first
        self._move_over(items)
        lease, in_order = self._pages.take_lease(), self._in_order and not newest_first
        return Page(items, in_order, lease, after_id, newest_first)

    async def _expected(self, cursors: Mapping[str, str | None], size: int) -> Sequence[Any] | None:
        """Return a page's new items on the way to a known gap; None if the page is not as expected."""
        self._pages.patience, self._pages.size = None, size
        try:
            items = await self._pages.ask(cursors)
        except (CursorLost, RequestFailed):
            return None
        fresh = self._seen.without(items)
        return None if (items and not ids_of(fresh)) or self._direction.is_older(items) else fresh

    def _restart(self, lost: CursorLost) -> None:
        """Begin again at the start: the item under the cursor was deleted, or the cursor leads nowhere."""
        if self._cursor is None:
            missing = Unreadable if self._pages.endpoint.is_top else ParentGone
            raise missing(str(lost)) from lost
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise NoProgress(str(lost)) from lost
        self._begin(None, None)

    async def _items_beyond(self) -> Sequence[Any] | None:
        """Return the items after the unreadable one, none at the end; None if the page is to be retried."""
        if self._until:
            edge = await back_from_end(self._pages, self._cursor or "", self._until, self._direction.forward)
            return self._seen.without(edge)
        edge, meets = await far_edge(
            self._pages, self._cursor, self._direction.forward, self._anchors, self._reached
        )
        if meets and not self._asked_again:
            self._asked_again = True
            return None
        return self._seen.without(edge)
