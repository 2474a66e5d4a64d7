"""Implement `order_by`: lists in another order than that in which their rows were created."""

from __future__ import annotations

from collections.abc import Callable

from .index import Index, Table
from .pages import unprocessable
from .shapes import Json, moment

ORDERS: dict[str, tuple[str, ...]] = {
    "agents": ("created_at", "updated_at", "last_run_completion"),
    "conversations": ("created_at", "updated_at", "last_message_at"),
}


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
