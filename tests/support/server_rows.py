"""Rows for the server's own tables: what its API serves but no longer lets anybody create."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any

import psycopg2
from psycopg2 import sql

from tests.support.language_model import MODEL


class Tables:
    """A connection to the server's database; commits when its block ends without an error."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg2.connect(database_url)
        self._cursor = self._connection.cursor()
        self._cursor.execute("select id, organization_id from users")
        self.user_id, self.organization_id = self._cursor.fetchone() or ("", "")

    def __enter__(self) -> Tables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with closing(self._connection):
            if kind is None:
                self._connection.commit()

    def take_sequence_id(self) -> int:
        """Take the next number of the message sequence, so that no later message gets it."""
        self._cursor.execute("select nextval('message_seq_id')")
        return int(self._cursor.fetchall()[0][0])

    def add_group_messages(self, group_id: str, agent_ids: list[str], turns: int) -> None:
        """Add a question, a call and its return for each turn, the agents in turn; all are a day old."""
        started = datetime.now(timezone.utc) - timedelta(days=1)
        for turn in range(turns):
            # The three of a turn share a date: whoever orders by it alone loses or repeats some.
            date = started + timedelta(seconds=2 * turn)
            agent_id = agent_ids[turn % len(agent_ids)]
            owner = {"group_id": group_id, "agent_id": agent_id, "created_at": date}
            self.add_message("user", [_text(f"Question {turn} ❓")], **owner)
            self._add_call_and_return(turn, **owner)

    def copy_agent(self, agent_id: str, times: int) -> None:
        """Add agents like this one, a month old and without messages."""
        self._cursor.execute(
            "insert into agents select (jsonb_populate_record(agents, jsonb_build_object("
            "'id', 'agent-' || gen_random_uuid(), 'name', 'copy ' || number, 'message_ids', '[]'::jsonb,"
            "'created_at', now() - interval '30 days', 'updated_at', now() - interval '30 days'))).*"
            " from agents, generate_series(1, %s) number where agents.id = %s",
            (times, agent_id),
        )

    def add_batch(self, status: str, agent_ids: list[str], messages: int) -> str:
        """Add a batch with that many messages: calls and their returns; gives its id."""
        batch_id = self.insert(
            "jobs",
            "job",
            status=status,
            job_type="batch",
            user_id=self.user_id,
            organization_id=self.organization_id,
            metadata_={"job_type": "batch_messages"},
            completed_at=datetime.now(timezone.utc) if status == "completed" else None,
        )
        now = datetime.now(timezone.utc).isoformat()
        request = {
            "id": f"msgbatch_{uuid.uuid4().hex}",
            "created_at": now,
            "expires_at": now,
            "processing_status": "in_progress",
            "request_counts": dict.fromkeys(("canceled", "errored", "expired", "processing", "succeeded"), 0),
            "type": "message_batch",
        }
        self.insert(
            "llm_batch_job",
            "batch_req",
            status=status,
            llm_provider="anthropic",
            create_batch_response={"type": "anthropic", "data": request},
            letta_batch_job_id=batch_id,
            organization_id=self.organization_id,
        )
        self._add_batch_messages(batch_id, agent_ids, messages)
        return batch_id

    def finish_batch(self, batch_id: str, agent_ids: list[str], messages: int) -> None:
        """Add the last messages of a running batch and end it."""
        self._add_batch_messages(batch_id, agent_ids, messages)
        self._cursor.execute(
            "update jobs set status = 'completed', completed_at = %s, updated_at = now() where id = %s",
            (datetime.now(timezone.utc), batch_id),
        )
        self._cursor.execute(
            "update llm_batch_job set status = 'completed' where letta_batch_job_id = %s", (batch_id,)
        )

    def add_rare_messages(self, agent_id: str) -> None:
        """Add what other models, older releases and full contexts leave behind."""
        self.add_message(
            "assistant",
            [
                {"type": "redacted_reasoning", "data": "b3BhcXVl"},
                {"type": "omitted_reasoning"},
                _summarized("A summary."),
                _summarized(""),
                _text("First half, "),
                _text("second half."),
                _reasoning("One thought, "),
                _reasoning("another thought."),
            ],
            agent_id=agent_id,
        )
        alert = {"type": "system_alert", "message": "What was said before.", "time": "2026-01-01 00:00:00 AM"}
        self.add_message("summary", [_text(json.dumps(alert))], agent_id=agent_id)
        self.add_message("user", None, text="From a release without contents.", agent_id=agent_id)
        response = json.dumps({"status": "OK", "message": "From a release without lists of returns."})
        self.add_message("tool", [_text(response)], tool_call_id="call_legacy", agent_id=agent_id)

    def add_late_message(self, agent_id: str, sequence_id: int) -> str:
        """Add a message as a long transaction does: with a number and a date that others overtook."""
        self._cursor.execute(
            "select max(created_at) from messages where agent_id = %s and sequence_id < %s",
            (agent_id, sequence_id),
        )
        date = self._cursor.fetchall()[0][0] - timedelta(seconds=5)
        content = [_text("Committed late ⏳")]
        return self.add_message("user", content, agent_id=agent_id, created_at=date, sequence_id=sequence_id)

    def change_message(self, message_id: str, **columns: Any) -> dict[str, Any]:
        """Set columns of a stored message; gives what they held."""
        return self.change("messages", message_id, **columns)

    def change(self, table: str, row_id: str, **columns: Any) -> dict[str, Any]:
        """Set columns of a row; gives what they held."""
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        place = sql.SQL("{} where id = %s").format(sql.Identifier(table))
        self._cursor.execute(sql.SQL("select {} from ").format(names) + place, (row_id,))
        held = dict(zip(columns, self._cursor.fetchall()[0], strict=True))
        assignments = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
        self._cursor.execute(
            sql.SQL("update {} set {} where id = %s").format(sql.Identifier(table), assignments),
            [*map(_adapted, columns.values()), row_id],
        )
        return held

    def one(self, query: str, *values: Any) -> Any:
        """Return the first value of the first row that a query finds."""
        self._cursor.execute(query, values)
        return self._cursor.fetchall()[0][0]

    def delete_sent_by(self, sender_id: str) -> None:
        """Delete a sender's messages, from conversations too."""
        self._cursor.execute(
            "delete from conversation_messages where message_id in"
            " (select id from messages where sender_id = %s)",
            (sender_id,),
        )
        self._cursor.execute("delete from messages where sender_id = %s", (sender_id,))

    def delete_messages(self, agent_id: str) -> None:
        """Delete an agent's messages that are out of its context.

        The pinned server's reset only takes them out of the context; others deleted them with it.
        """
        self._cursor.execute(
            "delete from messages using agents where agents.id = %s and messages.agent_id = agents.id"
            " and not agents.message_ids::jsonb ? messages.id",
            (agent_id,),
        )

    def _add_batch_messages(self, batch_id: str, agent_ids: list[str], messages: int) -> None:
        self._cursor.execute("select id from llm_batch_job where letta_batch_job_id = %s", (batch_id,))
        request_id = self._cursor.fetchall()[0][0]
        for number in range(messages // 2):
            agent_id = agent_ids[number % len(agent_ids)]
            item_id = self.insert(
                "llm_batch_items",
                "batch_item",
                llm_batch_id=request_id,
                agent_id=agent_id,
                llm_config={"model": MODEL, "model_endpoint_type": "anthropic", "context_window": 128_000},
                request_status="completed",
                step_status="completed",
                step_state={},
                organization_id=self.organization_id,
            )
            self._add_call_and_return(number, agent_id=agent_id, batch_item_id=item_id)

    def _add_call_and_return(self, number: int, **owner: Any) -> None:
        call_id = f"toolu_{uuid.uuid4().hex[:24]}"
        function = {"name": "roll_dice", "arguments": json.dumps({"sides": number})}
        self.add_message(
            "assistant",
            [_reasoning(f"Thought {number}"), _text(f"Answer {number} ✅")],
            tool_calls=[{"id": call_id, "type": "function", "function": function}],
            **owner,
        )
        failed = number % 5 == 4
        response = json.dumps({"status": "Failed" if failed else "OK", "message": f"rolled {number}"})
        tool_return = {
            "tool_call_id": call_id,
            "status": "error" if failed else "success",
            "stdout": ["out"],
            "stderr": [],
            "func_response": response,
        }
        self.add_message(
            "tool",
            [_text(response)],
            name="roll_dice",
            tool_call_id=call_id,
            tool_returns=[tool_return],
            **owner,
        )

    def add_message(self, role: str, content: list[dict[str, Any]] | None, **columns: Any) -> str:
        columns = {"tool_calls": [], "tool_returns": [], "approvals": [], **columns}
        return self.insert(
            "messages",
            "message",
            role=role,
            content=content,
            organization_id=self.organization_id,
            **columns,
        )

    def insert(self, table: str, prefix: str, **columns: Any) -> str:
        """Insert a row under a new id, and return that."""
        values = {"id": f"{prefix}-{uuid.uuid4()}", **columns}
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        )
        self._cursor.execute(statement, [*map(_adapted, values.values())])
        return str(values["id"])


def _adapted(value: Any) -> Any:
    """A column's value as the database takes it: lists and objects are JSON."""
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _reasoning(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "is_native": True, "reasoning": text, "signature": "signed"}


def _summarized(text: str) -> dict[str, Any]:
    summary = [{"index": 0, "text": text}]
    return {"type": "summarized_reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "opaque"}
