"""The models on DuckDB."""

from __future__ import annotations

import pytest

from tests.support.dbt_days import DayTests
from tests.support.dbt_models import ModelTests
from tests.support.dbt_reports import ReportTests
from tests.support.dbt_variants import VariantTests
from tests.support.dbt_warehouses import DbtDuckDB

pytestmark = pytest.mark.dbt


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> DbtDuckDB:
    return DbtDuckDB(tmp_path_factory.mktemp("duckdb"))


class TestModels(ModelTests):
    pass


class TestVariants(VariantTests):
    pass


class TestDays(DayTests):
    pass


class TestReport(ReportTests):
    pass
