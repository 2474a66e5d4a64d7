"""The models on Snowflake, as fakesnow plays it: Snowflake's SQL is parsed, and run by DuckDB."""

from __future__ import annotations

import json
from collections import Counter
from zoneinfo import ZoneInfo

import pytest

from tests.support.dbt_built import Built
from tests.support.dbt_models import ModelTests
from tests.support.dbt_reports import ReportTests
from tests.support.dbt_warehouses import DbtSnowflake

pytestmark = pytest.mark.dbt


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> DbtSnowflake:
    return DbtSnowflake(tmp_path_factory.mktemp("snowflake"))


class TestModels(ModelTests):
    pass


class TestReport(ReportTests):
    pass


def test_a_second_build_updates_an_agent_and_respects_the_time_zone(built: Built) -> None:
    """Runs last: it changes the models."""
    turns = "SELECT * EXCLUDE (agent_name, agent_version) FROM letta__turns ORDER BY turn_id"
    before = built.project.rows(turns)
    ((renamed,),) = built.project.rows("SELECT max(agent_id) FROM letta__turns")
    built.warehouse.execute(f"UPDATE agents SET name = 'renamed' WHERE id = '{renamed}'")
    # In New York the whole story is of one day.
    zone = "America/New_York"
    built.project.run(
        *("run", "--select", "int_letta__agent_versions", "int_letta__messages", "letta__turns"),
        *("letta__agent_daily", "--vars", json.dumps({"letta_time_zone": zone})),
    )
    assert built.project.rows(turns) == before
    found = built.project.rows("SELECT agent_id FROM letta__turns WHERE agent_name = 'renamed'")
    assert {agent_id for (agent_id,) in found} == {renamed}

    (story,) = (str(a["id"]) for a in built.letta.tables["agents"].rows.values() if a["name"] == "story")
    days = built.project.rows(
        f"SELECT cast(date_day AS varchar), messages FROM letta__agent_daily WHERE agent_id = '{story}'"
    )
    messages = [m for m in built.letta.messages.rows.values() if m.agent_id == story]
    counted = Counter(str(m.created_at.astimezone(ZoneInfo(zone)).date()) for m in messages for _ in m.items)
    assert {day: count for day, count in days if count} == counted
