"""Rows that an Iceberg table lacks are appended at once; each arrives once, whatever happens between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from letta_source.destinations import iceberg
from letta_source.destinations.dlt_internals import iceberg_library
from letta_source.destinations.iceberg import append_new_rows
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
def by_dlt(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The rows that dlt merges, by their first two columns."""
    append_new_rows()
    found: list[tuple[str, ...]] = []
    merge = iceberg._merge_by_dlt[0]

    def seen(data: pa.Table, **named: Any) -> None:
        found.extend(tuple(row.values())[:2] for row in data.to_pylist())
        merge(data=data, **named)

    monkeypatch.setattr(iceberg, "_merge_by_dlt", [seen])
    return found


def merged(table: Any, data: pa.Table) -> list[tuple[Any, ...]]:
    append_new_rows()
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


def test_of_new_and_known_rows_only_the_known_are_merged(table: Any, by_dlt: list[tuple[str, ...]]) -> None:
    merged(table, rows("agent-1", "agent-2"))
    ids = ("agent-3", "agent-2", "agent-4")
    expected = [("agent-1", "first"), *[(f"agent-{number}", "second") for number in (2, 3, 4)]]
    assert merged(table, rows(*ids, name="second")) == expected
    assert by_dlt == [("agent-2", "second")]


def test_a_kill_between_the_new_and_the_known_rows_loses_and_repeats_none(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged(table, rows("agent-1"))
    later = rows("agent-1", "agent-2", name="second")
    with monkeypatch.context() as patch:
        patch.setattr(iceberg, "_merge_by_dlt", [_killed])
        with pytest.raises(KeyboardInterrupt):
            merged(table, later)
    assert merged(table, later) == [("agent-1", "second"), ("agent-2", "second")]


def _killed(**_: Any) -> None:
    raise KeyboardInterrupt


def test_all_columns_of_a_key_tell_whether_a_row_is_new(table: Any, by_dlt: list[tuple[str, ...]]) -> None:
    blocks = RESOURCES["agent_blocks"].root
    shape = pa.schema([blocks.arrow_schema.field(one) for one in ("agent_id", "id", "label")])
    shared = table.catalog.create_table("letta.agent_blocks", shape)
    hints = {name: {**SCHEMA["columns"]["id"], "name": name} for name in ("agent_id", "id")}

    def merge(*keys: tuple[str, str], label: str) -> list[tuple[str, ...]]:
        iceberg_library().merge_iceberg_table(
            table=shared,
            data=pa.Table.from_pylist(
                [dict(zip(shape.names, (*key, label), strict=True)) for key in keys], shape
            ),
            schema={**SCHEMA, "name": "agent_blocks", "columns": hints},
            load_table_name="agent_blocks",
        )
        return sorted(tuple(row.values()) for row in shared.scan().to_arrow().to_pylist())

    merge(("agent-1", "block-1"), ("agent-2", "block-1"), ("agent-1", "block-2"), label="old")
    assert merge(("agent-1", "block-1"), ("agent-2", "block-2"), label="new") == [
        ("agent-1", "block-1", "new"),
        ("agent-1", "block-2", "old"),
        ("agent-2", "block-1", "old"),
        ("agent-2", "block-2", "new"),
    ]
    assert by_dlt == [("agent-1", "block-1")]


def test_a_key_with_a_null_is_not_appended(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NULL equals nothing: such a row would seem new each time."""
    append_new_rows()
    seen: list[int] = []
    monkeypatch.setattr(iceberg, "_merge_by_dlt", [lambda data, **_: seen.append(data.num_rows)])
    data = rows("agent-1", "agent-2")
    data = data.set_column(0, pa.field("id", pa.string()), pa.array(["agent-1", None]))
    assert merged(table, data) == []
    assert seen == [2]


def test_a_table_that_lost_its_rows_or_got_columns_is_empty_too(table: Any) -> None:
    table.append(rows())
    assert merged(table, rows("agent-1")) == [("agent-1", "first")]
    assert snapshots(table) == 2


def test_a_row_that_comes_twice_is_not_appended(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    append_new_rows()
    seen: list[int] = []
    monkeypatch.setattr(iceberg, "_merge_by_dlt", [lambda data, **_: seen.append(data.num_rows)])
    assert merged(table, rows("agent-1", "agent-1")) == []
    assert seen == [2]


def test_a_dlt_that_has_no_such_function_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(iceberg_library(), "merge_iceberg_table")
    with pytest.raises(ConfigError, match=r"^dlt .* has no merge_iceberg_table as letta_source knows it"):
        append_new_rows()


@pytest.mark.parametrize("known", [[], ["agent-2"]], ids=["empty", "not empty"])
def test_a_column_that_the_table_lacks_is_added(table: Any, known: list[str]) -> None:
    merged(table, rows(*known))
    more = rows("agent-1").append_column("description", pa.array(["new"]))
    assert merged(table, more) == [(one, "first") for one in ("agent-1", *known)]
    found = {row["id"]: row["description"] for row in table.scan().to_arrow().to_pylist()}
    assert found == {"agent-1": "new"} | dict.fromkeys(known)


def test_of_no_rows_the_columns_are_added_all_the_same(table: Any) -> None:
    merged(table, rows("agent-1"))
    merged(table, rows().append_column("description", pa.array([], pa.string())))
    assert table.schema().column_names == ["id", "name", "description"]
