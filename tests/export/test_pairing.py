"""Tool calls and their outcomes are those computed from the Letta, in every way that the docs show."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pandas as pd
import pytest

from letta_source.demo import Letta, Server
from letta_source.demo.shapes import moment
from letta_source.errors import ConfigError
from letta_source.export import to_arrow, to_pandas, tool_calls_sql
from letta_source.export.pairing import TOOL_CALLS
from tests.support.command import Command
from tests.support.dbt_expected import Call, expected
from tests.support.library_loads import Warehouse
from tests.support.paths import ROOT
from tests.support.recipes import recipe
from tests.support.reused_ids import reused

VIEW = f"CREATE SCHEMA letta_views; CREATE VIEW letta_views.tool_calls AS {tool_calls_sql()}"


@pytest.fixture(scope="module")
def letta() -> Letta:
    return reused()


@pytest.fixture
def tables(story: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with story.pipeline.sql_client() as client:
        connection: duckdb.DuckDBPyConnection = client.native_connection
        connection.begin()
        yield connection
        connection.rollback()


def outcome(call: Call) -> str:
    return "denied" if call.denied else call.status or "never_returned"


def test_ids_do_repeat(story: Warehouse) -> None:
    ids = Counter(story.rows("agent_messages__tool_calls", "agent_id", "tool_call_id"))
    assert max(ids.values()) >= 4


def test_calls_are_complete(letta: Letta, story: Warehouse) -> None:
    calls = to_arrow(story.pipeline, "tool_calls")
    assert calls.schema.names == [column.name for column in TOOL_CALLS.columns]
    found = Counter((row["agent_id"], row["tool_name"], row["outcome"]) for row in calls.to_pylist())
    made = expected(letta).calls
    assert found == Counter((call.where.agent_id, call.name, outcome(call)) for call in made)
    assert {"denied", "error", "success", "never_returned"} <= {key[2] for key in found}


def test_each_return_belongs_to_one_call(story: Warehouse) -> None:
    rows = to_arrow(story.pipeline, "tool_calls").to_pylist()
    keys = Counter(
        (row["agent_id"], row["return_message_id"], row["return_position"], row["return_idx"])
        for row in rows
        if row["is_returned"]
    )
    assert set(keys.values()) == {1}
    returns = dict(
        ((*key,), text)
        for *key, text in story.rows(
            "agent_messages__tool_returns", "agent_id", "message_id", "position", "idx", "tool_return"
        )
    )
    for row in rows:
        key = (row["agent_id"], row["return_message_id"], row["return_position"], row["return_idx"])
        if key in returns:
            assert row["tool_return"] == returns[key]
            assert row["returned_at"] >= row["called_at"]


def test_filters_apply_after_pairing(story: Warehouse) -> None:
    everything = to_arrow(story.pipeline, "tool_calls").to_pylist()
    agent_id = max(everything, key=lambda row: row["call_number"])["agent_id"]
    dates = sorted({row["called_at"] for row in everything})
    start, end = dates[len(dates) // 4], dates[-1]
    found = to_arrow(story.pipeline, "tool_calls", agent_ids=[agent_id], start_date=start, end_date=end)
    assert found.to_pylist() == [
        row for row in everything if row["agent_id"] == agent_id and start <= row["called_at"] < end
    ]
    assert to_arrow(story.pipeline, "tool_calls", agent_ids=["agent-0"]).num_rows == 0
    with pytest.raises(ConfigError, match="no message_type"):
        to_arrow(story.pipeline, "tool_calls", message_types=["user_message"])


def test_the_recipes_joins_return_one_row_per_call(letta: Letta, tables: duckdb.DuckDBPyConnection) -> None:
    made = expected(letta).calls
    tables.execute(VIEW)
    rows = tables.execute(recipe("Joins")).fetchall()
    assert Counter((row[0], row[2]) for row in rows) == Counter((call.name, outcome(call)) for call in made)
    # A join by id alone would give more rows.
    by_id = tables.sql(
        "SELECT count(*) FROM letta.agent_messages__tool_calls"
        " LEFT JOIN letta.agent_messages__tool_returns USING (agent_id, tool_call_id)"
    )
    assert by_id.fetchall()[0][0] > len(rows)


def test_tokens_and_costs_of_the_recipes(letta: Letta, tables: duckdb.DuckDBPyConnection) -> None:
    by_model: dict[Any, list[Any]] = defaultdict(lambda: [0, 0, 0, 0.0])
    for step in letta.tables["steps"].rows.values():
        cached, written = step["cached_input_tokens"] or 0, step["cache_write_tokens"] or 0
        spent = by_model[step["agent_id"], step["model"]]
        spent[0] += 1
        spent[1] += step["prompt_tokens"]
        spent[2] += step["completion_tokens"]
        fresh = step["prompt_tokens"] - cached - written
        price = 0.15 * (fresh + written) + 0.075 * cached + 0.60 * step["completion_tokens"]
        spent[3] = spent[3] + price / 1e6 if step["model"] == "gpt-4o-mini" else None
    found = {
        row[:2]: [*row[2:5], None if row[5] is None else pytest.approx(float(row[5]))]
        for row in tables.execute(recipe("Tokens and cost")).fetchall()
    }
    assert found == by_model


def cells() -> list[str]:
    notebook = json.loads((ROOT / "docs" / "explore.ipynb").read_text("utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_numbers_of_the_notebook(letta: Letta, story: Warehouse) -> None:
    space: dict[str, Any] = {"pipeline": story.pipeline, "to_pandas": to_pandas, "pd": pd}
    for cell in cells()[1:]:
        if "plt" not in cell and "conversation(" not in cell:
            exec(cell, space)
    made = expected(letta).calls
    by_tool = {key: count for key, count in space["by_tool"].stack().items() if count}
    assert by_tool == Counter((call.name, outcome(call)) for call in made)
    items = sum(
        len(one.items) for one in letta.messages.rows.values() if one.agent_id in letta.tables["agents"].rows
    )
    assert len(space["messages"]) == items
    runs = letta.tables["runs"].rows.values()
    took = sum(
        (moment(run["completed_at"]) - moment(run["created_at"])).total_seconds()
        for run in runs
        if run["completed_at"]
    )
    assert space["runs"]["seconds"].sum() == pytest.approx(took)
    steps = [
        step for step in letta.tables["steps"].rows.values() if step["run_id"] in letta.tables["runs"].rows
    ]
    for name in space["tokens"]:
        assert space["dated"][name].sum() == sum(step[name] or 0 for step in steps)


def test_the_command_prints_the_query_and_exports_the_rows(server: Server, letta_source: Command) -> None:
    assert letta_source.load(server, "--resources", "agents,agent_messages").code == 0
    asked = letta_source("export", "tool_calls", "--sql")
    assert asked.code == 0
    with duckdb.connect(str(letta_source.folder / "letta_db.duckdb"), read_only=True) as db:
        made = db.sql(asked.out).fetchall()
    written = letta_source("export", "tool_calls", "--columns", "tool_name,outcome", "--format", "csv")
    assert written.code == 0
    assert len(written.out.splitlines()) == len(made) + 1
    refused = letta_source("export", "agents", "--sql")
    assert refused.code == 2
    assert "--sql is for tool_calls" in refused.err


def test_without_tables_of_approvals_and_returns(tmp_path: Path, story: Warehouse) -> None:
    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as old, story.pipeline.sql_client() as client:
        source = client.native_connection
        old.execute("CREATE SCHEMA letta")
        for name in ("agent_messages", "agent_messages__tool_calls", "_dlt_loads"):
            rows = source.sql(f"FROM letta.{name}").arrow()
            old.from_arrow(rows).create(f"letta.{name}")
    pipeline = dlt.pipeline(
        "old",
        pipelines_dir=str(tmp_path / "pipelines"),
        destination=dlt.destinations.duckdb(str(path)),
        dataset_name="letta",
    )
    calls = to_arrow(pipeline, "tool_calls").to_pylist()
    assert calls
    assert {row["outcome"] for row in calls} == {"never_returned"}
