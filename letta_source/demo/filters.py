"""Filters of lists: they keep the rows that a query asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

from .pages import Problem
from .shapes import Json, moment
from .store import Store

Filter: TypeAlias = Callable[[Store, Mapping[str, str]], Callable[[Json], bool]]
"""Takes the store and the query; returns a test of whether a row belongs to the list."""

_TRUE = ("true", "True", "1")


def of_agent(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
    """Keep all rows, or those of one agent."""
    agent_id = params.get("agent_id")
    return lambda row: not agent_id or row["agent_id"] == agent_id


def runs(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
    """Keep the runs of one agent or of all; with `active=true` only unfinished ones."""
    of_this_agent, active = of_agent(store, params), params.get("active") in _TRUE
    return lambda row: of_this_agent(row) and (not active or row["status"] in ("created", "running"))


def conversations(cloud: bool) -> Filter:
    """Keep the conversations of one agent or of all; on Cloud, archived ones only if asked for."""

    def wanted(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
        of_this_agent, asked = of_agent(store, params), params.get("archive_status", "unarchived")
        if not cloud or asked == "all":
            return of_this_agent
        return lambda row: of_this_agent(row) and bool(row.get("archived")) == (asked == "archived")

    return wanted


def not_hidden(unless: str) -> Filter:
    """Leave out hidden rows, unless the parameter of this name asks for them."""

    def wanted(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
        hidden_too = params.get(unless) in _TRUE
        return lambda row: hidden_too or not row["hidden"]

    return wanted


def blocks(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
    """Keep blocks in use, or templates: no list has both."""
    templates = params.get("templates_only") in _TRUE
    shown = not_hidden("show_hidden_blocks")(store, params)
    return lambda row: shown(row) and row["is_template"] == templates


def archives(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
    """Keep the archives of one agent or of all.

    Raises:
        Problem: 404, there is no such agent.
    """
    agent_id = params.get("agent_id")
    if agent_id and agent_id not in store.tables["agents"].rows:
        raise Problem(404, "Agent not found")
    return lambda row: not agent_id or store.list_of("agent archives", agent_id).rank(row["id"]) is not None


def all_rows(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
    """Keep every row."""
    return lambda row: True


def not_ended(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
    """Keep unfinished batches: their list drops finished ones."""
    return lambda row: row["status"] in ("created", "running")


def steps(store: Store, params: Mapping[str, str]) -> Callable[[Json], bool]:
    """Keep steps: all, of one agent, with feedback, or of a span of time by a date that no answer shows."""
    of_this_agent = of_agent(store, params)
    rated = params.get("has_feedback") in _TRUE
    start, end = _date(params, "start_date"), _date(params, "end_date")

    def wanted(row: Json) -> bool:
        # Both ends are exclusive: a step at the very microsecond of either is left out.
        created = store.step_dates[row["id"]]
        in_span = (not start or created > start) and (not end or created < end)
        return of_this_agent(row) and in_span and (not rated or row["feedback"] is not None)

    return wanted


def _date(params: Mapping[str, str], name: str) -> datetime | None:
    """Return the date in the query, or None.

    Raises:
        Problem: 400, it is not an ISO date.
    """
    if not params.get(name):
        return None
    try:
        return moment(params[name])
    except ValueError as error:
        raise Problem(400, str(error)) from error
