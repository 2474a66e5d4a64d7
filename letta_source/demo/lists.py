"""Handlers of lists and of single rows, for most kinds of rows, with the real server's quirks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .calls import Call, check_id, row_of
from .filters import Filter, all_rows
from .filters import archives as of_archives
from .filters import blocks as of_blocks
from .index import Index, Table
from .pages import Listing, Problem, not_found, read_page, unprocessable
from .shapes import Json, memory_template, moment
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


# Blocks and tools: a cursor that no longer exists makes the list begin anew.
blocks = lister("blocks", Listing(50, "asc", "relative"), of_blocks)
_tools = lister("tools", Listing(50, "desc", "relative"), all_rows)
identities = lister(
    "identities", Listing(50, "desc", "relative"), all_rows, (404, "No Identity found with id {}")
)
archives = lister(
    "archives", Listing(50, "desc", "relative"), of_archives, (404, "No Archive found with id {}")
)


def tools(call: Call) -> list[Json]:
    """Return the list of tools; without a cursor, Letta's own are stored again unless the page has all."""
    page = _tools(call)
    own = {row["id"] for row in call.letta.tables["tools"].rows.values() if row["source_code"] is None}
    if not call.params.get("after") and not own <= {row["id"] for row in page}:
        call.letta.tools_stored += 1
    return page


def agent_blocks(call: Call) -> list[Json]:
    """Return an agent's blocks, in the order of their ids, which are random."""
    agent = row_of(call, "agents", "Agent")
    index = call.letta.list_of("agent blocks", agent["id"])
    # A cursor is an id to compare with, whether or not such a block exists.
    page = read_page(index, Listing(100, "desc", "relative"), call.params, call.cloud, lambda row_id: row_id)
    return [call.letta.tables["blocks"].rows[row_id] for row_id in page.ids]


def passages(call: Call) -> list[Json]:
    """Return an agent's passages, oldest first whatever `order` says; none for an unknown agent or cursor."""
    check_id(call.parent_id, "Agent")
    index = call.letta.list_of("agent passages", call.parent_id)
    params = {name: value for name, value in call.params.items() if name != "order"}
    if any(params.get(name) and index.rank(params[name]) is None for name in ("after", "before")):
        return []
    page = read_page(index, Listing(100, "asc", "absolute"), params, False, index.rank)
    return [call.letta.tables["passages"].rows[row_id] for row_id in page.ids]


def step_metrics(call: Call) -> Json:
    """Return the time that a step took; only successful steps have one.

    Raises:
        Problem: 404, the step has none.
    """
    check_id(call.parent_id, "StepMetrics")
    step = call.letta.tables["steps"].rows.get(call.parent_id)
    if step is None or step["status"] != "success":
        raise not_found("StepMetrics", call.parent_id)
    # A step always has the same times.
    model = 1_000_000 + int(step["id"][-4:], 16)
    times = {"llm_request_ns": model, "tool_execution_ns": model // 10, "step_ns": model + model // 4}
    owner = {name: step[name] for name in ("id", "run_id", "agent_id")}
    return {**memory_template("/metrics"), **owner, **times}
