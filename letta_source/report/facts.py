"""The contents of a report, as plain rows: SQL over a store that `model.build` completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb

from letta_source.report.period import Period
from letta_source.times import later

Row = Mapping[str, Any]
# Of agents, tools and models: those beyond are one row.
MOST = 12
SLOWEST = 10

_HEADLINE = """
WITH said AS (
    SELECT
        -- Others only work: those that tend an agent's memory, those that were made and not yet asked.
        count(DISTINCT agent_id) FILTER (sender = 'user') AS agents,
        count(DISTINCT agent_id) - agents AS other_agents,
        count(DISTINCT (agent_id, conversation_id)) FILTER (conversation_id IS NOT NULL) AS conversations,
        count(DISTINCT agent_id) FILTER (conversation_id IS NULL AND sender = 'user') AS outside,
        count(*) AS messages
    FROM item WHERE created_at >= $start AND created_at < $end
),
answered AS (
    SELECT count(*) AS turns, median(latency) AS median_latency, quantile_cont(latency, 0.95) AS p95_latency
    FROM turn WHERE started_at >= $start AND started_at < $end
),
called AS (
    SELECT
        count(*) AS calls, count(*) FILTER (failed) AS errors,
        errors / nullif(count(returned_at), 0) AS error_rate
    FROM call WHERE called_at >= $start AND called_at < $end
),
spent AS (
    SELECT count(*) AS steps, sum(total_tokens) AS tokens, sum(cost) AS cost,
        count(*) FILTER (NOT has_price) AS unpriced,
        count(*) FILTER (feedback = 'positive') AS positive,
        count(*) FILTER (feedback = 'negative') AS negative,
        positive / nullif(positive + negative, 0) AS satisfaction
    FROM step_cost WHERE created_at >= $start AND created_at < $end
)
FROM said, answered, called, spent
"""

# Python has none before or after; the first century begins before.
_FIRST = "TIMESTAMP '0001-01-01 00:00:00'"
_LAST = "TIMESTAMP '9999-12-31 23:59:59'"
_ACTIVITY = f"""
WITH bucket AS (
    SELECT unnest(range(date_trunc($step, $start::TIMESTAMP), $end::TIMESTAMP, $width::INTERVAL)) AS day
),
said AS (
    SELECT date_trunc($step, created_at) AS day, count(*) AS messages
    FROM item WHERE created_at >= $start AND created_at < $end GROUP BY ALL
),
answered AS (
    SELECT date_trunc($step, started_at) AS day, count(*) AS turns, median(latency) AS median_latency,
        quantile_cont(latency, 0.95) AS p95_latency
    FROM turn WHERE started_at >= $start AND started_at < $end GROUP BY ALL
)
SELECT greatest(day, {_FIRST}) AS day, least(day + $width::INTERVAL, {_LAST}) AS until,
    coalesce(messages, 0) AS messages,
    coalesce(turns, 0) AS turns, median_latency, p95_latency
FROM bucket LEFT JOIN said USING (day) LEFT JOIN answered USING (day) ORDER BY day
"""

_TOOLS = """
WITH called AS (
    SELECT *, coalesce(name, '') AS tool FROM call WHERE called_at >= $start AND called_at < $end
),
ranked AS (
    SELECT tool, row_number() OVER (ORDER BY count(*) DESC, tool) AS rank FROM called GROUP BY tool
)
SELECT
    CASE WHEN rank <= $most THEN tool END AS name, count(DISTINCT tool) AS names, count(*) AS calls,
    count(*) FILTER (failed) AS errors, count(*) FILTER (returned_at IS NULL) AS never_returned,
    count(*) FILTER (denied) AS denied, errors / nullif(count(returned_at), 0) AS error_rate,
    median(epoch(returned_at) - epoch(called_at)) AS median_seconds,
    quantile_cont(epoch(returned_at) - epoch(called_at), 0.95) AS p95_seconds,
    sum(epoch(returned_at) - epoch(called_at)) AS seconds
