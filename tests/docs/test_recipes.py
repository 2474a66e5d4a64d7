"""The recipes of `docs/recipes.md` do what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from dlt.common.versioned_state import decompress_state
from psycopg2.errors import InsufficientPrivilege
from psycopg2.extensions import cursor as Cursor

import letta_source
from letta_source.demo import Letta, Server, recorded_letta, serve
from letta_source.export import tool_calls_sql
from letta_source.loading.run import Load, load
from letta_source.schema.resources import RESOURCES
from letta_source.state.session import Session
from tests.support.command import Command, ago, two_agents
from tests.support.driverless_clients import configured
from tests.support.library_loads import Warehouse
from tests.support.paths import ROOT
from tests.support.postgres import create_database, postgres
from tests.support.recipes import PAGE, Recipe, afterwards, recipes
from tests.support.recipes import recipe as code_of

SOME = ("agents", "agent_messages")
# Recipes without rows, because the recordings contain no errors.
EMPTY = {
    "Unfinished runs",
    "Alerts",
    "Sampling",
    "A new column after an upgrade",
    "What was deleted on the server",
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("recorded"))
    with serve(recorded_letta()) as server:
        warehouse.load(server)
    asked(warehouse, f"CREATE SCHEMA letta_views; CREATE VIEW letta_views.tool_calls AS {tool_calls_sql()}")
    return warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.fixture
def letta() -> Letta:
    return two_agents()


@pytest.fixture
def server(letta: Letta) -> Iterator[Server]:
    with serve(letta) as server:
        yield server


def asked(warehouse: Warehouse, sql: str, undone: bool = False) -> list[tuple[Any, ...]]:
    with warehouse.pipeline.sql_client() as client:
        connection: duckdb.DuckDBPyConnection = client.native_connection
        if not undone:
            return connection.execute(sql).fetchall()
        connection.begin()
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.rollback()


@pytest.mark.parametrize("recipe", [r for r in recipes("duckdb") if "old.duckdb" not in r.sql], ids=str)
def test_the_sql_runs(recorded: Warehouse, recipe: Recipe) -> None:
    rows = asked(recorded, recipe.sql, undone=True)
    assert rows or recipe.title in EMPTY or not recipe.sql.startswith(("SELECT", "WITH"))


def test_the_example_mask_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    title = "Masked before anything is written"
    configured(tmp_path, code_of(title, language="toml"), monkeypatch)
    monkeypatch.setenv("SOURCES__LETTA__MASK_KEY", "a-key-that-is-long-enough")
    session = Session()
    letta_source.letta(base_url="http://127.0.0.1:1", session=session)
    options = re.findall(r"--mask (\S+?=\w+)", PAGE)
    assert session.settings.images == "hash"
    assert session.settings.mask == dict(option.split("=") for option in options)
    assert len(options) == 3


@pytest.mark.docs
def test_rows_deleted_by_age_do_not_come_back(warehouse: Warehouse, letta: Letta, server: Server) -> None:
    warehouse.load(server, *SOME)
    young = letta.add_message(letta.tables["agents"].ids()[0], date=ago(minutes=1))
    warehouse.load(server, *SOME)
    asked(warehouse, code_of("Retention").replace("365 days", "1 hour"))
    assert warehouse.ids("agent_messages") == [young]
    warehouse.load(server, *SOME)
    assert warehouse.ids("agent_messages") == [young]
    for child in RESOURCES["agent_messages"].tables[1:]:
        assert set(warehouse.ids(child.name, "message_id")) <= {young}, child.name


@pytest.mark.docs
def test_deleted_agents_are_found(warehouse: Warehouse, letta: Letta, server: Server) -> None:
    gone = letta.tables["agents"].ids()[0]
    warehouse.load(server, *SOME)
    assert asked(warehouse, code_of("What was deleted on the server")) == []
    letta.delete_agent(gone)
    warehouse.load(server, *SOME)
    assert [row[0] for row in asked(warehouse, code_of("What was deleted on the server"))] == [gone]


@pytest.mark.docs
def test_deleted_messages_are_found(warehouse: Warehouse, letta: Letta, server: Server) -> None:
    agent = letta.tables["agents"].ids()[0]
    gone = letta.list_of("agent", agent).ids()[0]
    warehouse.load(server, *SOME)
    letta.delete_message(gone)
    warehouse.load(server, *SOME)
    last, stale = code_of("What was deleted on the server", 1), code_of("What was deleted on the server", 2)
    [(before,)] = asked(warehouse, last)
    warehouse.load(server, *SOME, refresh=True)
    found = asked(warehouse, re.sub("'[0-9.]+'", f"'{before}'", stale))
    assert {row[:2] for row in found} == {(agent, gone)}


@pytest.mark.docs
def test_no_row_of_an_erased_agent_is_left(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAD__TRUNCATE_STAGING_DATASET", "true")
    letta = Letta()
    erased, other = letta.add_agent(), letta.add_agent()
    group = letta.add_group([erased, other], "supervisor")
    for agent in (erased, other):
        letta.talk(agent, f"I am {agent}", tools=["roll"], date=ago(hours=2))
        letta.add_message(agent, text=f"to all, {agent}", date=ago(hours=1), group_ids=[group])
        letta.add_conversation(agent)
        letta.add_batch(agent)
    erase = code_of("Erase an agent")
    with serve(letta) as server:
        warehouse.load(server)
        everything = traces(warehouse)
        ids = {message for message, found in letta.messages.rows.items() if found.agent_id == erased}
        assert all(any(one in row for _, row in everything) for one in (erased, *ids))
        letta.delete_agent(erased)
        asked(warehouse, erase.replace("agent-…", erased))
        left = {table for table, row in traces(warehouse) if any(one in row for one in (erased, *ids))}
        # The group that the agent was in is another one's row.
        assert left <= {"groups"}
        assert other in warehouse.ids("agents")
        assert other in {row[0] for row in warehouse.rows("agent_messages", "agent_id")}
        assert warehouse.load(server, "agent_messages", agent_ids=[erased]).problems == 1
        # A sweep removes from the state what the server no longer has.
        warehouse.load(server, sweep_interval="0s")
        assert erased not in repr(warehouse.pipeline.state)
        scale = (ROOT / "docs" / "scale.md").read_text("utf-8")
        [old_states] = re.findall(r"```sql\n(DELETE FROM letta._dlt_pipeline_state.+?)```", scale, re.DOTALL)
        asked(warehouse, old_states)
    states = asked(warehouse, "SELECT state FROM letta._dlt_pipeline_state")
    assert states
    assert all(erased not in repr(decompress_state(state)) for (state,) in states)


def traces(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Return every row of our tables as text, after its table's name."""
    return [(table, repr(row)) for table in warehouse.tables() for row in warehouse.rows(table)]


