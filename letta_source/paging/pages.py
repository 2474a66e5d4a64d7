"""Pages of one list, as large as the server can return them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from letta_source.api.client import Client
from letta_source.api.memory_budget import MemoryLease
from letta_source.api.responses import (
    PAGE_STATUSES,
    RequestFailed,
    StatusError,
    TooLarge,
    Verdict,
    WebPage,
    WrongShape,
    is_gone,
    is_missing,
    smaller_page_may_help,
    unquoted,
)
from letta_source.api.server import Server, kind_of
from letta_source.errors import FamilyMissing, Unreadable
from letta_source.items import Items
from letta_source.schema.card import Params

logger = logging.getLogger(__name__)

# Statuses that a smaller page may avoid. A 503 asks to wait, so it has all its retries first.
_SHRINK_STATUSES = PAGE_STATUSES | {503}
# Retries of a page that a smaller one may replace, and of a single message.
_SHRINK_AFTER, _GIVE_UP_AFTER = 2, 4

Get = Callable[[Params, int], Awaitable[Any]]
"""Takes the parameters and the number of retries, returns a response."""


@dataclass(frozen=True)
class Endpoint:
    """A list to walk.

    Attributes:
        path: path of the list.
        params: sent with every request.
        page_size: limit of the first request.
        family: name to report when the host lacks this list; None if it cannot lack it.
        dated: items come in the order of their `created_at`; those of `/v1/steps/` have none.
        fragile: an included relation that may fail, see `get_whole_or_without`.
        nil_cursor: an id that no item has: `after` of the first request, unless the server refuses it.
        has_parent: the list belongs to a parent, as do all lists without a family.
    """

    path: str
    params: Params = field(default_factory=dict)
    page_size: int = 1000
    family: str | None = None
    dated: bool = True
    fragile: str = ""
    nil_cursor: str | None = None
    has_parent: bool = False

    @property
    def is_top(self) -> bool:
        """True if the list belongs to no parent."""
        return self.family is not None and not self.has_parent


class CursorLost(Exception):
    """The cursor leads nowhere."""


class Pages:
    """Reader of pages, which asks for smaller ones after a failure.

    Attributes:
        size: limit of the next request.
        largest: the size up to which it may grow.
        answered: a request for this list has succeeded.
        patience: the most retries of a request; None leaves them to its size.
    """

    def __init__(self, client: Client, endpoint: Endpoint) -> None:
        self.client = client
        self.endpoint = endpoint
        self._kind = kind_of(endpoint.path)
        self.answered = False
        self.patience: int | None = None
        # A page failed, and none as large has succeeded since: others are expected to fail.
        self._is_searching = self._was_searching = False
        self._nil_cursor = endpoint.nil_cursor
        self._lease = client.server.memory.lease()
        limit = client.server.page_limits.get(self._kind, endpoint.page_size)
        self.size = self.largest = min(limit, endpoint.page_size)

    async def ask(self, cursors: Mapping[str, str | None], order: str = "asc") -> Sequence[Any]:
        """Return one page.

        Args:
            cursors: by name, "after" and "before"; None is no cursor.

        Raises:
            CursorLost: the parent does not exist, or the cursor is not in its list.
            FamilyMissing: the server has no such list.
            RequestFailed: see `letta_source.api.client`.
            Unreadable: the response is not a list.
        """
        given = {name: cursor for name, cursor in cursors.items() if cursor}
        nil_cursor = self._nil_cursor if not given else None
        if nil_cursor:
            given = {"after": nil_cursor}
        params = {**self.endpoint.params, "order": order, "limit": self.size, **given}
        family = self.endpoint.family
        self._lease.release()
        self._lease = self.client.server.memory.lease(can_be_less=self.size > 1)
        try:
            found = await self._get(params)
        except RequestFailed as error:
            if is_gone(error):
                if nil_cursor:
                    self._nil_cursor = None
                    return await self.ask(cursors, order)
                raise CursorLost(str(error)) from error
            if family and is_missing(error):
                raise FamilyMissing(family) from error
            raise
        self.answered = True
        return as_list(found)

    async def _get(self, params: Params) -> Any:
        endpoint, client = self.endpoint, self.client

        async def get(params: Params, retries: int) -> Any:
            may_lack = endpoint.family is not None
            retries = retries if self.patience is None else min(retries, self.patience)
            # Several requests around an unreadable item fail, each with retries.
            search = self._is_searching
            return await client.get(
                endpoint.path, params, retries, "list", may_lack, self._lease, is_search=search
            )

        if self.size > 1:
            # Leaving the relation out for one item would lose it for all others on the page.
            retries = 0 if self._is_searching else _SHRINK_AFTER
            return await get(params, _fewer_retries(retries, endpoint.fragile, client.server))
        if endpoint.fragile:
            return await get_whole_or_without(get, params, endpoint.fragile, client.server)
        return await get(params, _GIVE_UP_AFTER)

    def take_lease(self) -> MemoryLease:
        """Hand over the lease of the last page."""
        lease, self._lease = self._lease, self.client.server.memory.lease()
        return lease

    async def tried(self, cursors: Mapping[str, str | None], order: str = "asc") -> Sequence[Any] | None:
        """Return the page, a smaller one if need be; None if that does not help."""
        while True:
            try:
                return await self.ask(cursors, order)
            except CursorLost:
                return None
            except RequestFailed as error:
                if not self.may_shrink(error):
                    return None

    def may_shrink(self, error: RequestFailed) -> bool:
        """Make the next page smaller; return False if it is a single message already.

        Raises:
            Unreadable: a smaller page cannot help with this failure.
        """
        is_limit = isinstance(error, StatusError) and error.verdict is Verdict.PAGE_LIMIT
        if not is_limit and not _may_shrink(error):
            raise Unreadable(f"{self.endpoint.path}: {error}") from error
        if self.size == 1:
            return False
        if not (is_limit or self._was_searching):
            self._was_searching = True
            logger.info(
                "%s: %s; asking for smaller pages to find the cause",
                self.endpoint.path,
                unquoted(error),
            )
        self._is_searching = True
        self.size = max(1, min(smaller_limit(error, self.size), self.size - 1))
        if is_limit or isinstance(error, TooLarge) or isinstance(error.__cause__, httpx.TimeoutException):
            # Each page that is too large costs a timeout, or part of a body.
            self.largest = self.size
        if is_limit:
            self.client.server.page_limits[self._kind] = self.size
        return True

    def grow(self) -> None:
        """Double the page size again, after a smaller page succeeded."""
        self._is_searching = self._is_searching and self.size < self.largest
        self.size = min(self.size * 2, self.largest)


def _may_shrink(error: RequestFailed) -> bool:
    """Return True if a smaller page may succeed; after a 400, only if the response is Letta's own."""
    if isinstance(error, StatusError):
        return error.status in _SHRINK_STATUSES and (error.status != 400 or error.verdict is Verdict.ERROR)
    return not isinstance(error, (WebPage, WrongShape))


