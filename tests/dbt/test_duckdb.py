"""The models on DuckDB."""

from __future__ import annotations

from runpy import run_path

import pytest

from tests.support.dbt_built import Built
from tests.support.dbt_days import DayTests
from tests.support.dbt_models import ModelTests
from tests.support.dbt_project import PACKAGE
from tests.support.dbt_reports import ReportTests
from tests.support.dbt_snapshots import SnapshotTests
from tests.support.dbt_variants import VariantTests
from tests.support.dbt_warehouses import DbtDuckDB

pytestmark = pytest.mark.dbt


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> DbtDuckDB:
    return DbtDuckDB(tmp_path_factory.mktemp("duckdb"))


class TestModels(ModelTests):
    pass


class TestSnapshots(SnapshotTests):
    pass


class TestVariants(VariantTests):
    pass


class TestDays(DayTests):
    pass


class TestReport(ReportTests):
    def test_the_reports_models_are_up_to_date(self, built: Built) -> None:
        files = run_path(str(PACKAGE / "compile_report.py"))
        made = files["script"]({name: node.get("compiled_code", "") for name, node in built.models.items()})
        assert files["SCRIPT"].read_text("utf-8") == made, "run python dbt/compile_report.py"
