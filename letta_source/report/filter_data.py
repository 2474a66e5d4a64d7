"""Data for the page's filter: figures by time, agent and model, which the script adds up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb

from letta_source.report import formats
from letta_source.report.period import Period
from letta_source.safe_text import visible

MOST_BYTES = 2_000_000
"""A page with more data opens slowly on a phone; then it has no filter."""
MODEL = "coalesce(model_handle, model, '')"
_Rows = list[tuple[Any, ...]]

_BUCKET = """
WITH bucket AS (
    SELECT day, row_number() OVER (ORDER BY day) - 1 AS bucket FROM (
        SELECT unnest(range(date_trunc($step, $start::TIMESTAMP), $end::TIMESTAMP, $width::INTERVAL)) AS day
    )
)
"""
# By bar and agent. Distinct conversations and quantiles do not add up, so they need every value.
_MESSAGES = f"""
{_BUCKET}
SELECT bucket, agent_id, count(*), bool_or(author = 'user')::INT,
    bool_or(conversation_id IS NULL AND author = 'user')::INT,
    list(DISTINCT conversation_id) FILTER (conversation_id IS NOT NULL)
FROM int_letta__messages JOIN bucket ON day = date_trunc($step, created_at)
WHERE created_at >= $start AND created_at < $end GROUP BY ALL ORDER BY agent_id, bucket
"""
_TURNS = f"""
{_BUCKET}
SELECT bucket, agent_id, count(*),
    list(round(latency_seconds, 3) ORDER BY latency_seconds) FILTER (latency_seconds IS NOT NULL)
FROM letta__turns JOIN bucket ON day = date_trunc($step, started_at)
WHERE started_at >= $start AND started_at < $end GROUP BY ALL ORDER BY agent_id, bucket
"""
_CALLS = f"""
{_BUCKET}
SELECT bucket, agent_id, coalesce(tool_name, '') AS tool, count(*),
    count(*) FILTER (return_status = 'error'), count(*) FILTER (returned_at IS NULL),
    count(*) FILTER (outcome = 'denied'),
    list(round(tool_seconds, 3) ORDER BY tool_seconds) FILTER (tool_seconds IS NOT NULL)
FROM int_letta__tool_calls JOIN bucket ON day = date_trunc($step, called_at)
WHERE called_at >= $start AND called_at < $end GROUP BY ALL ORDER BY agent_id, bucket, tool
"""
_STEPS = f"""
{_BUCKET}
SELECT bucket, agent_id, {MODEL} AS called, count(*), sum(prompt_tokens),
    sum(cached_input_tokens), sum(completion_tokens), sum(reasoning_tokens),
    sum(total_tokens), round(sum(cost), 9), count(*) FILTER (NOT is_priced),
    count(*) FILTER (feedback = 'positive'), count(*) FILTER (feedback = 'negative')
FROM letta__step_costs JOIN bucket ON day = date_trunc($step, created_at)
WHERE created_at >= $start AND created_at < $end GROUP BY ALL ORDER BY agent_id, bucket, called
"""
_VALUES = """
SELECT (SELECT count(*) FROM letta__turns WHERE started_at >= $start AND started_at < $end)
    + (SELECT count(*) FROM int_letta__tool_calls WHERE called_at >= $start AND called_at < $end)
"""


def filter_data(
    store: duckdb.DuckDBPyConnection, period: Period, buckets: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return the data of the page's filter; None if it is larger than `MOST_BYTES`.

    Each row of `messages`, `turns`, `calls` and `steps` begins with the positions of its bar in `days` and of
    its agent in `agents` (null: of no agent); in `calls` and `steps` that of the tool or model follows.

    Args:
        buckets: the bars of the period, with `day` and `until`.
    """
    start, end = period.start.replace(tzinfo=None), period.end.replace(tzinfo=None)
    given = {"start": start, "end": end, "step": period.step, "width": f"1 {period.step}"}

    def rows(sql: str) -> _Rows:
        values = {name: value for name, value in given.items() if f"${name}" in sql}
        return store.execute(sql, values).fetchall()

    # Each takes a digit and a comma.
    if 2 * rows(_VALUES)[0][0] > MOST_BYTES:
        return None
    messages, turns, calls, steps = (rows(sql) for sql in (_MESSAGES, _TURNS, _CALLS, _STEPS))
    names = dict(store.execute("SELECT id, any_value(name) FROM agents GROUP BY id").fetchall())
    # Sorted, as the report sorts rows of the same rank by id.
    ids = sorted({row[1] for table in (messages, turns, calls, steps) for row in table if row[1] is not None})
    tools, models = (sorted({row[2] for row in table}) for table in (calls, steps))
    place, tool_at, model_at = ({one: at for at, one in enumerate(all_)} for all_ in (ids, tools, models))
    conversations: dict[str, dict[str, int]] = {}
    data = {
        "step": period.step,
        "days": [_days(row["day"], row["until"], start, end) for row in buckets],
        "agents": _labels((names.get(agent) or agent for agent in ids), "agent", ids),
        "tools": _labels(tools, "tool"),
        "models": _labels(models, "model"),
        "messages": [
            [bucket, place[agent], *rest, _numbers(conversations.setdefault(agent, {}), among or ())]
            for bucket, agent, *rest, among in messages
        ],
        "turns": [[bucket, place[agent], count, _short(seconds)] for bucket, agent, count, seconds in turns],
        "calls": [
            [bucket, place[agent], tool_at[tool], *rest, _short(seconds)]
            for bucket, agent, tool, *rest, seconds in calls
        ],
        "steps": [
            [bucket, place.get(agent), model_at[model], *_short(rest)]
            for bucket, agent, model, *rest in steps
        ],
    }
    return data if len(as_json(data)) <= MOST_BYTES else None


def as_json(data: Mapping[str, Any]) -> str:
    """Return JSON that can stand in a page's `<script>`: in ASCII, without a sign that could end it."""
    return json.dumps(data, separators=(",", ":")).replace("<", r"\u003c").replace(">", r"\u003e")


def _days(day: datetime, until: datetime, start: datetime, end: datetime) -> list[str]:
    """Return the first and the last day of a bar, without what is outside of the period."""
    return [formats.day(max(day, start)), formats.day(min(until, end) - timedelta(microseconds=1))]


def _labels(names: Iterable[str], what: str, ids: Sequence[str] = ()) -> list[str]:
    """Return names as they are shown; of those that look the same, each with its id."""
    labels = [formats.short(visible(formats.named(name, what, ""))) for name in names]
    times = Counter(labels)
    return [
        f"{label} ({visible(ids[at])})" if ids and times[label] > 1 else label
        for at, label in enumerate(labels)
    ]


def _numbers(known: dict[str, int], ids: Iterable[str]) -> list[int]:
    return [known.setdefault(one, len(known)) for one in sorted(ids)]


def _short(values: Iterable[Any] | None) -> list[Any]:
    """Return numbers as JSON writes them shortest: 2, not 2.0."""
    return [int(one) if isinstance(one, float) and one.is_integer() else one for one in values or ()]
