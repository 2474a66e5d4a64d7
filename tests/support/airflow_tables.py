"""Compare the tables in PostgreSQL with those of one load that was merged in memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import orjson
import psycopg2

from letta_source.schema.columns import LOAD_ID, SEQUENCE
from letta_source.schema.tables import LOAD_ISSUES
from tests.support.library_loads import TABLES, Merged, Row, in_order, issues


def assert_same_tables(warehouse: str, expected: Merged) -> None:
    """Assert that every table of the dataset `letta` has these rows, and that each table with rows exists.

    Args:
        warehouse: URL of the database.
    """
    found = _tables(warehouse)
    wanted = {table: _plain(table, rows) for table, rows in expected.everything().items()}
    assert {table for table, rows in wanted.items() if rows} <= found.keys()
    # Issues hold the load's start time and are sorted by it, so they are compared separately.
    found_issues, wanted_issues = (tables.pop(LOAD_ISSUES.name, []) for tables in (found, wanted))
    assert sorted(issues(found_issues)) == sorted(issues(wanted_issues))
    for table, rows in found.items():
        assert rows == wanted[table], table


def _tables(warehouse: str) -> dict[str, list[Row]]:
    with closing(psycopg2.connect(warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'letta'")
        names = {name for (name,) in cursor.fetchall()} & TABLES.keys()
        return {name: _rows(cursor, name) for name in names}


def _rows(cursor: Any, table: str) -> list[Row]:
    columns = [column for column in TABLES[table].columns if column not in (LOAD_ID, SEQUENCE)]
    chosen = [f'"{column.name}"{"::text" if column.type == "json" else ""}' for column in columns]
    cursor.execute(f"SELECT {', '.join(chosen)} FROM letta.{table}")
    return _plain(table, cursor.fetchall())


def _plain(table: str, rows: Iterable[Row]) -> list[Row]:
    """Return the rows sorted, with json parsed and times in UTC."""
    kinds = [column.type for column in TABLES[table].columns if column not in (LOAD_ID, SEQUENCE)]

    def plain(kind: str, value: Any) -> Any:
        if kind == "json" and value is not None:
            return orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS)
        return value.astimezone(timezone.utc) if isinstance(value, datetime) else value

    return in_order(tuple(map(plain, kinds, row)) for row in rows)
