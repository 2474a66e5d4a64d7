"""DuckDB loads large rows in little memory, unless the user's own settings say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dlt
import pytest

from letta_source.destinations.dlt_internals import SqlClientBase
from letta_source.destinations.duckdb import kept_for_large_rows, kept_open, lift_memory_limit, memory_limited

MOST = 150_000_000
ROW_GROUPS = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('large')"


def pipeline(folder: Path, **credentials: Any) -> dlt.Pipeline:
    """Return a pipeline into a DuckDB file in the folder."""
    database = {"database": str(folder / "large.duckdb"), **credentials}
    return dlt.pipeline(
        "large",
        destination=dlt.destinations.duckdb(database),
        dataset_name="main",
        pipelines_dir=str(folder / "pipelines"),
    )


def one(client: SqlClientBase[Any], query: str) -> Any:
    rows = client.execute_sql(query)
    assert rows
    return rows[0][0]


def insert(client: SqlClientBase[Any], size: int = 4000) -> None:
    client.execute_sql("CREATE TABLE IF NOT EXISTS large (x VARCHAR)")
    client.execute_sql(f"INSERT INTO large SELECT range || repeat('x', {size}) FROM range(50)")


def test_each_part_of_the_log_stays_a_row_group_of_its_own(tmp_path: Path) -> None:
    """At each checkpoint DuckDB would merge them into one row group, with all its values in memory."""
    into = pipeline(tmp_path)
    with into.sql_client() as client, kept_for_large_rows(into, MOST):
        for _ in range(4):
            insert(client)
            client.execute_sql("CHECKPOINT")
        assert one(client, ROW_GROUPS) == 4
    with kept_open(into), into.sql_client() as client:
        assert one(client, ROW_GROUPS) == 4
        insert(client)
        client.execute_sql("CHECKPOINT")
        assert one(client, ROW_GROUPS) == 5


@pytest.mark.parametrize(("size", "rows_in_log"), [(4000, 50), (900_000, 0)])
def test_the_log_is_checkpointed_once_it_is_large(tmp_path: Path, size: int, rows_in_log: int) -> None:
    into = pipeline(tmp_path)
    log = tmp_path / "large.duckdb.wal"
    with into.sql_client() as client, kept_for_large_rows(into, MOST):
        with memory_limited(into, MOST):
            insert(client, size)
        assert log.exists() == bool(rows_in_log)
    assert not log.exists()


@pytest.mark.parametrize(
    "given",
    [
        {"pragmas": ["memory_limit='1GiB'", "threads=2"]},
        {"pragmas": ["max_memory = '1GiB'", "worker_threads = 2"]},
        {"global_config": {"memory_limit": "1GiB", "threads": 2}},
        {"statements": ["SET GLOBAL memory_limit = '1GiB'; set threads = 2"]},
    ],
    ids=["pragmas", "aliases", "global_config", "statements"],
)
def test_the_users_settings_stay(tmp_path: Path, given: Mapping[str, Any]) -> None:
    into = pipeline(tmp_path, **given)

    def found(client: SqlClientBase[Any]) -> tuple[Any, Any]:
        return one(client, "SELECT current_setting('memory_limit')"), one(
            client, "SELECT current_setting('threads')"
        )

    with into.sql_client() as client, kept_for_large_rows(into, MOST):
        with memory_limited(into, MOST):
            assert found(client) == ("1.0 GiB", 2)
            assert one(client, "SELECT current_setting('force_compression')") == "uncompressed"
        assert found(client) == ("1.0 GiB", 2)
        lift_memory_limit(into)
        assert found(client) == ("1.0 GiB", 2)
    with pipeline(tmp_path).sql_client() as client, memory_limited(pipeline(tmp_path), MOST):
        assert found(client) == ("143.0 MiB", 1)
