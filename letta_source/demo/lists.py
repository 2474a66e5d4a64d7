"""Handlers of lists and of single rows, for most kinds of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .calls import Call, row_of
from .filters import Filter
from .index import Index, Table
from .pages import Listing, Problem, read_page, unprocessable
from .shapes import Json, moment
from .store import Kind

ORDERS: dict[str, tuple[str, ...]] = {
    "agents": ("created_at", "updated_at", "last_run_completion"),
    "conversations": ("created_at", "updated_at", "last_message_at"),
}
"""The dates that a list can be ordered by."""


def rank_in(index: Index, unknown: tuple[int, str] | None) -> Callable[[str], Any | None]:
    """Return a function that ranks cursors; `unknown`: status and text for an unknown one, or None."""

    def rank(row_id: str) -> Any | None:
        found = index.rank(row_id)
        if found is None and unknown:
            status, text = unknown
            raise Problem(status, text.format(row_id))
        return found

    return rank


def lister(
    kind: Kind, listing: Listing, wanted: Filter, unknown: tuple[int, str] | None = None
) -> Callable[[Call], list[Json]]:
    """Return a handler that answers with a list of rows; for `unknown` see `rank_in`."""

    def handler(call: Call) -> list[Json]:
        table, is_wanted = call.letta.tables[kind], wanted(call.letta, call.params)

        def keep(row_id: str) -> bool:
            return is_wanted(table.rows[row_id])

        index = ordered(table, kind, call.params.get("order_by"))
        page = read_page(index, listing, call.params, call.cloud, rank_in(index, unknown), keep)
        return [table.rows[row_id] for row_id in page.ids]

    return handler


def getter(kind: Kind, name: str) -> Callable[[Call], Json]:
    """Return a handler that answers with the row that the path names."""

    def handler(call: Call) -> Json:
        return row_of(call, kind, name)

    return handler


def ordered(table: Table[Json], kind: str, order_by: str | None) -> Index:
    """Return the table ordered by the date that the query names; rows without it are the oldest.

    Raises:
        Problem: 422, the list has no such order.
    """
    if kind not in ORDERS or not order_by or order_by == "created_at":
        return table
    if order_by not in ORDERS[kind]:
        raise unprocessable("query", "order_by", f"Input should be one of {ORDERS[kind]}")
    index = Index()
    place = _by(table, order_by)
    index.fill(sorted((place(row_id), row_id) for row_id in table.ids()))
    return index


def _by(table: Table[Json], field: str) -> Callable[[str], tuple[float, str]]:
    def place(row_id: str) -> tuple[float, str]:
        sent = table.rows[row_id].get(field)
        return (moment(sent).timestamp() if sent else float("-inf"), row_id)

    return place
