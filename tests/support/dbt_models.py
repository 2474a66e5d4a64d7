"""The models show what the Letta held."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from letta_source.schema.resources import all_tables
from tests.support.dbt_built import ON_REQUEST, Built
from tests.support.dbt_expected import ExpectedModels, Where
from tests.support.dbt_project import LAYERS
from tests.support.dbt_story import LONG, USERS

CHUNK = 4000
_COUNT = "SELECT '{0}', count(*) FROM {1}{0}"


class ModelTests:
    def test_everything_is_built_and_passes(self, built: Built) -> None:
        assert set(built.statuses.values()) == {"success", "pass"}
        kinds = Counter(name.partition(".")[0] for name in built.statuses)
        assert kinds["model"] == len(list(all_tables())) + 16
        assert kinds["unit_test"] == 15
        assert kinds["test"] > 100

    def test_the_source_is_fresh(self, built: Built) -> None:
        built.project.run("source", "freshness", "--vars", json.dumps(ON_REQUEST))

    def test_staging_has_every_row_once(self, built: Built) -> None:
        loaded, staged = (
            reader.rows(" UNION ALL ".join(_COUNT.format(t.name, prefix) for t in all_tables()))
            for reader, prefix in ((built.warehouse, ""), (built.project, "stg_letta__"))
        )
        assert dict(staged) == dict(loaded)
        assert sum(count for _, count in loaded) > 1000

    def test_every_column_is_described(self, built: Built) -> None:
        columns: dict[str, set[str]] = {}
        for table, column in built.project.rows(
            "SELECT lower(table_name), lower(column_name) FROM information_schema.columns"
            f" WHERE lower(table_schema) IN {LAYERS}"
        ):
            columns.setdefault(table, set()).add(column)
        assert columns.keys() == built.models.keys()
        for name, node in built.models.items():
            assert node["description"], name
            assert node["columns"].keys() == columns[name], name
            assert all(column["description"] for column in node["columns"].values()), name

    def test_each_layer_has_a_schema_and_counts_are_integers(self, built: Built) -> None:
        columns = built.project.rows(
            "SELECT lower(table_schema), lower(table_name), lower(column_name), upper(data_type)"
            f" FROM information_schema.columns WHERE lower(table_schema) IN {LAYERS}"
        )
        starts = dict(zip(LAYERS, ("letta_", "int_letta__", "stg_letta__"), strict=True))
        assert {schema for schema, *_ in columns} == set(LAYERS)
        assert [c for c in columns if not c[1].startswith(starts[c[0]])] == []
        # DuckDB's sum of integers is HUGEINT, PostgreSQL's numeric; prices and loaded columns may be numeric.
        assert [c for c in columns if c[3] == "HUGEINT"] == []
        wide = ("DECIMAL", "NUMERIC")
        made = [c for c in columns if c[0] != LAYERS[2] and c[1] != "letta_model_prices"]
        assert [c for c in made if c[3].startswith(wide)] == []

    def test_users(self, built: Built, held: ExpectedModels) -> None:
        """A turn's user is its sender, else the agent's only identity; all other turns share one row."""
        found = built.project.rows("SELECT user_id, turns, user_messages FROM letta__users")
        wanted: dict[str | None, int] = {None: len(held.turns) - sum(USERS.values()), **USERS}
        assert {user: turns for user, turns, _ in found} == wanted

    def test_feedback(self, built: Built) -> None:
        given = Counter(step["feedback"] for step in built.letta.tables["steps"].rows.values())
        ((good, bad),) = built.project.rows(
            "SELECT sum(positive_feedback), sum(negative_feedback) FROM letta__conversations"
        )
        assert (good, bad) == (given["positive"], given["negative"])
        assert min(good, bad) > 0

    def test_turns(self, built: Built, held: ExpectedModels) -> None:
        found = {
            Where(*where): (messages, calls, errors, tokens)
            for *where, messages, calls, errors, tokens in built.project.rows(
                "SELECT agent_id, conversation_id, turn_index,"
                " messages, tool_calls, tool_errors, total_tokens FROM letta__turns"
            )
        }
        assert found == {
            where: (turn.messages, turn.tool_calls, turn.tool_errors, turn.total_tokens)
            for where, turn in held.turns.items()
        }
        # The story itself must contain the case.
        assert max(Counter((agent_id, conv) for agent_id, conv, _ in found if conv).values()) > 1

    def test_latency_is_the_sum_of_the_runs(self, built: Built, held: ExpectedModels) -> None:
        found = {
            Where(*where): seconds
            for *where, seconds in built.project.rows(
                "SELECT agent_id, conversation_id, turn_index, latency_seconds FROM letta__turns"
                " WHERE latency_source = 'runs'"
            )
        }
        wanted = {where: turn.latency for where, turn in held.turns.items() if turn.latency is not None}
        assert found == pytest.approx(wanted)
        assert 0 < len(found) < len(held.turns)

    def test_tool_usage(self, built: Built, held: ExpectedModels) -> None:
        usage = built.project.rows(
            "SELECT agent_id, tool_name, calls, errors, never_returned, denied FROM letta__tool_usage"
        )
        assert set(usage) == held.usage()
        calls, errors, never_returned, denied = (sum(column) for column in list(zip(*usage, strict=True))[2:])
        assert min(calls, errors, never_returned, denied) > 0

    def test_costs(self, built: Built, held: ExpectedModels) -> None:
        found = dict(built.project.rows("SELECT step_id, cost FROM letta__step_costs"))
        assert {step for step, cost in found.items() if cost is None} == {
            step for step, cost in held.costs.items() if cost is None
        }
        known = {step: cost for step, cost in held.costs.items() if cost is not None}
        assert {step: found[step] for step in known} == pytest.approx(known)
        ((without_price,),) = built.project.rows("SELECT sum(steps_without_price) FROM letta__agent_daily")
        assert without_price == len(found) - len(known) > 0

    def test_marts_agree(self, built: Built, held: ExpectedModels) -> None:
        total = sum(cost for cost in held.costs.values() if cost is not None)
        for query in (
            "SELECT sum(cost) FROM letta__agent_daily",
            "SELECT sum(input_cost + cached_input_cost + cache_write_cost + output_cost)"
            " FROM letta__step_costs",
        ):
            assert float(built.project.rows(query)[0][0]) == pytest.approx(total), query
        by_turn = sum(turn.cost or 0 for turn in held.turns.values())
        assert float(built.project.rows("SELECT sum(cost) FROM letta__turns")[0][0]) == pytest.approx(by_turn)

    def test_days_are_utc_days(self, built: Built) -> None:
        """The story goes past midnight, and the databases may be in any time zone."""
        days = built.project.rows(
            "SELECT cast(date_day AS varchar), messages FROM letta__agent_daily WHERE agent_name = 'story'"
        )
        assert len(days) == 3
        agent_id = _story(built)
        messages = (m for m in built.letta.messages.rows.values() if m.agent_id == agent_id)
        counted = Counter(str(m.created_at.date()) for m in messages for _ in m.items)
        assert dict(days) == counted

    def test_errors(self, built: Built, held: ExpectedModels) -> None:
        found = Counter(source for (source,) in built.project.rows("SELECT error_source FROM letta__errors"))
        failed = [run for run in built.letta.tables["runs"].rows.values() if run["status"] == "failed"]
        assert found["run"] == len(failed) > 0
        assert found["tool_call"] == sum(call.status == "error" for call in held.calls)

    def test_document_chunks_are_bounded_and_complete(self, built: Built) -> None:
        ((longest,),) = built.project.rows("SELECT max(length(text)) FROM letta__document")
        assert longest <= CHUNK
        texts = built.project.rows(
            "SELECT text FROM letta__document WHERE agent_name = 'story' AND conversation_id IS NULL"
            " ORDER BY chunk_index"
        )
        said = "".join(text for (text,) in texts)
        assert len(LONG) > 1_000_000
        assert LONG in said
        assert len(texts) >= len(LONG) // CHUNK


def _story(built: Built) -> str:
    return next(str(a["id"]) for a in built.letta.tables["agents"].rows.values() if a["name"] == "story")
