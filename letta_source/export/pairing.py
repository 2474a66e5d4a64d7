"""The rule that pairs tool calls with their approvals and returns, as SQL for every destination.

Call ids repeat: a model may reuse one, and a call that waited for approval is sent a second time. So calls
are paired by the order of their messages, not by id alone:

- A call is a new one unless the last one of its id was an approval request that nothing has ended.
- Returns and denials end the calls of an id in order: the first ends the first.
- The server repeats the user's answer as a return, which ends no other call.
- Older clients answer with the id of the message that asked, and mean its first call.

The dbt package runs the same SQL: `dbt/generate.py` writes its macros from the constants here.
"""

from __future__ import annotations

from collections.abc import Mapping

from letta_source.schema.columns import SEQUENCE, Column, bigint, boolean, text, timestamp
from letta_source.schema.tables import Table

ROOT = "agent_messages"
CHILDREN = tuple(f"{ROOT}__{name}" for name in ("tool_calls", "tool_returns", "approvals"))

_MESSAGE = (
    text("return_message_id", "The message that returned; null if none did.", references=f"{ROOT}.id"),
    bigint("return_position", "The position of the item that returned."),
    bigint("return_idx", "The index within the item that returned."),
)
TOOL_CALLS = Table(
    "tool_calls",
    "One row per tool call, with its approval and its result.",
    (
        text("agent_id", "The agent that called.", nullable=False, references="agents.id"),
        text("message_id", "The message that called.", nullable=False, references=f"{ROOT}.id"),
        bigint("position", "The position of the item that called.", nullable=False),
        bigint("idx", "The index within the item that called.", nullable=False),
        text("tool_call_id", "The call's id; an agent may use one several times."),
        bigint("call_number", "1, 2, … among the agent's calls of that id.", nullable=False),
        text("tool_name", "The tool that was called."),
        text("arguments", "The arguments: JSON text as the model wrote it.", content=True),
        text("run_id", "The run that the call was made in.", references="runs.id"),
        text("step_id", "The step that made it.", references="steps.id"),
        timestamp("called_at", "When it was first seen."),
        SEQUENCE,
        bigint("times_seen", "Items that hold it; more than 1 where it waited for approval."),
        boolean("is_approval_requested", "True if it waited for approval."),
        boolean("is_approved", "The last decision; null if there was none."),
        timestamp("decided_at", "When that was."),
        text("decision_reason", "Why.", content=True),
        boolean("is_returned", "True if there is a result."),
        timestamp("returned_at", "When it came."),
        text("return_status", "success or error."),
        text("tool_return", "The result.", content=True),
        text("outcome", "denied, never_returned, success, error or unknown."),
        *_MESSAGE,
    ),
    primary_key=("agent_id", "message_id", "position", "idx"),
)
"""The result of `query`: not a table of the warehouse, but exported like one."""

EVENTS = """
first_call AS (
    SELECT agent_id, message_id, tool_call_id,
        row_number() OVER (PARTITION BY agent_id, message_id ORDER BY position, idx) AS nth
    FROM {tool_calls} c
),
event AS (
    SELECT agent_id, message_id, position, idx, tool_call_id, 0 AS kind, 0 AS is_answer, 0 AS is_end
    FROM {tool_calls} c
    UNION ALL
    SELECT a.agent_id, a.message_id, a.position, a.idx, coalesce(f.tool_call_id, a.tool_call_id),
        CASE WHEN a.type = 'tool' THEN 2 ELSE 1 END, 1,
        CASE WHEN a.type = 'tool' OR a.approve = false THEN 1 ELSE 0 END
    FROM {approvals} a
    LEFT JOIN first_call f ON f.agent_id = a.agent_id AND f.message_id = a.tool_call_id AND f.nth = 1
    UNION ALL
    SELECT agent_id, message_id, position, idx, tool_call_id, 2, 0, 1
    FROM {tool_returns} r
)
""".strip()
"""Common table expressions that end in `event`: calls (kind 0), decisions (1) and returns (2).

Placeholders: `tool_calls`, `tool_returns` and `approvals` as SQL names or subqueries.
"""

