"""One parent's pages, whatever the server's dialect. Knows nothing of dlt or tables.

Every walk ends: on an empty page, or with an error when a page brings nothing new.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed
from letta_source.errors import NoProgress, ParentGone, Unreadable
from letta_source.items import id_of, ids_of
from letta_source.paging.cycle import Trail
from letta_source.paging.events import Event, Gap, Page, Restarted
from letta_source.paging.pages import Endpoint, Lost, Pages
from letta_source.paging.unreadable import Anchors, far_edge
from letta_source.times import created_at

_RESTARTS = 3


async def walk_pages(
    client: Client,
    endpoint: Endpoint,
    after: str | None = None,
    since: datetime | None = None,
    until: str | None = None,
    anchors: Anchors | None = None,
) -> AsyncIterator[Event]:
    """Every item after the cursor, page by page, oldest first.

    Args:
        after: id of the last item that is known, or None for all.
        since: when that one was created, for lists in order of `created_at`.
        until: id of the item to end before, beyond a gap that an earlier walk left: tried once, message by
            message at first.
        anchors: ids beyond what cannot be read, see `letta_source.paging.unreadable`.

    Raises:
        FamilyMissing, ParentGone, Unreadable, NoProgress: see `letta_source.errors`.
    """
    async for event in _Walk(client, endpoint, after, since, until, anchors).events():
        yield event


class _Walk:
    def __init__(
        self,
        client: Client,
        endpoint: Endpoint,
        after: str | None,
        since: datetime | None,
        until: str | None,
        anchors: Anchors | None,
    ) -> None:
        self._pages = Pages(client, endpoint)
        self._start = self._cursor = after
        self._since = since if endpoint.dated else None
        self._until = until
        self._anchors = anchors
        # Of the item under the cursor, once one was read: its run and its date.
        self._reached: Mapping[str, Any] | None = None
        if until:
            self._pages.size = 1
        # "before" where the server's cursors are swapped, as `/v1/runs/` has them self-hosted.
        self._forward = "after"
        self._forward_proven = False
        self._passing_trouble = False
        # Until an item that could not be read was passed.
        self._in_order = until is None
        self._restarts = 0
        self._trail = Trail()

    async def events(self) -> AsyncIterator[Event]:
        while True:
            try:
                items = await self._pages.ask({self._forward: self._cursor})
                fresh = await self._progress(items)
            except Lost as lost:
                self._restart(lost)
                yield Restarted()
                continue
            except RequestFailed as error:
                if self._pages.may_shrink(error):
                    continue
                if self._until:
                    yield Gap(self._cursor or "", self._until, str(error))
                    return
                edge, meets = await far_edge(
                    self._pages, self._cursor, self._forward, self._anchors, self._reached
                )
                if meets and not self._passing_trouble:
                    self._passing_trouble = True
                    continue
                fresh = self._trail.fresh(edge)
                before_id = ids_of(fresh)[0] if fresh else ""
                yield Gap(self._cursor or "", before_id, str(error), self._pages.answered)
                self._in_order = False
            ids = ids_of(fresh)
            is_end = self._until in ids
            if is_end:
                fresh = fresh[: next(at for at, item in enumerate(fresh) if id_of(item) == self._until)]
            if not fresh:
                return
            self._trail.add(fresh)
            if ids and self._anchors:
                last = next(item for item in reversed(fresh) if id_of(item) == ids[-1])
                # Not all of it, which may be large.
                self._reached = {name: last.get(name) for name in ("run_id", "date", "created_at")}
            yield Page(fresh, self._in_order, self._pages.take_lease())
            if is_end:
                return
            if not ids:
                path = self._pages.endpoint.path
                raise NoProgress(f"{path} sends items without an id after {self._cursor}")
            self._cursor = ids[-1]
            self._pages.grow()
            self._passing_trouble = False

    def _restart(self, lost: Lost) -> None:
        """From the start: the item under the cursor was deleted (404), or the cursor leads nowhere."""
        if self._cursor is None:
            missing = Unreadable if self._pages.endpoint.is_top else ParentGone
            raise missing(str(lost)) from lost
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise NoProgress(str(lost)) from lost
        self._start = self._cursor = self._since = self._reached = None
        self._forward, self._forward_proven = "after", False
        self._passing_trouble, self._in_order = False, self._until is None
        self._trail = Trail()

    async def _progress(self, items: Sequence[Any]) -> Sequence[Any]:
        """Return the new `items`; where none is new, what the other cursor gives. Empty at the end."""
        fresh = self._trail.fresh(items)
        if items and (not fresh or self._is_older(items)):
            return await self._turned(must=True)
        if items and self._is_tied(items):
            return await self._untied(fresh)
        if not items and self._pages.endpoint.is_top and not self._forward_proven and self._can_tell:
            # With swapped cursors an empty page may come though the list goes on.
            return await self._turned(must=False)
        # A first page proves nothing: runs and agents give the start of the list for a cursor that vanished.
        if fresh and self._cursor and (self._since is None or self._trail.pages):
            self._forward_proven = True
        return fresh

    @property
    def _can_tell(self) -> bool:
        """Return True if the other cursor's items can be told from those read before."""
        return self._cursor is not None and (self._since is not None or self._trail.pages > 0)

    def _is_older(self, items: Sequence[Any]) -> bool:
        if self._since is None or self._forward_proven or self._forward == "before":
            return False
        times = (created_at(item) for item in items if isinstance(item, dict))
        return self._start in ids_of(items) or any(time is not None and time < self._since for time in times)

    def _is_tied(self, items: Sequence[Any]) -> bool:
        """Return True if the first page has the very time of the cursor: it may lie on either side of it."""
        if self._since is None or self._forward_proven or self._trail.pages or self._forward == "before":
            return False
        return all(created_at(item) == self._since for item in items if isinstance(item, dict))

    async def _untied(self, fresh: Sequence[Any]) -> Sequence[Any]:
        """Return the neighbouring page that moves forward.

        Raises:
            Lost: it cannot be told which.
        """
        items = await self._pages.ask({"before": self._cursor})
        assert self._since is not None
        for time in (created_at(item) for item in items if isinstance(item, dict)):
            if time is not None and time > self._since:
                self._forward = "before"
                return self._trail.fresh(items)
            if time is not None and time < self._since:
                return fresh
        raise Lost(f"{self._pages.endpoint.path} has too much of one time around {self._cursor}")

    async def _turned(self, must: bool) -> Sequence[Any]:
        """The next page by the other cursor, which is kept if it helps.

        Raises:
            Lost: if it does not, and it must.
        """
        if self._forward == "after" and not self._forward_proven and self._cursor:
            items = await self._pages.ask({"before": self._cursor})
            fresh = self._trail.fresh(items)
            if not items or (fresh and not self._is_older(items)):
                self._forward = "before"
                return fresh
        if must:
            raise Lost(f"{self._pages.endpoint.path} gives the same page again after {self._cursor}")
        return []
