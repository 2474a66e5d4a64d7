"""The models on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..postgres import postgres
from .models import ModelTests
from .reports import ReportTests
from .variants import VariantTests
from .warehouses import Postgres

pytestmark = pytest.mark.dbt


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    folder = tmp_path_factory.mktemp("postgres")
    with postgres(folder) as server:
        yield Postgres(folder, server, "letta")


class TestModels(ModelTests):
    pass


class TestVariants(VariantTests):
    pass


class TestReport(ReportTests):
    pass
