"""Names of datasets: no two become the same, and none is a name of the database's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dlt
import duckdb
import pytest
from dlt.common.schema import Schema
from hypothesis import given
from hypothesis import strategies as st

from letta_source.demo import Server
from letta_source.destinations import dataset_names
from letta_source.destinations.dataset_names import assert_not_reserved, dataset_called
from letta_source.destinations.dlt_internals import database_file
from letta_source.destinations.dlt_paths import assert_usable_path
from letta_source.errors import ConfigError
from tests.support.command import Command, log_lines

NAMING = Schema("letta").naming


def in_the_warehouse(name: str) -> str:
    return NAMING.normalize_table_identifier(dataset_called(name))


@pytest.mark.parametrize("name", ["letta", "Letta-Prod", "2026", "my data", "_x", "tenant__7"])
def test_ascii_names_are_those_of_dlt(name: str) -> None:
    assert dataset_called(name) == name


@pytest.mark.parametrize("name", ["数据", "🙂", "--", "日本"])
def test_a_name_without_ascii_letters_becomes_a_hash(name: str) -> None:
    assert re.fullmatch("x_[0-9a-f]{8}", in_the_warehouse(name))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("müller", "möller"),
        ("数据1", "资料1"),
        ("日本a", "中文a"),
        ("a·b", "a§b"),
        ("📦1", "🎁1"),
    ],
)
def test_names_that_dlt_would_equate_stay_different(one: str, other: str) -> None:
    assert NAMING.normalize_table_identifier(one) == NAMING.normalize_table_identifier(other)
    assert in_the_warehouse(one) != in_the_warehouse(other)


names = st.text(st.sampled_from("aB1_ -Äß数🙂"), min_size=1)


@given(names, names)
def test_names_with_other_letters_stay_different(one: str, other: str) -> None:
    if one.isascii() and other.isascii():
        return
    assert (in_the_warehouse(one) == in_the_warehouse(other)) is (one == other)


@pytest.mark.parametrize("dataset", ["temp", "SYSTEM", "information_schema", "pg_catalog"])
def test_duckdbs_own_schemas_are_refused(dataset: str) -> None:
    client = made_by(dlt.destinations.duckdb(duckdb.connect(":memory:")))
    with pytest.raises(ConfigError, match=f"{dataset} is a schema of the database's own"):
        assert_not_reserved(client, dataset)


@pytest.mark.parametrize("dataset", ["main", "letta", "memory", "select", "pg_catalogue"])
def test_other_names_are_accepted(dataset: str) -> None:
    assert_not_reserved(made_by(dlt.destinations.duckdb(duckdb.connect(":memory:"))), dataset)
    assert_not_reserved(made_by(dlt.destinations.filesystem("file:///srv/lake")), "temp")


@pytest.mark.parametrize(
    ("dialect", "dataset"),
    [("postgres", "pg_letta"), ("mysql", "sys"), ("mariadb", "performance_schema"), ("sqlite", "temp")],
)
def test_names_reserved_in_other_databases_are_accepted(
    dialect: str, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_names, "sql_client_of", lambda client: client)
    with pytest.raises(ConfigError):
        assert_not_reserved(SimpleNamespace(dialect_name=dialect), dataset)


def made_by(destination: Any, dataset: str = "letta") -> Any:
    return destination.client(Schema("letta"), destination.spec()._bind_dataset_name(dataset_name=dataset))


@pytest.mark.parametrize("url", ["file://lake/letta", "file://localhost/srv/lake", "file://nas/letta"])
def test_a_file_url_with_a_host_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names a host"):
        assert_usable_path(made_by(dlt.destinations.filesystem(url)), None)


@pytest.mark.parametrize("url", ["file:///srv/lake", "/srv/lake", "lake/letta", "./lake"])
def test_a_file_url_without_a_host_is_accepted(url: str) -> None:
    assert_usable_path(made_by(dlt.destinations.filesystem(url)), None)


def test_sqlites_main_dataset_is_the_database_file(tmp_path: Path) -> None:
    destination: Any = dlt.destinations.sqlalchemy(f"sqlite:///{tmp_path / 'w.db'}")
    files = [database_file(made_by(destination, name)) for name in ("main", "letta")]
    assert files == [tmp_path / "w.db", tmp_path / "w__letta.db"]


@pytest.mark.whole
def test_a_dataset_of_an_earlier_version_is_named(letta_source: Command, server: Server) -> None:
    assert letta_source.load(server, "--dataset-name", "gr_e").code == 0
    name = ("--dataset-name", "größe")
    for said in (letta_source.load(server, *name), letta_source("export", "agents", *name)):
        assert said.code == 2
        assert "continue with it by --dataset-name gr_e," in said.errors[-1]
    assert letta_source.load(server, "--dataset-name", "grüße", "--database", "other.duckdb").code == 0
    assert letta_source.count("agent_messages", "other.duckdb", dataset_called("grüße"))


@pytest.mark.whole
def test_reserved_names_are_refused_before_reading(letta_source: Command, server: Server) -> None:
    refused = letta_source.load(server, "--dataset-name", "temp")
    assert (refused.code, len(log_lines(refused)), letta_source.files()) == (2, 1, [])


def test_a_pipe_in_place_of_a_duckdb_file_is_refused(tmp_path: Path) -> None:
    """DuckDB would wait for ever."""
    file = tmp_path / "letta_db.duckdb"
    os.mkfifo(file)
    with pytest.raises(ConfigError, match="is not a file"):
        assert_usable_path(made_by(dlt.destinations.duckdb(str(file))), None)
