"""Each pipeline's staging dataset: its name, its content, and the one that older versions used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.demo import Letta, Server, serve
from letta_source.destinations.dataset_names import legacy_name, staging_name
from tests.support.command import Command, ago, log_lines, messages, one_of, two_agents
from tests.support.first_loads import Loaded

pytestmark = pytest.mark.whole

WAREHOUSE = "letta_db.duckdb"


@pytest.mark.parametrize(
    ("dataset", "pipeline", "name"),
    [
        ("letta", "letta", "letta__letta_staging"),
        ("letta", "letta_shard_0_of_4", "letta__letta_shard_0_of_4_staging"),
        ("letta_staging", "prod", "letta_staging__prod_staging"),
    ],
)
def test_plain_names_are_kept(dataset: str, pipeline: str, name: str) -> None:
    assert staging_name(dataset, pipeline) == name


names = st.text(st.sampled_from("ab_-.Ä数 "), min_size=1, max_size=50)


@given(names, names, names, names)
def test_no_two_pipelines_share_a_name(a: str, b: str, c: str, d: str) -> None:
    one, other = staging_name(a, b), staging_name(c, d)
    assert re.fullmatch("[a-z0-9_]{1,63}", one)
    assert one.endswith("_staging")
    assert (one == other) == ((a, b) == (c, d))


def test_the_position_of_the_separator_does_not_matter() -> None:
    assert staging_name("a__b", "c") != staging_name("a", "b__c")


def test_names_of_earlier_versions() -> None:
    assert legacy_name("letta", "letta") == "letta_staging"
    assert legacy_name("letta", "letta_shard_2_of_4") == "letta_staging_2"


@pytest.fixture
def warehouse(letta_source: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(letta_source.folder / WAREHOUSE))
    return letta_source


@pytest.fixture
def begun(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """Return a warehouse that was loaded; other pipelines load into the same file."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(loaded.command.folder / WAREHOUSE))
    return loaded


# After two loads the pipeline has a staging dataset.
twice = pytest.mark.parametrize("loaded", [2], indirect=True)


def schemas(command: Command) -> set[str]:
    rows = command.rows("SELECT DISTINCT schema_name FROM duckdb_tables()", WAREHOUSE)
    return {str(name) for (name,) in rows}


def load_twice(command: Command, letta: Letta, server: Server, *options: str) -> None:
    """Load twice: the first load appends, the second goes through staging."""
    assert command.load(server, *options).code == 0
    load_more(command, letta, server, *options)


def load_more(command: Command, letta: Letta, server: Server, *options: str) -> None:
    """Load a new message, through staging."""
    letta.add_message(one_of(letta), date=ago(hours=1))
    assert command.load(server, *options).code == 0


@twice
def test_each_pipeline_has_its_own(begun: Loaded) -> None:
    warehouse, letta, server = begun
    load_twice(warehouse, letta, server, "--pipeline-name", "other")
    assert schemas(warehouse) == {"letta", "letta__letta_staging", "letta__other_staging"}
    assert warehouse.count("agent_messages", WAREHOUSE) == messages(letta)


@pytest.mark.parametrize("first", ["letta", "letta_staging"])
def test_a_dataset_with_a_staging_name_keeps_its_rows(
    warehouse: Command, letta: Letta, server: Server, first: str
) -> None:
    other = two_agents()
    other.talk(one_of(other), "more", date=ago(hours=3))
    pairs = [(first, other), ("letta" if first != "letta" else "letta_staging", letta)]
    with serve(other) as elsewhere:
        for load in (load_twice, load_more):
            for (dataset, of), at in zip(pairs, (elsewhere, server), strict=True):
                load(warehouse, of, at, "--dataset-name", dataset, "--pipeline-name", f"to_{dataset}")
    for dataset, of in pairs:
        assert warehouse.count("agent_messages", WAREHOUSE, dataset) == messages(of)


@pytest.mark.parametrize("table", ["agent_messages__content", "_dlt_loads"])
def test_foreign_tables_are_not_emptied(warehouse: Command, letta: Letta, server: Server, table: str) -> None:
    warehouse.rows("CREATE SCHEMA letta__letta_staging; SELECT 1", WAREHOUSE)
    warehouse.rows(f"CREATE TABLE letta__letta_staging.{table} AS SELECT 1 AS a; SELECT 1", WAREHOUSE)
    said = warehouse.load(server)
    assert (said.code, len(log_lines(said))) == (2, 1)
    assert "letta__letta_staging" in said.err
    assert "staging_dataset_name_layout" in said.err
    assert warehouse.rows(f"SELECT a FROM letta__letta_staging.{table}", WAREHOUSE) == [(1,)]


