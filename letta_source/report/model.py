"""Turns, tool calls and costs out of the tables: what the marts of the dbt package hold too.

A test holds that the two agree. Quirks of Letta's API that this takes into account: dates are whole seconds
(so `sequence` sorts); a message can be stored with an older date; steps have no date (their messages have
one, or their run); Letta writes messages of its own as a user; a call that needs approval can come twice.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from letta_source.export.pairing import pairs
from letta_source.report.prices import Price

# Texts that Letta's server itself puts into a user's mouth begin so; those of people are unpacked by the API.
OWN_MESSAGE = r'^\s*\{\s*"type":\s*"(heartbeat|login|system_alert)"'

# A row for each row of agent_messages. `turn` is 0 before the first user message of its conversation.
_ITEM = """
CREATE TABLE item AS
WITH sent AS (
    SELECT
        m.*, r.conversation_id,
        CASE
            WHEN message_type = 'user_message' AND o.id IS NOT NULL THEN 'system'
            WHEN message_type IN ('user_message', 'approval_response_message') THEN 'user'
            WHEN message_type IN ('system_message', 'event_message', 'summary_message') THEN 'system'
            ELSE 'agent'
        END AS sender,
        row_number() OVER (
            PARTITION BY m.agent_id ORDER BY m.created_at, m.sequence, m.position, m.id
        ) AS place
    FROM agent_messages AS m
    LEFT JOIN runs AS r ON r.id = m.run_id
    LEFT JOIN own_message AS o ON (o.agent_id, o.id, o.position) = (m.agent_id, m.id, m.position)
),
following AS (
    SELECT
        agent_id, place,
        -- Several messages of one request are one turn.
        message_type = 'user_message' AND NOT coalesce(
            lag(message_type) OVER earlier = 'user_message'
            AND lag(run_id) OVER earlier IS NOT DISTINCT FROM run_id, false
        ) AS begins
    FROM sent
    WHERE sender <> 'system'
    WINDOW earlier AS (PARTITION BY agent_id, conversation_id ORDER BY place)
)
SELECT
    sent.agent_id, conversation_id, sent.id AS message_id, sent.position, created_at, sequence, message_type,
    run_id, step_id, sender, place,
    sum(coalesce(begins, false)::INTEGER) OVER (
        PARTITION BY sent.agent_id, conversation_id ORDER BY place ROWS UNBOUNDED PRECEDING
    ) AS turn
FROM sent LEFT JOIN following USING (agent_id, place)
"""

# A row for each time that a tool was called.
_CALL = f"""
CREATE TABLE call AS
WITH {
    pairs(
        {
            "agent_messages": "agent_messages",
            "tool_calls": "agent_messages__tool_calls",
            "tool_returns": "agent_messages__tool_returns",
            "approvals": "agent_messages__approvals",
        }
    )
}
SELECT
    p.agent_id, c.name, conversation_id, turn, p.called_at, p.decided_at, p.returned_at,
    coalesce(r.status, u.status, '') = 'error' AS failed, coalesce(NOT a.approve, false) AS denied
FROM paired AS p
JOIN item USING (agent_id, message_id, position)
JOIN agent_messages__tool_calls AS c USING (agent_id, message_id, position, idx)
LEFT JOIN agent_messages__approvals AS a ON (a.agent_id, a.message_id, a.position, a.idx)
    = (p.agent_id, p.decision_message_id, p.decision_position, p.decision_idx)
LEFT JOIN agent_messages__tool_returns AS r ON (r.agent_id, r.message_id, r.position, r.idx)
    = (p.agent_id, p.return_message_id, p.return_position, p.return_idx) AND p.is_answer = 0
LEFT JOIN agent_messages__approvals AS u ON (u.agent_id, u.message_id, u.position, u.idx)
    = (p.agent_id, p.return_message_id, p.return_position, p.return_idx) AND p.is_answer = 1
