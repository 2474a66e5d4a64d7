"""Handlers of lists and of single rows, for most kinds of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .calls import Call, row_of
from .filters import Filter
from .index import Index
from .orders import ordered
from .pages import Listing, Problem, read_page
from .shapes import Json
from .store import Kind


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
