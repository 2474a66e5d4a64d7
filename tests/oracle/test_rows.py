"""Pages give the same rows as commit cc101f0 made of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle import kept
from tests.oracle.additions import comparable
from tests.oracle.dumps import Page, Rows, rows_dump
from tests.oracle.flattening import tables_of

SCHEMA = kept.schema()["tables"]
PAGES = {page.name: (page, rows) for page, rows in kept.pages()}


def _by_key(table: str, rows: Rows) -> dict[str, Any]:
    """Return the rows by key, in the columns of that commit; the form of json is not guaranteed."""
    columns, key = SCHEMA[table]["columns"], SCHEMA[table]["primary_key"]
    # Lists of agents, runs, … may contain an item twice.
    found: dict[str, Rows] = {}
    for row in rows:
        then = {name: comparable(table, name, row.get(name)) for name in columns}
        found.setdefault(" ".join(str(row[name]) for name in key), []).append(then)
    return found


@pytest.mark.parametrize(("page", "expected"), PAGES.values(), ids=PAGES)
def test_pages_become_the_same_rows(page: Page, expected: dict[str, Rows]) -> None:
    tables = tables_of(page)
    found = rows_dump(tables)
    assert found.keys() & SCHEMA.keys() == expected.keys()
    for table, rows in expected.items():
        was, now = _by_key(table, rows), _by_key(table, found[table])
        assert list(kept.differences(was, now)) == []
        assert list(kept.differences(now, was)) == []
        columns = SCHEMA[table]["columns"]
        assert {name: str(tables[table].schema.field(name).type) for name in columns} == {
            name: column["arrow"] for name, column in columns.items()
        }
