"""The first rows of an Iceberg table are appended at once; each arrives once, whatever happens between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from letta_source.destinations.dlt_internals import iceberg_library
from letta_source.destinations.open_tables import append_to_empty_tables
from letta_source.errors import ConfigError
from letta_source.rows.arrow import to_arrays
from letta_source.schema.resources import RESOURCES

pytestmark = pytest.mark.destinations

TABLE = RESOURCES["agents"].root
# What dlt knows of the table.
SCHEMA: dict[str, Any] = {
    "name": "agents",
    "x-merge-strategy": "upsert",
    "columns": {"id": {"name": "id", "data_type": "text", "nullable": False, "primary_key": True}},
}


def rows(*ids: str, name: str = "first") -> pa.Table:
    arrays = to_arrays(TABLE, {"id": ids, "name": [name] * len(ids)})
    return pa.table(arrays, schema=pa.schema([TABLE.arrow_schema.field(one) for one in arrays]))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Any]:
    catalog = SqlCatalog("test", uri="sqlite://", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("letta")
    yield catalog.create_table("letta.agents", rows().schema)
    catalog.close()


def merged(table: Any, data: pa.Table) -> list[tuple[Any, ...]]:
    append_to_empty_tables()
    iceberg_library().merge_iceberg_table(table=table, data=data, schema=SCHEMA, load_table_name="agents")
    found = table.scan().to_arrow().select(["id", "name"]).to_pylist()
    return sorted((row["id"], row["name"]) for row in found)


def snapshots(table: Any) -> int:
    return len(table.metadata.snapshots)


def test_many_first_rows_are_one_snapshot(table: Any) -> None:
    ids = [f"agent-{number:04}" for number in range(2500)]
    assert [one for one, _ in merged(table, rows(*ids))] == ids
    assert snapshots(table) == 1


def test_rows_that_come_again_replace_themselves(table: Any) -> None:
    """As after a kill between dlt's file and its note that the file was loaded."""
    for name in ("first", "second"):
        assert merged(table, rows("agent-1", "agent-2", name=name)) == [("agent-1", name), ("agent-2", name)]


def test_a_table_that_lost_its_rows_or_got_columns_is_empty_too(table: Any) -> None:
    table.append(rows())
    assert merged(table, rows("agent-1")) == [("agent-1", "first")]
    assert snapshots(table) == 2


def test_a_row_that_comes_twice_is_not_appended(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    append_to_empty_tables()
    seen: list[int] = []
    monkeypatch.setattr(
        "letta_source.destinations.open_tables._merge_by_dlt", [lambda data, **_: seen.append(data.num_rows)]
    )
    assert merged(table, rows("agent-1", "agent-1")) == []
    assert seen == [2]


def test_a_dlt_that_has_no_such_function_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(iceberg_library(), "merge_iceberg_table")
    with pytest.raises(ConfigError, match=r"^dlt .* has no merge_iceberg_table as letta_source knows it"):
        append_to_empty_tables()


def test_a_column_that_the_table_lacks_is_added(table: Any) -> None:
    more = rows("agent-1").append_column("description", pa.array(["new"]))
    assert merged(table, more) == [("agent-1", "first")]
    assert table.scan().to_arrow().column("description").to_pylist() == ["new"]
