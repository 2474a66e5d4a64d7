"""Turns, tool calls and costs out of the tables: what the marts of the dbt package hold too.

A test holds that the two agree. Quirks of Letta's API that this takes into account: dates are whole seconds
(so `sequence` sorts); a message can be stored with an older date; steps have no date (their run has one, or
their messages); Letta writes messages of its own as a user; a call that needs approval can come twice.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from letta_source.report.prices import Price

# Texts that Letta's server itself puts into a user's mouth begin so; those of people are unpacked by the API.
OWN_MESSAGE = r'^\s*\{\s*"type":\s*"(heartbeat|login|system_alert)"'
_AGENTS = (
    "assistant_message",
    "reasoning_message",
    "hidden_reasoning_message",
    "tool_call_message",
    "tool_return_message",
    "approval_request_message",
)

# A row for each row of agent_messages. `turn` is 0 before the first user message of its conversation.
_ITEM = f"""
CREATE TABLE item AS
WITH sent AS (
    SELECT
        m.*, r.conversation_id,
        CASE
            WHEN message_type = 'user_message' AND o.id IS NULL THEN 'user'
            WHEN message_type IN {_AGENTS} THEN 'agent'
        END AS sender,
        row_number() OVER (
            PARTITION BY m.agent_id ORDER BY m.created_at, m.sequence NULLS FIRST, m.position, m.id
        ) AS place
    FROM agent_messages AS m
    LEFT JOIN runs AS r ON r.id = m.run_id
    LEFT JOIN own_message AS o ON (o.agent_id, o.id, o.position) = (m.agent_id, m.id, m.position)
),
following AS (
    SELECT agent_id, id, position, sender = 'user' AND NOT coalesce(
        lag(sender) OVER conversation = 'user' AND lag(run_id) OVER conversation = run_id, false
    ) AS begins
    FROM sent
    WHERE sender IS NOT NULL
    WINDOW conversation AS (PARTITION BY agent_id, conversation_id ORDER BY place)
)
SELECT
    sent.agent_id, conversation_id, sent.id AS message_id, sent.position, created_at, run_id, step_id, sender,
    place,
    coalesce(sum(begins::INTEGER) OVER (
        PARTITION BY sent.agent_id, conversation_id ORDER BY place ROWS UNBOUNDED PRECEDING
    ), 0) AS turn
FROM sent
LEFT JOIN following ON (following.agent_id, following.id, following.position)
    = (sent.agent_id, sent.id, sent.position)
