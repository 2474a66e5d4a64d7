"""What a destination is asked about the rows that it holds, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import dlt
import duckdb
import pytest
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable

from letta_source.destinations import existing_rows
from letta_source.destinations.existing_rows import has_rows, loaded_ids, row_counts
from letta_source.schema.resources import RESOURCES
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.wire import settings


class Pipeline:
    """A pipeline whose dataset is a DuckDB in memory.

    Attributes:
        dialect: the database that it says it is.
        estimate: the rows that this database estimates for each table.
        asked: the statements.
    """

    dataset_name = "letta"

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.dialect, self.kind = "duckdb", ""
        self.estimate: list[tuple[int | None]] = []
        self.has_sql = True
        self.asked: list[str] = []

    def make(self, table: str, *ids: tuple[str, str]) -> None:
        self.connection.execute(f"CREATE TABLE {table} (agent_id TEXT, id TEXT)")
        for one in ids:
            self.connection.execute(f"INSERT INTO {table} VALUES (?, ?)", one)

    @contextmanager
    def sql_client(self) -> Iterator[Any]:
        if not self.has_sql:
            raise SqlClientNotAvailable("letta", "files", "filesystem")
        yield SimpleNamespace(
            make_qualified_table_name=str,
            escape_column_name=str,
            dataset_name="letta",
            execute_sql=self._execute,
        )

    def _execute(self, sql: str, *values: str) -> Any:
        self.asked.append(sql)
        if "pg_class" in sql or "information_schema" in sql:
            assert values[0] == "letta"
            return self.estimate
        try:
            return self.connection.execute(sql.replace("%s", "?"), values).fetchall()
        except duckdb.CatalogException as error:
            raise DestinationUndefinedEntity(error) from error


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = Pipeline()
    monkeypatch.setattr(existing_rows, "is_kind", lambda kind, of: found.kind == kind)
    monkeypatch.setattr(existing_rows, "dialect_of", lambda client: found.dialect)
    monkeypatch.setattr(dlt.current, "pipeline", lambda: found)
    return found


def test_rows_are_counted(pipeline: Any) -> None:
    pipeline.make("agents", ("", "a"), ("", "b"))
    pipeline.make("runs")
    counted = {"agents": 2, "runs": 0, "steps": 0}
    assert row_counts(pipeline, counted) == counted
    pipeline.has_sql = False
    assert row_counts(pipeline, counted) == {}
    pipeline.has_sql, pipeline.kind = True, "filesystem"
    assert row_counts(pipeline, counted) == {}


@pytest.mark.parametrize("dialect", ["postgres", "mysql", "mariadb"])
@pytest.mark.parametrize(
    ("estimate", "is_counted"),
    [([(10**6,)], True), ([(10**6 + 1,)], False), ([(-1,)], True), ([(None,)], True), ([], True)],
)
def test_large_tables_are_counted_only_on_request(
    pipeline: Any, dialect: str, estimate: list[tuple[int | None]], is_counted: bool
) -> None:
    pipeline.make("agents", ("", "a"))
    pipeline.dialect, pipeline.estimate = dialect, estimate
    assert row_counts(pipeline, ["agents"]) == ({"agents": 1} if is_counted else {})
    assert row_counts(pipeline, ["agents"], all_of_them=True) == {"agents": 1}


def test_one_table_with_rows_is_enough(pipeline: Any) -> None:
    tables = [RESOURCES[name].root for name in ("agents", "runs", "steps")]
    assert not has_rows(pipeline, tables)
    pipeline.make("agents")
    assert not has_rows(pipeline, tables)
    pipeline.make("runs", ("", "a"))
    assert has_rows(pipeline, tables)
    pipeline.has_sql = False
    assert not has_rows(pipeline, tables)
    pipeline.has_sql, pipeline.kind = True, "filesystem"
    assert not has_rows(pipeline, tables)


def state(**given: Any) -> ResourceState:
    session = Session()
    session.settings = settings(**given)
    return ResourceState(session, {})


def test_ids_are_asked_for_once_for_each_agent(pipeline: Any) -> None:
    pipeline.make("agent_messages", ("agent-1", "a"), ("agent-1", "b"), ("agent-2", "a"))
    loaded = loaded_ids(RESOURCES["agent_messages"], state())
    for _ in range(2):
        assert [loaded(one) for one in ("agent-1", "agent-2", "agent-3")] == [{"a", "b"}, {"a"}, set()]
    assert ["WHERE agent_id =" in one for one in pipeline.asked] == [True] * 3
    # Where many will be asked for, all at once.
    pipeline.asked.clear()
    loaded = loaded_ids(RESOURCES["agent_messages"], state(refresh=True))
    assert [loaded(one) for one in ("agent-1", "agent-2", "agent-3")] == [{"a", "b"}, {"a"}, set()]
    assert len(pipeline.asked) == 1


def test_tables_without_parents_hold_ids_for_all(pipeline: Any) -> None:
    pipeline.make("steps", ("agent-1", "a"), ("agent-2", "b"))
    loaded = loaded_ids(RESOURCES["steps"], state())
    assert loaded("run-1") == loaded("") == {"a", "b"}
    assert len(pipeline.asked) == 1


def test_ids_of_steps_are_asked_for_all_at_once(pipeline: Any) -> None:
    """There are too many for one query each."""
    pipeline.connection.execute("CREATE TABLE step_messages (step_id TEXT, id TEXT)")
    pipeline.connection.execute("INSERT INTO step_messages VALUES ('step-1', 'a'), ('step-2', 'b')")
    loaded = loaded_ids(RESOURCES["step_messages"], state())
    assert [loaded(one) for one in ("step-1", "step-2", "step-3")] == [{"a"}, {"b"}, set()]
    assert len(pipeline.asked) == 1


def test_a_destination_that_cannot_tell_is_reported(pipeline: Any, caplog: pytest.LogCaptureFixture) -> None:
    loaded = loaded_ids(RESOURCES["agents"], state())
    # The first load has no table.
    assert loaded("") == set()
    assert caplog.messages == []
    pipeline.has_sql = False
    assert loaded_ids(RESOURCES["agents"], state())("") == set()
    assert ["rows may be duplicated" in one for one in caplog.messages] == [True]
