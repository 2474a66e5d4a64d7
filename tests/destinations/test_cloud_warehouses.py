"""docs/warehouses.md is true, as far as tests without an account can show.

Its examples resolve, dlt allows what its table promises, names and types fit, and the SQL that dlt would run
parses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest
import sqlglot
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.utils import verify_schema_capabilities
from dlt.common.storages import ParsedLoadJobFileName

from letta_source.destinations.dlt_internals import place_of
from letta_source.loading.destination import DESTINATIONS
from letta_source.schema.resources import all_tables
from tests.support.driverless_clients import (
    DOCS,
    Example,
    Promise,
    client,
    configured,
    destination_of,
    drivers,
    examples,
    promises,
    resolved,
    schema,
)

EXAMPLES, PROMISES = examples(), promises()
# Destinations for which dlt makes SQL, without SQLAlchemy and without a bucket.
SQL = [promise for promise in PROMISES if promise.destination not in ("sqlalchemy", "filesystem")]
# Tables of one shape differ only in names, so the SQL of one is enough.
SHAPES = {
    (tuple((column.type, column.nullable) for column in table.columns), table.merge_key == ()): table
    for table in all_tables()
}.values()
each_promise = pytest.mark.parametrize("promise", PROMISES, ids=str)


@pytest.fixture(scope="module", params=SQL, ids=str)
def warehouse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield dlt's client, configured by the destination's first example."""
    promise: Promise = request.param
    example = next(one for one in EXAMPLES if one.destination == promise.destination)
    with pytest.MonkeyPatch.context() as patch, drivers():
        configured(tmp_path_factory.mktemp("dlt"), example.toml, patch)
        made = client(destination_of(promise.destination), promise.json)
        with Container().injectable_context(made.capabilities):
            yield made


def capabilities_of(name: str) -> DestinationCapabilitiesContext:
    return destination_of(name).capabilities()


