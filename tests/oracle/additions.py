"""Columns added since commit cc101f0, which may hold what was in `extra` then."""

from __future__ import annotations

import json
from typing import Any

from letta_source.schema.resources import RESOURCES
from tests.oracle import kept


def _added() -> dict[str, set[str]]:
    """Return by table the fields that have got a column since."""
    then = kept.schema()["tables"]
    added: dict[str, set[str]] = {}
    for resource in RESOURCES.values():
        for table in resource.tables:
            columns = then.get(table.name, {"columns": {}})["columns"]
            added[table.name] = {column.field for column in table.columns if column.name not in columns}
        # An unknown field of a call or a return put the whole list into the message's `extra`.
        for child, table in (resource.children or {}).items():
            added[resource.root.name] |= {child} if added[table.name] else set()
    return added


ADDED = _added()


def _covered() -> set[tuple[str, str]]:
    then = kept.schema()["tables"]
    return {
        (table.name, column.name)
        for resource in RESOURCES.values()
        for table in resource.tables
        for column in table.columns
        if column.content
        and column.name in (held := then.get(table.name, {"columns": {}})["columns"])
        # An `extra` with fewer fields has another hash.
        and (not held[column.name]["content"] or (column.name == "extra" and ADDED[table.name]))
    }


COVERED = _covered()
"""Tables and columns that are masked otherwise, where `content` is: it covers more by now."""


def comparable(table: str, column: str, value: Any) -> Any:
    """Return a json value in canonical form, and `extra` without fields that have a column now.

    That commit left NaN, which is not valid JSON, where one object came in place of a list.
    """
    if value is None or kept.schema()["tables"][table]["columns"][column]["type"] != "json":
        return value
    parsed = json.loads(value, parse_constant=str)
    if column == "extra" and isinstance(parsed, dict) and (added := ADDED.get(table)):
        parsed = {field: inner for field, inner in parsed.items() if field not in added} or None
    return None if parsed is None else json.dumps(parsed, sort_keys=True, ensure_ascii=False)
