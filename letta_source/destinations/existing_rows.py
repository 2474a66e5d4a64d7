"""Ask the destination which rows it holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable

from letta_source.schema.card import Resource
from letta_source.state.resource_state import ResourceState

logger = logging.getLogger(__name__)

LoadedIds = Callable[[str], set[str]]
"""Maps a parent's id to the ids loaded for it; "" stands for a table without parents."""


def loaded_ids(resource: Resource, state: ResourceState) -> LoadedIds:
    """Return a function that finds loaded ids, by one query per parent, or for all if many will be needed."""
    parent = resource.parent.name if resource.parent else None
    all_at_once = parent is None or state.rereads or not resource.is_walked
    found: dict[str, set[str]] = {}
    asked: set[str] = set()

    def loaded(parent_id: str) -> set[str]:
        only = None if all_at_once else parent_id
        if not asked or (only and only not in asked):
            asked.add(parent_id)
            for of, one in _ids(resource.root.name, parent, only):
                found.setdefault(of, set()).add(one)
        # The table of steps has no parent column, though steps are read run by run.
        return found.get(parent_id if parent else "", set())

    return loaded


def _ids(table: str, parent: str | None, only: str | None) -> list[tuple[str, str]]:
    """Return pairs of a parent's id, empty if there is none, and an item's id."""
    columns = f"{parent}, id" if parent else "'', id"
    where, values = (f" WHERE {parent} = %s", (only,)) if only else ("", ())
    try:
        with suppress(DestinationUndefinedEntity), dlt.current.pipeline().sql_client() as client:
            name = client.make_qualified_table_name(table)
            rows = client.execute_sql(f"SELECT DISTINCT {columns} FROM {name}{where}", *values)
            return [(row[0], row[1]) for row in rows or ()]
    except SqlClientNotAvailable:
        logger.warning("%s: the destination cannot report which rows it holds: rows may be duplicated", table)
    return []