def keys(toml: str) -> set[str]:
    return set(re.findall(r"^(\w+) =", toml, re.MULTILINE))


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_each_example_resolves(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if example.destination == "sqlalchemy":
        pytest.importorskip("sqlalchemy")
    configured(tmp_path, example.toml, monkeypatch)
    pipeline = dlt.pipeline("letta", str(tmp_path), destination=example.destination, dataset_name="letta")
    try:
        known: set[str] = {"staging_type"} if pipeline.staging else set()
        for destination in filter(None, (pipeline.destination, pipeline.staging)):
            config = resolved(destination)
            assert config.is_resolved()
            assert config.credentials is None or config.credentials.is_resolved()
            known |= {*config, *(config.credentials or ())}
        # dlt would ignore unknown keys.
        assert keys(example.toml) <= known
    finally:
        pipeline.deactivate()


@pytest.mark.parametrize(
    ("destination", "setting", "other"),
    [
        ("motherduck", 'database = "', 'database = "other_'),
        ("bigquery", 'project_id = "', 'project_id = "other-'),
        # A project that differs from that of the credentials.
        ("bigquery", "location = ", 'project_id = "other"\nlocation = '),
        ("snowflake", 'database = "', 'database = "OTHER_'),
        ("redshift", 'database = "', 'database = "other_'),
        ("databricks", 'catalog = "', 'catalog = "other_'),
        ("clickhouse", 'database = "', 'database = "other_'),
    ],
)
def test_two_databases_of_one_account_have_different_location_ids(
    destination: str, setting: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the cursors of one place, rows would be missing in the other."""
    toml = next(one.toml for one in EXAMPLES if one.destination == destination)
    texts = (toml, toml, toml.replace(setting, other))
    first, again, elsewhere = (place(text, destination, tmp_path, monkeypatch) for text in texts)
    assert first == again != elsewhere


def test_two_folders_of_one_bucket_have_different_location_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f'[destination.filesystem]\nbucket_url = "memory://bucket/{folder}"' for folder in "ab"]
    one, other = (place(text, "filesystem", tmp_path, monkeypatch) for text in texts)
    assert one != other


def place(toml: str, destination: str, folder: Path, patch: pytest.MonkeyPatch) -> str:
    configured(folder, toml, patch)
    with drivers():
        pipeline = dlt.pipeline("letta", str(folder), destination=destination, dataset_name="letta")
        try:
            return place_of(pipeline.destination_client(), "letta")
        finally:
            pipeline.deactivate()


def test_each_destination_of_the_table_has_an_example() -> None:
    assert [promise.destination for promise in PROMISES] == list(
        dict.fromkeys(example.destination for example in EXAMPLES)
    )


def test_each_known_destination_is_named() -> None:
    assert [name for name in DESTINATIONS if f"`{name}`" not in DOCS] == []


@each_promise
def test_the_file_formats_are_supported(promise: Promise) -> None:
    capabilities = capabilities_of(promise.destination)
    directly, *staged = promise.files
    assert directly in (capabilities.supported_loader_file_formats or ())
    assert set(staged) <= set(capabilities.supported_staging_file_formats or ())


@each_promise
def test_rows_are_written_as_documented(promise: Promise) -> None:
    capabilities = capabilities_of(promise.destination)
    first, *others = promise.writes
    strategies = list(capabilities.supported_merge_strategies or ())
    if capabilities.merge_strategies_selector:
        assert set(others) <= set(
            capabilities.merge_strategies_selector(strategies, table_schema=_formatted("delta"))
        ) & set(capabilities.merge_strategies_selector(strategies, table_schema=_formatted("iceberg")))
        strategies = list(capabilities.merge_strategies_selector(strategies, table_schema=_formatted(None)))
    assert (first in strategies) if first != "append" else not strategies


def _formatted(table_format: str | None) -> Any:
    return {"name": "", "columns": {}, "table_format": table_format}


@each_promise
def test_names_fit_and_are_not_changed(promise: Promise) -> None:
    capabilities = capabilities_of(promise.destination)
    made = schema(capabilities)
    assert verify_schema_capabilities(made, capabilities, promise.destination) == []
    for table in all_tables():
        assert list(made.tables[table.name]["columns"]) == [column.name for column in table.columns]
    separators = len("letta_staging___")
    for name, shape in made.tables.items():
        assert len(name) + separators <= capabilities.max_identifier_length
        assert all(len(column) <= capabilities.max_column_identifier_length for column in shape["columns"])
    fold = capabilities.casefold_identifier
    assert len({fold(name).casefold() for name in made.tables}) == len(made.tables)


def test_each_type_can_be_loaded_from_the_file_format(warehouse: Any) -> None:
    (promise,) = (one for one in SQL if one.destination == warehouse.config.destination_type)
    types = warehouse.type_mapper
    for name in warehouse.schema.tables:
        table = warehouse.prepare_load_table(name)
        for column in table["columns"].values():
            assert types.to_destination_type(column, table)
            for file_format in promise.files:
                types.ensure_supported_type(column, table, file_format)


def test_create_statements_parse(warehouse: Any) -> None:
    for name in [*(table.name for table in SHAPES), *warehouse.schema.dlt_table_names()]:
        columns = list(warehouse.schema.get_table_columns(name).values())
        (made,) = warehouse._get_table_update_sql(name, columns, generate_alter=False)
        parsed = _parsed(made, warehouse)
        assert [type(statement).__name__ for statement in parsed] == ["Create"]
        defined = {column.name.casefold() for column in parsed[0].find_all(sqlglot.exp.ColumnDef)}
        assert defined == {column["name"] for column in columns}


def test_merge_statements_parse(warehouse: Any) -> None:
    for table in SHAPES:
        (job,) = warehouse._create_merge_followup_jobs([warehouse.prepare_load_table(table.name)])
        assert ParsedLoadJobFileName.parse(job.new_file_path()).table_name == table.name
        made = [
            statement
            for line in Path(job.new_file_path()).read_text("utf-8").splitlines()
            for statement in _parsed(line, warehouse)
        ]
        kinds = [type(statement).__name__ for statement in made]
        assert kinds in (["Delete", "Insert"], ["Delete", "Delete", "Insert"])
        for statement in made[:-1]:
            used = {column.name.casefold() for column in statement.find_all(sqlglot.exp.Column)}
            assert used in ({*table.primary_key}, {*table.merge_key})


def _parsed(sql: str, warehouse: Any) -> list[Any]:
    dialect = warehouse.capabilities.sqlglot_dialect
    return [one for one in sqlglot.parse(sql, read=dialect, error_level=sqlglot.ErrorLevel.RAISE) if one]


def test_the_stored_schema_fits_into_a_statement(warehouse: Any) -> None:
    """dlt compresses only what exceeds the longest text; ClickHouse's texts have no limit."""
    kept = json.dumps(warehouse.schema.to_dict())
    escaped = kept.replace("\\", "\\\\").replace("'", "\\'")
    if len(kept) <= warehouse.capabilities.max_text_data_type_length:
        assert len(escaped) < warehouse.capabilities.max_query_length * 0.9
