"""Answers that are had whole, with one request: an object, or a list without cursors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from letta_source.api.client import Client
from letta_source.api.memory import Lease
from letta_source.api.responses import RequestFailed, StatusError, TooLarge, Verdict, is_gone
from letta_source.errors import ParentGone, Unreadable
from letta_source.items import id_of, ids_of
from letta_source.paging.events import Page
from letta_source.paging.pages import Endpoint, as_list
from letta_source.paging.relations import get_whole_or_without
from letta_source.schema.card import Params

# More than any batch holds; a limit of this size was answered.
_MOST = 100_000
# Retries of an item that can be asked for with less.
_GIVE_UP_AFTER = 4


async def walk_whole(client: Client, endpoint: Endpoint, key: str) -> AsyncIterator[Page]:
    """Every item of a list without cursors, which is asked for with one limit larger than it is.

    Batch messages answer 500 to `after` and ignore `before`. That fewer came than were asked for proves no
    end, as a server or gateway may cap the limit: the newest item has to be among them.

    Raises:
        ParentGone: there is no such list.
        Unreadable: it cannot be read; or after what could be read, if there is more.
    """
    whole = _Whole(client, endpoint, key)
    items, lease = await whole.read()
    if not items:
        return
    known = set(ids_of(items))
    # A page is emptied once it was taken.
    count = len(items)
    is_all = known.issuperset(ids_of((await whole.ask(1, "desc"))[0]))
    yield Page(items, lease=lease)
    if is_all:
        return
    others, lease = await whole.ask(whole.size, "desc")
    fresh = [item for item in others if id_of(item) not in known]
    if fresh:
        yield Page(fresh[::-1], in_order=False, lease=lease)
    if len(fresh) == len(others):
        raise Unreadable(
            f"{endpoint.path}: the server gives no more than {count:,} messages at once, and there are more:"
            " those between the oldest and the newest are not read"
        )


class _Whole:
    """Asks for a list without cursors.

    Attributes:
        size: limit of the last request.
    """

    def __init__(self, client: Client, endpoint: Endpoint, key: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._key = key
        self.size = endpoint.page_size

    async def read(self) -> tuple[Sequence[Any], Lease]:
        """Return what comes with the largest limit that is needed, or taken."""
        bound = _MOST
        while True:
            try:
                items, lease = await self.ask(self.size, "asc")
            except Unreadable as error:
                smaller = _smaller(error.__cause__, self.size)
                if not smaller:
                    raise
                self.size = bound = smaller
                continue
            if len(items) < self.size or self.size >= bound:
                return items, lease
            lease.release()
            self.size = min(2 * self.size, bound)

    async def ask(self, limit: int, order: str) -> tuple[Sequence[Any], Lease]:
        """Return the first items in an order, and the memory that they take."""
        path, lease = self._endpoint.path, self._client.server.memory.lease()
        params = {**self._endpoint.params, "order": order, "limit": limit}
        try:
            body = await self._client.get(path, params, lease=lease)
        except RequestFailed as error:
            if is_gone(error):
                raise ParentGone(str(error)) from error
            raise Unreadable(f"{path}: {error}") from error
        return as_list(body.get(self._key, body) if isinstance(body, dict) else body), lease


def _smaller(error: BaseException | None, size: int) -> int:
    """Return the limit to try after one was too large; 0 if that is not what the error says."""
    if isinstance(error, StatusError) and error.verdict is Verdict.PAGE_LIMIT:
        return min(error.page_limit or size // 4, size - 1)
    if isinstance(error, TooLarge):
        return min(size * error.most // error.length if error.length else size // 4, size - 1)
    return 0


async def get_one(
    client: Client, path: str, params: Params | None = None, fragile: str = ""
) -> AsyncIterator[Page]:
    """The one object at `path`.

    Args:
        fragile: see `letta_source.paging.relations`.
    """
    lease = client.server.memory.lease()

    async def get(params: Params | None, retries: int | None = None) -> Any:
        return await client.get(path, params, retries, "object", lease=lease)

    try:
        if fragile and params:
            found = await get_whole_or_without(get, params, _GIVE_UP_AFTER, fragile, client.server)
        else:
            found = await get(params)
    except RequestFailed as error:
        if is_gone(error):
            raise ParentGone(str(error)) from error
        raise Unreadable(f"{path}: {error}") from error
    yield Page([found], lease=lease)
