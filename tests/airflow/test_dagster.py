"""Dagster materializes from our assets what one load would load."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from letta_source.demo import serve
from letta_source.state.session import Session
from tests.support.airflow_tables import assert_same_tables
from tests.support.library_loads import Merged, small_letta
from tests.support.paths import ROOT
from tests.support.postgres import create_database, postgres

pytestmark = pytest.mark.airflow

ASSETS = ROOT / "pipelines" / "dagster_assets.py"

Materialize = Callable[[str, str], str]


@pytest.fixture
def materialize(python: Path, tmp_path: Path) -> Materialize:
    """Return a function of server and warehouse URL that materializes all assets and returns the log."""
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")

    def run(base_url: str, warehouse: str) -> str:
        done = subprocess.run(
            [str(python.with_name("dagster")), "asset", "materialize", "--select", "*", "-f", str(ASSETS)],
            cwd=tmp_path,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                "HOME": str(tmp_path),
                "PYTHONPATH": str(ROOT),
                "DAGSTER_HOME": str(tmp_path),
                "DLT_DATA_DIR": str(tmp_path / "dlt"),
                "RUNTIME__DLTHUB_TELEMETRY": "false",
                # Airflow is installed in the same environment.
                "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",
                "LETTA_BASE_URL": base_url,
                # Transient failures on a busy machine are fine.
                "SOURCES__LETTA__RETRIES": "2",
                "DESTINATION__POSTGRES__CREDENTIALS": warehouse,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stderr

    return run


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[str]:
    with postgres(tmp_path) as url:
        yield create_database(url, "warehouse")


def test_assets_are_loaded(materialize: Materialize, warehouse: str) -> None:
    letta = small_letta(agents=2)
    agent_id, *_ = letta.tables["agents"].rows
    expected = Merged()
    with serve(letta) as server:
        said = materialize(server.base_url, warehouse)
        assert "could not be read" not in said
        expected.load(server)
        assert_same_tables(warehouse, expected)

        letta.talk(agent_id, "again, and this one the server cannot render")
        letta.poison(letta.list_of("agent", agent_id).ids()[-1])
        said = materialize(server.base_url, warehouse)
        session: Session = expected.load(server, retries=0)
        assert f"{session.problems} could not be read: see load_issues" in said
        assert_same_tables(warehouse, expected)