@pytest.mark.docs
def test_an_incremental_model_equals_a_full_one(warehouse: Warehouse, letta: Letta, server: Server) -> None:
    """Late rows, changed rows and agents with a history are found by their load, not by their date."""
    model = code_of("Incremental models", language="jinja")
    query = model.partition("}}")[2].replace("{{ this }}", "letta.model")
    query = re.sub(r"\{\{ source\('letta', '(\w+)'\) \}\}", r"letta.\1", query)
    full = re.sub(r"\{% if.+?endif %\}", "", query, flags=re.DOTALL)
    # The hour of overlap would cover everything in this test.
    news = re.sub(r"\{%.+?%\}", "", query).replace(" - INTERVAL '1 hour'", "")
    warehouse.load(server, *SOME)
    asked(warehouse, f"CREATE TABLE letta.model AS {full}")
    agent = letta.tables["agents"].ids()[0]
    late = letta.add_message(agent, date=ago(hours=3))
    letta.talk(letta.add_agent(), "a history", date=ago(hours=9))
    warehouse.load(server, *SOME)
    by_date = asked(
        warehouse,
        "SELECT id FROM letta.agent_messages WHERE created_at > (SELECT max(created_at) FROM letta.model)",
    )
    assert (late,) not in by_date
    asked(
        warehouse,
        f"CREATE TABLE letta.news AS {news};"
        "DELETE FROM letta.model WHERE (agent_id, id) IN (SELECT agent_id, id FROM letta.news);"
        "INSERT INTO letta.model SELECT * FROM letta.news",
    )
    assert late in {row[0] for row in asked(warehouse, "SELECT id FROM letta.model")}
    assert sorted(asked(warehouse, "FROM letta.model"), key=repr) == sorted(asked(warehouse, full), key=repr)