def smaller_limit(error: RequestFailed, size: int) -> int:
    """Return the limit to try next: the one that the error states or implies, else a quarter; 0 for none."""
    if isinstance(error, StatusError) and error.page_limit and error.page_limit < size:
        return error.page_limit
    if isinstance(error, TooLarge) and error.length:
        return size * error.most // error.length
    return size // 4


async def get_whole_or_without(get: Get, params: Params, fragile: str, server: Server) -> Any:
    """Return one item, without the relation if the server fails with it; this is logged once per relation.

    `agent.pending_approval` holds an agent's newest message. If the server cannot render it, the agent
    returns 500, as does each page with that agent.

    Args:
        fragile: the relation, one of those in the parameter `include`.
    """
    try:
        return await get(params, _fewer_retries(_GIVE_UP_AFTER, fragile, server))
    except StatusError as error:
        if error.verdict is Verdict.PAGE_LIMIT or not smaller_page_may_help(error):
            raise
        found = await get(_without(params, fragile), _GIVE_UP_AFTER)
        if fragile not in server.given_without:
            server.given_without.add(fragile)
            logger.warning(
                "the server cannot return %s for every item (%s): affected items are read without it",
                fragile,
                unquoted(error),
            )
        return found


def _fewer_retries(retries: int, fragile: str, server: Server) -> int:
    """Return how often to retry: not at all if the relation has failed before, as it is the likely cause."""
    return 0 if fragile in server.given_without else retries


def _without(params: Params, relation: str) -> Params:
    included = params.get("include", ())
    assert isinstance(included, tuple)
    return {**params, "include": tuple(one for one in included if one != relation)}


def as_list(body: Any) -> Sequence[Any]:
    """Return the array of a list's response.

    Raises:
        Unreadable: the response is not an array. Not even null, which some gateways send for an error: as an
            empty array, it would end the list.
    """
    if not isinstance(body, list):
        kind = type(body).__name__
        # No traceback frame may show the body.
        del body
        raise Unreadable(f"a list was expected, the server sent {kind}")
    return Items(body)