PAIRS = """
placed AS (
    SELECT e.agent_id, e.message_id, e.position, e.idx, e.kind, e.is_answer, e.is_end,
        e.created_at, e.sequence, e.message_type,
        -- A call without an id is one of its own.
        dense_rank() OVER (
            PARTITION BY e.agent_id ORDER BY e.tool_call_id,
                CASE WHEN e.tool_call_id IS NULL THEN e.message_id END,
                CASE WHEN e.tool_call_id IS NULL THEN e.position END,
                CASE WHEN e.tool_call_id IS NULL THEN e.idx END
        ) AS pair
    FROM happened e
),
ordered AS (
    SELECT placed.*, row_number() OVER (
        PARTITION BY agent_id, pair ORDER BY created_at, sequence, kind, position, idx, message_id
    ) AS nth
    FROM placed
),
ended AS (
    SELECT ordered.*, count(CASE WHEN is_end = 1 THEN 1 END) OVER (
        PARTITION BY agent_id, pair ORDER BY nth ROWS UNBOUNDED PRECEDING
    ) AS ends
    FROM ordered
),
seen AS (
    SELECT agent_id, pair, nth, CASE
        WHEN lag(message_type) OVER (PARTITION BY agent_id, pair ORDER BY nth) = 'approval_request_message'
            AND lag(ends) OVER (PARTITION BY agent_id, pair ORDER BY nth) = ends
            THEN 0 ELSE 1
        END AS is_new
    FROM ended WHERE kind = 0
),
numbered AS (
    SELECT e.*, coalesce(s.is_new, 0) AS is_new, count(CASE WHEN s.is_new = 1 THEN 1 END) OVER (
        PARTITION BY e.agent_id, e.pair ORDER BY e.nth ROWS UNBOUNDED PRECEDING
    ) AS call_number
    FROM ended e
    LEFT JOIN seen s ON s.agent_id = e.agent_id AND s.pair = e.pair AND s.nth = e.nth
),
turning AS (
    SELECT numbered.*, CASE
        WHEN is_end = 0 THEN 0
        -- A return that directly follows an answer repeats it.
        WHEN is_answer = 0 AND lag(is_end) OVER (PARTITION BY agent_id, pair ORDER BY nth) = 1
            AND lag(is_answer) OVER (PARTITION BY agent_id, pair ORDER BY nth) = 1
            THEN 0 ELSE 1
        END AS counts
    FROM numbered WHERE is_new = 1 OR is_end = 1
),
counted AS (
    SELECT turning.*, count(CASE WHEN counts = 1 THEN 1 END) OVER (
        PARTITION BY agent_id, pair ORDER BY nth ROWS UNBOUNDED PRECEDING
    ) AS end_number
    FROM turning
),
returned AS (
    SELECT counted.*, row_number() OVER (PARTITION BY agent_id, pair, end_number ORDER BY nth) AS rn
    FROM counted WHERE kind = 2
),
decided AS (
    SELECT numbered.*, row_number() OVER (PARTITION BY agent_id, pair, call_number ORDER BY nth DESC) AS rn
    FROM numbered WHERE kind = 1
),
sighted AS (
    SELECT agent_id, pair, call_number, count(*) AS times_seen,
        max(CASE WHEN message_type = 'approval_request_message' THEN 1 ELSE 0 END) AS asked
    FROM numbered WHERE kind = 0 GROUP BY agent_id, pair, call_number
),
paired AS (
    SELECT n.agent_id, n.message_id, n.position, n.idx, n.call_number, n.created_at AS called_at,
        s.times_seen, s.asked,
        d.message_id AS decision_message_id, d.position AS decision_position, d.idx AS decision_idx,
        d.created_at AS decided_at,
        r.message_id AS return_message_id, r.position AS return_position, r.idx AS return_idx,
        r.created_at AS returned_at, r.is_answer
    FROM numbered n
    JOIN sighted s ON s.agent_id = n.agent_id AND s.pair = n.pair AND s.call_number = n.call_number
    LEFT JOIN decided d
        ON d.agent_id = n.agent_id AND d.pair = n.pair AND d.call_number = n.call_number AND d.rn = 1
    LEFT JOIN returned r
        ON r.agent_id = n.agent_id AND r.pair = n.pair AND r.end_number = n.call_number AND r.rn = 1
    WHERE n.is_new = 1
)
""".strip()
"""Common table expressions over `happened` (`event` with the columns of its message) that end in `paired`.

`paired` has one row for each call, with the keys of its decision and of its end.
"""

