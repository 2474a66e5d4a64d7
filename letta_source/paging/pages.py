"""Pages of one list, as large as the server can give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError
from letta_source.errors import Unreadable
from letta_source.items import Items

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


class Lost(Exception):
    """The cursor leads nowhere."""


class Pages:
    """Asks for pages, smaller ones after a failure.

    Attributes:
        size: limit of the next request.
        largest: what it may grow to.
        answered: a page of it came.
    """

    def __init__(self, client: Client, endpoint: Endpoint) -> None:
        self._client = client
        self.endpoint = endpoint
        self.size = self.largest = endpoint.page_size
        self.answered = False

    async def ask(self, cursors: Mapping[str, str | None], order: str = "asc") -> Sequence[Any]:
        """One page.

        Args:
            cursors: by name, "after" and "before"; None is no cursor.

        Raises:
            Lost: there is no such list, or no such cursor in it.
            RequestFailed: see `letta_source.api.client`.
            Unreadable: the answer is no list.
        """
        given = {name: cursor for name, cursor in cursors.items() if cursor}
        params = {**self.endpoint.params, "order": order, "limit": self.size, **given}
        retries = _SHRINK_AFTER if self.size > 1 else _GIVE_UP_AFTER
        try:
            page = as_list(await self._client.get(self.endpoint.path, params, retries))
            self.answered = True
            return page
        except RequestFailed as error:
            if is_gone(error):
                raise Lost(str(error)) from error
            raise

    async def tried(self, cursors: Mapping[str, str | None], order: str = "asc") -> Sequence[Any] | None:
        """The page, smaller if need be; None if that does not help."""
        while True:
            try:
                return await self.ask(cursors, order)
            except Lost:
                return None
            except RequestFailed as error:
                if not self.may_shrink(error):
                    return None

    def may_shrink(self, error: RequestFailed) -> bool:
        """Makes the next page smaller, unless it is one message already.

        Raises:
            Unreadable: it is no failure that a smaller page may help with.
        """
        if isinstance(error, StatusError) and error.status not in _SHRINK_STATUSES:
            raise Unreadable(f"{self.endpoint.path}: {error}") from error
        if self.size == 1:
            return False
        self.size = max(1, self.size // 4)
        if isinstance(error.__cause__, httpx.TimeoutException):
            # Every page that is too large costs a time-out.
            self.largest = self.size
        return True

    def grow(self) -> None:
        self.size = min(self.size * 2, self.largest)


def is_gone(error: RequestFailed) -> bool:
    return isinstance(error, StatusError) and error.status in (404, 405)


def as_list(body: Any) -> Sequence[Any]:
    """The array of a list's answer; null is an empty one.

    Raises:
        Unreadable: if it is neither.
    """
    if body is None:
        return []
    if not isinstance(body, list):
        raise Unreadable(f"a list was expected, the server sent {type(body).__name__}")
    return Items(body)
