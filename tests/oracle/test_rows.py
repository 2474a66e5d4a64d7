"""Pages become the rows that commit cc101f0 made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.oracle import kept
from tests.oracle.dumps import Page, Rows, rows_dump
from tests.oracle.flattening import tables_of

SCHEMA = kept.schema()["tables"]
PAGES = {page.name: (page, rows) for page, rows in kept.pages()}


def _comparable(table: str, rows: Rows) -> dict[str, Any]:
    """The rows of each key, the columns of then; json as values, for how it is written is no promise."""
    columns = SCHEMA[table]["columns"]
    # Lists of agents, runs, … may name one twice.
    found: dict[str, Rows] = {}
    for row in rows:
        key = " ".join(str(row[name]) for name in SCHEMA[table]["primary_key"])
        known = {
            name: _json(row[name]) if columns[name]["type"] == "json" else row[name]
            for name in columns
            if name in row
        }
        found.setdefault(key, []).append(known)
    return found


def _json(text: str) -> str:
    """One way to write it, so that 1, 1.0 and true differ."""
    return json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False)


@pytest.mark.parametrize(("page", "expected"), PAGES.values(), ids=PAGES)
def test_a_page_becomes_the_same_rows(page: Page, expected: dict[str, Rows]) -> None:
    tables = tables_of(page)
    found = rows_dump(tables)
    assert found.keys() == expected.keys()
    for table, rows in expected.items():
        was, now = _comparable(table, rows), _comparable(table, found[table])
        assert list(kept.differences(was, now)) == []
        assert list(kept.differences(now, was)) == []
        columns = SCHEMA[table]["columns"]
        assert {name: str(tables[table].schema.field(name).type) for name in columns} == {
            name: column["arrow"] for name, column in columns.items()
        }
