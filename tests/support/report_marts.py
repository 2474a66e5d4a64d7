"""Rows of the same models as the report and as dbt build them, to compare."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timezone
from typing import Any

import duckdb

# By model: the columns that a report can have, which reads no texts and no agents' identities.
SAME = {
    "letta__turns": "agent_id, agent_name, conversation_id, turn_index, started_at, ended_at,"
    " latency_seconds, latency_source, run_status, messages, user_messages, runs, tool_calls, tool_errors,"
    " steps, prompt_tokens, cached_input_tokens, completion_tokens, reasoning_tokens, total_tokens, cost,"
    " steps_without_price",
    "int_letta__tool_calls": "agent_id, conversation_id, message_id, position, idx, call_number, tool_name,"
    " called_at, times_seen, is_approval_requested, is_approved, decided_at, is_returned, returned_at,"
    " return_status, outcome, tool_seconds",
    "letta__step_costs": "step_id, agent_id, created_at, feedback, model, model_handle, prompt_tokens,"
    " cached_input_tokens, completion_tokens, reasoning_tokens, total_tokens, is_priced, cost",
    "int_letta__messages": "agent_id, message_id, position, conversation_id, message_index, turn_index,"
    " author",
    "letta__errors": "error_source, error_source_id, agent_id, occurred_at, error_type",
}


def of_report(model: str, store: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the rows of a store that `letta_source.report.model.build` completed."""
    return comparable(store.execute(f"SELECT {SAME[model]} FROM {model}").fetchall())


def of_model(model: str, rows: Callable[[str], Any]) -> list[str]:
    """Return the rows that dbt built.

    Args:
        rows: a function that runs a query; times may have any zone.
    """
    return comparable(rows(f"SELECT {SAME[model]} FROM {model}"))


def comparable(rows: Any) -> list[str]:
    """Return rows of any database in a comparable form, sorted."""
    return sorted(repr(tuple(_plain(value) for value in row)) for row in rows)


def _plain(value: Any) -> Any:
    """Return a value without differences that come only from the type of a database column."""
    if getattr(value, "tzinfo", None):
        value = value.astimezone(timezone.utc).replace(tzinfo=None)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    try:
        number = float(value)
    except TypeError:
        return str(value)
    return round(number, 5)
