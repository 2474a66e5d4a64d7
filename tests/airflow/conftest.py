"""The environment of the schedulers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments import environment_python

REQUIREMENTS = Path(__file__).with_name("airflow.txt")

# The list was resolved with the first.
PYTHON_VERSIONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of an environment with Airflow, Dagster and what checks manifests."""
    return environment_python("airflow", REQUIREMENTS, PYTHON_VERSIONS)
