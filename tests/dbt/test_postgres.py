"""The models on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dbt_days import DayTests
from tests.support.dbt_models import ModelTests
from tests.support.dbt_reports import ReportTests
from tests.support.dbt_snapshots import SnapshotTests
from tests.support.dbt_variants import VariantTests
from tests.support.dbt_warehouses import DbtPostgres
from tests.support.postgres import postgres

pytestmark = pytest.mark.dbt


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbtPostgres]:
    folder = tmp_path_factory.mktemp("postgres")
    with postgres(folder) as server:
        yield DbtPostgres(folder, server, "letta")


class TestModels(ModelTests):
    pass


class TestSnapshots(SnapshotTests):
    pass


class TestVariants(VariantTests):
    pass


class TestDays(DayTests):
    days = 1


class TestReport(ReportTests):
    pass
