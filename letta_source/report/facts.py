"""The contents of a report as plain rows: SQL over the models that `model.build` creates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb

from letta_source.report.filter_data import MODEL, filter_data
from letta_source.report.period import Period
from letta_source.times import later

Row = Mapping[str, Any]
# Rows of agents, tools and models; the rest are one row.
MOST = 12
SLOWEST = 10


def _quantiles(values: str, of: str) -> str:
    """Return the median and the 95th percentile in SQL.

    Rounded as in the page's script, which has the values in milliseconds: both shall print the same.
    """
    return (
        f"round(median(round({values}, 3)), 6) AS median_{of},"
        f" round(quantile_cont(round({values}, 3), 0.95), 6) AS p95_{of}"
    )


_HEADLINE = f"""
WITH said AS (
    SELECT
        -- Others only work: those that tend an agent's memory, those that were made and not yet asked.
        count(DISTINCT agent_id) FILTER (author = 'user') AS agents,
        count(DISTINCT agent_id) - agents AS other_agents,
        count(DISTINCT (agent_id, conversation_id)) FILTER (conversation_id IS NOT NULL) AS conversations,
        count(DISTINCT agent_id) FILTER (conversation_id IS NULL AND author = 'user') AS outside,
        count(*) AS messages
    FROM int_letta__messages WHERE created_at >= $start AND created_at < $end
),
answered AS (
    SELECT count(*) AS turns, {_quantiles("latency_seconds", "latency")}
    FROM letta__turns WHERE started_at >= $start AND started_at < $end
),
called AS (
    SELECT
        count(*) AS calls, count(*) FILTER (return_status = 'error') AS errors,
        errors / nullif(count(returned_at), 0) AS error_rate
    FROM int_letta__tool_calls WHERE called_at >= $start AND called_at < $end
),
spent AS (
    SELECT count(*) AS steps, sum(total_tokens) AS tokens, sum(cost) AS cost,
        count(*) FILTER (NOT is_priced) AS unpriced,
        count(*) FILTER (feedback = 'positive') AS positive,
        count(*) FILTER (feedback = 'negative') AS negative,
        positive / nullif(positive + negative, 0) AS satisfaction
    FROM letta__step_costs WHERE created_at >= $start AND created_at < $end
)
FROM said, answered, called, spent
"""

# Python has no dates before or after; the bucket of the first century begins before.
_FIRST = "TIMESTAMP '0001-01-01 00:00:00'"
_LAST = "TIMESTAMP '9999-12-31 23:59:59'"
_ACTIVITY = f"""
WITH bucket AS (
    SELECT unnest(range(date_trunc($step, $start::TIMESTAMP), $end::TIMESTAMP, $width::INTERVAL)) AS day
),
said AS (
    SELECT date_trunc($step, created_at) AS day, count(*) AS messages
    FROM int_letta__messages WHERE created_at >= $start AND created_at < $end GROUP BY ALL
),
answered AS (
    SELECT date_trunc($step, started_at) AS day, count(*) AS turns,
        {_quantiles("latency_seconds", "latency")}
    FROM letta__turns WHERE started_at >= $start AND started_at < $end GROUP BY ALL
)
SELECT greatest(day, {_FIRST}) AS day, least(day + $width::INTERVAL, {_LAST}) AS until,
    coalesce(messages, 0) AS messages,
    coalesce(turns, 0) AS turns, median_latency, p95_latency
FROM bucket LEFT JOIN said USING (day) LEFT JOIN answered USING (day) ORDER BY day
"""

_TOOLS = f"""
WITH called AS (
    SELECT *, coalesce(tool_name, '') AS tool
    FROM int_letta__tool_calls WHERE called_at >= $start AND called_at < $end
),
ranked AS (
    SELECT tool, row_number() OVER (ORDER BY count(*) DESC, tool) AS rank FROM called GROUP BY tool
)
SELECT
    CASE WHEN rank <= $most THEN tool END AS name, count(DISTINCT tool) AS names, count(*) AS calls,
    count(*) FILTER (return_status = 'error') AS errors,
    count(*) FILTER (returned_at IS NULL) AS never_returned,
    count(*) FILTER (outcome = 'denied') AS denied, errors / nullif(count(returned_at), 0) AS error_rate,
    {_quantiles("tool_seconds", "seconds")}, round(sum(round(tool_seconds, 3)), 3) AS seconds
