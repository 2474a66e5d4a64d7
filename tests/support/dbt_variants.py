"""Warehouses that differ from those of one whole load, and custom prices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.dbt_built import Built
from tests.support.dbt_project import Project


class VariantTests:
    def test_a_missing_required_family_is_named_with_its_variable(self, smaller: Project) -> None:
        variables = json.dumps({"letta__using_groups": True})
        code, said = smaller.try_run("run", "--select", "stg_letta__groups", "--vars", variables)
        assert code == 1
        assert "groups" in said
        assert "is not there, and the variable letta__using_groups is true" in said

    def test_an_empty_schema_is_named_with_its_variable(self, smaller: Project) -> None:
        variables = json.dumps({"letta_schema": "elsewhere"})
        code, said = smaller.try_run("run", "--select", "stg_letta__agents", "--vars", variables)
        assert code == 1
        assert "elsewhere" in said
        assert "Set the variable letta_schema" in said

    def test_it_builds_without_families_and_columns(self, smaller: Project, built: Built) -> None:
        statuses = smaller.build(letta_document_chunk_size=1000, letta__using_batches=False)
        assert set(statuses.values()) == {"success", "pass"}
        # Missing tables give empty models; a disabled model that nothing reads is not built.
        assert smaller.rows("SELECT * FROM stg_letta__steps") == []
        assert smaller.rows("SELECT * FROM letta__step_costs") == []
        assert smaller.rows("SELECT * FROM stg_letta__groups") == []
        assert not {"stg_letta__batches", "stg_letta__messages"} & smaller.models().keys()

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
        assert longest == 1000

    def test_custom_prices(self, built: Built, tmp_path: Path) -> None:
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
        # 1,000 input tokens: 600 read from the cache, 100 written to it at the input price. 50 output tokens.
        assert costs == [(pytest.approx((300 * 10 + 600 * 1 + 100 * 10 + 50 * 100) / 1e6),)]
        others = project.rows("SELECT cost FROM letta__step_costs WHERE model <> 'claude-sonnet-4-5'")
        assert {cost for (cost,) in others} == {None}
