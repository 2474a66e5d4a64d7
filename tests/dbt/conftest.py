"""The models of one story, built in a module's warehouse."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tests.support.dbt_built import Built, build, less
from tests.support.dbt_expected import ExpectedModels, expected
from tests.support.dbt_project import Project
from tests.support.dbt_reports import reported
from tests.support.dbt_warehouses import DbtWarehouse


@pytest.fixture(scope="module")
def built(warehouse: DbtWarehouse, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(warehouse, tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def held(built: Built) -> ExpectedModels:
    return expected(built.letta)


@pytest.fixture(scope="module")
def smaller(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return less(built, tmp_path_factory.mktemp("less"))


@pytest.fixture(scope="module")
def store(built: Built) -> Iterator[duckdb.DuckDBPyConnection]:
    with reported(built) as store:
        yield store
