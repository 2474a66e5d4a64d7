"""Warehouses that are not as one whole load leaves them, and prices of one's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES
from tests.support.dbt_built import KEPT, Built
from tests.support.dbt_project import Project


class VariantTests:
    def test_a_table_that_is_missing_is_named(self, smaller: Project) -> None:
        code, said = smaller.try_run("run", "--select", "stg_letta__groups")
        assert code == 1
        assert "groups" in said
        assert "is not there" in said

    def test_it_builds_without_families_and_columns(self, smaller: Project, built: Built) -> None:
        off = {f"letta__using_{name}": False for name in (*RESOURCES, LOAD_ISSUES.name) if name not in KEPT}
        statuses = smaller.build(**off, letta_document_chunk_size=300)
        assert set(statuses.values()) == {"success", "pass"}
        # What others read is there and empty, and the rest is not.
        assert smaller.rows("SELECT * FROM stg_letta__steps") == []
        assert smaller.rows("SELECT * FROM letta__step_costs") == []
        assert not {"stg_letta__groups", "stg_letta__batch_messages"} & smaller.models().keys()

        columns = (
            "table_name = 'stg_letta__agent_messages' AND column_name IN ('sequence', 'extra', 'event_data')"
        )
        types = dict(
            smaller.rows(
                f"SELECT column_name, lower(data_type) FROM information_schema.columns WHERE {columns}"
            )
        )
        assert types["sequence"] == "bigint"
        assert types["extra"] == types["event_data"]
        assert smaller.rows("SELECT * FROM stg_letta__agent_messages WHERE sequence IS NOT NULL") == []

        ((messages,),) = smaller.rows("SELECT count(*) FROM letta__message_wide")
        assert ((messages,),) == tuple(built.project.rows("SELECT count(*) FROM letta__message_wide"))
        assert smaller.rows("SELECT * FROM letta__message_wide WHERE message_id = 'message-unfinished'") == []
        names = {name for (name,) in smaller.rows("SELECT DISTINCT agent_name FROM letta__message_wide")}
        assert names == {agent["name"] for agent in built.letta.tables["agents"].rows.values()}
        assert smaller.rows("SELECT * FROM letta__turns WHERE latency_source = 'runs'") == []
        ((longest,),) = smaller.rows("SELECT max(characters) FROM letta__document")
        assert longest == 300

    def test_prices_of_ones_own(self, built: Built, tmp_path: Path) -> None:
        warehouse = built.warehouse.copy(tmp_path)
        warehouse.execute(
            "CREATE TABLE our_prices (model varchar, input_price numeric, cached_input_price numeric,"
            " cache_write_price numeric, output_price numeric)",
            "INSERT INTO our_prices VALUES ('anthropic/claude-sonnet-4-5', 10, 1, null, 100)",
            "INSERT INTO our_prices VALUES ('claude-sonnet-4-5', 99999, 1, 1, 1)",
        )
        project = replace(built.project, warehouse=warehouse)
        variables = json.dumps({"letta_model_prices": "letta.our_prices"})
        project.run("run", "--select", "int_letta__model_prices", "letta__step_costs", "--vars", variables)
        costs = project.rows("SELECT DISTINCT cost FROM letta__step_costs WHERE model = 'claude-sonnet-4-5'")
        # 1,000 in, of which 600 read from the cache and 100 written to it at the price of input; 50 out.
        assert costs == [(pytest.approx((300 * 10 + 600 * 1 + 100 * 10 + 50 * 100) / 1e6),)]
        others = project.rows("SELECT cost FROM letta__step_costs WHERE model <> 'claude-sonnet-4-5'")
        assert {cost for (cost,) in others} == {None}