FROM called JOIN ranked USING (tool) GROUP BY 1, least(rank, $most + 1) ORDER BY least(rank, $most + 1)
"""

_BY_AGENT = """
WITH said AS (
    SELECT agent_id, count(*) AS messages
    FROM item WHERE created_at >= $start AND created_at < $end GROUP BY ALL
),
answered AS (
    SELECT agent_id, count(*) AS turns FROM turn WHERE started_at >= $start AND started_at < $end GROUP BY ALL
),
spent AS (
    SELECT agent_id, sum(prompt_tokens) AS prompt, sum(cached_input_tokens) AS cached,
        sum(completion_tokens) AS completion, sum(reasoning_tokens) AS reasoning, sum(total_tokens) AS tokens,
        sum(cost) AS cost
    FROM step_cost WHERE created_at >= $start AND created_at < $end GROUP BY ALL
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

_BY_MODEL = """
WITH spent AS (
    SELECT *, coalesce(model, '') AS called FROM step_cost WHERE created_at >= $start AND created_at < $end
),
ranked AS (
    SELECT called, row_number() OVER (
        ORDER BY sum(cost) DESC NULLS LAST, sum(total_tokens) DESC, called
    ) AS rank
    FROM spent GROUP BY called
)
SELECT
    CASE WHEN rank <= $most THEN called END AS name, count(DISTINCT called) AS names, count(*) AS steps,
    sum(prompt_tokens) AS prompt, sum(cached_input_tokens) AS cached,
    sum(completion_tokens) AS completion, sum(reasoning_tokens) AS reasoning, sum(total_tokens) AS tokens,
    sum(cost) AS cost, bool_and(has_price) AS has_price
FROM spent JOIN ranked USING (called) GROUP BY least(rank, $most + 1), 1 ORDER BY least(rank, $most + 1)
"""

_COST_BY_DAY = f"""
WITH spent AS (
    SELECT *, coalesce(model, '') AS called FROM step_cost WHERE created_at >= $start AND created_at < $end
),
ranked AS (
    SELECT called, row_number() OVER (
        ORDER BY sum(cost) DESC NULLS LAST, sum(total_tokens) DESC, called
    ) AS rank
    FROM spent GROUP BY called
)
SELECT greatest(date_trunc($step, created_at), {_FIRST}) AS day,
    least(day + $width::INTERVAL, {_LAST}) AS until, least(rank, 5) AS rank,
    CASE WHEN rank < 5 THEN called END AS name, sum(cost) AS cost, sum(total_tokens) AS tokens
FROM spent JOIN ranked USING (called) GROUP BY ALL ORDER BY day, rank
"""

_SLOWEST = f"""
SELECT coalesce(agents.name, turn.agent_id) AS name, turn.*, greatest(latency - tool_seconds, 0) AS rest
FROM turn LEFT JOIN agents ON agents.id = turn.agent_id
WHERE started_at >= $start AND started_at < $end AND latency IS NOT NULL
ORDER BY latency DESC, started_at DESC, turn.agent_id LIMIT {SLOWEST}
"""

_ERRORS = """
WITH error AS (
    SELECT 'run' AS kind, coalesce(stop_reason, status) AS type, id, agent_id,
        coalesce(completed_at, created_at) AS at_time
    FROM runs WHERE status = 'failed' OR stop_reason = 'error'
    UNION ALL
    SELECT 'step', coalesce(error_type, stop_reason, status), step_id, agent_id, created_at
    FROM step_cost WHERE status = 'failed' OR error_type IS NOT NULL
)
SELECT kind, coalesce(type, 'unknown') AS type, count(*) AS errors, count(DISTINCT agent_id) AS agents,
    max(at_time) AS last_at, arg_max(id, at_time) AS last_id
FROM error WHERE at_time >= $start AND at_time < $end GROUP BY kind, type
ORDER BY errors DESC, kind, type LIMIT 50
"""

_ISSUES = """
SELECT resource, kind, count(*) AS issues, count(DISTINCT nullif(parent_id, '')) AS parents,
    max(load_started_at) AS last_at
FROM load_issues GROUP BY resource, kind ORDER BY last_at DESC, issues DESC, resource, kind LIMIT 50
"""

_GAPS = """
SELECT
    (SELECT count(*) FROM step_cost WHERE created_at IS NULL) AS undated_steps,
    (SELECT list(DISTINCT coalesce(model, '') ORDER BY coalesce(model, '')) FROM step_cost
     WHERE NOT has_price AND created_at >= $start AND created_at < $end) AS unpriced,
    (SELECT count(*) FROM turn
     WHERE latency IS NULL AND started_at >= $start AND started_at < $end) AS unanswered,
    (SELECT count(*) FROM agents) AS agents,
    (SELECT count(*) FROM steps) AS steps
"""


@dataclass(frozen=True)
class Facts:
    """All that a report says of the conversations; times are UTC without a zone, durations seconds.

    Of `tools`, `agents` and `models` a row without a name stands for the `names` ones that are beyond
    `MOST`. An empty name is one that the data does not tell.

    Attributes:
        before: `headline` of the period before; None where it holds no message, or not all of it was loaded.
        activity: a row for each day, or week, whether or not anything happened.
        gaps: what the figures lack.
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


def find(store: duckdb.DuckDBPyConnection, period: Period, oldest: datetime | None) -> Facts:
    """The facts of a period.

    Args:
        oldest: when the oldest message was created: a period that began before is not compared with.
    """

    def rows(sql: str, within: Period = period, **more: Any) -> list[Row]:
        given = {"start": _naive(within.start), "end": _naive(within.end), **more}
        # DuckDB refuses those that a statement does not name.
        found = store.execute(sql, {name: value for name, value in given.items() if f"${name}" in sql})
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    steps = {"step": period.step, "width": f"1 {period.step}"}
    is_whole = oldest is not None and oldest < later(_naive(period.before.start), timedelta(days=1))
    before = rows(_HEADLINE, period.before)[0] if is_whole else None
    return Facts(
        period,
        headline=rows(_HEADLINE)[0],
        before=before if before and before["messages"] else None,
        activity=rows(_ACTIVITY, period, **steps),
        tools=rows(_TOOLS, most=MOST),
        agents=rows(_BY_AGENT, most=MOST),
        models=rows(_BY_MODEL, most=MOST),
        spending=rows(_COST_BY_DAY, period, **steps),
        slowest=rows(_SLOWEST),
        errors=rows(_ERRORS),
        issues=rows(_ISSUES),
        gaps=rows(_GAPS)[0],
    )


def _naive(time: datetime) -> datetime:
    """Drop the zone, as times are in the store."""
    return time.replace(tzinfo=None)
