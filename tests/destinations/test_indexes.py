"""Merges find rows by indexes: without them, each would read a whole table, or that once for each row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dlt
import psycopg2
import pytest
from dlt.destinations.impl.sqlalchemy.merge_job import SqlalchemyMergeFollowupJob
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from letta_source import Load, Loaded, load
from letta_source.demo import Server, serve
from letta_source.destinations import existing_rows
from letta_source.destinations.existing_rows import row_counts
from letta_source.destinations.mysql import quiet_merges
from letta_source.schema.resources import RESOURCES
from tests.destinations.conftest import Databases
from tests.support.command import SOME, two_agents
from tests.support.places import Place, chosen, make_place

pytestmark = pytest.mark.destinations

INDEXED = [kind for kind in ("postgres", "mysql", "sqlite") if kind in chosen()]
NAMES = sorted(f"{table.name}__merge" for name in SOME[1].split(",") for table in RESOURCES[name].tables)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(two_agents()) as server:
        yield server


@pytest.fixture(params=INDEXED)
def place(
    request: pytest.FixtureRequest,
    tmp_path: Any,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    place = make_place(request.param, tmp_path, databases)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    yield place
    place.close()


def loaded(place: Place, server: Server, pipeline_name: str = "letta", **settings: Any) -> Loaded:
    said = dict(zip(place.options[::2], place.options[1::2], strict=True))
    return load(
        Load(
            {"base_url": server.base_url, **settings},
            resources=tuple(SOME[1].split(",")),
            pipeline_name=pipeline_name,
            destination=said["--destination"],
            dataset_name=said.get("--dataset-name", "letta"),
        )
    )


def statements(pipeline: dlt.Pipeline, *texts: str) -> list[str]:
    """Run statements; return the rows of the last, as text."""
    client: Any = pipeline.destination_client()
    with client:
        with client.with_staging_dataset():
            # SQLite has attached it from now on.
            client.is_storage_initialized()
        rows: Any = ()
        for text in texts:
            rows = client.sql_client.execute_sql(text)
        return [str(row) for row in rows or ()]


def indexes(pipeline: dlt.Pipeline, place: Place) -> list[str]:
    """Return the names of our indexes, in whichever dataset."""
    query = {
        "postgres": "SELECT indexname FROM pg_indexes",
        "mysql": "SELECT DISTINCT index_name FROM information_schema.statistics"
        f" WHERE table_schema LIKE '{pipeline.dataset_name}%'",
    }
    client: Any = pipeline.destination_client()
    with client, client.with_staging_dataset():
        sqlite = f"SELECT name FROM {client.sql_client.fully_qualified_dataset_name()}.sqlite_master"
        rows = client.sql_client.execute_sql(query.get(kind_of(place), sqlite))
    return sorted(name for (name,) in rows if name.endswith("__merge"))


def kind_of(place: Place) -> str:
    return type(place).__name__.lower()


def merge_of(pipeline: dlt.Pipeline, place: Place, table: str) -> str:
    """Return the statement by which dlt deletes the rows that it will insert again."""
    merge = SqlMergeFollowupJob if kind_of(place) == "postgres" else SqlalchemyMergeFollowupJob
    client: Any = pipeline.destination_client()
    with client, quiet_merges():
        if merge is SqlalchemyMergeFollowupJob:
            client.sql_client.reflect_table(table)
        sent = merge.gen_merge_sql([client.prepare_load_table(table)], client.sql_client)
    return next(one for one in sent if one.startswith("DELETE")).rstrip().rstrip(";")


def test_indexes_after_a_first_load_and_later_ones(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One first load serves all of these checks."""
    pipeline = loaded(place, server).pipeline
    check_each_merge_can_find_its_rows_by_an_index(place, pipeline)
    check_another_pipeline_has_its_own_staging_tables_with_indexes(place, server)
    check_rows_of_large_tables_are_not_counted(place, server, pipeline, monkeypatch)


def check_each_merge_can_find_its_rows_by_an_index(place: Place, pipeline: dlt.Pipeline) -> None:
    assert indexes(pipeline, place) == NAMES
    for table in (table for name in SOME[1].split(",") for table in RESOURCES[name].tables):
        merge = merge_of(pipeline, place, table.name)
        plan = {
            "postgres": ["SET enable_seqscan = off", "SET enable_hashjoin = off", f"EXPLAIN {merge}"],
            "mysql": [f"EXPLAIN {merge}"],
            "sqlite": [f"EXPLAIN QUERY PLAN {merge}"],
        }
        assert f"{table.name}__merge" in " ".join(statements(pipeline, *plan[kind_of(place)]))


def check_another_pipeline_has_its_own_staging_tables_with_indexes(place: Place, server: Server) -> None:
    pipeline = loaded(place, server, "another").pipeline
    assert set(indexes(pipeline, place)) == set(NAMES)


def check_rows_of_large_tables_are_not_counted(
    place: Place, server: Server, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {"agents": 2, "blocks": 0}
    assert row_counts(pipeline, tables) == tables
    analyze = {"postgres": "ANALYZE", "mysql": f"ANALYZE TABLE {pipeline.dataset_name}.agents"}
    statements(pipeline, analyze.get(kind_of(place), "ANALYZE"))
    monkeypatch.setattr(existing_rows, "_MOST", 1)
    assert row_counts(pipeline, tables) == ({"blocks": 0} if kind_of(place) != "sqlite" else tables)
    result = loaded(place, server, refresh=True)
    assert result.new.get("agents") == (0 if kind_of(place) == "sqlite" else None)


def test_missing_indexes_are_created_again(place: Place, server: Server) -> None:
    pipeline = loaded(place, server, indexes=False).pipeline
    assert indexes(pipeline, place) == []
    assert indexes(loaded(place, server, refresh=True).pipeline, place) == NAMES


def test_a_load_without_the_right_to_create_indexes_continues(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        "letta_source.destinations.indexes._create", lambda *_: "CREATE INDEX nowhere ON no (a)"
    )
    assert loaded(place, server).exit_code == 0
    assert "an index could not be created, so that loads take longer" in caplog.text
    assert len(place.rows("agents")) == 2


# A staging table is used by one load at a time.
@pytest.mark.parametrize("place", [kind for kind in INDEXED if kind == "postgres"], indirect=True)
def test_a_table_that_stays_locked_is_not_waited_for(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded(place, server, indexes=False)
    monkeypatch.setattr("letta_source.destinations.indexes._LONGEST_WAIT", 1)
    with closing(psycopg2.connect(os.environ["DESTINATION__POSTGRES__CREDENTIALS"])) as other:
        # As after a write, in a transaction that somebody left open.
        other.cursor().execute("LOCK TABLE letta.agents IN ROW EXCLUSIVE MODE")
        pipeline = loaded(place, server, refresh=True).pipeline
    assert "an index could not be created" in caplog.text
    assert indexes(pipeline, place) == []
    assert indexes(loaded(place, server, refresh=True).pipeline, place) == NAMES