@pytest.mark.docs
def test_rows_only_in_the_old_warehouse_are_copied(
    warehouse: Warehouse, letta: Letta, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Warehouse(tmp_path / "old")
    old.load(server, *SOME)
    letta.delete_agent(letta.tables["agents"].ids()[0])
    warehouse.load(server, *SOME)
    assert len(warehouse.ids("agents")) == 1
    old.close()
    (tmp_path / "old" / "warehouse.duckdb").rename(tmp_path / "old.duckdb")
    monkeypatch.chdir(tmp_path)
    asked(warehouse, code_of("Another destination"))
    assert len(warehouse.ids("agents")) == 2
    finished = code_of("Read while a load runs")
    assert len(asked(warehouse, finished)) == len(warehouse.ids("agent_messages"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a PostgreSQL database with the recorded Letta."""
    with (
        postgres(tmp_path_factory.mktemp("postgres")) as url,
        serve(recorded_letta()) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        made = create_database(url, "letta")
        patch.setenv("DESTINATION__POSTGRES__CREDENTIALS", made)
        load(Load({"base_url": server.base_url}, destination="postgres"))
        with closing(psycopg2.connect(made)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                f"CREATE SCHEMA letta_views; CREATE VIEW letta_views.tool_calls AS {tool_calls_sql()}"
            )
        yield made


@pytest.fixture
def cursor(database: str) -> Iterator[Cursor]:
    """Yield a cursor in a transaction that is rolled back."""
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        yield cursor


@pytest.mark.docs
@pytest.mark.parametrize("recipe", recipes("postgres"), ids=str)
def test_the_sql_runs_in_postgres(cursor: Cursor, recipe: Recipe) -> None:
    if recipe.engine and "letta_safe" in recipe.sql:
        cursor.execute(code_of("Views without texts"))
    cursor.execute(recipe.sql)
    rows = cursor.fetchall() if cursor.description else []
    assert rows or recipe.title in EMPTY or not recipe.sql.startswith(("SELECT", "WITH"))


@pytest.mark.docs
def test_rights_on_the_views_give_no_rights_on_the_tables(cursor: Cursor) -> None:
    for at in range(2):
        cursor.execute(code_of("Views without texts", at))
    cursor.execute("SET LOCAL ROLE analyst; SELECT max(text_length) FROM letta_safe.agent_messages")
    assert cursor.fetchall()[0][0]
    with pytest.raises(InsufficientPrivilege):
        cursor.execute("SELECT text FROM letta.agent_messages")


def test_duckdbs_file_forgets_an_erased_agent(letta_source_: Command) -> None:
    """Deleted rows stay in the file; after it is rewritten, only the texts of others are left."""
    letta = Letta()
    erased, other = letta.add_agent(name="erased-canary"), letta.add_agent()
    texts = [f"canary-{number * 7919}-of-the-erased" for number in range(200)]
    for number, text in enumerate(texts):
        letta.add_message(erased, text=text, date=ago(hours=2))
        letta.add_message(other, text=f"kept {number}", date=ago(hours=2))
    file = letta_source_.folder / "letta_db.duckdb"
    with serve(letta) as server:
        assert letta_source_.load(server).code == 0

    def left() -> list[str]:
        content = file.read_bytes()
        return [text for text in ("erased-canary", *texts) if text.encode() in content]

    with duckdb.connect(str(file)) as connection:
        for sql in code_of("Erase an agent").replace("agent-…", erased).split(";"):
            run_if_there(connection, sql)
        connection.execute("CHECKPOINT")
    assert len(left()) > 100
    with duckdb.connect(str(file)) as connection:
        for sql in afterwards("Erase an agent"):
            run_if_there(connection, sql)
        kept = connection.execute("SELECT count(*) FROM letta.agent_messages WHERE text LIKE 'kept %'")
        assert kept.fetchall() == [(200,)]
    assert left() == []


def run_if_there(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Run a statement; ignore tables that were not loaded."""
    with suppress(duckdb.CatalogException):
        connection.execute(sql)


@pytest.fixture
def letta_source_(letta_source: Command) -> Command:
    """Return the command line, under a name that the package does not have."""
    return letta_source
