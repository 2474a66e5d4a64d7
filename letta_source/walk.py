"""One parent's pages, whatever the server's dialect. Knows nothing of dlt or tables.

Every walk ends: on an empty page, or with an error when a page brings nothing new.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from letta_source.client import Client, RequestFailed, StatusError
from letta_source.errors import FamilyMissing, NoProgress, ParentGone, Unreadable
from letta_source.times import created_at
from letta_source.trail import Trail, ids_of

_RESTARTS = 3
# Which answers smaller pages may help with: a page that holds a message the server cannot render.
_SHRINK_STATUSES = {400, 408, 500, 502, 503, 504}


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
        self._cursor = after
        self._since = since if endpoint.dated else None
        self._size = endpoint.page_size
        # "before" where the server's cursors are swapped, as `/v1/runs/` has them self-hosted.
        self._forward = "after"
        self._forward_proven = False
        self._troubled = False
        self._passing_trouble = False
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
                async for event in self._other_side(error):
                    yield event
                if self._passing_trouble:
                    continue
                return
            if not fresh:
                return
            self._trail.add(fresh)
            yield Page(fresh)
            ids = ids_of(fresh)
            if not ids:
                raise NoProgress(f"{self._endpoint.path} sends items without an id after {self._cursor}")
            self._cursor = ids[-1]
            self._size = min(self._size * 2, self._endpoint.page_size)
            self._troubled = self._passing_trouble = False

    async def _ask(self, direction: str, cursor: str | None, order: str = "asc") -> list[Any]:
        params = {**self._endpoint.params, "order": order, "limit": self._size}
        if cursor:
            params[direction] = cursor
        # What failed before is tried twice, not more: a 500 may reset the connection that the first try meets.
        retries = 1 if self._troubled else None
        try:
            return as_list(await self._client.get(self._endpoint.path, params, retries))
        except RequestFailed as error:
            if is_gone(error):
                raise _Lost(str(error)) from error
            raise

    def _restart(self, lost: _Lost) -> None:
        """From the start, after a 404 under a cursor (the item was deleted) or a cursor that leads nowhere."""
        if self._cursor is None:
            if self._endpoint.family:
                raise FamilyMissing(self._endpoint.family) from lost
            raise ParentGone(str(lost)) from lost
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise NoProgress(str(lost)) from lost
        self._cursor, self._since = None, None
        self._trail = Trail()

    async def _progress(self, items: list[Any]) -> list[Any]:
        """What of `items` is new; where nothing is, what the other cursor gives. Empty at the end."""
        fresh = self._trail.fresh(items)
        if items and (not fresh or self._is_older(items)):
            return await self._turned(must=True)
        if not items and self._endpoint.family and not self._forward_proven and self._can_tell:
            # With swapped cursors an empty page may come though the list goes on.
            return await self._turned(must=False)
        if fresh and self._cursor:
            self._forward_proven = True
        return fresh

    @property
    def _can_tell(self) -> bool:
        """Whether what the other cursor gives can be told from what was read before."""
        return self._cursor is not None and (self._since is not None or self._trail.pages > 0)

    def _is_older(self, items: list[Any]) -> bool:
        if self._since is None or self._forward_proven or self._forward == "before":
            return False
        times = [created_at(item) for item in items if isinstance(item, dict)]
        return bool(times) and all(time is not None and time < self._since for time in times)

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
        self._troubled = True
        if self._size == 1:
            return False
        self._size = max(1, self._size // 4)
        return True

    async def _other_side(self, error: RequestFailed) -> AsyncIterator[Event]:
        """What lies beyond an item that poisons every page it is in, read from the newest backwards."""
        before_id = ""
        # Newest first, self-hosted goes back by `before`, Cloud by `after`.
        back = "before"
        self._size = self._endpoint.page_size
        while True:
            try:
                items = await self._ask(back, before_id or None, order="desc")
            except RequestFailed as failure:
                if self._may_shrink(failure):
                    continue
                break
            ids = ids_of(items)
            if ids and (before_id in ids or not self._trail.fresh(items)) and self._cursor not in ids:
                if back == "after":
                    break
                back = "after"
                continue
            if not ids or self._cursor in ids:
                if not self._passing_trouble:
                    # Nothing lies between: the trouble passed, or this list ignores `order`.
                    self._passing_trouble = True
                    self._size = self._endpoint.page_size
                    return
                if self._cursor in ids and (newer := items[: ids.index(self._cursor)]):
                    yield Page(newer[::-1], in_order=False)
                break
            self._trail.add(items)
            yield Page(items[::-1], in_order=False)
            before_id = ids[-1]
        self._passing_trouble = False
        yield Gap(self._cursor or "", before_id, str(error))


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