FROM called JOIN ranked USING (tool) GROUP BY 1, least(rank, $most + 1) ORDER BY least(rank, $most + 1)
"""

_BY_AGENT = """
WITH said AS (
    SELECT agent_id, count(*) AS messages
    FROM int_letta__messages WHERE created_at >= $start AND created_at < $end GROUP BY ALL
),
answered AS (
    SELECT agent_id, count(*) AS turns
    FROM letta__turns WHERE started_at >= $start AND started_at < $end GROUP BY ALL
),
spent AS (
    SELECT agent_id, sum(prompt_tokens) AS prompt, sum(cached_input_tokens) AS cached,
        sum(completion_tokens) AS completion, sum(reasoning_tokens) AS reasoning, sum(total_tokens) AS tokens,
        sum(cost) AS cost
    FROM letta__step_costs WHERE created_at >= $start AND created_at < $end GROUP BY ALL
),
ranked AS (
    SELECT *, row_number() OVER (
        ORDER BY cost DESC NULLS LAST, tokens DESC NULLS LAST, messages DESC, agent_id
    ) AS rank
    FROM said FULL JOIN answered USING (agent_id) FULL JOIN spent USING (agent_id)
)
SELECT
    CASE WHEN rank <= $most THEN coalesce(any_value(name), any_value(agent_id), '') END AS name,
    CASE WHEN rank <= $most THEN any_value(agent_id) END AS agent_id, count(*) AS names,
    coalesce(sum(messages), 0) AS messages, coalesce(sum(turns), 0) AS turns,
    sum(prompt) AS prompt, sum(cached) AS cached, sum(completion) AS completion, sum(reasoning) AS reasoning,
    sum(tokens) AS tokens, sum(cost) AS cost
FROM ranked LEFT JOIN agents ON agents.id = ranked.agent_id
GROUP BY least(rank, $most + 1), rank <= $most ORDER BY least(rank, $most + 1)
"""

# The steps of the period, and their models, the most expensive first.
_RANKED_MODELS = f"""WITH spent AS (
    SELECT *, {MODEL} AS called FROM letta__step_costs WHERE created_at >= $start AND created_at < $end
),
ranked AS (
    SELECT called, row_number() OVER (
        ORDER BY sum(cost) DESC NULLS LAST, sum(total_tokens) DESC, called
    ) AS rank
    FROM spent GROUP BY called
)"""

_BY_MODEL = f"""
{_RANKED_MODELS}
SELECT
    CASE WHEN rank <= $most THEN called END AS name, count(DISTINCT called) AS names, count(*) AS steps,
    sum(prompt_tokens) AS prompt, sum(cached_input_tokens) AS cached,
    sum(completion_tokens) AS completion, sum(reasoning_tokens) AS reasoning, sum(total_tokens) AS tokens,
    sum(cost) AS cost, bool_and(is_priced) AS has_price
FROM spent JOIN ranked USING (called) GROUP BY least(rank, $most + 1), 1 ORDER BY least(rank, $most + 1)
"""

_COST_BY_DAY = f"""
{_RANKED_MODELS}
SELECT greatest(date_trunc($step, created_at), {_FIRST}) AS day,
    least(day + $width::INTERVAL, {_LAST}) AS until, least(rank, 5) AS rank,
    CASE WHEN rank < 5 THEN called END AS name, sum(cost) AS cost, sum(total_tokens) AS tokens
FROM spent JOIN ranked USING (called) GROUP BY ALL ORDER BY day, rank
"""

# The time that a person took to approve a call is not the tool's.
_SLOWEST = f"""
WITH slow AS (
    SELECT * FROM letta__turns
    WHERE started_at >= $start AND started_at < $end AND latency_seconds IS NOT NULL
    ORDER BY latency_seconds DESC, started_at DESC, agent_id LIMIT {SLOWEST}
),
called AS (
    SELECT turn_id, sum(epoch(returned_at) - epoch(coalesce(decided_at, called_at))) AS tool_seconds,
        mode(tool_name) AS most_called
    FROM int_letta__tool_calls SEMI JOIN slow USING (turn_id) GROUP BY turn_id
),
ran AS (
    SELECT turn_id, arg_min(run_id, (created_at, run_id)) AS run_id
    FROM int_letta__run_turns SEMI JOIN slow USING (turn_id) LEFT JOIN runs ON runs.id = run_id
    GROUP BY turn_id
),
asked AS (
    SELECT turn_id, arg_min(message_id, message_index) FILTER (author = 'user') AS message_id
    FROM int_letta__messages SEMI JOIN slow USING (turn_id) GROUP BY turn_id
)
SELECT coalesce(agent_name, agent_id) AS name, agent_id, message_id, run_id, started_at,
    latency_seconds AS latency, tool_seconds, greatest(latency_seconds - tool_seconds, 0) AS rest,
    tool_calls AS calls, tool_errors AS errors, most_called, steps, total_tokens AS tokens
