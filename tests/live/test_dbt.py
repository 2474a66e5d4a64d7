"""The dbt package builds over the real server's data, and its counts match the server's database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.conftest import Letta
from tests.support.dbt_project import Project
from tests.support.dbt_warehouses import DbtDuckDB, DbtPostgres, DbtWarehouse
from tests.support.postgres import postgres

pytestmark = pytest.mark.live


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_the_models_equal_the_servers_database(letta: Letta, tmp_path: Path, kind: str) -> None:
    if kind == "duckdb":
        build_and_compare(letta, DbtDuckDB, tmp_path)
        return
    with postgres(tmp_path) as server:
        build_and_compare(letta, lambda folder: DbtPostgres(folder, server, "letta"), tmp_path)


def build_and_compare(letta: Letta, make: Callable[[Path], DbtWarehouse], folder: Path) -> None:
    warehouse = make(folder)
    finished = [f"--batch-id={letta.ids.batches[name]}" for name in ("completed", "empty")]
    warehouse.load(letta.server.base_url, *finished)
    truth = letta.truth()
    project = Project.create(folder, warehouse)
    # Unit tests have rows of their own, which tests/dbt runs.
    project.run("build", "--exclude-resource-type", "unit_test")
    assert set(project.statuses().values()) <= {"success", "pass"}
    project.run("source", "freshness")

    rows = project.rows("SELECT agent_id, message_id, count(*) FROM letta__message_wide GROUP BY 1, 2")
    assert {(agent, message): count for agent, message, count in rows} == {
        key: len(kinds) for key, kinds in truth.agent_items.items()
    }
    assert {step for (step,) in project.rows("SELECT step_id FROM letta__step_costs")} == truth.steps
    calls = project.rows("SELECT message_id, tool_calls FROM letta__message_wide WHERE tool_calls > 0")
    assert Counter(dict(calls)) == Counter({key: len(ids) for key, ids in truth.tool_calls.items()})
    called, returned = (
        [call for ids in side.values() for call in ids] for side in (truth.tool_calls, truth.tool_returns)
    )
    ((found,),) = project.rows("SELECT sum(returned) FROM letta__tool_usage")
    assert found == sum(call in called for call in returned)
    ((turns, users),) = project.rows("SELECT count(*), sum(user_messages) FROM letta__turns")
    assert 0 < turns <= users
    for mart in ("letta__agent_daily", "letta__conversations", "letta__document", "letta__errors"):
        assert project.rows(f"SELECT * FROM {mart} LIMIT 1"), mart
