"""The same facts as the report counts them and as the marts of the dbt package hold them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timezone
from typing import Any

import duckdb

# By mart: the report's own table, and the mart, both with the columns in the same order.
SAME = {
    "letta__turns": (
        "SELECT agent_id, conversation_id, started_at, round(latency, 5), calls, errors, steps, tokens,"
        " round(cost, 9) FROM turn",
        "SELECT agent_id, conversation_id, started_at, latency_seconds, tool_calls, tool_errors, steps,"
        " total_tokens, cost FROM {}",
    ),
    "int_letta__tool_calls": (
        "SELECT agent_id, name, called_at, returned_at, failed, denied FROM call",
        "SELECT agent_id, tool_name, called_at, returned_at, coalesce(return_status = 'error', false),"
        " outcome = 'denied' FROM {}",
    ),
    "letta__tool_usage": (
        "SELECT agent_id, name, count(*), count(*) FILTER (failed), count(*) FILTER (returned_at IS NULL),"
        " round(count(*) FILTER (failed) / nullif(count(returned_at), 0), 5) FROM call GROUP BY 1, 2",
        "SELECT agent_id, tool_name, calls, errors, never_returned, error_rate FROM {}",
    ),
    "letta__step_costs": (
        "SELECT step_id, agent_id, created_at, prompt_tokens, cached_input_tokens, completion_tokens,"
        " reasoning_tokens, total_tokens, has_price, round(cost, 9) FROM step_cost",
        "SELECT step_id, agent_id, created_at, prompt_tokens, cached_input_tokens, completion_tokens,"
        " reasoning_tokens, total_tokens, is_priced, cost FROM {}",
    ),
    "letta__agent_daily": (
        "SELECT agent_id, created_at::DATE, count(*) FROM item GROUP BY 1, 2",
        "SELECT agent_id, date_day, messages FROM {} WHERE messages > 0",
    ),
}


def of_report(mart: str, store: duckdb.DuckDBPyConnection) -> list[str]:
    """The rows of a store that `letta_source.report.model.build` completed."""
    return _sorted(store.execute(SAME[mart][0]).fetchall())


def of_mart(mart: str, table: str, rows: Callable[[str], Any]) -> list[str]:
    """The rows of the mart.

    Args:
        table: its name in SQL.
        rows: runs a query; times may have any zone.
    """
    return _sorted(rows(SAME[mart][1].format(table)))


def _sorted(rows: Any) -> list[str]:
    return sorted(repr(tuple(_plain(value) for value in row)) for row in rows)


def _plain(value: Any) -> Any:
    """Without what only the type of a database's column makes different."""
    if getattr(value, "tzinfo", None):
        value = value.astimezone(timezone.utc).replace(tzinfo=None)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    try:
        number = float(value)
    except TypeError:
        return str(value)
    return round(number, 5)