OUTCOME = """
CASE WHEN {approve} = false THEN 'denied' WHEN return_message_id IS NULL THEN 'never_returned'
    ELSE coalesce({status}, 'unknown') END
""".strip()
"""The outcome of a call, from its row in `paired`, its decision and the status of its return."""

# Plain SQL that any database runs.
_QUERY = """
WITH message AS (
    SELECT agent_id, id, position, sequence, created_at, message_type, run_id, step_id
    FROM {agent_messages}
    WHERE _dlt_load_id IN ({finished})
),
{events},
happened AS (
    SELECT e.*, m.created_at, m.sequence, m.message_type
    FROM event e
    JOIN message m ON m.agent_id = e.agent_id AND m.id = e.message_id AND m.position = e.position
),
{pairs}
SELECT p.agent_id, p.message_id, p.position, p.idx, c.tool_call_id,
    p.call_number, c.name AS tool_name, c.arguments,
    m.run_id, m.step_id, p.called_at, m.sequence, p.times_seen, p.asked = 1 AS is_approval_requested,
    a.approve AS is_approved, p.decided_at, a.reason AS decision_reason,
    p.return_message_id IS NOT NULL AS is_returned, p.returned_at,
    coalesce(r.status, u.status) AS return_status, coalesce(r.tool_return, u.tool_return) AS tool_return,
    {outcome} AS outcome,
    p.return_message_id, p.return_position, p.return_idx
FROM paired p
JOIN message m ON m.agent_id = p.agent_id AND m.id = p.message_id AND m.position = p.position
JOIN {tool_calls} c ON c.agent_id = p.agent_id AND c.message_id = p.message_id
    AND c.position = p.position AND c.idx = p.idx
LEFT JOIN {approvals} a ON a.agent_id = p.agent_id AND a.message_id = p.decision_message_id
    AND a.position = p.decision_position AND a.idx = p.decision_idx
LEFT JOIN {tool_returns} r ON r.agent_id = p.agent_id AND r.message_id = p.return_message_id
    AND r.position = p.return_position AND r.idx = p.return_idx AND p.is_answer = 0
LEFT JOIN {approvals} u ON u.agent_id = p.agent_id AND u.message_id = p.return_message_id
    AND u.position = p.return_position AND u.idx = p.return_idx AND p.is_answer = 1
""".strip()


def query(tables: Mapping[str, str], finished: str) -> str:
    """Return the query of `TOOL_CALLS`.

    Args:
        tables: `agent_messages`, `tool_calls`, `tool_returns` and `approvals` as SQL names or subqueries.
        finished: a query of the ids of completed loads.
    """
    return _QUERY.format(
        **tables,
        finished=finished,
        events=EVENTS.format(**tables),
        pairs=PAIRS,
        outcome=OUTCOME.format(approve="a.approve", status="r.status, u.status"),
    )


def absent(messages: str, columns: tuple[Column, ...]) -> str:
    """Return a subquery without rows that stands in for a child table that no load has created."""
    like = {"bigint": "position", "bool": "is_err", "timestamp": "created_at"}
    listed = ", ".join(f"{like.get(one.type, 'id')} AS {one.name}" for one in columns if one.name[0] != "_")
    return f"(SELECT {listed} FROM {messages} WHERE 1 = 0)"
