"""One parent's pages, whatever the server's dialect. Knows nothing of dlt or tables.

Every walk ends: on an empty page, or with an error when a page brings nothing new.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from letta_source.client import Client, RequestFailed, StatusError
from letta_source.errors import FamilyMissing, NoProgress, ParentGone, Unreadable
from letta_source.times import created_at
from letta_source.trail import Trail, ids_of

_RESTARTS = 3
# Which answers smaller pages may help with: a page that holds a message the server cannot render.
_SHRINK_STATUSES = {400, 408, 500, 502, 503, 504}
# Retries of a page that a smaller one may replace, and of a single message.
_SHRINK_AFTER, _GIVE_UP_AFTER = 2, 4


@dataclass(frozen=True)
class Endpoint:
    """A list to walk.

    Attributes:
        path: of the list.
        params: sent with every request.
        page_size: limit of the first request.
        family: name to report when the host does not have this list; None for one that hangs from a parent.
        dated: its items come in the order of their `created_at`; those of `/v1/steps/` have none.
    """

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    page_size: int = 1000
    family: str | None = None
    dated: bool = True


@dataclass(frozen=True)
class Page:
    """Items of one parent, in ascending order, as sent; never empty.

    `in_order` is false beyond an item that could not be read: cursors do not move over these.
    """

    items: list[Any]
    in_order: bool = True


@dataclass(frozen=True)
class Restarted:
    """The item under the cursor is gone: what follows is read from the start."""


@dataclass(frozen=True)
class Gap:
    """What the server cannot give, between two ids; an empty one is the end of the list."""

    after_id: str
    before_id: str
    detail: str


Event = Page | Restarted | Gap


async def walk_pages(
    client: Client, endpoint: Endpoint, after: str | None = None, since: datetime | None = None
) -> AsyncIterator[Event]:
    """Every item after the cursor, page by page, oldest first.

    Args:
        after: id of the last item that is known, or None for all.
        since: when that one was created, for lists in order of `created_at`.

    Raises:
        FamilyMissing, ParentGone, Unreadable, NoProgress: see `letta_source.errors`.
    """
    async for event in _Walk(client, endpoint, after, since).events():
        yield event


class _Walk:
    def __init__(self, client: Client, endpoint: Endpoint, after: str | None, since: datetime | None) -> None:
        self._client = client
        self._endpoint = endpoint
        self._start = self._cursor = after
        self._since = since if endpoint.dated else None
        self._size = self._largest = endpoint.page_size
        # "before" where the server's cursors are swapped, as `/v1/runs/` has them self-hosted.
        self._forward = "after"
        self._forward_proven = False
        self._passing_trouble = False
        # Until an item that could not be read was passed.
        self._in_order = True
        self._restarts = 0
        self._trail = Trail()

    async def events(self) -> AsyncIterator[Event]:
        while True:
            try:
                items = await self._ask(self._forward, self._cursor)
                fresh = await self._progress(items)
            except _Lost as lost:
                self._restart(lost)
                yield Restarted()
                continue
            except RequestFailed as error:
                if self._may_shrink(error):
                    continue
                if not self._in_order:
                    yield Gap(self._cursor or "", "", str(error))
                    return
                edge, meets = await self._far_edge()
                self._size = self._largest
                if meets and not self._passing_trouble:
                    self._passing_trouble = True
                    continue
                yield Gap(self._cursor or "", ids_of(edge)[0] if edge else "", str(error))
                if not edge:
                    return
                self._in_order = False
                fresh = edge
            if not fresh:
                return
            self._trail.add(fresh)
            yield Page(fresh, self._in_order)
            ids = ids_of(fresh)
            if not ids:
                raise NoProgress(f"{self._endpoint.path} sends items without an id after {self._cursor}")
            self._cursor = ids[-1]
            self._size = min(self._size * 2, self._largest)
            self._passing_trouble = False

    async def _ask(self, direction: str, cursor: str | None, order: str = "asc") -> list[Any]:
        params = {**self._endpoint.params, "order": order, "limit": self._size}
        if cursor:
            params[direction] = cursor
        retries = _SHRINK_AFTER if self._size > 1 else _GIVE_UP_AFTER
        try:
            return as_list(await self._client.get(self._endpoint.path, params, retries))
        except RequestFailed as error:
            if is_gone(error):
                raise _Lost(str(error)) from error
            raise

    def _restart(self, lost: _Lost) -> None:
        """From the start: the item under the cursor was deleted (404), or the cursor leads nowhere."""
        if self._cursor is None:
            if self._endpoint.family:
                raise FamilyMissing(self._endpoint.family) from lost
            raise ParentGone(str(lost)) from lost
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise NoProgress(str(lost)) from lost
        self._start = self._cursor = self._since = None
        self._forward, self._forward_proven = "after", False
        self._passing_trouble, self._in_order = False, True
        self._trail = Trail()

    async def _progress(self, items: list[Any]) -> list[Any]:
        """What of `items` is new; where nothing is, what the other cursor gives. Empty at the end."""
        fresh = self._trail.fresh(items)
        if items and (not fresh or self._is_older(items)):
            return await self._turned(must=True)
        if not items and self._endpoint.family and not self._forward_proven and self._can_tell:
            # With swapped cursors an empty page may come though the list goes on.
            return await self._turned(must=False)
        # A first page proves nothing: runs and agents give the start of the list for a cursor that vanished.
        if fresh and self._cursor and (self._since is None or self._trail.pages):
            self._forward_proven = True
        return fresh

    @property
    def _can_tell(self) -> bool:
        """Whether what the other cursor gives can be told from what was read before."""
        return self._cursor is not None and (self._since is not None or self._trail.pages > 0)

    def _is_older(self, items: list[Any]) -> bool:
        if self._since is None or self._forward_proven or self._forward == "before":
            return False
        times = (created_at(item) for item in items if isinstance(item, dict))
        return self._start in ids_of(items) or any(time is not None and time < self._since for time in times)

    async def _turned(self, must: bool) -> list[Any]:
        """The next page by the other cursor, which is kept if it helps.

        Raises:
            _Lost: if it does not, and it must.
        """
        if self._forward == "after" and not self._forward_proven and self._cursor:
            items = await self._ask("before", self._cursor)
            fresh = self._trail.fresh(items)
            if not items or (fresh and not self._is_older(items)):
                self._forward = "before"
                return fresh
        if must:
            raise _Lost(f"{self._endpoint.path} gives the same page again after {self._cursor}")
        return []

    def _may_shrink(self, error: RequestFailed) -> bool:
        """Makes the next page smaller, unless it is one message already."""
        if isinstance(error, StatusError) and error.status not in _SHRINK_STATUSES:
            raise Unreadable(f"{self._endpoint.path}: {error}") from error
        if self._size == 1:
            return False
        self._size = max(1, self._size // 4)
        if isinstance(error.__cause__, httpx.TimeoutException):
            # Every page that is too large costs a time-out.
            self._largest = self._size
        return True

    async def _far_edge(self) -> tuple[list[Any], bool]:
        """Goes back from the newest message as far as the server gives pages.

        Pages in descending order serve only to find ids: what they mean differs from list to list.

        Returns:
            The items of the oldest message that was reached, none if there is none; and whether nothing
            unreadable lies between it and the cursor: the trouble passed.
        """
        self._size = 1
        newest, oldest = await self._tried(), await self._tried(order="asc")
        if not newest or not (newest_ids := ids_of(newest)):
            return [], newest == []
        if self._cursor in newest_ids:
            return [], True
        if oldest and newest_ids[0] in ids_of(oldest):
            # Groups without a manager ignore `order`: there is no other side.
            return [], True
        self._size = self._largest
        return await self._back_from(newest, newest_ids[0])

    async def _back_from(self, edge: list[Any], edge_id: str) -> tuple[list[Any], bool]:
        trail = Trail()
        trail.add(edge)
        page: list[Any] | None = None
        oldest_first: bool | None = None
        # Newest first, self-hosted goes back by `before`, Cloud by `after`.
        for back in ("before", "after"):
            page = await self._tried(back, edge_id)
            if page is None or (page and edge_id not in ids_of(page)):
                break
        while page:
            ids = list(dict.fromkeys(ids_of(page)))
            if not ids or len(trail.fresh(page)) < len(page):
                return edge, False
            if oldest_first is None and len(ids) > 1:
                # The pages of an agent come oldest first, whatever the order.
                oldest_first = await self._oldest_first(ids)
                if oldest_first is None:
                    return edge, False
            older = ids[::-1] if oldest_first else ids
            meets = self._cursor in ids
            if meets:
                older = older[: older.index(self._cursor or "")]
            if older:
                edge_id = older[-1]
                edge = [item for item in page if edge_id in ids_of([item])]
            if meets:
                return edge, True
            trail.add(page)
            page = await self._tried(back, edge_id)
        return edge, page is not None

    async def _oldest_first(self, ids: list[str]) -> bool | None:
        """Whether the last of these ids is the newest: none of them follows it. None if it cannot be told."""
        size, self._size = self._size, 1
        following = await self._tried(self._forward, ids[-1], order="asc")
        self._size = size
        return None if following is None else set(ids).isdisjoint(ids_of(following))

    async def _tried(
        self, direction: str = "after", cursor: str | None = None, order: str = "desc"
    ) -> list[Any] | None:
        """The page, smaller if need be; None if that does not help."""
        while True:
            try:
                return await self._ask(direction, cursor, order)
            except _Lost:
                return None
            except RequestFailed as error:
                if not self._may_shrink(error):
                    return None


class _Lost(Exception):
    """The cursor leads nowhere."""


def is_gone(error: RequestFailed) -> bool:
    return isinstance(error, StatusError) and error.status in (404, 405)


def as_list(body: Any) -> list[Any]:
    """The array of a list's answer; null is an empty one.

    Raises:
        Unreadable: if it is neither.
    """
    if body is None:
        return []
    if not isinstance(body, list):
        raise Unreadable(f"a list was expected, the server sent {type(body).__name__}")
    return body