FROM slow JOIN asked USING (turn_id) LEFT JOIN called USING (turn_id) LEFT JOIN ran USING (turn_id)
ORDER BY latency_seconds DESC, started_at DESC, agent_id
"""

_ERRORS = """
SELECT error_source AS kind, coalesce(error_type, 'unknown') AS type, count(*) AS errors,
    count(DISTINCT agent_id) AS agents, max(occurred_at) AS last_at,
    arg_max(error_source_id, occurred_at) AS last_id
FROM letta__errors
WHERE error_source IN ('run', 'step') AND occurred_at >= $start AND occurred_at < $end
GROUP BY kind, error_type ORDER BY errors DESC, kind, type LIMIT 50
"""

_ISSUES = """
SELECT resource, kind, count(*) AS issues, count(DISTINCT nullif(parent_id, '')) AS parents,
    max(load_started_at) AS last_at
FROM load_issues GROUP BY resource, kind ORDER BY last_at DESC, issues DESC, resource, kind LIMIT 50
"""

_GAPS = f"""
SELECT
    (SELECT count(*) FROM letta__step_costs WHERE created_at IS NULL) AS undated_steps,
    (SELECT list(DISTINCT {MODEL} ORDER BY {MODEL}) FROM letta__step_costs
     WHERE NOT is_priced AND created_at >= $start AND created_at < $end) AS unpriced,
    (SELECT count(*) FROM letta__turns
     WHERE latency_seconds IS NULL AND started_at >= $start AND started_at < $end) AS unanswered,
    (SELECT count(*) FROM agents) AS agents,
    (SELECT count(*) FROM steps) AS steps
"""


@dataclass(frozen=True)
class Facts:
    """All facts of a report about the conversations; times are UTC without a zone, durations seconds.

    In `tools`, `agents` and `models`, a row without a name stands for the `names` ones beyond `MOST`. An
    empty name is missing in the data.

    Attributes:
        before: `headline` of the period before; None if it holds no message or was not loaded completely.
        activity: a row for each step (day, week, …) of the period, whether or not anything happened.
        gaps: data that the figures lack.
        filter_data: data for the page's filter; None if it is too large.
    """

    period: Period
    headline: Row
    before: Row | None
    activity: Sequence[Row]
    tools: Sequence[Row]
    agents: Sequence[Row]
    models: Sequence[Row]
    spending: Sequence[Row]
    slowest: Sequence[Row]
    errors: Sequence[Row]
    issues: Sequence[Row]
    gaps: Row
    filter_data: Row | None


def find(store: duckdb.DuckDBPyConnection, period: Period, oldest: datetime | None) -> Facts:
    """Return the facts of a period.

    Args:
        oldest: when the oldest message was created; a previous period that began earlier is not compared.
    """

    def rows(sql: str, within: Period = period, **more: Any) -> list[Row]:
        given = {"start": _naive(within.start), "end": _naive(within.end), **more}
        # DuckDB refuses parameters that a statement does not use.
        found = store.execute(sql, {name: value for name, value in given.items() if f"${name}" in sql})
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    steps = {"step": period.step, "width": f"1 {period.step}"}
    is_whole = oldest is not None and oldest < later(_naive(period.before.start), timedelta(days=1))
    before = rows(_HEADLINE, period.before)[0] if is_whole else None
    activity = rows(_ACTIVITY, period, **steps)
    return Facts(
        period,
        headline=rows(_HEADLINE)[0],
        before=before if before and before["messages"] else None,
        activity=activity,
        tools=rows(_TOOLS, most=MOST),
        agents=rows(_BY_AGENT, most=MOST),
        models=rows(_BY_MODEL, most=MOST),
        spending=rows(_COST_BY_DAY, period, **steps),
        slowest=rows(_SLOWEST),
        errors=rows(_ERRORS),
        issues=rows(_ISSUES),
        gaps=rows(_GAPS)[0],
        filter_data=filter_data(store, period, activity),
    )


def _naive(time: datetime) -> datetime:
    """Drop the zone: times in the store have none."""
    return time.replace(tzinfo=None)
