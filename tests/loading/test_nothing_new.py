"""A run that finds nothing new: it completes no load, and imports nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from letta_source.demo import Letta, serve
from tests.support.library_loads import quiet_agent

pytestmark = pytest.mark.whole

_TWO_RUNS = """
import sys
import letta_source

for _ in range(2):
    letta_source.load(letta_source.Load({"base_url": sys.argv[1]}, ["agents", "agent_messages"]))
print("sqlalchemy" in sys.modules)
with letta_source.open_dataset().sql_client() as client:
    for counted in ("load_id) FROM _dlt_loads", "DISTINCT run_id) FROM load_log"):
        print(client.execute_sql(f"SELECT count({counted}")[0][0])
"""


def test_it_completes_no_load_and_does_not_import_sqlalchemy(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    letta = Letta(seed=0)
    # Within the overlap, messages are read again by each load.
    letta.talk(quiet_agent(letta), "hi", date=datetime(2024, 5, 4, tzinfo=timezone.utc))
    with serve(letta) as server:
        said = subprocess.run(
            [sys.executable, "-c", _TWO_RUNS, server.base_url],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
    assert said.stderr == ""
    # Importing SQLAlchemy takes 0.3 s of each run.
    assert said.stdout.split() == ["False", "1", "2"]
