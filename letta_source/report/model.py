"""Turns, tool calls, costs and errors: models of the dbt package, run in the report's store.

The rules stand in dbt/ alone: `models.sql` is what dbt compiles from them for DuckDB. See dbt/README.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files

import duckdb

from letta_source.report.prices import COLUMNS, Price

# By table, the column of the agent. Runs and steps stay: what they tell of an agent is in the models.
_OF_AGENTS = {
    "agents": "id",
    "int_letta__messages": "agent_id",
    "int_letta__tool_calls": "agent_id",
    "letta__step_costs": "agent_id",
    "letta__turns": "agent_id",
    "letta__errors": "agent_id",
}


def build(store: duckdb.DuckDBPyConnection, prices: Iterable[Price]) -> None:
    """Add the models to a filled store; call it once."""
    store.execute(
        "CREATE TABLE letta_model_prices (model VARCHAR, input_price DOUBLE, cached_input_price DOUBLE,"
        " cache_write_price DOUBLE, output_price DOUBLE)"
    )
    for price in prices:
        values = [getattr(price, column) for column in COLUMNS]
        store.execute("INSERT INTO letta_model_prices VALUES (?, ?, ?, ?, ?)", values)
    store.execute((files("letta_source.report") / "models.sql").read_text("utf-8"))


def keep_only(store: duckdb.DuckDBPyConnection, agents: Sequence[str]) -> None:
    """Delete what is of other agents than these, by id, or of none."""
    for table, column in _OF_AGENTS.items():
        others = f"{column} IS NULL OR {column} NOT IN (SELECT unnest($agents::VARCHAR[]))"
        store.execute(f"DELETE FROM {table} WHERE {others}", {"agents": list(agents)})
