"""Rows come into an Iceberg table in one commit; each arrives once, whatever happens between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Transaction

from letta_source.destinations import iceberg
from letta_source.destinations.dlt_internals import iceberg_library
from letta_source.destinations.iceberg import merge_in_one_commit
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


@pytest.fixture
def by_dlt(monkeypatch: pytest.MonkeyPatch) -> list[list[str | None]]:
    """The ids of the rows that each merge by dlt gets; it does nothing."""
    merge_in_one_commit()
    found: list[list[str | None]] = []
    monkeypatch.setattr(iceberg, "_merge_by_dlt", [lambda data, **_: found.append(data["id"].to_pylist())])
    return found


def merged(table: Any, data: pa.Table) -> list[tuple[Any, ...]]:
    merge_in_one_commit()
    iceberg_library().merge_iceberg_table(table=table, data=data, schema=SCHEMA, load_table_name="agents")
    found = table.scan().to_arrow().select(["id", "name"]).to_pylist()
    return sorted((row["id"], row["name"]) for row in found)


def snapshots(table: Any) -> int:
    return len(table.metadata.snapshots)


def test_a_large_first_load_is_one_snapshot(table: Any) -> None:
    ids = [f"agent-{number:04}" for number in range(2500)]
    assert [one for one, _ in merged(table, rows(*ids))] == ids
    assert snapshots(table) == 1


def test_rows_that_come_again_replace_the_old_ones(table: Any, by_dlt: list[list[str | None]]) -> None:
    """This happens after a kill between the commit of a file and dlt's record of it."""
    for name in ("first", "second"):
        assert merged(table, rows("agent-1", "agent-2", name=name)) == [("agent-1", name), ("agent-2", name)]
    ids = ("agent-3", "agent-2", "agent-4")
    expected = [("agent-1", "second"), *[(f"agent-{number}", "third") for number in (2, 3, 4)]]
    assert merged(table, rows(*ids, name="third")) == expected
    assert by_dlt == []


@pytest.mark.parametrize("step", ["delete", "append"])
def test_a_kill_during_a_commit_changes_nothing(
    table: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    merged(table, rows("agent-1"))
    later = rows("agent-1", "agent-2", name="second")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, step, killed)
        with pytest.raises(KeyboardInterrupt):
            merged(table, later)
    table.refresh()
    assert table.scan().to_arrow()["name"].to_pylist() == ["first"]
    assert merged(table, later) == [("agent-1", "second"), ("agent-2", "second")]


def test_a_row_is_replaced_only_by_one_with_the_same_complete_key(table: Any) -> None:
    blocks = RESOURCES["agent_blocks"].root
    shape = pa.schema([blocks.arrow_schema.field(one) for one in ("agent_id", "id", "label")])
    shared = table.catalog.create_table("letta.agent_blocks", shape)

    def merge(*keys: tuple[str, str], label: str) -> list[tuple[str, ...]]:
        data = pa.Table.from_arrays(
            [*map(pa.array, zip(*keys, strict=True)), [label] * len(keys)], schema=shape
        )
        iceberg_library().merge_iceberg_table(
            table=shared, data=data, schema={}, load_table_name="agent_blocks"
        )
        return sorted(tuple(row.values()) for row in shared.scan().to_arrow().to_pylist())

    merge(("agent-1", "block-1"), ("agent-2", "block-1"), ("agent-1", "block-2"), label="old")
    assert merge(("agent-1", "block-1"), ("agent-2", "block-2"), label="new") == [
        ("agent-1", "block-1", "new"),
        ("agent-1", "block-2", "old"),
        ("agent-2", "block-1", "old"),
        ("agent-2", "block-2", "new"),
    ]


def test_a_key_with_a_null_is_left_to_dlt(table: Any, by_dlt: list[list[str | None]]) -> None:
    """A NULL equals nothing: such a row would be added each time."""
    data = rows("agent-1", "agent-2")
    data = data.set_column(0, pa.field("id", pa.string()), pa.array(["agent-1", None]))
    assert merged(table, data) == []
    assert by_dlt == [["agent-1", None]]


def test_a_table_without_rows_counts_as_empty_whatever_its_snapshots(table: Any) -> None:
    table.append(rows())
    assert merged(table, rows("agent-1")) == [("agent-1", "first")]
    assert snapshots(table) == 2


def test_duplicate_keys_are_left_to_dlt(table: Any, by_dlt: list[list[str | None]]) -> None:
    assert merged(table, rows("agent-1", "agent-1")) == []
    assert by_dlt == [["agent-1", "agent-1"]]


def test_a_dlt_without_the_function_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(iceberg_library(), "merge_iceberg_table")
    with pytest.raises(ConfigError, match=r"^dlt .* has no merge_iceberg_table as letta_source knows it"):
        merge_in_one_commit()


@pytest.mark.parametrize("known", [[], ["agent-2"]], ids=["empty", "not empty"])
def test_a_missing_column_is_added(table: Any, known: list[str]) -> None:
    merged(table, rows(*known))
    more = rows("agent-1").append_column("description", pa.array(["new"]))
    assert merged(table, more) == [(one, "first") for one in ("agent-1", *known)]
    found = {row["id"]: row["description"] for row in table.scan().to_arrow().to_pylist()}
    assert found == {"agent-1": "new"} | dict.fromkeys(known)


def test_missing_columns_are_added_even_without_rows(table: Any) -> None:
    merged(table, rows("agent-1"))
    merged(table, rows().append_column("description", pa.array([], pa.string())))
    assert table.schema().column_names == ["id", "name", "description"]
    assert snapshots(table) == 1
