"""The environment of the schedulers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments import environment_python

REQUIREMENTS = Path(__file__).with_name("airflow.txt")

# The list of packages was resolved with the first.
PYTHON_VERSIONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="session")
def python() -> Path:
    """Return the Python of an environment with Airflow, Dagster and the tools that check manifests."""
    return environment_python("airflow", REQUIREMENTS, PYTHON_VERSIONS)
