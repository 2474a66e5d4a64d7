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
        missing_on: statuses that mean the host does not have it.
    """

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    page_size: int = 1000
    family: str | None = None
    missing_on: frozenset[int] = frozenset({404, 405})


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


def _ids(items: list[Any]) -> list[str]:
    return [item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]


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
        self._since = since
        self._size = endpoint.page_size
        # "before" where the server's cursors are swapped, as `/v1/runs/` has them self-hosted.
        self._forward = "after"
        self._forward_proven = False
        self._restarts = 0
        self._trail = _Trail()
        self._try_forward_again = False
        self._tried_forward_again = False

    async def events(self) -> AsyncIterator[Event]:
        while True:
            try:
                items = await self._ask(self._forward, self._cursor)
            except RequestFailed as error:
                if _is_gone(error):
                    self._restart(error)
                    yield Restarted()
                elif self._may_shrink(error):
                    self._size = max(1, self._size // 4)
                else:
                    async for event in self._other_side(error):
                        yield event
                    if not self._try_forward_again:
                        return
                continue
            fresh = await self._progress(items)
            if not fresh:
                return
            self._trail.add(fresh)
            yield Page(fresh)
            ids = _ids(fresh)
            if not ids:
                raise NoProgress(f"{self._endpoint.path} sends items without an id after {self._cursor}")
            self._cursor = ids[-1]
            self._size = min(self._size * 2, self._endpoint.page_size)

    async def _progress(self, items: list[Any]) -> list[Any]:
        """What of `items` is new; where nothing is, what the other cursor gives. Empty at the end."""
        fresh = self._trail.fresh(items)
        if items and (not fresh or self._is_older(items)):
            return await self._turned(must=True)
        if not items and self._cursor and self._endpoint.family and not self._forward_proven:
            # With swapped cursors an empty page may come though the list goes on.
            return await self._turned(must=False)
        if fresh and self._cursor:
            self._forward_proven = True
        return fresh

    async def _ask(self, direction: str, cursor: str | None, order: str = "asc", retries: int | None = None) -> list[Any]:
        params = {**self._endpoint.params, "order": order, "limit": self._size}
        if cursor:
            params[direction] = cursor
        if self._size < self._endpoint.page_size:
            # A smaller page is already a second try; one more for the connection a 500 resets.
            retries = 1
        return as_list(await self._client.get(self._endpoint.path, params, retries))

    def _restart(self, error: RequestFailed) -> None:
        if self._cursor is None:
            if self._endpoint.family:
                raise FamilyMissing(self._endpoint.family) from error
            raise ParentGone(str(error)) from error
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise Unreadable(f"the cursor vanished {_RESTARTS} times: {error}") from error
        # 404 under a cursor is a message that was deleted, unless the parent is gone too.
        self._cursor, self._since = None, None
        self._trail = _Trail()

    def _may_shrink(self, error: RequestFailed) -> bool:
        if isinstance(error, StatusError):
            if self._endpoint.family and error.status in self._endpoint.missing_on:
                raise FamilyMissing(self._endpoint.family) from error
            if error.status not in _SHRINK_STATUSES:
                raise Unreadable(str(error)) from error
        return self._size > 1

    def _is_older(self, items: list[Any]) -> bool:
        if self._since is None or self._forward_proven or self._forward == "before":
            return False
        times = [created_at(item) for item in items if isinstance(item, dict)]
        return bool(times) and all(time is not None and time < self._since for time in times)

    async def _turned(self, must: bool) -> list[Any]:
        """The next page by the other cursor, which is kept if it helps.

        Raises:
            NoProgress: if it does not, and it must.
        """
        if self._forward == "after" and not self._forward_proven and self._cursor:
            items = await self._ask("before", self._cursor)
            fresh = self._trail.fresh(items)
            if not items or (fresh and not self._is_older(items)):
                self._forward = "before"
                return fresh
        if must:
            raise NoProgress(f"{self._endpoint.path} gives the same page again after {self._cursor}")
        return []

    async def _other_side(self, error: RequestFailed) -> AsyncIterator[Event]:
        """What lies beyond an item that poisons every page it is in, read from the newest backwards."""
        before_id = ""
        # Newest first, self-hosted goes back by `before`, Cloud by `after`.
        back = "before"
        self._size = self._endpoint.page_size
        while True:
            try:
                items = await self._ask(back, before_id or None, order="desc")
            except RequestFailed:
                if self._size == 1:
                    break
                self._size = max(1, self._size // 4)
                continue
            if before_id and before_id in _ids(items) or (items and not self._trail.fresh(items)):
                if back == "after":
                    break
                back = "after"
                continue
            ids = _ids(items)
            if not ids or self._cursor in ids:
                if not self._tried_forward_again:
                    # Nothing between: the error was passing, or this list ignores `order`.
                    self._tried_forward_again = self._try_forward_again = True
                    self._trail = _Trail()
                    return
                newer = items[: ids.index(self._cursor)] if self._cursor in ids else []
                if newer:
                    yield Page(newer[::-1], in_order=False)
                break
            self._trail.add(items)
            yield Page(items[::-1], in_order=False)
            before_id = ids[-1]
        self._try_forward_again = False
        yield Gap(self._cursor or "", before_id, str(error))


class _Trail:
    """Remembers enough of the ids that went by to notice any page that comes again.

    Brent's cycle detection: the last page, and one more that moves up at powers of two.
    """

    def __init__(self) -> None:
        self._last: set[str] = set()
        self._milestone: set[str] = set()
        self._pages = 0
        self._next = 1

    def fresh(self, items: list[Any]) -> list[Any]:
        """`items` without those that went by."""
        known = self._last | self._milestone
        return [item for item in items if not (isinstance(item, dict) and item.get("id") in known)]

    def add(self, items: list[Any]) -> None:
        self._last = set(_ids(items))
        self._pages += 1
        if self._pages == self._next:
            self._milestone = self._last
            self._next *= 2


def _is_gone(error: RequestFailed) -> bool:
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


async def walk_whole(client: Client, endpoint: Endpoint, key: str) -> AsyncIterator[Event]:
    """Every item of a list without cursors, which is asked for with one limit larger than it is.

    Batch messages answer 500 to `after` and ignore `before`.
    """
    size = endpoint.page_size
    while True:
        try:
            body = await client.get(endpoint.path, {**endpoint.params, "order": "asc", "limit": size})
        except RequestFailed as error:
            if _is_gone(error):
                raise ParentGone(str(error)) from error
            raise Unreadable(f"{endpoint.path}: {error}") from error
        items = as_list(body.get(key) if isinstance(body, dict) else body)
        if len(items) < size:
            if items:
                yield Page(items)
            return
        size *= 2


async def get_one(client: Client, path: str, params: Mapping[str, str | int] | None = None) -> AsyncIterator[Page]:
    """The one object at `path`."""
    try:
        found = await client.get(path, params)
    except RequestFailed as error:
        if _is_gone(error):
            raise ParentGone(str(error)) from error
        raise Unreadable(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise Unreadable(f"{path}: an object was expected, the server sent {type(found).__name__}")
    yield Page([found])
