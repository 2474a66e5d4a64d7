"""Tests of the dbt package, built over a small Letta by dbt in an environment of its own."""

import pytest

pytest.register_assert_rewrite(
    "tests.support.dbt_days",
    "tests.support.dbt_models",
    "tests.support.dbt_snapshots",
    "tests.support.dbt_variants",
    "tests.support.dbt_warehouses",
)
