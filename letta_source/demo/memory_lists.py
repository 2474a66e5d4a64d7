"""Answers about memory, tools, identities and step times, with the real server's quirks."""

from __future__ import annotations

from . import filters
from .calls import Call, check_id, row_of
from .lists import lister
from .pages import Listing, not_found, read_page
from .shapes import Json, memory_template

# Blocks and tools: a cursor that no longer exists makes the list begin anew.
blocks = lister("blocks", Listing(50, "asc", "relative"), filters.blocks)
_tools = lister("tools", Listing(50, "desc", "relative"), filters.all_rows)
identities = lister(
    "identities", Listing(50, "desc", "relative"), filters.all_rows, (404, "No Identity found with id {}")
)
archives = lister(
    "archives", Listing(50, "desc", "relative"), filters.archives, (404, "No Archive found with id {}")
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
