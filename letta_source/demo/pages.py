"""The query of a list: its limit, its order and its cursors, whose meaning differs between endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .index import Index


class Problem(Exception):
    """An answer other than 200.

    Args:
        status: Its HTTP status.
        body: Its JSON body, or the text of its `detail`.
    """

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = {"detail": body} if isinstance(body, str) else body


def not_found(name: str, row_id: str) -> Problem:
    """Return the 404 of any object except an agent."""
    return Problem(404, f"{name} not found with id='['{row_id}']', access level in ['read']")


def unprocessable(place: str, name: str, message: str) -> Problem:
    """Return the 422 for a wrong value in the query or the body."""
    error = {"type": "value_error", "loc": (place, name), "msg": message}
    return Problem(422, {"trace_id": "", "detail": repr([error])})


@dataclass(frozen=True)
class Listing:
    """The way one endpoint pages.

    `cursors` is the meaning of after and before when self-hosted. absolute: newer and older than, in either
    order. relative: further on and further back in the requested order. swapped: relative, the wrong way
    round. On Cloud they are relative everywhere.
    """

    limit: int
    order: Literal["asc", "desc"]
    cursors: Literal["absolute", "relative", "swapped"]
    max_limit: int | None = None
    fixed_order: bool = False


@dataclass(frozen=True)
class Page:
    """The ids of a page, and the order in which it was cut."""

    ids: list[str]
    newest_first: bool


def read_page(
    index: Index,
    listing: Listing,
    params: Mapping[str, str],
    cloud: bool,
    rank: Callable[[str], Any | None],
    keep: Callable[[str], bool] | None = None,
) -> Page:
    """Cut a page out of an index.

    Args:
        index: The index of the list.
        listing: How the endpoint pages.
        params: The query's parameters.
        cloud: True for Cloud's cursors.
        rank: Returns the rank of a cursor, or None to ignore it.
        keep: Returns False for ids that the list leaves out.

    Raises:
        Problem: 422 for a bad limit or order, 500 for a negative limit, or what `rank` raises.
    """
    limit = _limit(params, listing)
    order = params.get("order", listing.order)
    if order not in ("asc", "desc"):
        raise unprocessable("query", "order", "Input should be 'asc' or 'desc'")
    newest_first = (listing.order if listing.fixed_order else order) == "desc"
    after, before = (rank(params[name]) if params.get(name) else None for name in ("after", "before"))
    turned = {"absolute": False, "relative": newest_first, "swapped": not newest_first}
    if turned["relative" if cloud else listing.cursors]:
        after, before = before, after
    ids = index.page(newer_than=after, older_than=before, newest_first=newest_first, limit=limit, keep=keep)
    return Page(ids, newest_first)


def _limit(params: Mapping[str, str], listing: Listing) -> int:
    try:
        limit = int(params.get("limit", listing.limit))
    except ValueError as error:
        raise unprocessable("query", "limit", "Input should be a valid integer") from error
    if listing.max_limit and not 1 <= limit <= listing.max_limit:
        raise unprocessable("query", "limit", f"Input should be between 1 and {listing.max_limit}")
    if limit < 0:
        # The server passes the limit to the database as it is.
        raise Problem(500, "A database error occurred.")
    return limit
