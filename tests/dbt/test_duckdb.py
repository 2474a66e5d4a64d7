"""The models on DuckDB."""

from __future__ import annotations

import pytest

from .models import ModelTests
from .reports import ReportTests
from .variants import VariantTests
from .warehouses import DuckDB

pytestmark = pytest.mark.dbt


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> DuckDB:
    return DuckDB(tmp_path_factory.mktemp("duckdb"))


class TestModels(ModelTests):
    pass


class TestVariants(VariantTests):
    pass


class TestReport(ReportTests):
    pass
