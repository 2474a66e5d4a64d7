"""A generated month of a busy team's agents; the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from letta_source.report.store import NEEDED

Rows = dict[str, list[dict[str, Any]]]

MODELS = ("openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5", "openai/gpt-5", "local/qwen3-32b")
AGENTS = (
    "support-triage", "billing-assistant", "release-notes", "incident-commander", "onboarding-guide",
    "data-quality-watcher", "sales-research-and-outreach-for-the-northern-region", "contract-reviewer",
    "sleepy-sleeptime", "quarterly-report-writer", "translator", "code-reviewer",
)  # fmt: skip
TOOLS = (
    "archival_memory_search", "archival_memory_insert", "core_memory_append", "core_memory_replace",
    "conversation_search", "send_message", "web_search", "fetch_webpage", "run_code", "create_ticket",
    "search_tickets_by_customer_and_product_line", "send_email", "list_calendar", "book_meeting",
    "query_warehouse", "open_pull_request", "read_file", "write_file", "grep_repository", "translate_text",
    "summarize_document", "generate_image", "escalate_to_human", "check_invoice", "refund_payment",
)  # fmt: skip
END = datetime(2026, 11, 1)
DAYS = 61


def month(turns_a_day: int = 60, days: int = DAYS) -> Rows:
    """Return rows of every table that a report reads, up to `END`; about 14 messages a turn."""
    random.seed(0)
    rows: Rows = {table: [] for table in NEEDED}
    rows["agents"] = [{"id": f"agent-{i:08d}", "name": name} for i, name in enumerate(AGENTS)]
    for day in range(days):
        at = END - timedelta(days=days - day)
        busy = 0.25 if at.weekday() > 4 else 1.0
        for _ in range(int(turns_a_day * busy * random.uniform(0.8, 1.2) * (0.6 + day / days))):
            _turn(rows, at + timedelta(seconds=random.randrange(7 * 3600, 19 * 3600)))
    rows["load_issues"] = [
        {"load_started_at": END, "resource": "agent_messages", "parent_id": f"agent-{i:08d}", "kind": kind}
        for i, kind in ((2, "unreadable"), (2, "unreadable"), (5, "not_found"))
    ]
    return rows


def _turn(rows: Rows, at: datetime) -> None:
    agent = min(int(random.expovariate(0.35)), len(AGENTS) - 1)
    agent_id, model = f"agent-{agent:08d}", MODELS[agent % len(MODELS)]
    number = len(rows["runs"])
    run_id = f"run-{number:08d}"
    conversation_id = f"conversation-{number % 40}" if number % 3 else None
    failed = random.random() < 0.015
    started, message = at, 0

    def add(kind: str, step_id: str | None, new: bool = True, position: int = 0) -> str:
        nonlocal message
        message += new
        rows["agent_messages"].append(
            {"agent_id": agent_id, "id": f"message-{number:08d}-{message:03d}", "position": position,
             "sequence": len(rows["agent_messages"]), "created_at": at.replace(microsecond=0),
             "message_type": kind, "run_id": run_id, "step_id": step_id}
        )  # fmt: skip
        return str(rows["agent_messages"][-1]["id"])

    add("user_message", None)
    for step in range(steps := 1 + min(int(random.expovariate(0.5)), 7)):
        step_id, last = f"step-{number:08d}-{step}", step == steps - 1
        _step(rows, step_id, run_id, agent_id, model, failed and last)
        at += timedelta(seconds=random.lognormvariate(0.7, 0.6))
        if failed and last:
            break
        add("reasoning_message", step_id)
        if last:
            add("assistant_message", step_id, new=False, position=1)
            continue
        call_id = f"call-{number}-{step}"
        tool = min(int(random.expovariate(0.16)), len(TOOLS) - 1)
        key = {"agent_id": agent_id, "idx": 0, "tool_call_id": call_id}
        told = add("tool_call_message", step_id, new=False, position=1)
        call = {**key, "message_id": told, "position": 1, "name": TOOLS[tool]}
        rows["agent_messages__tool_calls"].append(call)
        if random.random() < 0.01:
            continue
        at += timedelta(seconds=random.lognormvariate(0.1 + (tool % 5) / 2, 0.9))
        status = "error" if random.random() < 0.02 * (1 + tool % 4) else "success"
        told = add("tool_return_message", step_id)
        answer = {**key, "message_id": told, "position": 0, "status": status}
        rows["agent_messages__tool_returns"].append(answer)
    rows["runs"].append(
        {"id": run_id, "agent_id": agent_id, "conversation_id": conversation_id,
         "status": "failed" if failed else "completed", "created_at": started, "completed_at": at,
         "stop_reason": "error" if failed else "end_turn",
         "total_duration_ns": int((at - started).total_seconds() * 1e9)}
    )  # fmt: skip


def _step(rows: Rows, step_id: str, run_id: str, agent_id: str, model: str, failed: bool) -> None:
    prompt, completion = random.randrange(1500, 24000), random.randrange(40, 900)
    cached = int(prompt * random.uniform(0, 0.8)) if not model.startswith("local") else None
    rows["steps"].append(
        {"id": step_id, "run_id": run_id, "agent_id": agent_id, "status": "failed" if failed else "success",
         "stop_reason": "error" if failed else "end_turn", "model": model.partition("/")[2],
         "model_handle": model, "prompt_tokens": prompt, "completion_tokens": completion,
         "total_tokens": prompt + completion, "cached_input_tokens": cached,
         "reasoning_tokens": completion // 3,
         "error_type": random.choice(("LLMRateLimitError", "LLMTimeoutError")) if failed else None}
    )  # fmt: skip


def batches(rows: Mapping[str, list[dict[str, Any]]], table: str) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows in the form that the store takes."""
    times = ("created_at", "completed_at", "load_started_at")
    numbers = ("position", "idx", "sequence", "total_duration_ns")
    types = {
        name: pa.timestamp("us", "UTC") if name in times
        else pa.int64() if name in numbers or name.endswith("_tokens")
        else pa.bool_() if name == "approve" else pa.string()
        for name in NEEDED[table]
    }  # fmt: skip
    schema = pa.schema([pa.field(name, kind) for name, kind in types.items()])
    return iter(pa.Table.from_pylist(list(rows.get(table, ())), schema=schema).to_batches())
