"""What dlt would send to ClickHouse, run by ClickHouse's own engine. Needs the package `chdb`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.common.configuration.container import Container

from letta_source.tables import Table, all_tables

from .warehouses import client, configured, destination_of, drivers, examples

pytestmark = pytest.mark.destinations


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    session = pytest.importorskip("chdb.session").Session()
    session.query("CREATE DATABASE warehouse")
    yield session
    session.close()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    (example,) = (one for one in examples() if one.destination == "clickhouse")
    with pytest.MonkeyPatch.context() as patch, drivers():
        configured(tmp_path_factory.mktemp("dlt"), example.toml, patch)
        made = client(destination_of("clickhouse"), "text")
        with Container().injectable_context(made.capabilities):
            yield made


def rows(table: Table, numbers: list[int], load_id: str) -> pa.Table:
    """A row for each number; every second one has nulls wherever there may be any."""
    time = pa.scalar(1_767_225_600_123_456, pa.timestamp("us", "UTC")).as_py()

    def value(name: str, kind: str, number: int) -> Any:
        text = load_id if name == "_dlt_load_id" else f"it's {number}\n\\ é"
        known = {"text": text, "bigint": number, "double": 1.5, "bool": True, "timestamp": time}
        return None if name == "_deleted" else known.get(kind, '{"a": [1, "\\n"]}')

    made = [
        {
            column.name: None if column.nullable and number % 2 else value(column.name, column.type, number)
            for column in table.columns
        }
        for number in numbers
    ]
    return pa.Table.from_pylist(made, table.arrow_schema)


@pytest.mark.parametrize("table", list(all_tables()), ids=lambda table: table.name)
def test_rows_come_once_and_give_way(table: Table, warehouse: Any, engine: Any, tmp_path: Path) -> None:
    columns = list(warehouse.schema.get_table_columns(table.name).values())
    name = warehouse.sql_client.make_qualified_table_name(table.name)
    for statement in warehouse._get_table_update_sql(table.name, columns, generate_alter=False):
        engine.query(statement)
    with warehouse.with_staging_dataset():
        staging = warehouse.sql_client.make_qualified_table_name(table.name)
        for statement in warehouse._get_table_update_sql(table.name, columns, generate_alter=False):
            engine.query(statement)
    # A file that was staged twice, as after a kill; then some of the rows again.
    for load_id, numbers in ("1", [0, 1, 2, 3, 1]), ("2", [2, 3, 4]):
        pq.write_table(rows(table, numbers, load_id), tmp_path / "rows.parquet")
        engine.query(f"TRUNCATE TABLE {staging}")
        engine.query(f"INSERT INTO {staging} SELECT * FROM file('{tmp_path}/rows.parquet', Parquet)")
        (job,) = warehouse._create_merge_followup_jobs([warehouse.prepare_load_table(table.name)])
        for statement in Path(job.new_file_path()).read_text("utf-8").replace(";", "\n").splitlines():
            if statement.strip():
                engine.query(statement)
    expected = pa.concat_tables([rows(table, [0, 1], "1"), rows(table, [2, 3, 4], "2")])
    engine.query(f"SELECT * FROM {name} INTO OUTFILE '{tmp_path}/made.parquet' FORMAT Parquet")
    made = pq.read_table(tmp_path / "made.parquet").cast(expected.schema)
    order = [(column, "ascending") for column in table.primary_key]
    assert made.sort_by(order).to_pylist() == expected.sort_by(order).to_pylist()