"""

# The turn of a run: that in which it said its first word.
_RUN_TURN = """
CREATE TABLE run_turn AS
SELECT agent_id, run_id, arg_min(conversation_id, (turn, place)) AS conversation_id, min(turn) AS turn
FROM item WHERE run_id IS NOT NULL AND turn > 0 GROUP BY agent_id, run_id
"""

# A row for each step; its date is that of its first message, or of its run.
_STEP_COST = """
CREATE TABLE step_cost AS
WITH said AS (
    SELECT
        step_id,
        arg_min({'agent_id': agent_id, 'conversation_id': conversation_id, 'turn': turn, 'at': created_at},
            (turn, place)) AS first
    FROM item WHERE step_id IS NOT NULL GROUP BY step_id
),
priced AS (
    SELECT
        steps.*, coalesce(by_handle.input_price, by_model.input_price) AS input_price,
        coalesce(by_handle.cached_input_price, by_model.cached_input_price) AS cached_input_price,
        coalesce(by_handle.cache_write_price, by_model.cache_write_price) AS cache_write_price,
        coalesce(by_handle.output_price, by_model.output_price) AS output_price,
        coalesce(cached_input_tokens, 0) AS cached, coalesce(cache_write_tokens, 0) AS written
    FROM steps
    LEFT JOIN price AS by_handle ON by_handle.model = steps.model_handle
    LEFT JOIN price AS by_model ON by_model.model = steps.model
)
SELECT
    priced.id AS step_id, priced.run_id, coalesce(priced.agent_id, runs.agent_id, first.agent_id) AS agent_id,
    CASE WHEN first.turn > 0 THEN first.conversation_id ELSE run_turn.conversation_id END AS conversation_id,
    CASE WHEN first.turn > 0 THEN first.turn ELSE run_turn.turn END AS turn,
    coalesce(first.at, runs.created_at) AS created_at,
    priced.status, priced.stop_reason, priced.error_type, priced.feedback,
    coalesce(model_handle, model) AS model,
    prompt_tokens, completion_tokens, total_tokens, cached_input_tokens, reasoning_tokens,
    input_price IS NOT NULL AS has_price,
    (
        -- Providers count what was cached as a part of the prompt; one that did not would make this negative.
        greatest(coalesce(prompt_tokens, 0) - cached - written, 0) * input_price + cached * cached_input_price
        + written * cache_write_price + coalesce(completion_tokens, 0) * output_price
    ) / 1e6 AS cost
FROM priced
LEFT JOIN said ON said.step_id = priced.id
LEFT JOIN runs ON runs.id = priced.run_id
LEFT JOIN run_turn
    ON (run_turn.run_id, run_turn.agent_id) = (priced.run_id, coalesce(priced.agent_id, runs.agent_id))
"""

# A row for each turn. A run whose duration is not known leaves that of its turn unknown, too: then the dates
# of messages say it, in whole seconds.
_TURN = """
CREATE TABLE turn AS
WITH timed AS (
    SELECT
        run_turn.*, created_at,
        coalesce(total_duration_ns / 1e9, epoch(completed_at) - epoch(created_at)) AS seconds
    FROM run_turn LEFT JOIN runs ON runs.id = run_turn.run_id
),
ran AS (
    SELECT
        agent_id, conversation_id, turn, arg_min(run_id, (created_at, run_id)) AS run_id,
        CASE WHEN count(*) = count(seconds) THEN sum(seconds) END AS seconds
    FROM timed GROUP BY ALL
),
called AS (
    SELECT
        agent_id, conversation_id, turn, count(*) AS calls, count(*) FILTER (failed) AS errors,
        -- What a person took to approve of it is no work of the tool's.
        sum(epoch(returned_at) - epoch(coalesce(decided_at, called_at))) AS tool_seconds,
        mode(name) AS most_called
    FROM call GROUP BY ALL
),
spent AS (
    SELECT agent_id, conversation_id, turn, count(*) AS steps, sum(total_tokens) AS tokens, sum(cost) AS cost
    FROM step_cost GROUP BY ALL
),
said AS (
    SELECT
        agent_id, conversation_id, turn, min(created_at) FILTER (sender = 'user') AS started_at,
        max(created_at) FILTER (sender = 'agent') AS answered_at,
        arg_min(message_id, place) FILTER (sender = 'user') AS message_id
    FROM item WHERE turn > 0 GROUP BY ALL
)
SELECT
    said.*, ran.run_id, coalesce(ran.seconds, epoch(answered_at) - epoch(started_at)) AS latency,
    coalesce(calls, 0) AS calls, coalesce(errors, 0) AS errors, tool_seconds, most_called,
    coalesce(steps, 0) AS steps, tokens, cost
FROM said
LEFT JOIN ran ON (ran.agent_id, ran.turn) = (said.agent_id, said.turn)
    AND ran.conversation_id IS NOT DISTINCT FROM said.conversation_id
LEFT JOIN called ON (called.agent_id, called.turn) = (said.agent_id, said.turn)
    AND called.conversation_id IS NOT DISTINCT FROM said.conversation_id
LEFT JOIN spent ON (spent.agent_id, spent.turn) = (said.agent_id, said.turn)
    AND spent.conversation_id IS NOT DISTINCT FROM said.conversation_id
"""


def build(store: duckdb.DuckDBPyConnection, prices: Iterable[Price]) -> None:
    """Adds `item`, `call`, `run_turn`, `step_cost` and `turn` to a filled store; once.

    Where a cached price is None, such tokens cost what others do.
    """
    store.execute(
        "CREATE TABLE price (model VARCHAR, input_price DOUBLE, cached_input_price DOUBLE,"
        " cache_write_price DOUBLE, output_price DOUBLE)"
    )
    for p in prices:
        cached = p.input_price if p.cached_input_price is None else p.cached_input_price
        write = p.input_price if p.cache_write_price is None else p.cache_write_price
        values = [p.model, p.input_price, cached, write, p.output_price]
        store.execute("INSERT INTO price VALUES (?, ?, ?, ?, ?)", values)
    for statement in (_ITEM, _CALL, _RUN_TURN, _STEP_COST, _TURN):
        store.execute(statement)