def test_unrelated_tables_there_are_kept(warehouse: Command, letta: Letta, server: Server) -> None:
    warehouse.rows("CREATE SCHEMA letta__letta_staging; SELECT 1", WAREHOUSE)
    warehouse.rows("CREATE TABLE letta__letta_staging.notes AS SELECT 1 AS a; SELECT 1", WAREHOUSE)
    load_twice(warehouse, letta, server)
    assert warehouse.rows("SELECT a FROM letta__letta_staging.notes", WAREHOUSE) == [(1,)]


def test_a_name_from_the_users_settings_is_used(
    warehouse: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__STAGING_DATASET_NAME_LAYOUT", "scratch_%s")
    load_twice(warehouse, letta, server)
    assert schemas(warehouse) == {"letta", "scratch_letta"}
    asked = len(server.requests)
    said = warehouse.load(server, "--dataset-name", "scratch_letta", "--pipeline-name", "b")
    assert (said.code, len(log_lines(said))) == (2, 1)
    assert "scratch_letta is the staging dataset of another load" in said.err
    assert len(server.requests) == asked + 1
    for shard in ("0/2", "1/2"):
        load_twice(warehouse, letta, server, "--shard", shard)
    # The message that was loaded with the second shard may belong to the first.
    assert warehouse.load(server, "--shard", "0/2").code == 0
    assert schemas(warehouse) >= {"scratch_letta_0", "scratch_letta_1"}
    assert warehouse.count("agent_messages", WAREHOUSE) == messages(letta)


def test_a_dataset_cannot_be_its_own_staging_dataset(
    warehouse: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__STAGING_DATASET_NAME_LAYOUT", "letta")
    said = warehouse.load(server)
    assert (said.code, len(log_lines(said))) == (2, 1)
    assert "The staging dataset name 'letta' is identical to the final dataset name" in said.err


def as_older_versions_left_it(command: Command) -> None:
    """Leave the dataset `letta_staging`, and a working folder that knows no other name."""
    tables = command.rows(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'letta__letta_staging'", WAREHOUSE
    )
    command.rows("CREATE SCHEMA letta_staging; SELECT 1", WAREHOUSE)
    for (table,) in tables:
        command.rows(
            f"CREATE TABLE letta_staging.{table} AS FROM letta__letta_staging.{table}; SELECT 1", WAREHOUSE
        )
    command.rows("DROP SCHEMA letta__letta_staging CASCADE; SELECT 1", WAREHOUSE)


@twice
def test_the_legacy_name_stays_in_use(begun: Loaded) -> None:
    warehouse, letta, server = begun
    as_older_versions_left_it(warehouse)
    load_twice(warehouse, letta, server)
    assert schemas(warehouse) == {"letta", "letta_staging"}
    assert warehouse.count("agent_messages", WAREHOUSE) == messages(letta)


@twice
def test_the_legacy_name_is_not_shared(begun: Loaded) -> None:
    warehouse, letta, server = begun
    as_older_versions_left_it(warehouse)
    load_twice(warehouse, letta, server, "--pipeline-name", "second")
    assert schemas(warehouse) == {"letta", "letta_staging", "letta__second_staging"}
    load_twice(warehouse, letta, server)
    assert "letta__letta_staging" in schemas(warehouse)


@pytest.mark.parametrize(
    ("options", "file"),
    [
        (["--pipeline-name", "letta_staging"], "letta_staging_db.duckdb"),
        (["--pipeline-name", "b", "--dataset-name", "b_staging"], "b_db.duckdb"),
    ],
)
def test_a_pipeline_may_have_a_staging_datasets_name(
    letta_source: Command, letta: Letta, server: Server, options: list[str], file: str
) -> None:
    load_twice(letta_source, letta, server, *options)
    assert file in letta_source.files()


@pytest.mark.parametrize(
    ("file", "code"), [("letta_staging.duckdb", 0), ("letta__letta_staging.duckdb", 2), ("LETTA.duckdb", 2)]
)
def test_a_file_may_not_have_a_datasets_name(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch, file: str, code: int
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", file)
    for _ in range(2):
        said = letta_source.load(server)
        letta.add_message(one_of(letta), date=ago(hours=1))
        assert said.code == code
    if code:
        assert f"DuckDB cannot tell the file {letta_source.folder / file} from the dataset" in said.err


@pytest.mark.parametrize("name", ["数据", "Ünï"])
def test_names_without_ascii_letters_are_loaded_and_found(
    letta_source: Command, letta: Letta, server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_twice(letta_source, letta, server, "--dataset-name", name)
    monkeypatch.setenv("DLT_DATA_DIR", str(Path(letta_source.folder, "fresh")))
    assert letta_source.load(server, "--dataset-name", name).code == 0
    said = letta_source("export", "agent_messages", "--columns", "id", "--dataset-name", name)
    assert (said.code, said.out.count("\n")) == (0, messages(letta))
