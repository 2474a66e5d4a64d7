"""The dbt package, built over a small Letta by a dbt in an environment of its own."""

import pytest

pytest.register_assert_rewrite("tests.dbt.models", "tests.dbt.variants", "tests.dbt.warehouses")
