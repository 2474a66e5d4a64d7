"""Lists without cursors, and single objects: one request has to return each whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError, TooLarge, Verdict, is_gone, is_missing
from letta_source.api.spool import Spool, read_list
from letta_source.errors import FamilyMissing, ParentGone, Unreadable
from letta_source.items import Items
from letta_source.paging.pages import Endpoint, get_whole_or_without, smaller_limit
from letta_source.paging.walk import Gap, Page
from letta_source.schema.card import Params

# More than any batch holds; the server accepts a limit of this size.
_MOST = 100_000


async def walk_whole(client: Client, endpoint: Endpoint, key: str) -> AsyncIterator[Page | Gap]:
    """Yield every item of a list without cursors, asked for with a limit larger than the list.

    Lists of batch messages return 500 for `after` and ignore `before`. Fewer items than the limit do not
    prove the end, as a server or gateway may cap the limit: the newest item has to be among them.

    A response is read to its end before its first page is yielded, see `letta_source.api.spool`. Items too
    large for the memory become a gap.

    Raises:
        ParentGone: there is no such list.
        Unreadable: the list cannot be read; or, after the readable items, there are more.
    """
    whole = _Whole(client, endpoint, key)
    found = await whole.read()
    try:
        if not len(found):
            return
        known = {one for one in found.ids if one}
        newest = await whole.ask(1, "desc")
        newest.close()
        async for event in whole.pages(found, range(len(found))):
            yield event
        if newest.ids[:1] == found.ids[:1] != found.ids[-1:]:
            raise Unreadable(
                f"{endpoint.path}: order=desc is ignored, so nothing proves that these"
                f" {len(found):,} messages are all: does a gateway drop the parameter?"
            )
        # An item that is too large has no id: compare its size.
        is_last = not newest.too_large or newest.sizes == found.sizes[-1:]
        if is_last and known.issuperset(one for one in newest.ids if one):
            return
    finally:
        found.close()
    others = await whole.ask(whole.size, "desc")
    try:
        fresh = [place for place, one in enumerate(others.ids) if one not in known]
        async for event in whole.pages(others, fresh[::-1], in_order=False):
            yield event
    finally:
        others.close()
    if len(fresh) == len(others):
        raise Unreadable(
            f"{endpoint.path}: the server returns at most {len(found):,} messages, but there are more:"
            " those between the oldest and the newest are not read"
        )


class _Whole:
    """Reader of a list without cursors, which cuts it into pages.

    Attributes:
        size: limit of the last request.
    """

    def __init__(self, client: Client, endpoint: Endpoint, key: str) -> None:
        self._client = client
        self._memory = client.server.memory
        self._endpoint = endpoint
        self._key = key
        self.size = endpoint.page_size

    async def read(self) -> Spool:
        """Return the response to the largest limit that is needed, or that the server accepts."""
        bound = _MOST
        while True:
            try:
                found = await self.ask(self.size, "asc")
            except Unreadable as error:
                smaller = _smaller(error.__cause__, self.size)
                if not smaller:
                    raise
                self.size = bound = smaller
                continue
            if len(found) < self.size or self.size >= bound:
                return found
            found.close()
            self.size = min(2 * self.size, bound)

    async def ask(self, limit: int, order: str) -> Spool:
        """Return the first items in an order; the caller closes them."""
        path = self._endpoint.path
        params = {**self._endpoint.params, "order": order, "limit": limit}
        read = partial(read_list, key=self._key, memory=self._memory)
        try:
            found: Spool = await self._client.get(path, params, lease=self._memory.lease(), read=read)
        except RequestFailed as error:
            if is_gone(error):
                raise ParentGone(str(error)) from error
            raise Unreadable(f"{path}: {error}") from error
        return found

    async def pages(
        self, found: Spool, order: Sequence[int], in_order: bool = True
    ) -> AsyncIterator[Page | Gap]:
        """Yield the elements at these positions of the response, in this order."""
        ids = [found.ids[place] for place in order]
        gap: Gap | None = None
        for group in self._groups(found, ids, order):
            places = [order[at] for at in group]
            if self._is_beyond(found, places):
                before = next((one for one in ids[group.start - 1 :: -1] if one), "") if group.start else ""
                after = next((one for one in ids[group.stop :] if one), "")
                last, gap = gap, Gap(before, after, str(TooLarge(self._memory.largest_body)))
                if gap != last:
                    yield gap
                continue
            size = sum(found.sizes[place] for place in places)
            if size > self._memory.largest_of_many:
                self._memory.expect_large()
            lease = self._memory.lease()
            text = found.text_of(places)
            await lease.grow(len(text) + size)
            items = Items(found.parse(text))
            lease.shrink(len(text))
            del text
            lease.end_reading()
            yield Page(items, in_order, lease)

    def _groups(self, found: Spool, ids: Sequence[str | None], order: Sequence[int]) -> Iterator[range]:
        """Yield the ranges that form a page, and those that are skipped as too large."""
        begin = size = 0
        for group in _together(ids, {at for at, place in enumerate(order) if place in found.too_large}):
            places = [order[at] for at in group]
            more = sum(found.sizes[place] for place in places)
            is_full = (
                size + more > self._memory.largest_of_many or group.stop - begin > self._endpoint.page_size
            )
            if begin < group.start and (is_full or self._is_beyond(found, places)):
                yield range(begin, group.start)
                begin, size = group.start, 0
            size += more
            if self._is_beyond(found, places):
                yield group
                begin, size = group.stop, 0
        if begin < len(ids):
            yield range(begin, len(ids))

    def _is_beyond(self, found: Spool, places: Sequence[int]) -> bool:
        """Return True if the memory cannot hold these at once."""
        return (
            not found.too_large.isdisjoint(places)
            or sum(found.sizes[place] for place in places) > self._memory.largest_page
        )


def _together(ids: Sequence[str | None], alone: set[int]) -> Iterator[range]:
    """Yield the ranges that no page may split: items of one id, and items without one with their neighbours.

    Args:
        alone: positions that are skipped.
    """
    last = {one: at for at, one in enumerate(ids)}
    begin = reach = 0
    for at, one in enumerate(ids):
        following = ids[at + 1] if at + 1 < len(ids) else ""
        if one is not None:
            reach = max(reach, last[one])
        parts = at >= reach and one is not None and following is not None
        if parts or at in alone or at + 1 in alone or at + 1 == len(ids):
            yield range(begin, at + 1)
            begin = at + 1


def _smaller(error: BaseException | None, size: int) -> int:
    """Return the limit to try after one was too large; 0 if the error has another cause."""
    is_limit = isinstance(error, StatusError) and error.verdict is Verdict.PAGE_LIMIT
    if isinstance(error, RequestFailed) and (is_limit or isinstance(error, TooLarge)):
        return min(smaller_limit(error, size), size - 1)
    return 0


async def get_one(
    client: Client, path: str, params: Params | None = None, fragile: str = "", family: str | None = None
) -> AsyncIterator[Page]:
    """Yield the one object at `path`.

    Args:
        fragile: see `letta_source.paging.pages.get_whole_or_without`.
        family: name to report when the host lacks this endpoint; None if it cannot lack it.

    Raises:
        FamilyMissing, ParentGone, Unreadable: see `letta_source.errors`.
    """
    lease = client.server.memory.lease()

    async def get(params: Params | None, retries: int | None = None) -> Any:
        return await client.get(path, params, retries, "object", family is not None, lease)

    try:
        if fragile and params:
            found = await get_whole_or_without(get, params, fragile, client.server)
        else:
            found = await get(params)
    except RequestFailed as error:
        if is_gone(error):
            raise ParentGone(str(error)) from error
        if family and is_missing(error):
            raise FamilyMissing(family) from error
        raise Unreadable(f"{path}: {error}") from error
    yield Page([found], lease=lease)