"""

# A row for each tool call. The nth return of an id answers its nth call: models may use one twice.
_CALL = """
CREATE TABLE call AS
WITH event AS (
    SELECT agent_id, message_id, position, idx, tool_call_id, 'call' AS kind, name, NULL AS status
    FROM agent_messages__tool_calls
    UNION ALL
    SELECT agent_id, message_id, position, idx, tool_call_id, 'return', NULL, status
    FROM agent_messages__tool_returns
    UNION ALL
    SELECT agent_id, message_id, position, idx, tool_call_id, 'return', NULL, status
    FROM agent_messages__approvals WHERE type = 'tool'
),
placed AS (
    SELECT
        event.*, item.created_at, item.turn, item.conversation_id, item.place,
        coalesce(tool_call_id, message_id || '/' || position || '/' || idx) AS call_id
    FROM event JOIN item USING (agent_id, message_id, position)
),
numbered AS (
    SELECT *, coalesce(sum((kind = 'return')::INTEGER) OVER (
        PARTITION BY agent_id, call_id ORDER BY place, idx ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0) AS use
    FROM placed
)
SELECT
    agent_id, call_id, use,
    arg_min(name, place) FILTER (kind = 'call') AS name,
    arg_min(conversation_id, place) FILTER (kind = 'call') AS conversation_id,
    arg_min(turn, place) FILTER (kind = 'call') AS turn,
    min(created_at) FILTER (kind = 'call') AS called_at,
    min(created_at) FILTER (kind = 'return') AS returned_at,
    bool_or(status = 'error') FILTER (kind = 'return') AS failed
FROM numbered
GROUP BY ALL
HAVING count(*) FILTER (kind = 'call') > 0
"""

# A row for each step. It has no date of its own.
_STEP_COST = """
CREATE TABLE step_cost AS
WITH said AS (
    SELECT step_id, min(created_at) AS created_at FROM agent_messages WHERE step_id IS NOT NULL GROUP BY ALL
)
SELECT
    steps.id AS step_id, steps.run_id, coalesce(steps.agent_id, runs.agent_id) AS agent_id, steps.status,
    steps.stop_reason, steps.error_type, coalesce(runs.created_at, said.created_at) AS created_at,
    coalesce(steps.model_handle, steps.model) AS model,
    coalesce(prompt_tokens, 0) AS prompt_tokens,
    coalesce(completion_tokens, 0) AS completion_tokens,
    coalesce(total_tokens, prompt_tokens + completion_tokens, 0) AS total_tokens,
    coalesce(cached_input_tokens, 0) AS cached_tokens,
    coalesce(cache_write_tokens, 0) AS cache_write_tokens,
    coalesce(reasoning_tokens, 0) AS reasoning_tokens,
    coalesce(by_handle.input_price, by_model.input_price) IS NOT NULL AS has_price,
    (
        greatest(
            coalesce(prompt_tokens, 0) - coalesce(cached_input_tokens, 0) - coalesce(cache_write_tokens, 0), 0
        ) * coalesce(by_handle.input_price, by_model.input_price)
        + coalesce(cached_input_tokens, 0) * coalesce(
            by_handle.cached_input_price, by_handle.input_price,
            by_model.cached_input_price, by_model.input_price
        )
        + coalesce(cache_write_tokens, 0) * coalesce(
            by_handle.cache_write_price, by_handle.input_price,
            by_model.cache_write_price, by_model.input_price
        )
        + coalesce(completion_tokens, 0) * coalesce(by_handle.output_price, by_model.output_price)
    ) / 1e6 AS cost
FROM steps
LEFT JOIN runs ON runs.id = steps.run_id
LEFT JOIN said ON said.step_id = steps.id
LEFT JOIN price AS by_handle ON by_handle.model = steps.model_handle
LEFT JOIN price AS by_model ON by_model.model = steps.model
"""

# A row for each turn; `agent_seconds` is what its runs took, or else what lies between dates in seconds.
_TURN = """
CREATE TABLE turn AS
WITH run_turn AS (
    -- A run is its first turn's.
    SELECT run_id, agent_id, arg_min(conversation_id, place) AS conversation_id, arg_min(turn, place) AS turn
    FROM item WHERE run_id IS NOT NULL AND turn > 0 GROUP BY run_id, agent_id
),
run_time AS (
    SELECT
        agent_id, conversation_id, turn,
        CASE WHEN count(*) = count(seconds) THEN sum(seconds) END AS seconds, arg_min(run_id, began_at) AS run_id
    FROM (
        SELECT
            run_turn.*, runs.created_at AS began_at,
            coalesce(total_duration_ns / 1e9, epoch(completed_at) - epoch(runs.created_at)) AS seconds
        FROM run_turn LEFT JOIN runs ON runs.id = run_turn.run_id
    )
    GROUP BY ALL
),
tools AS (
    SELECT
        agent_id, conversation_id, turn, count(*) AS calls, count(*) FILTER (failed) AS errors,
        sum(epoch(returned_at) - epoch(called_at)) AS seconds, mode(name) AS most_called
    FROM call GROUP BY ALL
),
step_turn AS (
    SELECT step_id, arg_min(agent_id, place) AS agent_id, arg_min(conversation_id, place) AS conversation_id,
        arg_min(turn, place) AS turn
    FROM item WHERE step_id IS NOT NULL GROUP BY step_id
),
models AS (
    SELECT
        step_turn.agent_id, step_turn.conversation_id, turn, count(*) AS steps,
        sum(total_tokens) AS tokens, sum(cost) AS cost
    FROM step_turn LEFT JOIN step_cost USING (step_id) GROUP BY ALL
),
said AS (
    SELECT
        agent_id, conversation_id, turn,
        min(created_at) FILTER (sender = 'user') AS started_at,
        max(created_at) FILTER (sender = 'agent') AS answered_at,
        arg_min(message_id, place) FILTER (sender = 'user') AS message_id,
        count(DISTINCT message_id) AS messages
    FROM item WHERE turn > 0 GROUP BY ALL
)
SELECT
    said.*, run_time.run_id,
    coalesce(run_time.seconds, epoch(answered_at) - epoch(started_at)) AS latency,
    coalesce(tools.calls, 0) AS calls, coalesce(tools.errors, 0) AS errors, tools.seconds AS tool_seconds,
    tools.most_called, coalesce(models.steps, 0) AS steps, models.tokens, models.cost
FROM said
LEFT JOIN run_time ON run_time.agent_id = said.agent_id AND run_time.turn = said.turn
    AND run_time.conversation_id IS NOT DISTINCT FROM said.conversation_id
LEFT JOIN tools ON tools.agent_id = said.agent_id AND tools.turn = said.turn
    AND tools.conversation_id IS NOT DISTINCT FROM said.conversation_id
LEFT JOIN models ON models.agent_id = said.agent_id AND models.turn = said.turn
    AND models.conversation_id IS NOT DISTINCT FROM said.conversation_id
"""


def build(store: duckdb.DuckDBPyConnection, prices: Iterable[Price]) -> None:
    """Adds `item`, `call`, `step_cost` and `turn` to a filled store; once."""
    store.execute(
        "CREATE TABLE price (model VARCHAR, input_price DOUBLE, cached_input_price DOUBLE,"
        " cache_write_price DOUBLE, output_price DOUBLE)"
    )
    rows = [
        (p.model, p.input_price, p.cached_input_price, p.cache_write_price, p.output_price) for p in prices
    ]
    if rows:
        store.executemany("INSERT INTO price VALUES (?, ?, ?, ?, ?)", rows)
    for statement in (_ITEM, _CALL, _STEP_COST, _TURN):
        store.execute(statement)
